"""compare on layers that no other mechanism changes, or whose heads are not known: what is true, or nothing."""

from __future__ import annotations

import json
from typing import Any, ClassVar, Literal

import pytest
from conftest import Kvcalc, texts

import kvcalc as package
from kvcalc.catalogue import shipped_models
from kvcalc.mechanisms import GQA, MLA, CachedTensor, Cross, Mamba1, Mamba2, Mechanism, NoAttention, Shared
from kvcalc.model.layers import LayerGroup
from kvcalc.noun import noun
from kvcalc.term import Factor
from kvcalc.verbs.comparing.result import ComparedRow, Comparison
from kvcalc.verbs.comparing.what_if import with_unknown_heads

SHORT: dict[str, Any] = {"context": 100, "batch": 3}


@noun(kw_only=True)
class Unheard(Mechanism):
    """Keeps something of each token, and does not tell what other mechanisms would keep."""

    title: ClassVar[str] = "Unheard of"
    keeps: ClassVar[str] = "a sum"
    source: ClassVar[str] = "this test"

    kind: Literal["unheard"] = "unheard"
    width: int

    def cached(self) -> tuple[CachedTensor, ...]:
        return (CachedTensor("sum", (Factor("width", self.width),)),)

    @property
    def label(self) -> str:
        return f"unheard {self.width}"


def model(*attentions: Any) -> package.Model:
    layers = tuple(LayerGroup(count=2, attention=attention) for attention in attentions)
    return package.Model(name="mixed", layers=layers, dtype="bf16", parameters=10**6)


def ratios(result: Comparison) -> dict[str, float | None]:
    return {row.name: row.ratio_to_mha for row in result.rows}


def rows(result: Comparison) -> dict[str, ComparedRow]:
    return {row.name: row for row in result.rows}


MAMBA = Mamba1(intermediate_size=64, state_size=8, conv_kernel=4)


@pytest.mark.parametrize(
    "attentions",
    [(MAMBA,), (NoAttention(),), (MAMBA, NoAttention()), (Shared(),), (Unheard(width=64),)],
)
def test_what_has_no_heads_has_no_ratio(attentions: tuple[Any, ...]) -> None:
    result = package.compare(model(*attentions), **SHORT)
    assert ratios(result) == {"mixed": None}
    assert result.rows[0].mha_cache_bytes is None
    assert any(note.startswith("ratio_to_mha is not known: ") for note in texts(result.notes))


def test_heads_that_are_not_told_leave_no_ratio_beside_others() -> None:
    grouped = GQA(num_heads=8, num_kv_heads=2, head_dim=16)
    result = package.compare(model(grouped, Unheard(width=64)), **SHORT)
    assert ratios(result) == {"mixed": None}
    assert "ratio_to_mha is not known: what unheard 64 would keep under another mechanism is not known" in texts(
        result.notes
    )
    side_by_side = package.compare([model(grouped, Unheard(width=64)), "llama-3-8b"], **SHORT)
    assert ratios(side_by_side) == {"mixed": None, "llama-3-8b": 0.25}


def test_a_list_of_caches_is_looked_into() -> None:
    grouped = GQA(num_heads=8, num_kv_heads=2, head_dim=16)
    state = Mamba2(num_heads=4, head_dim=8, state_size=16, num_groups=1, conv_kernel=4)
    known = package.compare(model((grouped, state)), **SHORT)
    growing, kept = 2 * 3 * 100 * 2 * 2 * 16 * 2, 2 * 3 * (4 * 8 * 16 * 4 + 3 * (4 * 8 + 2 * 16) * 2)
    assert rows(known)["gqa-2"].ratio_to_mha == (growing + kept) / (4 * growing + kept)
    assert any(
        note.startswith("states stay as they are under every mechanism, in mha too: mamba2 ")
        for note in texts(known.notes)
    )
    assert ratios(package.compare(model((grouped, Unheard(width=8))), **SHORT)) == {"mixed": None}


def test_cross_attention_has_the_heads_of_each_mechanism() -> None:
    """Llama-3.2-11B-Vision: 8 layers keep 6,404 tokens of images, 32 keep the text; 32 query heads on 8 of 128."""
    result = package.compare("llama-3.2-11b-vision", context=4096)
    one_head = 2 * 128 * 2 * (8 * 6_404 + 32 * 4096)
    found = rows(result)
    assert found["mha"].cache_bytes == 32 * one_head
    assert {name: found[name].ratio_to_mha for name in ("mha", "gqa-16", "gqa-8", "gqa-4", "gqa-2", "mqa")} == {
        "mha": 1,
        "gqa-16": 0.5,
        "gqa-8": 0.25,
        "gqa-4": 0.125,
        "gqa-2": 0.0625,
        "mqa": 0.03125,
    }
    assert found["gqa-8"].own
    # No latent is known of an encoder's tokens: 576 elements a token of the text, and the images as they are.
    latent = 32 * 4096 * 576 * 2 + 8 * 6_404 * 8 * 256 * 2
    assert found["mla"].cache_bytes == latent
    assert found["mla"].mechanism == "mla + cross"
    assert "cross attention has as many KV heads as each mechanism says, and in mla and mla_expanded its own" in (
        texts(result.notes)
    )


def test_a_decoder_of_cross_attention_alone_has_no_latent() -> None:
    cross = Cross(num_heads=8, num_kv_heads=8, head_dim=16, encoder_context=50)
    result = package.compare(model(cross), **SHORT)
    assert set(ratios(result)) == {"mha", "gqa-4", "gqa-2", "mqa"}
    assert ratios(result)["mha"] == 1
    assert rows(result)["mqa"].ratio_to_mha == 0.125
    assert rows(result)["mha"].own


def test_an_indexer_belongs_to_its_latent() -> None:
    """576 elements in bf16 and 132 bytes of the indexer's key, against 128 heads of 128+128."""
    latent = MLA(
        num_heads=128,
        kv_lora_rank=512,
        qk_rope_head_dim=64,
        qk_nope_head_dim=128,
        v_head_dim=128,
        index_head_dim=128,
        index_topk=2048,
    )
    found = ratios(package.compare(model(latent), **SHORT))
    assert found["mla"] == (576 * 2 + 132) / (128 * 256 * 2)
    assert found["mla_expanded"] == (128 * (192 + 128)) / (128 * 256)


def test_states_alone_show_a_dash(kvcalc: Kvcalc) -> None:
    words = ("compare", "mamba-2.8b", "-c", "4096")
    (row,) = json.loads(kvcalc(*words, "--json").stdout)["rows"]
    assert (row["ratio_to_mha"], row["mha_cache_bytes"]) == (None, None)
    (line,) = (line for line in kvcalc(*words).stdout.splitlines() if "5120 x 16" in line and "mamba1" not in line)
    assert line.endswith(" -")


def test_every_kind_of_layer_tells_its_heads_or_keeps_none_of_tokens() -> None:
    """But compressed attention, whose entries stand for several tokens: no multi-head attention is like it."""
    unknown = {layer for found in shipped_models() for layer in with_unknown_heads(found.model)}

    assert {layer.split()[0] for layer in unknown} == {"compressed"}
