"""Layers with states: their textbook against Hugging Face's layers, their steps against the textbook."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers.models.lfm2.configuration_lfm2 import Lfm2Config
from transformers.models.lfm2.modeling_lfm2 import Lfm2ShortConv
from transformers.models.mamba2.configuration_mamba2 import Mamba2Config
from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer
from transformers.models.minimax.configuration_minimax import MiniMaxConfig
from transformers.models.minimax.modeling_minimax import MiniMaxLightningAttention
from transformers.models.qwen3_next.configuration_qwen3_next import Qwen3NextConfig
from transformers.models.qwen3_next.modeling_qwen3_next import Qwen3NextGatedDeltaNet

from kvcalc.mechanisms import (
    GQA,
    KDA,
    MLA,
    RWKV,
    Cross,
    GatedDeltaNet,
    Lightning,
    Mamba1,
    Mamba2,
    Mechanism,
    ShortConv,
)
from kvcalc.model.span import Chunk
from kvcalc.reference import ReferenceAttention, ReferenceState, Rows, build
from kvcalc.reference.convolution import CausalConvolution
from kvcalc.reference.delta_rule import delta_rule, delta_step
from kvcalc.reference.functional import textbook_mask, visible

unhurried = examples(40)

HIDDEN, TOKENS = 24, 13

STATES: dict[str, Mechanism] = {
    "cross": Cross(num_heads=4, num_kv_heads=2, head_dim=6, encoder_context=5),
    "gated_deltanet": GatedDeltaNet(num_k_heads=2, num_v_heads=6, k_head_dim=4, v_head_dim=5, conv_kernel=4),
    "kda": KDA(num_heads=4, head_dim=5, conv_kernel=3),
    "mamba1": Mamba1(intermediate_size=12, state_size=5, conv_kernel=4),
    "mamba2": Mamba2(num_heads=4, head_dim=3, state_size=5, num_groups=2, conv_kernel=4),
    "short_conv": ShortConv(hidden_size=12, conv_kernel=3),
    "lightning": Lightning(num_heads=4, head_dim=6),
    "rwkv": RWKV(hidden_size=10, num_heads=4, head_dim=6),
    "rwkv, time mixing alone": RWKV(hidden_size=10, num_heads=4, head_dim=6, token_shifts=1),
    "gated_deltanet, kernel of 1": GatedDeltaNet(
        num_k_heads=2, num_v_heads=2, k_head_dim=4, v_head_dim=4, conv_kernel=1
    ),
    "short_conv, kernel of 1": ShortConv(hidden_size=12, conv_kernel=1),
}
KEPT: dict[str, dict[str, tuple[int, ...]]] = {  # of each sequence: rows, then a row
    "cross": {"k": (5, 2, 6), "v": (5, 2, 6)},
    "gated_deltanet": {"conv_q": (3, 8), "conv_k": (3, 8), "conv_v": (3, 30), "state": (1, 6, 5, 4)},
    "kda": {"conv_q": (2, 20), "conv_k": (2, 20), "conv_v": (2, 20), "state": (1, 4, 5, 5)},
    "mamba1": {"conv": (3, 12), "state": (1, 12, 5)},
    "mamba2": {"conv_x": (3, 12), "conv_b": (3, 10), "conv_c": (3, 10), "state": (1, 4, 3, 5)},
    "short_conv": {"conv": (2, 12)},
    "lightning": {"state": (1, 4, 6, 6)},
    "rwkv": {"shift": (2, 10), "state": (1, 4, 6, 6)},
    "rwkv, time mixing alone": {"shift": (1, 10), "state": (1, 4, 6, 6)},
    "gated_deltanet, kernel of 1": {"state": (1, 2, 4, 4)},
    "short_conv, kernel of 1": {},
}
every_state = pytest.mark.parametrize("mechanism", STATES.values(), ids=list(STATES))


@pytest.fixture(autouse=True, scope="module")
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def layer(mechanism: Mechanism, dtype: torch.dtype = torch.float64, seed: int = 0) -> Any:
    module = build(mechanism, HIDDEN, None, device="cpu", dtype=dtype, seed=seed)
    assert isinstance(module, ReferenceState)
    return module


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def relative(found: Tensor, expected: Tensor) -> float:
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.abs().max())


# --- Hugging Face's layers, with our weights ---


def test_a_gated_delta_network_is_hugging_faces() -> None:
    module = layer(STATES["gated_deltanet"], torch.float32)
    config = Qwen3NextConfig(
        hidden_size=HIDDEN,
        num_hidden_layers=1,
        layer_types=["linear_attention"],
        linear_num_key_heads=2,
        linear_num_value_heads=6,
        linear_key_head_dim=4,
        linear_value_head_dim=5,
        linear_conv_kernel_dim=4,
        rms_norm_eps=1e-6,
    )
    theirs = Qwen3NextGatedDeltaNet(config, 0).float().eval()

    def by_key_head(weight: Tensor) -> Tensor:
        return weight.view(2, -1, HIDDEN)

    ours = [by_key_head(each.weight) for each in (module.q_proj, module.k_proj, module.v_proj, module.z_proj)]
    theirs.in_proj_qkvz.weight.copy_(torch.cat(ours, dim=1).flatten(0, 1))
    gates = [by_key_head(each.weight) for each in (module.b_proj, module.a_proj)]
    theirs.in_proj_ba.weight.copy_(torch.cat(gates, dim=1).flatten(0, 1))
    kernels = [module.q_conv.weight, module.k_conv.weight, module.v_conv.weight]
    theirs.conv1d.weight.copy_(torch.cat(kernels).unsqueeze(1))
    for name in ("A_log", "dt_bias"):
        getattr(theirs, name).copy_(getattr(module, name))
    theirs.norm.weight.copy_(module.norm.weight)
    theirs.out_proj.weight.copy_(module.o_proj.weight)

    x_BTD = random(2, TOKENS, HIDDEN, dtype=torch.float32)
    assert relative(module(x_BTD), theirs(x_BTD)) < 1e-4


def test_a_short_convolution_is_hugging_faces() -> None:
    module = build(ShortConv(hidden_size=HIDDEN, conv_kernel=3), HIDDEN, None, device="cpu", dtype=torch.float32)
    assert isinstance(module, ReferenceState)
    ours: Any = module
    config = Lfm2Config(
        hidden_size=HIDDEN, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1, layer_types=["conv"]
    )
    theirs = Lfm2ShortConv(config, 0).float().eval()
    theirs.in_proj.weight.copy_(torch.cat([ours.b_proj.weight, ours.c_proj.weight, ours.x_proj.weight]))
    theirs.conv.weight.copy_(ours.conv.weight.unsqueeze(1))
    theirs.out_proj.weight.copy_(ours.out_proj.weight)

    x_BTD = random(2, TOKENS, HIDDEN, dtype=torch.float32)
    assert relative(module(x_BTD), theirs(x_BTD)) < 1e-5


class OnlyGated(nn.Module):
    """In place of a norm over all heads."""

    def forward(self, hidden_states: Tensor, gate: Tensor) -> Tensor:
        return hidden_states * nn.functional.silu(gate)


def test_mamba2_is_hugging_faces_but_for_the_norm() -> None:
    module = layer(Mamba2(num_heads=16, head_dim=3, state_size=5, num_groups=2, conv_kernel=4), torch.float32)
    config = Mamba2Config(
        hidden_size=HIDDEN,
        num_hidden_layers=1,
        num_heads=16,
        head_dim=3,
        state_size=5,
        n_groups=2,
        conv_kernel=4,
        expand=2,
        use_conv_bias=False,
        use_bias=False,
        chunk_size=4,
    )
    theirs = Mamba2Mixer(config, 0).float().eval()
    names = ("z_proj", "x_proj", "b_proj", "c_proj", "dt_proj")
    theirs.in_proj.weight.copy_(torch.cat([getattr(module, name).weight for name in names]))
    kernels = [module.x_conv.weight, module.b_conv.weight, module.c_conv.weight]
    theirs.conv1d.weight.copy_(torch.cat(kernels).unsqueeze(1))
    for name in ("A_log", "dt_bias", "D"):
        getattr(theirs, name).copy_(getattr(module, name))
    vars(theirs)["_modules"]["norm"] = OnlyGated()
    theirs.out_proj.weight.copy_(module.out_proj.weight)

    x_BTD = random(2, TOKENS, HIDDEN, dtype=torch.float32)
    assert relative(module(x_BTD), theirs(x_BTD)) < 1e-4


def test_lightning_attention_is_hugging_faces_but_for_the_norm() -> None:
    module = layer(STATES["lightning"], torch.float32)
    config = MiniMaxConfig(
        hidden_size=HIDDEN,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=6,
        block_size=4,
        layer_types=["linear_attention"],
    )
    theirs = MiniMaxLightningAttention(config, 0).float().eval()
    by_head = [each.weight.view(4, 6, HIDDEN) for each in (module.q_proj, module.k_proj, module.v_proj)]
    theirs.qkv_proj.weight.copy_(torch.cat(by_head, dim=1).flatten(0, 1))
    theirs.out_proj.weight.copy_(module.o_proj.weight)
    theirs.output_gate.weight.copy_(module.g_proj.weight)
    vars(theirs)["_modules"]["norm"] = nn.Identity()

    x_BTD = random(2, TOKENS, HIDDEN, dtype=torch.float32)
    attended = theirs(x_BTD, None, None)[0]
    assert relative(module(x_BTD), attended) < 1e-4  # their first layer's rates are 1 + 1e-5 times as large


# --- the two ways of each layer ---


@every_state
@pytest.mark.parametrize("sizes", [[1] * TOKENS, [TOKENS], [5, 1, 4, 3]], ids=str)
def test_steps_are_the_textbook(mechanism: Mechanism, sizes: list[int]) -> None:
    module, x_BTD = layer(mechanism), random(2, TOKENS, HIDDEN)
    kept, outputs, start = module.begin(2), [], 0
    kept = {name: first.double() for name, first in kept.items()}
    for size in sizes:
        output, kept = module.advance(x_BTD[:, start : start + size], kept)
        outputs.append(output)
        start += size
    assert relative(torch.cat(outputs, dim=1), module(x_BTD)) < 1e-12
    assert relative(module(x_BTD, last=3), module(x_BTD)[:, -3:]) < 1e-12


@pytest.mark.parametrize("name", list(STATES))
def test_what_is_kept_before_and_after_any_token(name: str) -> None:
    module, expected = layer(STATES[name]), KEPT[name]
    first = module.begin(2)
    assert {key: tuple(tensor.shape[1:]) for key, tensor in first.items()} == expected
    for tokens in (1, 2, TOKENS):
        _, later = module.advance(random(2, tokens, HIDDEN), first)
        assert {key: tuple(tensor.shape) for key, tensor in later.items()} == {
            key: (2, *shape) for key, shape in expected.items()
        }
    meta = build(STATES[name], HIDDEN, None, dtype=torch.bfloat16)
    assert isinstance(meta, ReferenceState)
    _, on_meta = meta.advance(torch.empty(2, 1, HIDDEN, dtype=torch.bfloat16, device="meta"), meta.begin(2))
    assert {key: tuple(tensor.shape[1:]) for key, tensor in on_meta.items()} == expected
    assert all(tensor.is_meta for tensor in on_meta.values())


@every_state
def test_the_future_is_not_seen_and_the_past_is(mechanism: Mechanism) -> None:
    module, x_BTD = layer(mechanism), random(1, TOKENS, HIDDEN)
    for token in (0, 6):
        other = x_BTD.clone()
        other[:, token] += 1
        changed = (module(other) - module(x_BTD)).abs().amax(dim=(0, 2)) > 1e-9
        reach = {"cross": 1, "short_conv": getattr(mechanism, "conv_kernel", 1)}.get(mechanism.kind, TOKENS)
        assert changed.nonzero().flatten().tolist() == list(range(token, min(token + reach, TOKENS)))


@every_state
@pytest.mark.parametrize("tp", [1, 2])
def test_ranks_add_up_from_their_own_states(mechanism: Mechanism, tp: int) -> None:
    module, x_BTD = layer(mechanism), random(2, TOKENS, HIDDEN)
    total = torch.zeros(2, TOKENS, HIDDEN, dtype=torch.float64)
    for rank in range(tp):
        part = module.shard(rank, tp)
        kept = {name: first.double() for name, first in part.begin(2).items()}
        total += part.advance(x_BTD, kept)[0]
    assert relative(total, module(x_BTD)) < 1e-12


def test_groups_are_copied_where_ranks_outnumber_them() -> None:
    module, x_BTD = layer(Mamba2(num_heads=8, head_dim=3, state_size=5, num_groups=2, conv_kernel=4)), None
    x_BTD = random(2, TOKENS, HIDDEN)
    parts = [module.shard(rank, 8) for rank in range(8)]
    assert [tuple(part.begin(1)["conv_b"].shape) for part in parts] == [(1, 3, 5)] * 8
    total = sum(part.advance(x_BTD, {k: v.double() for k, v in part.begin(2).items()})[0] for part in parts)
    assert isinstance(total, Tensor)
    assert relative(total, module(x_BTD)) < 1e-12


@every_state
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_dtypes(mechanism: Mechanism, dtype: torch.dtype) -> None:
    """Outputs are in the dtype of computing, states in float32, and both near those of float64."""
    module, exact = layer(mechanism, dtype), layer(mechanism)
    exact.load_state_dict({name: weight.double() for name, weight in module.state_dict().items()})
    x_BTD = random(2, TOKENS, HIDDEN).to(dtype)
    output, kept = module.advance(x_BTD, module.begin(2))
    assert {name: tensor.dtype for name, tensor in kept.items()} == {
        name: torch.float32 if name == "state" else dtype for name in kept
    }
    for found in (output, module(x_BTD)):
        assert found.dtype == dtype
        assert relative(found.double(), exact(x_BTD.double())) < (1e-4 if dtype is torch.float32 else 0.1)


# --- pieces ---


@unhurried
@given(st.integers(1, 6), st.integers(2, 12), st.integers(1, 3), st.data())
def test_a_convolution_in_pieces_is_the_whole(kernel: int, tokens: int, channels: int, data: st.DataObject) -> None:
    with torch.no_grad():
        conv = CausalConvolution(channels, kernel).double()
        conv.weight.copy_(random(channels, kernel))
        x_BTC = random(2, tokens, channels, seed=1)
        cut = data.draw(st.integers(1, tokens - 1))
        first, kept = conv.advance(x_BTC[:, :cut], conv.begin(2))
        second, kept = conv.advance(x_BTC[:, cut:], kept)
        assert kept.shape == (2, kernel - 1, channels)
        by_hand = [
            sum(
                (conv.weight[:, kernel - 1 - back] * x_BTC[:, t - back] for back in range(min(kernel, t + 1))),
                torch.zeros(2, channels, dtype=torch.float64),
            )
            for t in range(tokens)
        ]
        assert torch.allclose(torch.cat((first, second), dim=1), torch.stack(by_hand, dim=1))
        assert torch.allclose(conv(x_BTC), torch.stack(by_hand, dim=1))


@pytest.mark.parametrize("width", [1, 4])
def test_the_delta_rule_solved_at_once_is_the_rule_step_by_step(width: int) -> None:
    q, k, v = random(2, TOKENS, 3, 4), random(2, TOKENS, 3, 4, seed=1), random(2, TOKENS, 3, 5, seed=2)
    decay, beta = -random(2, TOKENS, 3, width, seed=3).abs(), torch.sigmoid(random(2, TOKENS, 3, seed=4))
    state = torch.zeros(2, 3, 5, 4, dtype=torch.float64)
    outputs = []
    for t in range(TOKENS):
        output, state = delta_step(q[:, t], k[:, t], v[:, t], decay[:, t].exp(), beta[:, t], state)
        outputs.append(output)
    assert relative(delta_rule(q, k, v, decay, beta), torch.stack(outputs, dim=1)) < 1e-12


def test_the_delta_rule_replaces_what_is_held_for_a_key() -> None:
    """With beta 1, no forgetting and keys of length 1, the last value of a key is read back, whatever came before."""
    key = nn.functional.normalize(random(1, 1, 4), dim=-1)
    state = torch.zeros(1, 1, 3, 4, dtype=torch.float64)
    one = torch.ones(1, 1, dtype=torch.float64)
    for seed in range(3):
        value = random(1, 1, 3, seed=seed)
        output, state = delta_step(key, key, value, one.unsqueeze(-1), one, state)
        assert torch.allclose(output, value)


# --- chunks ---


@pytest.mark.parametrize("chunk", [1, 2, 5, 13, 20])
def test_masks_of_chunks_written_out(chunk: int) -> None:
    expected = [[row <= query and row // chunk == query // chunk for row in range(TOKENS)] for query in range(TOKENS)]
    at = torch.arange(TOKENS)
    assert visible(at, at, Chunk(chunk)).tolist() == expected
    assert textbook_mask(TOKENS, TOKENS, Chunk(chunk), torch.device("cpu")).tolist() == expected
    assert textbook_mask(TOKENS, 4, Chunk(chunk), torch.device("cpu")).tolist() == expected[-4:]
    ring = torch.tensor([row if row >= TOKENS - chunk else -1 for row in range(TOKENS)])
    assert visible(at[-1:], ring, Chunk(chunk)).tolist() == [[row and row >= 0 for row in expected[-1]]]


def test_a_chunk_never_reads_another() -> None:
    module = build(GQA(num_heads=4, num_kv_heads=2, head_dim=6), HIDDEN, Chunk(5), device="cpu", dtype=torch.float64)
    x_BTD = random(1, TOKENS, HIDDEN)
    other = x_BTD.clone()
    other[:, 4] += 1
    changed = (module(other) - module(x_BTD)).abs().amax(dim=(0, 2)) > 1e-12
    assert changed.nonzero().flatten().tolist() == [4]
    other[:, 5] += 1
    changed = (module(other) - module(x_BTD)).abs().amax(dim=(0, 2)) > 1e-12
    assert changed.nonzero().flatten().tolist() == [4, 5, 6, 7, 8, 9]


# --- the indexer ---

INDEXED = MLA(
    num_heads=2,
    kv_lora_rank=8,
    qk_rope_head_dim=4,
    qk_nope_head_dim=6,
    v_head_dim=5,
    index_head_dim=6,
    index_n_heads=3,
    index_topk=4,
)


def indexed(mechanism: MLA = INDEXED) -> Any:
    module = build(mechanism, HIDDEN, None, device="cpu", dtype=torch.float64)
    assert isinstance(module, ReferenceAttention)
    return module


def test_an_indexer_chooses_the_best_earlier_positions() -> None:
    """Against a search of every set of positions, ties to the earlier ones."""
    module, x_BTD = indexed(), random(1, TOKENS, HIDDEN)
    index, at = module.indexer, torch.arange(TOKENS)
    keys = index.keys(x_BTD, at)
    mask = textbook_mask(TOKENS, TOKENS, None, torch.device("cpu"))
    chosen = index.chosen(x_BTD, at, keys, mask)
    assert torch.equal(chosen, index.textbook(x_BTD, mask))
    scores = index._scores(x_BTD, at, keys)[0].tolist()  # noqa: SLF001  # what the choice is made by
    for query in range(TOKENS):
        sets = itertools.combinations(range(query + 1), min(4, query + 1))
        best = max(sets, key=lambda rows: (sum(scores[query][row] for row in rows), [-row for row in rows]))
        assert chosen[0, query].nonzero().flatten().tolist() == list(best)


def test_rows_that_were_not_chosen_are_not_read() -> None:
    module, x_BTD = indexed(), random(1, TOKENS, HIDDEN)
    kept = module.keep(x_BTD, 0)
    mask = textbook_mask(TOKENS, TOKENS, None, torch.device("cpu"))
    last = module.indexer.textbook(x_BTD, mask)[0, -1]
    at = torch.arange(TOKENS)
    output = module.attend(x_BTD[:, -1:], TOKENS - 1, Rows(kept, at))
    for row in range(TOKENS):
        other = {**kept, "c_kv": kept["c_kv"].clone()}
        other["c_kv"][:, row] += 1
        changed = not torch.allclose(module.attend(x_BTD[:, -1:], TOKENS - 1, Rows(other, at)), output)
        assert changed is bool(last[row])


def test_with_as_many_positions_as_there_are_everything_is_read() -> None:
    x_BTD = random(2, TOKENS, HIDDEN)
    all_read, plain = indexed(replace(INDEXED, index_topk=TOKENS)), indexed(replace(INDEXED, index_topk=None))
    assert torch.equal(all_read(x_BTD), plain(x_BTD))
    assert not torch.allclose(all_read(x_BTD), indexed()(x_BTD))


def test_a_layer_without_rotary_keys_keeps_only_the_latent() -> None:
    module = indexed(replace(INDEXED, qk_rope_head_dim=0, index_head_dim=None, index_n_heads=None, index_topk=None))
    x_BTD = random(2, TOKENS, HIDDEN)
    kept = module.keep(x_BTD, 0)
    assert {name: tuple(rows.shape) for name, rows in kept.items()} == {"c_kv": (2, TOKENS, 8)}
    rows = Rows(kept, torch.arange(TOKENS))
    assert relative(module.attend(x_BTD, 0, rows), module(x_BTD)) < 1e-12
    assert relative(module.attend_expanded(x_BTD, 0, rows), module(x_BTD)) < 1e-12
