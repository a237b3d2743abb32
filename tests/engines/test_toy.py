"""An engine that is one file answers every command, and nothing else in kvcalc says what only holds without blocks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar
from unittest.mock import patch

import pytest
from conftest import Kvcalc
from toy_engine import SOURCE, Toy, ToyLayout

import kvcalc as package
from kvcalc.deployment import Deployment
from kvcalc.engines import ENGINES, Budget, Load, Setup, choose_engine
from kvcalc.engines.cache_format import CacheFormat
from kvcalc.errors import KvcalcError
from kvcalc.formats.by_name import find_format
from kvcalc.memory import Ranks
from kvcalc.memory.decode_traffic import WeightsUsed, work
from kvcalc.model.stages import Stage
from kvcalc.scenario import Workload
from kvcalc.term import Factor, Product

TOKEN = 2 * 32 * 8 * 128 * 2
"""Bytes that a token of llama-3-8b adds."""

WEIGHTS = 8_030_261_248 * 2
H100 = 85_020_639_232


class NarrowLayout(ToyLayout):
    """Everything is kept in formats of its own, and each rank has a page table."""

    @property
    def cache_format(self) -> CacheFormat:
        asked = self.setup.cache_format
        return asked._replace(name="narrow", default=find_format("fp8", "own"), state=find_format("bf16", "own"))

    def excess(self, stage: Stage, load: Load) -> Iterator[Product]:
        yield from super().excess(stage, load)
        yield Product("page table", (Factor("page_table", 2**20, "byte"),), SOURCE)

    def weights_excess(self, stage: Stage) -> Iterator[Product]:
        yield Product(
            "padding", (Factor("layers", len(stage.layers), "layer"), Factor("padding", 2**20, "byte")), SOURCE
        )


class Narrow(Toy):
    """The toy with formats of its own."""

    name: ClassVar[str] = "narrow"

    def settle(self, setup: Setup) -> NarrowLayout:
        return NarrowLayout(setup, self.option("block-size"), self.option("memory-fraction"))


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "toy", Toy)
    monkeypatch.setitem(ENGINES, "narrow", Narrow)


def answer(kvcalc: Kvcalc, *words: str) -> dict[str, Any]:
    result = kvcalc(*words, "--json")
    assert result.code == 0, result.stderr
    data: dict[str, Any] = json.loads(result.stdout)
    return data


def test_the_rounding_is_a_row_of_its_own(kvcalc: Kvcalc) -> None:
    """3 sequences of 8,193 tokens: 513 blocks of 16 each, 15 tokens unused; and one block held back."""
    data = answer(kvcalc, "estimate", "llama-3-8b", "-b", "3", "-c", "8193", "--engine", "toy")
    cache = data["cache"]
    assert cache["bytes"] == (3 * 513 + 1) * 16 * TOKEN
    assert [(term["path"], term["bytes"]) for term in cache["terms"]] == [
        ("gqa 32/8 x 128: k+v", 3 * 8193 * TOKEN),
        ("null block of stage 0", 16 * TOKEN),
        ("gqa 32/8 x 128: k+v, rounding to blocks", 3 * 15 * TOKEN),
    ]
    assert sum(term["bytes"] for term in cache["terms"]) == cache["bytes"]
    assert (cache["bytes_per_token"], cache["bytes_per_token_at_context"]) == (TOKEN, TOKEN)
    assert cache["lower_bound"] is False
    assert (data["deployment"]["engine"], data["deployment"]["engine_version"]) == ("toy", "1.0")


def test_it_has_a_budget_of_its_own(kvcalc: Kvcalc) -> None:
    data = answer(kvcalc, "estimate", "llama-3-8b", "--engine", "toy", "--tp", "2")
    rank, usable = data["memory"]["per_rank"], H100 * 8 // 10
    assert (data["gpus"]["usable_bytes"], data["gpus"]["utilization"]) == (usable, 0.8)
    assert (rank["temporary_bytes"], rank["overhead_bytes"]) == (16 * 2**20, 64 * 2**20)
    assert (data["memory"]["temporary_low_bytes"], data["memory"]["temporary_high_bytes"]) == (2**25, 2**25)
    assert rank["headroom_bytes"] == usable - rank["total_bytes"] == data["answer"]["headroom_bytes"]
    given = answer(kvcalc, "estimate", "llama-3-8b", "--engine", "toy", "--temporary", "1GiB", "--overhead", "0B")
    assert given["memory"]["per_rank"]["temporary_bytes"] == 2**30
    assert given["memory"]["per_rank"]["overhead_bytes"] == 0


def rows(kvcalc: Kvcalc, *words: str) -> list[str]:
    """The lines of a screen, each with single spaces."""
    return [" ".join(line.split()) for line in kvcalc(*words).stdout.splitlines()]


def test_its_share_is_called_its_own(kvcalc: Kvcalc) -> None:
    usable = H100 * 8 // 10
    told = rows(kvcalc, "estimate", "llama-3-8b", "--engine", "toy", "--explain")
    assert f"usable {usable:,} as engine toy uses it toy's own share" in told
    assert not any("memory x utilization" in line for line in told)
    exact = rows(kvcalc, "estimate", "llama-3-8b", "--explain")
    assert f"usable {H100 * 92 // 100:,} floor(memory x utilization) floor({H100:,} x 0.92)" in exact


def test_gpus_by_memory_divide_by_what_one_rank_may_use(kvcalc: Kvcalc) -> None:
    words = ("estimate", "llama-3-8b", "--engine", "toy", "--tp", "2")
    unsplit = answer(kvcalc, *words)["gpus"]["unsplit_bytes"]
    assert any(f"ceil({unsplit:,} / {H100 * 8 // 10:,})" in line for line in rows(kvcalc, *words, "--explain"))


def test_only_what_the_user_gives_is_called_given(kvcalc: Kvcalc) -> None:
    told = rows(kvcalc, "estimate", "llama-3-8b", "--engine", "toy")
    assert "temporary 0.03 33,554,432 bytes" in told
    assert "overhead 0.06 toy buffers" in told
    assert "<0.01 null block of stage 0: 2,097,152 bytes" in told
    assert not any(line.endswith("given") for line in told)
    sizes = ("--temporary", "1GiB", "--overhead", "2GiB", "--weights", "9GiB", "--reserve", "drafts=3GiB")
    told = rows(kvcalc, "estimate", "llama-3-8b", "--engine", "toy", *sizes)
    for row in ("temporary 1.00", "overhead 2.00", "weights 9.00", "reserve: drafts 3.00"):
        assert f"{row} given" in told


def test_a_sequence_costs_no_block_that_is_held_back_for_all(kvcalc: Kvcalc) -> None:
    for more in ((), ("--shared-prefix", "1000")):
        cache = answer(kvcalc, "estimate", "llama-3-8b", "-b", "3", "-c", "8192", "--engine", "toy", *more)["cache"]
        assert cache["bytes_per_sequence"] == 8192 * TOKEN


def test_its_defaults_may_depend_on_the_accelerator(kvcalc: Kvcalc) -> None:
    words = ("capacity", "llama-3-8b", "--cache-memory", "3GiB", "--gpu", "l4", "--gpu-memory", "20GiB")
    result = kvcalc(*words, "--engine", "toy")
    assert "no part" not in result.stderr
    assert "not modelled:" not in result.stdout
    assert "cache: --weights plays no part" in kvcalc(*words, "--weights", "5GiB", "--engine", "toy").stderr
    assert "cache: --gpu and --gpu-memory play no part" in kvcalc(*words).stderr


def test_formats_of_its_own_are_those_told(kvcalc: Kvcalc) -> None:
    words = ("estimate", "qwen3-next-80b-a3b", "-c", "8192", "--tp", "2", "--explain")
    result = kvcalc(*words, "--engine", "narrow")
    told = " ".join(result.stdout.split())
    assert "bf16, cache narrow" in told
    assert "quality loss of a cache kept in fp8" in told
    assert "quality loss of states kept in less than fp32" in told
    assert "quality loss" not in kvcalc(*words, "--engine", "toy").stdout
    row = answer(kvcalc, "compare", "llama-3-8b", "qwen3-8b", "--engine", "narrow")["rows"][0]
    assert (row["cache_dtype"], row["bytes_per_token"]) == ("narrow", TOKEN // 2)
    windows = ("estimate", "gemma-3-27b", "-c", "8192")
    narrow, toy = (answer(kvcalc, *windows, "--engine", name)["cache"] for name in ("narrow", "toy"))
    assert 2 * narrow["without_windows_bytes"] == toy["without_windows_bytes"]


def test_decoding_computes_in_the_format_that_is_kept() -> None:
    for engine, element_format in (("toy", "bf16"), ("narrow", "fp8")):
        asked = package.make_scenario("llama-3-8b", engine=engine)
        (rank,) = Ranks(asked).of(Deployment())
        (attention,) = work(asked, Deployment(), rank, WeightsUsed(asked, Deployment(), rank, ()))
        assert attention.element_format is not None
        assert attention.element_format.name == element_format


def test_what_is_reserved_on_every_rank_is_not_called_a_copy(kvcalc: Kvcalc) -> None:
    for sizes in (("--tp", "2"), ("--pp", "2"), ("--tp", "2", "--pp", "2")):
        words = ("estimate", "llama-3-8b", "-c", "8192", "--engine", "narrow", *sizes)
        data = answer(kvcalc, *words)
        assert data["cache"]["bytes"] > data["cache"]["one_copy_bytes"]
        assert "cache-copied" not in {each["code"] for each in data["notes"]}
    notes = answer(kvcalc, "estimate", "deepseek-v3", "-c", "8192", "--engine", "toy", "--tp", "8")["notes"]
    (copied,) = (each for each in notes if each["code"] == "cache-copied")
    assert (copied["data"]["bytes"], copied["data"]["one_copy_bytes"]) == (4_605_345_792, 575_668_224)


def test_its_blocks_are_printed(kvcalc: Kvcalc) -> None:
    usable = int(H100 * 0.8) - WEIGHTS - (32 + 64) * 2**20
    data = answer(kvcalc, "capacity", "llama-3-8b", "--engine", "toy")
    assert data["cache_memory_bytes"] == usable
    assert (data["blocks"], data["block_size"]) == (usable // (16 * TOKEN), 16)
    assert data["tokens"] == data["blocks"] * 16
    assert data["sequences"] == (data["blocks"] - 1) // 512
    wide = answer(kvcalc, "capacity", "llama-3-8b", "--engine", "toy", "--block-size", "64")
    assert (wide["blocks"], wide["block_size"]) == (usable // (64 * TOKEN), 64)
    named = answer(kvcalc, "capacity", "llama-3-8b", "--engine", "toy", "--engine-option", "block_size=64")
    assert named["blocks"] == wide["blocks"]


def test_its_version_and_options_are_asked_for(kvcalc: Kvcalc) -> None:
    data = answer(kvcalc, "estimate", "llama-3-8b", "--engine", "toy@0.9", "--engine-option", "memory-fraction=0.5")
    assert data["deployment"]["engine_version"] == "0.9"
    assert data["gpus"]["usable_bytes"] == H100 // 2
    for words, fragment in [
        (("--engine", "toy@2"), "known are 0.9 to 1.0; --engine toy@1.0"),
        (("--engine", "toy", "--engine-option", "blocks=3"), "did you mean 'block-size'?"),
        (("--engine", "toy", "--engine-option", "memory-fraction=3"), "memory-fraction"),
        (("--engine", "toy", "--block-size", "16", "--engine-option", "block-size=16"), "give one of them"),
        (("--engine", "toy", "--utilization", "0.9"), "its options are block-size, memory-fraction"),
        (("--engine", "toy", "--tp", "8", "--dcp", "2"), "engine toy splits no tokens"),
    ]:
        result = kvcalc("estimate", "deepseek-v3", *words)
        assert (result.code, result.stdout) == (2, "")
        assert fragment in result.stderr


def test_windows_round_too_and_no_note_calls_it_a_lower_bound(kvcalc: Kvcalc) -> None:
    result = kvcalc("estimate", "gemma-3-27b", "-c", "8193", "--engine", "toy", "--explain")
    told = " ".join((result.stdout + result.stderr).split())
    assert result.code == 0
    assert "507,904 bytes a token until windows are full, then 81,920 bytes" in told
    assert "10 x" in told
    assert "rounding to blocks" in told
    assert "lower bound" not in told
    assert "rounding to blocks, fragmentation" not in told
    exact = kvcalc("estimate", "gemma-3-27b", "-c", "8193", "--explain")
    assert "lower bound" in exact.stderr
    assert "rounding to blocks, fragmentation" in " ".join(exact.stdout.split())


def test_states_are_counted_as_it_keeps_them(kvcalc: Kvcalc) -> None:
    exact = answer(kvcalc, "estimate", "qwen3-next-80b-a3b", "-b", "2", "--tp", "2")["cache"]
    toy = answer(kvcalc, "estimate", "qwen3-next-80b-a3b", "-b", "2", "--tp", "2", "--engine", "toy")["cache"]
    block = 16 * exact["bytes_per_token"]
    assert toy["bytes_per_rank"] == exact["bytes_per_rank"] + 2 * exact["state_bytes_per_sequence"] + block
    assert toy["bytes_per_token"] == exact["bytes_per_token"]


def test_compare_has_rates_not_blocks(kvcalc: Kvcalc) -> None:
    exact = answer(kvcalc, "compare", "llama-3-8b")["rows"]
    toy = answer(kvcalc, "compare", "llama-3-8b", "--engine", "toy")["rows"]
    for key in ("bytes_per_token", "elements_per_token_per_layer", "state_bytes_per_sequence", "ratio_to_mha"):
        assert [row[key] for row in toy] == [row[key] for row in exact], key
    assert all(
        row["cache_bytes"] == other["cache_bytes"] + 16 * other["bytes_per_token"]
        for row, other in zip(toy, exact, strict=True)
    )


def test_a_plan_leaves_out_what_it_does_not_serve(kvcalc: Kvcalc) -> None:
    data = answer(kvcalc, "plan", "deepseek-v3", "--engine", "toy")
    assert {row["dcp"] for row in data["deployments"]} == {1}
    assert all(row["headroom_bytes"] >= 0 and row["usable_bytes"] == H100 * 8 // 10 for row in data["deployments"])
    for row in data["deployments"][:3]:
        words = [word for name in ("tp", "pp", "dp", "ep") for word in (f"--{name}", str(row[name]))] + (
            ["--dp-attention"] if row["dp_attention"] else []
        )
        asked = answer(kvcalc, "estimate", "deepseek-v3", "--engine", "toy", *words)
        assert asked["gpus"]["fits"] is True
        assert asked["answer"]["headroom_bytes"] == row["headroom_bytes"]
    several = answer(kvcalc, "plan", "llama-3-8b", "--engine", "toy", "--gpu", "h100,l4,b200")
    assert {row["gpu"] for row in several["deployments"]} == {"h100-sxm", "l4", "b200"}
    for row in several["deployments"]:
        own = package.load_gpu(row["gpu"]).memory_bytes
        assert own is not None
        assert row["usable_bytes"] == own * 8 // 10


def test_explain_tells_its_formula_and_options(kvcalc: Kvcalc) -> None:
    told = kvcalc("explain", "toy").stdout
    assert "blocks x block-size x bytes of a token" in told
    assert "block-size       16       Tokens of a block." in told
    assert "memory-fraction  0.8      Share of the accelerator's memory." in told


@pytest.mark.parametrize("form", ["table", "json", "csv", "markdown"])
@pytest.mark.parametrize(
    "words",
    [
        ("estimate", "gemma-3-27b", "--explain"),
        ("estimate", "qwen3-next-80b-a3b", "--tp", "2", "--pp", "3", "-b", "9"),
        ("estimate", "llama-3-8b", "-b", "3000", "--spill", "--gpu", "l4"),
        ("estimate", "llama-3-8b", "--gpus", "4", "--shared-prefix", "1000", "-b", "7"),
        ("capacity", "gpt-oss-20b", "--explain"),
        ("capacity", "llama-3-8b", "--cache-memory", "3GiB"),
        ("plan", "qwen3-8b", "--gpu", "l4", "-b", "50"),
        ("compare", "llama-3-8b", "--gpus", "2"),
        ("compare", "llama-3-8b", "qwen3-8b"),
    ],
    ids=" ".join,
)
def test_every_command_answers(kvcalc: Kvcalc, words: tuple[str, ...], form: str) -> None:
    result = kvcalc(*words, "--engine", "toy", "--format", form)
    assert result.code == 0, result.stderr
    assert result.stdout


def test_what_is_loaded_beyond_the_checkpoint_is_a_row_of_the_weights(kvcalc: Kvcalc) -> None:
    """A MiB a layer: on each of two tensor-parallel ranks of stages of 11, 11 and 10 layers."""
    words = ("estimate", "llama-3-8b", "--tp", "2", "--pp", "3")
    toy, narrow = (answer(kvcalc, *words, "--engine", name)["memory"] for name in ("toy", "narrow"))
    assert narrow["weights_bytes"] == toy["weights_bytes"] + 2 * 32 * 2**20
    assert narrow["per_rank"]["weights_bytes"] == toy["per_rank"]["weights_bytes"] + 11 * 2**20
    assert any(row.endswith("; 0.01 padding") for row in rows(kvcalc, *words, "--engine", "narrow"))
    assert "0.01 padding: 11 layers x 1,048,576 bytes" in rows(kvcalc, *words, "--engine", "narrow", "--explain")
    given = answer(kvcalc, *words, "--engine", "narrow", "--weights", "9GiB")["memory"]
    assert given["weights_bytes"] == 9 * 2**30


@pytest.mark.parametrize(
    ("asked", "followed"),
    [("0.9", None), ("0.9.0", None), ("v0.9.5", "0.9"), ("0.95", "0.9"), ("1.0rc1", "0.9"), ("1.0.0+cu1", None)],
)
def test_a_version_between_two_takes_the_older_rules(asked: str, followed: str | None) -> None:
    with patch.dict(ENGINES, toy=Toy):
        engine = choose_engine(f"toy@{asked}", {})
    assert engine.version == (followed or asked[:3])
    assert engine.asked_version == (asked if followed else None)


@pytest.mark.parametrize("asked", ["0.8", "0.8.9", "0.9rc2", "1.0.1", "1.1", "2", "x", "0.9-else"])
def test_a_version_before_the_first_or_after_the_newest_is_refused(asked: str) -> None:
    with (
        patch.dict(ENGINES, toy=Toy),
        pytest.raises(KvcalcError, match=r"is not known; known are 0\.9 to 1\.0; --engine"),
    ):
        choose_engine(f"toy@{asked}", {})


class StatedLayout(ToyLayout):
    """The cache gets a GiB, however much is left."""

    def budget(self, stage: Stage, weights_bytes: int) -> Budget:
        return super().budget(stage, weights_bytes)._replace(cache=2**30)


class Stated(Toy):
    """The toy with its cache stated outright."""

    name: ClassVar[str] = "stated"

    def settle(self, setup: Setup) -> StatedLayout:
        return StatedLayout(setup, self.option("block-size"), self.option("memory-fraction"))


def test_a_cache_that_is_stated_outright_gets_no_more() -> None:
    with patch.dict(ENGINES, stated=Stated):
        asked = package.make_scenario("llama-3-8b", context=1024, tp=1, engine="stated")
        found = package.capacity(asked)
        held, none = (2**30 // (16 * TOKEN) * 16, 2**30 // (16 * TOKEN) * 16 + 16)
        fits = [package.estimate(replace(asked, workload=Workload(1, each))).gpus.fits for each in (held - 16, none)]
    assert (found.cache_memory_bytes, found.tokens) == (2**30, held)
    assert fits == [True, False]
    with patch.dict(ENGINES, stated=Stated):
        lacking = package.capacity("llama-3-8b", context=1024, tp=1, engine="stated", gpu_memory="20GiB")
    assert lacking.cache_memory_bytes < 2**30
