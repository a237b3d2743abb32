"""The bound of decoding of random models: written out a second time, and the laws that it obeys."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import pytest
from decode_samples import bound, laws
from hypothesis import given
from hypothesis import strategies as st

import kvcalc
from kvcalc.mechanisms import GQA, MLA
from kvcalc.model.layers import LayerGroup


class Asked(NamedTuple):
    """A random question, and the figures that the model is made of."""

    model: kvcalc.Model
    rest: int
    table: int
    experts: int
    """Parameters of the layers, of one table, and of all routed experts."""
    options: dict[str, Any]
    bandwidth: int
    """Bytes a second."""
    rate: int
    """Operations a second."""


@st.composite
def questions(draw: st.DrawFn) -> Asked:
    heads = 8
    kinds: list[Any] = [
        GQA(num_heads=heads, num_kv_heads=draw(st.sampled_from([1, 2, 8])), head_dim=draw(st.integers(1, 256))),
        MLA(
            num_heads=heads,
            kv_lora_rank=draw(st.integers(1, 512)),
            qk_rope_head_dim=64,
            qk_nope_head_dim=1,
            v_head_dim=1,
        ),
    ]
    groups = draw(
        st.lists(
            st.builds(
                LayerGroup,
                count=st.integers(1, 4),
                attention=st.sampled_from(kinds),
                window=st.none() | st.integers(1, 3000),
            ),
            min_size=1,
            max_size=3,
        )
    )
    layers = sum(group.count for group in groups)
    hidden, vocab = draw(st.integers(1000, 9000)), draw(st.integers(1000, 200_000))
    tied, mixture = draw(st.booleans()), draw(st.booleans())
    first = draw(st.integers(0, layers - 1)) if mixture else 0
    num_experts, used, width = draw(st.integers(2, 64)), draw(st.integers(1, 2)), draw(st.integers(500, 3000))
    experts = 3 * hidden * width * num_experts * (layers - first) if mixture else 0
    rest = draw(st.integers(10**9, 10**11))
    dims: dict[str, Any] = {
        "num_experts": num_experts,
        "num_experts_per_tok": used,
        "moe_intermediate_size": width,
        "first_k_dense": first,
    }
    model = kvcalc.Model(
        name="random",
        dtype="bf16",
        parameters=rest + experts + vocab * hidden * (1 if tied else 2),
        hidden_size=hidden,
        vocab_size=vocab,
        tie_word_embeddings=tied,
        layers=tuple(groups),
        **(dims if mixture else {}),
    )
    bandwidth, rate = draw(st.integers(100, 10_000)), draw(st.sampled_from([1, 10, 1000]))
    gpu = kvcalc.Gpu(
        name="any",
        memory_bytes=10**15,
        memory_from="runtime",
        memory_bandwidth_gb_per_s=bandwidth,
        bf16_dense_tflops=rate,
    )
    dp = draw(st.integers(1, 4))
    options = {
        "gpu": gpu,
        "batch": draw(st.integers(1, 2000)),
        "context": draw(st.integers(1, 100_000)),
        "tp": draw(st.sampled_from([1, 2, 4, 8])),
        "pp": draw(st.integers(1, layers)),
        "dp": dp,
        "dp_attention": mixture and dp > 1 and draw(st.booleans()),
    }
    return Asked(model, rest, vocab * hidden, experts, options, bandwidth * 10**9, rate * 10**12)


def row(attention: Any, tp: int) -> tuple[int, int]:
    """Bytes of a token on a rank, and multiply-adds with it of all ranks."""
    if isinstance(attention, MLA):
        return 2 * (attention.kv_lora_rank + 64), 8 * (2 * attention.kv_lora_rank + 64)
    return 2 * 2 * attention.head_dim * max(1, attention.num_kv_heads // tp), 8 * 2 * attention.head_dim


def copied_share(model: kvcalc.Model, tp: int) -> float:
    """Parameters of the layers that a rank has beyond a tp-th part of them: latents, routers, keys and values."""
    hidden, beyond = model.hidden_size or 0, 0.0
    for group in model.layers:
        assert isinstance(group, LayerGroup)
        attention = group.attention
        if isinstance(attention, MLA):
            beyond += group.count * hidden * (attention.kv_lora_rank + 64) * (1 - 1 / tp)
        elif isinstance(attention, GQA) and attention.num_kv_heads < tp:
            both = 2 * hidden * attention.num_kv_heads * attention.head_dim
            beyond += group.count * both * (1 / attention.num_kv_heads - 1 / tp)
    layers_with_experts = model.num_layers - (model.first_k_dense or 0)
    return beyond + (model.num_experts or 0) * hidden * layers_with_experts * (1 - 1 / tp)


def seconds_by_hand(asked: Asked, sequences: int, tokens: int) -> list[float]:
    """Each stage's seconds for so many sequences of a replica, and tokens of all replicas that share the experts."""
    model, options = asked.model, asked.options
    tp, pp, context = options["tp"], options["pp"], options["context"]
    layers = [group for group in model.layers if isinstance(group, LayerGroup) for _ in range(group.count)]
    total, first = len(layers), model.first_k_dense or 0
    used = (model.num_experts_per_tok or 0) / (model.num_experts or 1)
    sharing = options["dp"] if options["dp_attention"] else 1
    out, start = [], 0
    for stage in range(pp):
        held = list(range(start, start + total // pp + (stage < total % pp)))
        start += len(held)
        dense = asked.rest * len(held) / total + (asked.table if stage == pp - 1 else 0)
        active = asked.experts * used * sum(layer >= first for layer in held) / (total - first) / sharing
        read, operations = 2 * (dense + active) / tp, 2 * (dense * sequences + active * tokens) / tp
        copied = copied_share(model, tp) * len(held) / total
        read, operations = read + 2 * copied, operations + 2 * copied * sequences
        for layer in held:
            kept = min(context, layers[layer].window or context)
            row_bytes, multiply_adds = row(layers[layer].attention, tp)
            read += sequences * kept * row_bytes
            operations += 2 * sequences * kept * multiply_adds / tp
        out.append(max(read / asked.bandwidth, operations / asked.rate))
    return out


@laws
@given(questions())
def test_the_bound_written_out(asked: Asked) -> None:
    batch, dp = asked.options["batch"], asked.options["dp"]
    joined = dp if asked.options["dp_attention"] else 1
    by_replica = [batch // dp + (replica < batch % dp) for replica in range(dp)]
    alone = sum(seconds_by_hand(asked, 1, 1))

    def per_token(sequences: int) -> float:
        return max(*seconds_by_hand(asked, sequences, min(batch, sequences * joined)), alone)

    found = bound(asked.model, **asked.options)
    assert found.seconds_per_token == pytest.approx(per_token(by_replica[0]), rel=1e-6)
    assert found.tokens_per_second_per_sequence == pytest.approx(1 / per_token(by_replica[0]), rel=1e-6)
    assert found.tokens_per_second == pytest.approx(sum(n / per_token(n) for n in by_replica if n), rel=1e-6)


@laws
@given(questions(), st.integers(2, 100))
def test_laws_of_the_bound(asked: Asked, times: int) -> None:
    found = bound(asked.model, **asked.options)
    gpu = asked.options["gpu"]
    batch, dp = asked.options["batch"], asked.options["dp"]
    slack = 1 + 1e-12

    assert found.tokens_per_second_per_sequence <= asked.bandwidth / found.read_bytes * slack
    assert found.seconds_per_token * slack >= max(found.memory_seconds, found.compute_seconds)
    assert found.limited_by == ("compute" if found.compute_seconds > found.memory_seconds else "memory")
    assert found.read_bytes == found.weights_read_bytes + found.cache_read_bytes
    if batch % dp == 0:
        assert found.tokens_per_second <= batch * found.tokens_per_second_per_sequence * slack
    assert found.tokens_per_second * slack >= found.tokens_per_second_per_sequence
    faster = replace(
        gpu,
        memory_bandwidth_gb_per_s=gpu.memory_bandwidth_gb_per_s * times,
        bf16_dense_tflops=gpu.bf16_dense_tflops * times,
    )
    for better in (
        replace(gpu, memory_bandwidth_gb_per_s=faster.memory_bandwidth_gb_per_s),
        replace(gpu, bf16_dense_tflops=faster.bf16_dense_tflops),
        faster,
    ):
        quicker = bound(asked.model, **{**asked.options, "gpu": better})
        assert quicker.seconds_per_token <= found.seconds_per_token * slack
        assert quicker.tokens_per_second * slack >= found.tokens_per_second
    assert quicker.seconds_per_token * times == pytest.approx(found.seconds_per_token, rel=1e-12)
    more = bound(asked.model, **{**asked.options, "batch": batch + 1})
    assert more.seconds_per_token * slack >= found.seconds_per_token


@laws
@given(questions(), st.integers(0, 10**13), st.integers(1, 1000))
def test_laws_of_spilling(asked: Asked, memory: int, link: int) -> None:
    """What is spilled is what lacks: the cache is the same in all, and nothing is faster for it."""
    gpu = replace(asked.options["gpu"], host_link_gb_per_s=link)
    options = {**asked.options, "gpu": gpu, "temporary": 0, "overhead": 0, "utilization": 1}
    plain = bound(asked.model, **options)
    needed = kvcalc.estimate(asked.model, **options).memory.per_rank.weights_bytes
    assert needed is not None
    try:
        found = bound(asked.model, spill=True, **options, gpu_memory=memory + 1)
    except kvcalc.KvcalcError as error:
        assert "only cache can be kept" in str(error)  # noqa: PT017  # a rank whose weights do not fit
        return

    assert found.spill is not None
    assert found.read_bytes == plain.read_bytes or asked.options["pp"] > 1
    if asked.options["pp"] == 1:
        assert found.spill.room_bytes == memory + 1 - needed
        assert found.spill.spilled_bytes_per_rank == max(0, plain.cache_read_bytes - found.spill.room_bytes)
        assert found.spill.spilled_bytes == asked.options["tp"] * found.spill.spilled_bytes_per_rank
    assert found.spill.link_seconds == found.spill.spilled_bytes_per_rank / (link * 10**9)
    assert found.seconds_per_token >= found.spill.link_seconds
    if found.spill.spilled_bytes == 0:
        assert replace(found, spill=None, terms=plain.terms, gpu=plain.gpu) == plain
