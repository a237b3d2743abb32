"""A measurement with torch for real and a clock that ticks as told: statistics, choice, refusals."""

from __future__ import annotations

import json
import re
import tempfile
from fractions import Fraction
from pathlib import Path as File
from typing import TYPE_CHECKING, Any

import pytest
from conftest import ROOT
from jsonschema import Draft202012Validator

import kvcalc
from kvcalc.errors import CannotRunError, KvcalcError
from kvcalc.model.layers import LayerGroup
from kvcalc.model.model import Model
from kvcalc.schema.outputs import output_schema

torch = pytest.importorskip("torch", reason="measures with torch")

from kvcalc.mechanisms import GQA, MHA, MLA  # noqa: E402  # needs torch
from kvcalc.speed import bench_scenario, decode, machine, offload  # noqa: E402  # needs torch
from kvcalc.speed import run as run_module  # noqa: E402  # needs torch
from kvcalc.speed.case import cases_of  # noqa: E402  # needs torch
from kvcalc.speed.claims import claims  # noqa: E402  # needs torch
from kvcalc.speed.growth import exponent  # noqa: E402  # needs torch
from kvcalc.speed.paths import PATHS, Kept, Path, Query  # noqa: E402  # needs torch
from kvcalc.speed.result import Point  # noqa: E402  # needs torch
from kvcalc.speed.run import run  # noqa: E402  # needs torch
from kvcalc.speed.timing import Stopwatch, summed_up  # noqa: E402  # needs torch
from kvcalc.verification.devices import Cpu  # noqa: E402  # needs torch
from kvcalc.verification.progress import silent  # noqa: E402  # needs torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvcalc.speed.result import Bench

pytestmark = pytest.mark.torch


class Clock:
    """Goes on by `tick` at each look, and by what somebody adds."""

    def __init__(self, tick: float = 1.0) -> None:
        self.now, self.tick = 0.0, tick

    def __call__(self) -> float:
        self.now += self.tick
        return self.now


def small(attention: Any = None, **group: Any) -> Model:
    attention = attention or GQA(num_heads=8, num_kv_heads=2, head_dim=16)
    return Model(name="small", dtype="bf16", layers=(LayerGroup(count=3, attention=attention, **group),))


def measured(model: Model | None = None, clock: Callable[[], float] | None = None, **how: Any) -> Bench:
    options = {name: how.pop(name) for name in ("batch", "context", "cache_dtype") if name in how}
    scenario = kvcalc.make_scenario(model or small(), **{"batch": 2, "context": 64, **options})
    asked = {"mechanisms": None, "device_name": "cpu", "samples": 20, "compiling": False, "offload": None, **how}
    return run(scenario, progress=silent, clock=clock or Clock(), least=True, **asked)


@pytest.fixture(scope="module")
def result() -> Bench:
    return measured(offload=Fraction(1, 2))


def test_bytes_and_operations_are_those_of_the_formulas(result: Bench) -> None:
    by_name = {each.mechanism: each for each in result.rows}
    assert list(by_name) == ["mha", "gqa-2", "mqa", "mla"]
    assert [each.own for each in result.rows] == [False, True, False, False]
    size = 4 if result.cache_dtype == "fp32" else 2
    assert by_name["mha"].attention.bytes == size * 2 * 64 * 8 * (16 + 16)
    assert by_name["gqa-2"].attention.bytes == size * 2 * 64 * 2 * (16 + 16)
    assert by_name["mqa"].attention.bytes == size * 2 * 64 * (16 + 16)
    assert by_name["mla"].attention.bytes == size * 2 * 64 * (64 + 8)
    assert by_name["gqa-2"].attention.flops == 2 * 2 * 64 * 8 * (16 + 16)
    assert by_name["mla"].attention.flops == 2 * 2 * 64 * 8 * (64 + 64 + 8)
    assert by_name["gqa-2"].layers == 3
    weights = 128 * 128 * 2 + 2 * 128 * 32  # q and o, k and v
    assert by_name["gqa-2"].with_projections.bytes - by_name["gqa-2"].attention.bytes == size * weights
    assert by_name["gqa-2"].with_projections.flops - by_name["gqa-2"].attention.flops == 2 * 2 * weights


