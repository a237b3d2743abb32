"""Whatever is registered is complete: a new mechanism, engine, format or command without its sample fails here."""

from __future__ import annotations

import re
from itertools import product
from typing import Any, NamedTuple

import pytest
import test_golden
from conftest import ROOT, Kvcalc
from each import for_each

import kvcalc as package
from kvcalc.cli.app import COMMANDS
from kvcalc.deployment import Deployment
from kvcalc.engines import ENGINES
from kvcalc.formats.element import FORMATS
from kvcalc.legality import legal_tps
from kvcalc.mechanisms import KINDS
from kvcalc.memory import Ranks
from kvcalc.model.layers import LayerGroup
from kvcalc.model.model import Model
from kvcalc.render import Format

README = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")))
"""The README, and the documents that it leads to."""
JSON = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
FORMULAS = (ROOT / "docs" / "formulas.md").read_text(encoding="utf-8")


class Sample(NamedTuple):
    """A layer, and what it keeps in bf16, added up by hand.

    Attributes:
        token: bytes of a token, while no window is full.
        sequence: bytes of a sequence besides its tokens.
        fewer: of those tokens' bytes, what is not kept of CONTEXT of them, since a ring has the last few only.
    """

    fields: dict[str, int]
    token: int = 0
    sequence: int = 0
    fewer: int = 0

    @property
    def held(self) -> int:
        """Bytes of a sequence of CONTEXT tokens."""
        return CONTEXT * self.token + self.sequence - self.fewer


SAMPLES = {
    "mha": Sample({"num_heads": 4, "head_dim": 16}, token=2 * 4 * (16 + 16)),
    "mqa": Sample({"num_heads": 4, "head_dim": 16}, token=2 * (16 + 16)),
    "gqa": Sample({"num_heads": 4, "num_kv_heads": 2, "head_dim": 16, "v_head_dim": 8}, token=2 * 2 * (16 + 8)),
    "mla": Sample(
        {"num_heads": 4, "kv_lora_rank": 32, "qk_rope_head_dim": 8, "qk_nope_head_dim": 16, "v_head_dim": 16},
        token=2 * (32 + 8),
    ),
    "mla_expanded": Sample(
        {"num_heads": 4, "kv_lora_rank": 32, "qk_rope_head_dim": 8, "qk_nope_head_dim": 16, "v_head_dim": 16},
        token=2 * 4 * (16 + 8 + 16),
    ),
    "compressed": Sample(
        {"num_heads": 4, "head_dim": 16, "sliding_window": 10, "compress_ratio": 4, "overlap": True}
        | {"index_head_dim": 128, "index_n_heads": 2},
        token=2 * 16 + 2 * 16 // 4 + 132 // 4 + 4 * 4 * (16 + 128),
        fewer=2 * 16 * (100 - 10) + 4 * 4 * (16 + 128) * (100 - 8),
    ),
    "shared": Sample({}),
    "none": Sample({}),
    "cross": Sample(
        {"num_heads": 4, "num_kv_heads": 2, "head_dim": 16, "encoder_context": 10}, sequence=10 * 2 * 2 * (16 + 16)
    ),
    "gated_deltanet": Sample(
        {"num_k_heads": 2, "num_v_heads": 4, "k_head_dim": 16, "v_head_dim": 8, "conv_kernel": 4},
        sequence=3 * 2 * (2 * 16 + 2 * 16 + 4 * 8) + 4 * (4 * 16 * 8),
    ),
    "kda": Sample(
        {"num_heads": 4, "head_dim": 16, "conv_kernel": 4}, sequence=3 * 2 * (3 * 4 * 16) + 4 * (4 * 16 * 16)
    ),
    "mamba1": Sample({"intermediate_size": 64, "state_size": 8, "conv_kernel": 4}, sequence=3 * 2 * 64 + 4 * (64 * 8)),
    "mamba2": Sample(
        {"num_heads": 4, "head_dim": 16, "state_size": 8, "num_groups": 2, "conv_kernel": 4},
        sequence=3 * 2 * (4 * 16 + 2 * 2 * 8) + 4 * (4 * 16 * 8),
    ),
    "short_conv": Sample({"hidden_size": 64, "conv_kernel": 4}, sequence=3 * 2 * 64),
    "lightning": Sample({"num_heads": 4, "head_dim": 16}, sequence=4 * (4 * 16 * 16)),
    "rwkv": Sample({"hidden_size": 64, "num_heads": 4, "head_dim": 16}, sequence=2 * 2 * 64 + 4 * (4 * 16 * 16)),
}
LAYERS, BATCH, CONTEXT = 3, 5, 100

