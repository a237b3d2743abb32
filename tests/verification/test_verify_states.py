"""verify on layers with states, chunks, encoders and indexers: it passes, and every mistake is found."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Kvcalc
from torch import Tensor

from kvcalc.mechanisms import MLA, CachedTensor, Cross, GatedDeltaNet, Mamba2, states
from kvcalc.model.span import Chunk, Window
from kvcalc.reference import functional
from kvcalc.reference import mha_mqa_gqa as heads
from kvcalc.reference.convolution import CausalConvolution
from kvcalc.reference.cross import CrossAttention
from kvcalc.reference.delta_rule import DeltaRuleLayer
from kvcalc.reference.indexer import Indexer
from kvcalc.reference.kda import KimiDeltaAttention
from kvcalc.reference.lightning import LightningAttention
from kvcalc.reference.mamba2 import Mamba2Layer
from kvcalc.reference.mla import MultiHeadLatentAttention
from kvcalc.term import Factor

MLA_DIMS = "num_heads: 4, kv_lora_rank: 64, qk_rope_head_dim: 32, qk_nope_head_dim: 32, v_head_dim: 32"
GQA_DIMS = "kind: gqa, num_heads: 8, num_kv_heads: 2, head_dim: 32"
MODELS = {
    "chunk": f"{{count: 2, attention: {{{GQA_DIMS}}}, chunk: 16}}",
    "k_equals_v": f"{{count: 2, attention: {{{GQA_DIMS}, k_equals_v: true}}}}",
    "cross": "{count: 2, attention: {kind: cross, num_heads: 8, num_kv_heads: 2, head_dim: 32, encoder_context: 9}}",
    "gated_deltanet": (
        "{count: 2, attention: {kind: gated_deltanet, num_k_heads: 4, num_v_heads: 8, k_head_dim: 16, v_head_dim: 24, "
        "conv_kernel: 4}}"
    ),
    "kda": "{count: 2, attention: {kind: kda, num_heads: 4, head_dim: 16, conv_kernel: 4}}",
    "mamba1": "{count: 2, attention: {kind: mamba1, intermediate_size: 64, state_size: 8, conv_kernel: 4}}",
    "mamba2": (
        "{count: 2, attention: {kind: mamba2, num_heads: 8, head_dim: 16, state_size: 16, num_groups: 2, "
        "conv_kernel: 4}}"
    ),
    "short_conv": "{count: 2, attention: {kind: short_conv, hidden_size: 64, conv_kernel: 3}}",
    "lightning": "{count: 2, attention: {kind: lightning, num_heads: 4, head_dim: 16}}",
    "indexer": (
        f"{{count: 2, attention: {{kind: mla, {MLA_DIMS}, index_head_dim: 128, index_n_heads: 4, index_topk: 8}}}}"
    ),
    "chosen before": f"{{count: 2, attention: {{kind: mla, {MLA_DIMS}, index_topk: 8}}}}",
    "not rotated": (
        "{count: 2, attention: {kind: mla, num_heads: 4, kv_lora_rank: 64, qk_rope_head_dim: 0, qk_nope_head_dim: 32, "
        "v_head_dim: 32}}"
    ),
    "side by side": (
        f"{{count: 2, attention: [{{{GQA_DIMS}}}, {{kind: mamba2, num_heads: 8, head_dim: 16, state_size: 16, "
        "num_groups: 2, conv_kernel: 4}]}"
    ),
    "formats": (
        "{count: 2, attention: {kind: kda, num_heads: 4, head_dim: 16, conv_kernel: 4, conv_dtype: fp32, "
        "state_dtype: bf16}}"
    ),
}
BYTES = {"bytes of layers", "cache bytes"}
RANK_BYTES = {"bytes of layers", "bytes of rank", "cache bytes"}
PROOF = {"sufficient", "needed"}
PER_SEQUENCE = {"kept per sequence"}

Mutation = Callable[[pytest.MonkeyPatch], None]
Verify = Callable[..., set[str]]


@pytest.fixture
def failing(kvcalc: Kvcalc, tmp_path: Path) -> Verify:
    """Verify two sequences of 40 tokens and give the names of the claims that fail, as the exit code has it."""

    def call(model: str, *words: str) -> set[str]:
        file = tmp_path / "m.yaml"
        file.write_text(f"name: small\nhidden_size: 24\ndtype: bf16\nlayers:\n  - {MODELS[model]}\n", encoding="utf-8")
        run = kvcalc("verify", str(file), "-b", "2", "-c", "40", "--json", *words)
        assert run.stdout, run.stderr
        failed = {check["name"] for check in json.loads(run.stdout)["checks"] if not check["ok"]}
        assert run.code == (1 if failed else 0), run.stderr
        return failed

    return call


@pytest.mark.parametrize("words", [("meta",), ("cpu", "--decode")], ids=" ".join)
@pytest.mark.parametrize("model", MODELS)
def test_without_a_mistake_nothing_fails(failing: Verify, model: str, words: tuple[str, ...]) -> None:
    assert failing(model, "--device", *words) == set()


@pytest.mark.parametrize("words", [("--tp", "2"), ("--pp", "2"), ("--tp", "4", "--pp", "2")], ids=" ".join)
@pytest.mark.parametrize("model", MODELS)
def test_without_a_mistake_nothing_fails_on_ranks(failing: Verify, model: str, words: tuple[str, ...]) -> None:
    assert failing(model, "--device", "meta", *words) == set()


@pytest.mark.parametrize("model", ["gated_deltanet", "mamba2", "cross", "indexer"])
def test_every_rank_decodes_its_part(failing: Verify, model: str) -> None:
    assert failing(model, "--device", "cpu", "--decode", "--tp", "4", "--pp", "2") == set()


@pytest.mark.parametrize(
    "words", [("--state-dtype", "bf16"), ("--conv-dtype", "fp32"), ("--cache-dtype", "fp8")], ids=" ".join
)
@pytest.mark.parametrize("model", ["kda", "mamba2", "side by side", "formats"])
def test_in_other_formats(failing: Verify, model: str, words: tuple[str, ...]) -> None:
    assert failing(model, "--device", "cpu", "--decode", *words) == set()


def test_an_index_in_another_format(failing: Verify) -> None:
    assert failing("indexer", "--device", "cpu", "--decode", "--cache-dtype", "index_k=bf16") == set()
    assert failing("indexer", "--device", "cpu", "--decode", "--cache-dtype", "fp8") == set()


def test_a_stages_layers_with_several_caches(kvcalc: Kvcalc, tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(
        f"name: small\nhidden_size: 24\ndtype: bf16\nlayers:\n  - {MODELS['side by side']}\n", encoding="utf-8"
    )
    run = kvcalc("verify", str(file), "-b", "1", "-c", "40", "--json", "--device", "cpu", "--pp", "2")
    checks = {check["subject"]: check["measured"] for check in json.loads(run.stdout)["checks"]}
    layer = 40 * 2 * 2 * 32 * 2 + 3 * (8 * 16 + 2 * 2 * 16) * 2 + 8 * 16 * 16 * 4
    assert checks["rank 0 of 2"] == checks["rank 1 of 2"] == layer


# --- mistakes of the formulas ---


def all_inputs_of_the_kernel(patch: pytest.MonkeyPatch) -> None:
    def factor(name: str, value: int, *others: Any, **named: Any) -> Factor:
        return Factor(name, value + 1 if name == "conv_inputs" else value, *others, **named)

    patch.setattr(states, "Factor", factor)


def without(kind: type[Any], name: str) -> Mutation:
    def mutate(patch: pytest.MonkeyPatch) -> None:
        original = kind.cached

        def cached(self: Any) -> tuple[CachedTensor, ...]:
            return tuple(tensor for tensor in original(self) if tensor.name != name)

        patch.setattr(kind, "cached", cached)

    return mutate


def doubled(kind: type[Any], name: str) -> Mutation:
    def mutate(patch: pytest.MonkeyPatch) -> None:
        original = kind.cached

        def cached(self: Any) -> tuple[CachedTensor, ...]:
            twice = Factor("twice", 2)
            tensors = original(self)
            return tuple(each._replace(dims=(*each.dims, twice)) if each.name == name else each for each in tensors)

        patch.setattr(kind, "cached", cached)

    return mutate


def an_encoders_tokens_for_each_token(patch: pytest.MonkeyPatch) -> None:
    original = Cross.cached
    patch.setattr(Cross, "cached", lambda self: tuple(each._replace(rows=None) for each in original(self)))


@pytest.mark.parametrize(
    ("model", "mutate", "failed"),
    [
        ("gated_deltanet", all_inputs_of_the_kernel, {*PER_SEQUENCE, *BYTES}),
        ("mamba2", all_inputs_of_the_kernel, {*PER_SEQUENCE, *BYTES}),
        ("short_conv", all_inputs_of_the_kernel, {*PER_SEQUENCE, *BYTES}),
        ("gated_deltanet", without(GatedDeltaNet, "state"), {*PER_SEQUENCE, *BYTES}),
        ("gated_deltanet", without(GatedDeltaNet, "conv_v"), {*PER_SEQUENCE, *BYTES}),
        ("mamba2", without(Mamba2, "conv_c"), {*PER_SEQUENCE, *BYTES}),
        ("mamba2", doubled(Mamba2, "state"), {*PER_SEQUENCE, *BYTES}),
        ("indexer", without(MLA, "index_k"), {"kept per token", *BYTES}),
        ("cross", an_encoders_tokens_for_each_token, {*PER_SEQUENCE, *BYTES}),
    ],
    ids=[
        "all inputs of the kernel, gated_deltanet",
        "all inputs of the kernel, mamba2",
        "all inputs of the kernel, short_conv",
        "no state",
        "no convolution of values",
        "no convolution of C",
        "a state twice as large",
        "no index",
        "an encoder's rows for each token",
    ],
)
@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_a_mistake_of_a_formula(
    failing: Verify,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    mutate: Mutation,
    failed: set[str],
    device: str,
) -> None:
    mutate(monkeypatch)
    assert failing(model, "--device", device) == failed


def test_a_copied_group_that_is_divided(failing: Verify, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Mamba2.cached

    def cached(self: Mamba2) -> tuple[CachedTensor, ...]:
        finer = Factor("num_groups", 8, "group")
        return tuple(
            tensor._replace(heads=finer, dims=(Factor("state_size", self.state_size // 4),))
            if tensor.name in {"conv_b", "conv_c"}
            else tensor
            for tensor in original(self)
        )

    monkeypatch.setattr(Mamba2, "cached", cached)
    assert failing("mamba2", "--device", "meta", "--tp", "2") == set()
    assert failing("mamba2", "--device", "meta", "--tp", "8") == {*PER_SEQUENCE, *RANK_BYTES}


def test_a_chunk_taken_for_a_longer_one(failing: Verify, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Chunk, "kept", lambda self, context: min(context, self.tokens + 1))
    assert failing("chunk", "--device", "cpu") == BYTES


# --- mistakes of the modules ---


def forgets(kind: Any, name: str) -> Mutation:
    """It never replaces what was there before the first token."""

    def mutate(patch: pytest.MonkeyPatch) -> None:
        original = kind.advance

        def advance(self: Any, x_BTD: Tensor, kept: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
            output, new = original(self, x_BTD, kept)
            return output, {**new, name: kept[name]}

        patch.setattr(kind, "advance", advance)

    return mutate


def keeps_too(kind: Any) -> Mutation:
    """Something that no later token reads."""

    def mutate(patch: pytest.MonkeyPatch) -> None:
        begin, advance = kind.begin, kind.advance

        def more(self: Any, sequences: int) -> dict[str, Tensor]:
            first = begin(self, sequences)
            return {**first, "more": next(iter(first.values()))[:, :1] + 1}

        def carried(self: Any, x_BTD: Tensor, kept: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
            output, new = advance(self, x_BTD, {name: kept[name] for name in kept if name != "more"})
            return output, {**new, "more": kept["more"]}

        patch.setattr(kind, "begin", more)
        patch.setattr(kind, "advance", carried)

    return mutate


def one_input_too_many(patch: pytest.MonkeyPatch) -> None:
    """What transformers does: as many inputs as the kernel has, of which the next token reads all but the oldest."""
    begin, advance = CausalConvolution.begin, CausalConvolution.advance

    def more(self: CausalConvolution, sequences: int) -> Tensor:
        first = begin(self, sequences)
        return torch.cat((first[:, :1], first), dim=1)

    def carried(self: CausalConvolution, x_BTC: Tensor, kept_BLC: Tensor) -> tuple[Tensor, Tensor]:
        output, _ = advance(self, x_BTC, kept_BLC[:, 1:])
        return output, torch.cat((kept_BLC, x_BTC), dim=1)[:, -self.weight.shape[1] :]

    patch.setattr(CausalConvolution, "begin", more)
    patch.setattr(CausalConvolution, "advance", carried)


@pytest.mark.parametrize(
    ("model", "mutate", "failed"),
    [
        ("gated_deltanet", forgets(DeltaRuleLayer, "state"), PROOF),
        ("gated_deltanet", forgets(DeltaRuleLayer, "conv_k"), PROOF),
        ("kda", forgets(KimiDeltaAttention, "state"), PROOF),
        ("mamba2", forgets(Mamba2Layer, "conv_b"), PROOF),
        ("lightning", forgets(LightningAttention, "state"), PROOF),
        ("lightning", keeps_too(LightningAttention), {"needed", *PER_SEQUENCE, *BYTES}),
        ("cross", keeps_too(CrossAttention), {"needed", *PER_SEQUENCE, *BYTES}),
        ("mamba2", one_input_too_many, {"needed", *PER_SEQUENCE, *BYTES}),
        ("short_conv", one_input_too_many, {"needed", *PER_SEQUENCE, *BYTES}),
    ],
    ids=[
        "gated_deltanet forgets its state",
        "gated_deltanet forgets its keys' inputs",
        "kda forgets its state",
        "mamba2 forgets the inputs of B",
        "lightning forgets its state",
        "lightning keeps what nobody reads",
        "cross keeps what nobody reads",
        "mamba2 keeps as many inputs as the kernel has",
        "short_conv keeps as many inputs as the kernel has",
    ],
)
def test_a_mistake_of_a_module(
    failing: Verify, monkeypatch: pytest.MonkeyPatch, model: str, mutate: Mutation, failed: set[str]
) -> None:
    mutate(monkeypatch)
    assert failing(model, "--device", "meta") == failed


def test_a_state_that_does_not_forget(failing: Verify, monkeypatch: pytest.MonkeyPatch) -> None:
    """The textbook and the steps share the rate, so only the steps are broken here."""
    original = LightningAttention.advance

    def advance(self: Any, x_BTD: Tensor, kept: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                LightningAttention,
                "log_decay",
                lambda self, wide, device: torch.zeros(self.num_heads, dtype=wide, device=device),
            )
            return original(self, x_BTD, kept)

    monkeypatch.setattr(LightningAttention, "advance", advance)
    assert failing("lightning", "--device", "meta") == {"sufficient"}


def test_an_index_that_chooses_nothing(failing: Verify, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading every row is not what the textbook does, and then no index is needed."""
    monkeypatch.setattr(Indexer, "chosen", lambda _self, _x, _at, k_BSI, mask: mask.expand(len(k_BSI), *mask.shape))
    assert failing("indexer", "--device", "meta") == PROOF


def test_an_index_that_is_not_kept(failing: Verify, monkeypatch: pytest.MonkeyPatch) -> None:
    original = MultiHeadLatentAttention.keep

    def keep(self: Any, x_BTD: Tensor, start: int) -> dict[str, Tensor]:
        kept = original(self, x_BTD, start)
        del kept["index_k"]
        return kept

    monkeypatch.setattr(MultiHeadLatentAttention, "keep", keep)
    assert failing("indexer", "--device", "meta") == {*PROOF, "kept per token", *BYTES}


def test_a_chunk_read_as_a_window(failing: Verify, monkeypatch: pytest.MonkeyPatch) -> None:
    original = functional.visible
    monkeypatch.setattr(heads, "visible", lambda at_T, at_S, span: original(at_T, at_S, span and Window(span.tokens)))
    assert failing("chunk", "--device", "meta") == {"sufficient"}