def test_shares_and_bounds_follow_from_the_machine(result: Bench) -> None:
    for each in result.rows:
        for part in (each.attention, each.with_projections):
            memory = part.bytes / result.machine.read.per_s
            compute = part.flops / result.machine.matrix.per_s
            assert part.bound_s == max(memory, compute)
            assert part.limited_by == ("compute" if compute > memory else "memory")
            assert part.share_of_bound == pytest.approx(part.bound_s / part.median_s)
            assert part.bytes_per_s == pytest.approx(part.bytes / part.median_s)
    assert all(each.speedup_over_mha == 1 for each in result.rows)  # every sample took one tick


def test_every_sample_is_in_json_and_the_spread_is_of_the_quartiles(result: Bench) -> None:
    told = json.loads(result.to_json())
    for each in told["rows"]:
        assert len(each["samples"]) == 20
        assert [path["state"] for path in each["paths"]].count("chosen") == 1
    assert told["torch"] == torch.__version__
    timed = summed_up([5.0, 1.0, 2.0, 3.0, 4.0])
    assert (timed.low_s, timed.median_s, timed.high_s) == (2.0, 3.0, 4.0)
    assert timed.spread == pytest.approx(2 / 3)
    assert timed.samples == (5.0, 1.0, 2.0, 3.0, 4.0)


def slow_path(clock: Clock, seconds: float, name: str = "deliberately slow") -> Path:
    """The first path of gqa that is at hand, with time lost in every call."""
    path = next(each for each in PATHS if each.name == "matrix products")

    def prepare(kept: Kept) -> Callable[[Query], Any]:
        attend = path.prepare(kept)

        def slowly(query: Query) -> Any:
            clock.now += seconds
            return attend(query)

        return slowly

    return path._replace(name=name, prepare=prepare)


def test_a_path_that_is_slow_is_reported_as_slow_and_never_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    slow = slow_path(clock, 1.5), slow_path(clock, 50, "hopeless")
    monkeypatch.setattr(decode, "paths_of", lambda _: (slow[0], *(p for p in PATHS if "gqa" in p.kinds), slow[1]))
    row = measured(clock=clock, mechanisms=("gqa",)).rows[0]
    tried = {each.name: each for each in row.paths}
    assert row.path not in {"deliberately slow", "hopeless"}
    assert tried[row.path].state == "chosen"
    assert tried["deliberately slow"].state == "slower"
    assert tried["hopeless"].state == "stopped"
    first, best = tried["deliberately slow"].attention, tried[row.path].attention
    assert first is not None
    assert best is not None
    assert first.median_s / best.median_s == pytest.approx(2.5)
    stopped = tried["hopeless"].attention
    assert stopped is not None
    assert len(stopped.samples) == 1


