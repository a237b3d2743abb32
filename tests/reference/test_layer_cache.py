"""The ring of a layer's cache: against a plain dict, and decoding from it against the layer without a cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kvcalc.mechanisms import GQA, MHA, MLA, MQA, Mechanism, MLAExpanded
from kvcalc.model.span import Window
from kvcalc.reference import ReferenceAttention, Rows, build
from kvcalc.reference.cache import LayerCache, Stored
from kvcalc.reference.packing import Packing

unhurried = examples(60)

chunks = st.lists(st.integers(1, 7), min_size=1, max_size=6)


@pytest.fixture(autouse=True, scope="module")
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


class Kept(Packing):
    """Rows as they are, or as another dtype rounds them."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        self.dtype = dtype

    def pack(self, rows: Tensor) -> Tensor:
        return rows.to(self.dtype, copy=True)

    def unpack(self, stored: Tensor, row: torch.Size | tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return stored.to(dtype).reshape(*stored.shape[:2], *row)


def cache_for(kept: dict[str, Tensor], slots: int, dtype: torch.dtype = torch.float64) -> LayerCache:
    """An unused cache for rows like these, full of what nobody may read."""
    buffers = {name: torch.full((x.shape[0], slots, *x.shape[2:]), 7e3, dtype=dtype) for name, x in kept.items()}
    return LayerCache({name: Stored(buffer, buffer.shape[2:], Kept(dtype)) for name, buffer in buffers.items()}, slots)


def numbered(start: int, tokens: int, sequences: int = 2) -> dict[str, Tensor]:
    """Rows that tell sequence, token and element: k of heads x width, v of width alone."""
    token_T = torch.arange(start, start + tokens, dtype=torch.float64)
    sequence_B11 = torch.arange(sequences, dtype=torch.float64).view(-1, 1, 1)
    k = 1000 * sequence_B11 + token_T.view(1, -1, 1) + torch.arange(6, dtype=torch.float64) / 10
    return {"k": k.reshape(sequences, tokens, 2, 3), "v": -k[..., :2]}


def random(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def relative(found: Tensor, expected: Tensor) -> float:
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.abs().max())


# --- the ring ---


@unhurried
@given(st.integers(1, 9), chunks)
def test_the_ring_is_a_dict_that_forgets(slots: int, sizes: list[int]) -> None:
    cache = cache_for(numbered(0, 1), slots)
    held: dict[int, int] = {}  # slot -> token
    start = 0
    for tokens in sizes:
        readable = set(held.values()) | set(range(start, start + tokens))
        rows = cache.extend(numbered(start, tokens), start, torch.float64)
        for token in range(start, start + tokens):
            held[token % slots] = token
        start += tokens
        found = rows.positions_S.tolist()

        needed = set(
            range(max(0, start - tokens - slots + 1), start)
        )  # by a query that sees as many as there are slots
        assert needed <= set(found) <= readable
        assert len(found) == len(set(found))
        for name, tensor in numbered(0, start).items():
            assert rows.tensors[name].equal(tensor[:, found])
        for slot, token in held.items():
            assert cache.stored["k"].buffer[:, slot].equal(numbered(token, 1)["k"][:, 0])
        for slot in set(range(slots)) - held.keys():
            assert bool((cache.stored["k"].buffer[:, slot] == 7e3).all())


@unhurried
@given(st.integers(1, 9), chunks)
def test_one_token_reads_the_last_tokens_only(slots: int, sizes: list[int]) -> None:
    cache = cache_for(numbered(0, 1), slots)
    start = 0
    for tokens in sizes:
        cache.store(numbered(start, tokens), start)
        start += tokens

    found = cache.extend(numbered(start, 1), start, torch.float64).positions_S

    assert sorted(found.tolist()) == list(range(max(0, start + 1 - slots), start + 1))


def test_slots_written_out() -> None:
    """Three slots; tokens 0 to 1, then 2, then 3 to 4, then 5 to 9 at once."""
    cache = cache_for(numbered(0, 1), 3)

    def extend(start: int, tokens: int) -> list[int]:
        return cache.extend(numbered(start, tokens), start, torch.float64).positions_S.tolist()

    def slots() -> list[int]:
        return [round(value) for value in cache.stored["k"].buffer[0, :, 0, 0].tolist()]

    assert (extend(0, 2), slots()) == ([0, 1], [0, 1, 7000])
    assert (extend(2, 1), slots()) == ([0, 1, 2], [0, 1, 2])
    assert (extend(3, 2), slots()) == ([0, 1, 2, 3, 4], [3, 4, 2])
    assert (extend(5, 5), slots()) == ([3, 4, 2, 5, 6, 7, 8, 9], [9, 7, 8])
    assert (extend(10, 1), slots()) == ([9, 10, 8], [9, 10, 8])


@unhurried
@given(st.integers(1, 9), chunks)
def test_storing_and_extending_leave_the_same_buffers(slots: int, sizes: list[int]) -> None:
    stored, extended = cache_for(numbered(0, 1), slots), cache_for(numbered(0, 1), slots)
    start = 0
    for tokens in sizes:
        stored.store(numbered(start, tokens), start)
        extended.extend(numbered(start, tokens), start, torch.float64)
        start += tokens

    for one, other in zip(stored.buffers, extended.buffers, strict=True):
        assert one.equal(other)


@unhurried
@given(st.integers(1, 9), chunks, st.sampled_from([torch.float32, torch.float64]))
def test_rows_come_back_as_the_buffer_rounds_them(slots: int, sizes: list[int], dtype: torch.dtype) -> None:
    """Also those of a chunk that is read before it is stored."""
    every = {"k": random(1, 1, sum(sizes), 2, 3), "v": random(2, 1, sum(sizes), 2)}
    cache = cache_for(every, slots, torch.bfloat16)
    start = 0
    for tokens in sizes:
        chunk = {name: x[:, start : start + tokens] for name, x in every.items()}
        rows = cache.extend(chunk, start, dtype)
        start += tokens

        for name, x in every.items():
            assert rows.tensors[name].dtype == dtype
            assert rows.tensors[name].equal(x[:, rows.positions_S].to(torch.bfloat16).to(dtype))


def test_sequences_are_the_same_memory() -> None:
    cache = cache_for(numbered(0, 1, sequences=4), 5)
    part = cache.sequences(1, 3)
    part.store(numbered(0, 2), 0)

    assert part.slots == 5
    assert [buffer.shape for buffer in part.buffers] == [(2, 5, 2, 3), (2, 5, 2)]
    for one, whole in zip(part.buffers, cache.buffers, strict=True):
        assert one.untyped_storage().data_ptr() == whole.untyped_storage().data_ptr()
        assert whole[1:3, :2].equal(one[:, :2])
    assert cache.stored["v"].buffer[1:3, :2].equal(numbered(0, 2)["v"])
    assert bool((cache.stored["v"].buffer[[0, 3]] == 7e3).all())
    assert bool((cache.stored["v"].buffer[:, 2:] == 7e3).all())


@pytest.mark.parametrize("tokens", [1, 2, 6], ids=["one token", "that fit", "over the end"])
def test_a_tensor_without_a_buffer_is_an_error(tokens: int) -> None:
    cache = cache_for(numbered(0, 1), 4)
    unknown = {"c_kv": numbered(0, tokens)["v"]}

    with pytest.raises(KeyError, match="c_kv"):
        cache.extend(unknown, 0, torch.float64)
    with pytest.raises(KeyError, match="c_kv"):
        cache.store(unknown, 0)


# --- layers that decode from it ---

MECHANISMS: dict[str, Mechanism] = {
    "mha": MHA(num_heads=3, head_dim=5, v_head_dim=4),
    "mqa": MQA(num_heads=4, head_dim=6),
    "gqa": GQA(num_heads=6, num_kv_heads=2, head_dim=4, v_head_dim=7),
    "mla": MLA(num_heads=3, kv_lora_rank=6, qk_rope_head_dim=4, qk_nope_head_dim=5, v_head_dim=3),
    "mla, queries compressed": MLA(
        num_heads=2, kv_lora_rank=6, qk_rope_head_dim=2, qk_nope_head_dim=3, v_head_dim=5, q_lora_rank=4
    ),
    "mla expanded": MLAExpanded(num_heads=3, kv_lora_rank=6, qk_rope_head_dim=4, qk_nope_head_dim=5, v_head_dim=3),
}
HIDDEN = 12

mechanisms = pytest.mark.parametrize("mechanism", MECHANISMS.values(), ids=list(MECHANISMS))


def layer(mechanism: Mechanism, window: int | None, seed: int = 0) -> ReferenceAttention:
    span = None if window is None else Window(window)
    module = build(mechanism, HIDDEN, span, device="cpu", dtype=torch.float64, seed=seed)
    assert isinstance(module, ReferenceAttention)
    return module


def decoded(module: ReferenceAttention, x_BTD: Tensor, sizes: list[int], cache: LayerCache) -> Tensor:
    outputs, start = [], 0
    for tokens in sizes:
        x_chunk = x_BTD[:, start : start + tokens]
        rows = cache.extend(module.keep(x_chunk, start), start, torch.float64)
        outputs.append(module.attend(x_chunk, start, rows))
        start += tokens
    return torch.cat(outputs, dim=1)


@mechanisms
@pytest.mark.parametrize("sizes", [[1] * 11, [11], [4, 1, 1, 1, 1, 1, 1, 1], [1, 5, 1, 4], [3, 3, 3, 2]], ids=str)
@pytest.mark.parametrize("window", [None, 1, 3, 10, 11, 40])
def test_decoding_is_the_layer(mechanism: Mechanism, window: int | None, sizes: list[int]) -> None:
    module, x_BTD = layer(mechanism, window), random(0, 2, 11, HIDDEN)
    cache = cache_for(module.keep(x_BTD, 0), window or 11)

    assert relative(decoded(module, x_BTD, sizes, cache), module(x_BTD)) < 1e-10


@st.composite
def random_mechanisms(draw: st.DrawFn) -> Mechanism:
    kv_heads, readers, widths = draw(st.integers(1, 3)), draw(st.integers(1, 3)), st.integers(1, 6)
    latent: dict[str, Any] = {
        "num_heads": kv_heads * readers,
        "kv_lora_rank": draw(st.integers(2, 6)),
        "qk_rope_head_dim": draw(widths),
        "qk_nope_head_dim": draw(widths),
        "v_head_dim": draw(widths),
        "q_lora_rank": draw(st.none() | st.integers(2, 6)),
    }
    heads, k, v = kv_heads * readers, draw(widths), draw(st.none() | widths)
    kinds: list[Mechanism] = [
        MHA(num_heads=heads, head_dim=k, v_head_dim=v),
        MQA(num_heads=heads, head_dim=k, v_head_dim=v),
        GQA(num_heads=heads, num_kv_heads=kv_heads, head_dim=k, v_head_dim=v),
        MLA(**latent),
        MLAExpanded(**latent),
    ]
    return draw(st.sampled_from(kinds))


@examples(150)
@given(random_mechanisms(), st.none() | st.integers(1, 12), st.integers(0, 3), st.integers(1, 3), chunks, st.data())
def test_decoding_is_the_layer_for_any(
    mechanism: Mechanism, window: int | None, more_slots: int, sequences: int, sizes: list[int], data: st.DataObject
) -> None:
    """Any dims, window, batch and chunks; slots that the window does not need change nothing."""
    seed = data.draw(st.integers(0, 2**31))
    tokens = sum(sizes)
    module, x_BTD = layer(mechanism, window, seed), random(seed, sequences, tokens, HIDDEN)
    cache = cache_for(module.keep(x_BTD, 0), (window or tokens) + more_slots)

    assert relative(decoded(module, x_BTD, sizes, cache), module(x_BTD)) < 1e-10


@mechanisms
def test_a_prompt_may_be_stored_without_being_read(mechanism: Mechanism) -> None:
    for window, prompt in ((None, 8), (3, 8), (3, 2), (6, 6)):
        module, x_BTD = layer(mechanism, window), random(0, 2, 11, HIDDEN)
        cache = cache_for(module.keep(x_BTD, 0), window or 11)
        cache.store(module.keep(x_BTD[:, :prompt], 0), 0)
        for position in range(prompt, 11):
            x_B1D = x_BTD[:, position : position + 1]
            rows = cache.extend(module.keep(x_B1D, position), position, torch.float64)
            expected = module(x_BTD)[:, position : position + 1]
            assert relative(module.attend(x_B1D, position, rows), expected) < 1e-10


@mechanisms
def test_sequences_do_not_see_each_other(mechanism: Mechanism) -> None:
    module, x_BTD = layer(mechanism, 3), random(0, 4, 9, HIDDEN)
    cache = cache_for(module.keep(x_BTD, 0), 3)
    outputs = [
        decoded(module, x_BTD[first:last], [2, 4, 1, 1, 1], cache.sequences(first, last))
        for first, last in ((0, 1), (1, 3), (3, 4))
    ]

    assert relative(torch.cat(outputs), module(x_BTD)) < 1e-10


@mechanisms
@pytest.mark.parametrize("window", [None, 4])
def test_one_slot_too_few_is_too_few(mechanism: Mechanism, window: int | None) -> None:
    module, x_BTD = layer(mechanism, window), random(0, 1, 9, HIDDEN)
    cache = cache_for(module.keep(x_BTD, 0), (window or 9) - 1)

    assert relative(decoded(module, x_BTD, [1] * 9, cache)[:, -1:], module(x_BTD, last=1)) > 1e-3


@mechanisms
def test_rows_without_a_token_are_not_read(mechanism: Mechanism) -> None:
    """Wherever they lie, and in whatever order the others come."""
    module, x_BTD = layer(mechanism, None), random(0, 2, 6, HIDDEN)
    kept = module.keep(x_BTD, 0)
    order = [4, 0, 5, 1, 3, 2]
    empty = {name: torch.full_like(tensor[:, :1], 7e3) for name, tensor in kept.items()}
    shuffled = {name: torch.cat((empty[name], tensor[:, order], empty[name]), 1) for name, tensor in kept.items()}
    rows = Rows(shuffled, torch.tensor([-1, *order, -1]))

    assert relative(module.attend(x_BTD[:, 2:], 2, rows), module(x_BTD)[:, 2:]) < 1e-10


@mechanisms
def test_what_is_kept_does_not_depend_on_later_tokens_or_chunks(mechanism: Mechanism) -> None:
    module, x_BTD = layer(mechanism, None), random(0, 2, 7, HIDDEN)
    at_once = module.keep(x_BTD, 0)
    for start, end in ((0, 1), (2, 5), (6, 7)):
        for name, tensor in module.keep(x_BTD[:, start:end], start).items():
            assert relative(tensor, at_once[name][:, start:end]) < 1e-13