each_kind = pytest.mark.parametrize("kind", KINDS)


def model_of(kind: str, layers: int = LAYERS) -> Model:
    attention: Any = KINDS[kind](**SAMPLES[kind].fields)
    return Model(name=kind, dtype="bf16", layers=(LayerGroup(count=layers, attention=attention),))


def cache(kind: str, **options: Any) -> Any:
    return package.estimate(model_of(kind), **{"batch": BATCH, "context": CONTEXT, **options}).cache


def test_each_mechanism_has_a_sample() -> None:
    assert set(SAMPLES) == set(KINDS)


@each_kind
def test_a_mechanism_keeps_what_was_added_up(kind: str) -> None:
    sample, found = SAMPLES[kind], cache(kind)
    assert found.bytes == LAYERS * BATCH * sample.held
    assert found.bytes_per_token == LAYERS * sample.token
    assert found.state_bytes_per_sequence == LAYERS * sample.sequence


@for_each(("kind", "engine"), product(KINDS, ENGINES))
def test_a_mechanism_obeys_the_laws_in_every_engine(kind: str, engine: str) -> None:
    """Wherever the engine serves it, in the formats that the samples were added up in, whatever its own are."""

    def held(**options: Any) -> Any:
        return cache(kind, engine=engine, state_dtype="fp32", **options)

    asked = package.make_scenario(model_of(kind), batch=BATCH, context=CONTEXT, engine=engine, state_dtype="fp32")
    ranks = Ranks(asked)
    served = [tp for tp in legal_tps(model_of(kind), 8) if ranks.serves(Deployment(tp))]
    if 1 not in served:
        return
    whole = held().bytes
    assert held(batch=BATCH + 1).bytes >= whole
    assert held(context=CONTEXT + 1).bytes >= whole
    assert whole >= LAYERS * BATCH * SAMPLES[kind].held
    for tp in served:
        shared = held(tp=tp)
        assert shared.bytes >= whole
        assert shared.bytes_per_rank * tp >= whole


@each_kind
def test_a_mechanism_is_explained_and_documented(kind: str, kvcalc: Kvcalc) -> None:
    told = re.sub(r"\s+", " ", kvcalc("explain", kind).stdout)
    assert all(field in told for field in SAMPLES[kind].fields)
    assert KINDS[kind].source in " ".join(told.split())
    assert re.search(rf"\b{kind}\b", README)
    assert re.search(rf"\b{kind}\b", FORMULAS)
    assert f" {KINDS[kind].formula_of_kind()} |" in FORMULAS


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_explained(name: str, kvcalc: Kvcalc) -> None:
    told = re.sub(r"\s+", " ", kvcalc("explain", name).stdout)
    assert FORMATS[name].about in told
    assert f"{FORMATS[name].block_bytes}" in told


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_is_explained_and_has_a_golden(name: str, kvcalc: Kvcalc) -> None:
    told = re.sub(r"\s+", " ", kvcalc("explain", name).stdout)
    assert ENGINES[name].about in told
    assert any(f'"engine": "{name}"' in path.read_text(encoding="utf-8") for path in test_golden.GOLDEN.glob("*.json"))


def test_each_output_format_has_goldens() -> None:
    assert set(test_golden.FORMATS) == set(Format)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_shown_and_documented(command: str, kvcalc: Kvcalc) -> None:
    golden = {words.split()[0] for words in test_golden.ALL_COMMANDS.values()}
    shown = set(re.findall(r"^\$ kvcalc (\w+)", README, re.MULTILINE))
    assert command in golden | shown | {"mcp", "web", "bench"}  # answers to clients alone, and times
    assert f"kvcalc {command}" in README
    assert f"## `kvcalc {command}" in JSON
    helped = kvcalc(command, "--help")
    assert helped.code == 0
    assert "Usage: kvcalc " + command in helped.stdout