def test_a_slow_mechanism_is_below_its_bound_and_below_mha(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    served = {"gqa": (slow_path(clock, 9),), "mha": (next(p for p in PATHS if p.name == "sdpa"),)}
    monkeypatch.setattr(decode, "paths_of", lambda mechanism: served[mechanism.kind])
    mha, gqa = measured(clock=clock, mechanisms=("mha", "gqa")).rows
    assert gqa.speedup_over_mha == pytest.approx(1 / 10)
    assert gqa.attention.share_of_bandwidth == pytest.approx(mha.attention.share_of_bandwidth / 4 / 10)
    said = {each.words: each.verdict for each in claims((mha, gqa), (), "naive") if each.mechanism == "gqa"}
    assert said["Fast"] == "not here"


def test_a_wrong_path_and_one_that_fails_are_named_and_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = next(each for each in PATHS if each.name == "matrix products")

    def fails(_: Kept) -> Any:
        raise RuntimeError("no kernel\nof that kind")

    wrong = right._replace(name="wrong", prepare=lambda kept: right.prepare(kept._replace(scale=1.0)))
    failing = right._replace(name="failing", prepare=fails)
    monkeypatch.setattr(decode, "paths_of", lambda _: (wrong, failing, right))
    tried = {each.name: each for each in measured(mechanisms=("gqa",)).rows[0].paths}
    assert (tried["wrong"].state, tried["wrong"].attention) == ("wrong", None)
    assert tried["failing"].why == "RuntimeError: no kernel"
    monkeypatch.setattr(decode, "paths_of", lambda _: (wrong,))
    with pytest.raises(CannotRunError, match="no path works here"):
        measured(mechanisms=("gqa",))


def test_times_that_spread_too_far_are_refused() -> None:
    clock, seen = Clock(), [0]

    def uneven(_: int) -> None:
        seen[0] += 1
        clock.now += 10 * (seen[0] % 2)

    with pytest.raises(CannotRunError, match=r"spread too far .* in 4 rounds"):
        Stopwatch(clock, lambda: None).timed("a thing", uneven)


def test_a_machine_that_changes_meanwhile_is_refused() -> None:
    clock = Clock()
    before = measured(mechanisms=("gqa",), clock=clock).machine
    watch = Stopwatch(Clock(2.0), lambda: None)
    with pytest.raises(CannotRunError, match="the read bandwidth was"):
        machine.refuse_a_change(before, Cpu(), torch.float32, watch)


def test_what_does_not_fit_is_refused_before_it_is_allocated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cpu, "free_bytes", lambda _: 700 * 2**20)
    with pytest.raises(CannotRunError, match=r"mha: measuring it takes .* next: --mechanism mqa, or a smaller --batch"):
        measured(batch=64, context=16384, mechanisms=("mha", "mqa"))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"mechanisms": ("gqa-3",)}, "--mechanism gqa-3: is no mechanism that this model can have"),
        ({"mechanisms": ("mla_expanded",)}, "keeps its latents expanded"),
        ({"cache_dtype": "fp8"}, "next: --cache-dtype bf16"),
        ({"batch": 1, "offload": Fraction(1, 4)}, "next: --batch 2"),
        ({"device_name": "meta"}, "next: --device cpu"),
        ({"device_name": "cuda"}, "--device cuda"),
    ],
)
def test_what_cannot_be_measured_is_refused(how: dict[str, Any], message: str) -> None:
    if how.get("device_name") == "cuda" and torch.cuda.is_available():
        return
    with pytest.raises(KvcalcError, match=message):
        measured(**how)


def test_an_unknown_device_and_too_few_samples_are_refused() -> None:
    with pytest.raises(KvcalcError, match="no device 'tpu'"):
        bench_scenario(kvcalc.make_scenario(small()), device="tpu")
    with pytest.raises(KvcalcError, match="--samples"):
        kvcalc.bench("llama-3-8b", samples=19)


def test_a_layer_with_a_window_reads_the_window_and_has_no_prefill() -> None:
    found = measured(small(MHA(num_heads=4, head_dim=16), window=16), mechanisms=("mha",))
    assert found.rows[0].positions == 16
    assert [each.step for each in found.growth] == ["decode"]
    assert "bench-window" in {each.code for each in found.notes}


def test_mechanisms_that_a_model_cannot_have_are_left_out_with_a_note() -> None:
    found = measured(small(MHA(num_heads=3, head_dim=5)))
    assert [each.mechanism for each in found.rows] == ["mha", "mqa"]
    assert [each.data["mechanism"] for each in found.notes if each.code == "bench-left-out"] == ["gqa", "mla"]


def test_an_own_latent_is_measured_as_it_is() -> None:
    latent = MLA(num_heads=4, kv_lora_rank=32, qk_rope_head_dim=8, qk_nope_head_dim=16, v_head_dim=16)
    scenario = kvcalc.make_scenario(small(latent), context=64)
    assert [case.name for case in cases_of(scenario, None)[0] if case.own] == ["mla"]


def test_what_is_printed_is_as_its_schema_says_and_documented(result: Bench) -> None:
    printed = json.loads(result.to_json())
    schema = output_schema("bench")
    assert [*Draft202012Validator(schema).iter_errors(printed)] == []
    section = (ROOT / "docs" / "json.md").read_text(encoding="utf-8").split("## `kvcalc bench`")[1].split("\n## ")[0]
    told = {part for each in re.findall(r"`([a-z0-9_.]+)`", section) for part in each.split(".")}
    assert keys(printed) - told == {"code", "text", "data"}  # of notes, which have a section of their own


def keys(value: Any) -> set[str]:
    """Of all objects, but those of notes' figures."""
    if isinstance(value, list):
        return {key for each in value for key in keys(each)}
    if isinstance(value, dict):
        return {*value, *(key for name, each in value.items() if name != "data" for key in keys(each))}
    return set()


def test_a_table_of_the_page_takes_the_place_of_the_one_before(result: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    from speed_tables import goals, replaced, section  # of benchmarks

    told = section(result, "kvcalc bench small")
    other = "### another on a machine\n\nfigures\n"
    page = replaced(replaced(f"# Page\n\n{other}", told), told)
    assert page.count(told.splitlines()[0]) == 1
    assert page.startswith(f"# Page\n\n{other}")
    assert len(goals(result)) == (4 if result.machine.device == "cpu" else 0)
    assert "gqa-2 (own)" in told


def test_exponents_are_those_of_powers() -> None:
    def points(power: int) -> list[Point]:
        return [
            Point(**summed_up([float(n**power)]).times, tokens=n, flops=1, share_of_flops=1.0) for n in (1, 2, 4, 8)
        ]

    assert exponent(points(1)) == pytest.approx(1)
    assert exponent(points(2)) == pytest.approx(2)
    assert exponent(points(2)[:1]) is None


def test_what_was_assumed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "has_bf16", lambda _: False)
    found = measured(mechanisms=("gqa",))
    assert found.cache_dtype == "fp32"
    assert "bench-in-fp32" in {each.code for each in found.notes}
    assert measured(mechanisms=("gqa",), cache_dtype="bf16").cache_dtype == "bf16"
    clock = Clock()
    hundred = slow_path(clock, -0.999999, "impossibly fast")
    monkeypatch.setattr(decode, "paths_of", lambda _: (hundred,))
    assert "bench-above-bound" in {each.code for each in measured(clock=clock, mechanisms=("gqa",)).notes}


def test_a_share_away_is_bounded_by_its_link(result: Bench) -> None:
    away, own = result.offload, result.rows[1]
    assert away is not None
    assert away.mechanism == "gqa-2"
    assert away.bytes == own.attention.bytes // 2
    assert away.bound_s >= away.link.median_s
    assert away.fall == away.median_s / own.attention.median_s
    assert away.where.startswith("a mapped file")


def test_the_file_has_no_name_and_is_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: File) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    measured(mechanisms=("gqa",), offload=Fraction(1, 2))
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(offload, "MOST_FILE", 100)
    with pytest.raises(CannotRunError, match="is the most that is written"):
        measured(mechanisms=("gqa",), offload=Fraction(1, 2))


def test_rows_that_come_from_a_file_give_the_same_attention() -> None:
    """What is attended to after the pages were dropped is what was written."""
    from contextlib import ExitStack

    flat = [torch.arange(5000, dtype=torch.float32), torch.arange(7, dtype=torch.float32)]
    with ExitStack() as stack:
        held = offload.in_a_file(flat, sum(each.nbytes for each in flat), stack)
        held.forget()
        assert all(torch.equal(part, source) for part, source in zip(flat, held.parts, strict=True))
        held.parts.clear()
