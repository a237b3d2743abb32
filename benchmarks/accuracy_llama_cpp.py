"""The part of docs/accuracy.md that is of llama.cpp: its graphs on a pretended card, and public logs."""

from __future__ import annotations

import json
import sys
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from llama_cpp_shapes import RUNS, SHAPES, Run  # noqa: E402  # found there

from kvcalc.deployment import Deployment  # noqa: E402  # after the path
from kvcalc.engines import Load  # noqa: E402  # after the path
from kvcalc.engines.llama_cpp.compute import compute_buffer  # noqa: E402  # after the path
from kvcalc.engines.llama_cpp.settled import SettledLlama  # noqa: E402  # after the path
from kvcalc.errors import KvcalcError  # noqa: E402  # after the path
from kvcalc.memory import Ranks  # noqa: E402  # after the path
from kvcalc.scenario.make import make_scenario  # noqa: E402  # after the path
from kvcalc.units import MIB  # noqa: E402  # after the path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DATA = ROOT / "tests" / "data" / "llama_cpp"

_TEXT = """
## 4. llama.cpp

It reserves what it needs at the start, and prints it. `make test-live-llama-cpp` lets builds of it plan graphs for a
device that answers as CUDA's back end does, without weights; caches and states must be equal to the print there, and
in the ordinary tests, which draw 200 shapes. Of 1,000 shapes that it draws, experts and latents among them, 47 compute
buffers of b11549 are more than 6% off: 24 too small, by 23% and 271 MiB at most, within the GiB of a card that
llama.cpp leaves free, and 23 too large, by 26% at most.
Compute buffers are compared below: of {shapes} shapes, each with up to {runs} contexts. Shapes with the dims of
{classes} published models are in `tests/data/llama_cpp/classes.json`: their caches are equal to the print, half of
their buffers to 0.1%. Of 210 graphs with drawn dims of all of GGUF's architectures (seed 91, November 2026) all caches
were equal, and buffers 0.08% off in the median and 8.9% in p90. Asked how much of a model a card holds, llama.cpp's own
fitting (common_fit_params of b11549) chose as many layers, or layers with experts on the host, as kvcalc in 18 of 21
cases, one layer more in one, and in two a mix of both that kvcalc does not try (tests/llama_cpp_shapes.py has twelve).

| build | graphs | median | p90 | worst |
| --- | ---: | ---: | ---: | ---: |"""

_LOGS = """
Public logs, from `tests/data/llama_cpp/logs.json`. `cache` is that of the model's own context, `weights` are a card's
of a file in q8_0; a stored file id is the number of the file in the collection of public repositories that it was found
in. Of a log that says no build, it is the newest that has such lines. Compute buffers of Vulkan's may lay parts of a
layer beside the others: compared is the least of the range.

Logs that were found since 29 November 2026 were first predicted by the rules as they were then. The table has both; two
more are left out, of models that the catalogue lacks (Qwen3.8-Flash-Next and Laguna S 2.1).

| part | figures | as printed, at first sight | median | p90 | worst | as printed today | median | p90 | worst |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
{first}

| off | predicted, MiB | printed | part | of | build | source |
| ---: | ---: | ---: | --- | --- | --- | --- |"""


OLDEST = 6182
"""The oldest build whose rules are known; others are compared with the newest."""


class Figure(NamedTuple):
    """One of a log.

    Attributes:
        predicted: None where kvcalc refuses.
    """

    log: dict[str, Any]
    part: str
    printed: Fraction
    predicted: int | None

    @property
    def error(self) -> float | None:
        return None if self.predicted is None else float(self.predicted / (self.printed * MIB) - 1)


def llama_cpp() -> Iterator[str]:
    """The section."""
    yield _TEXT.format(shapes=len(SHAPES), runs=len(RUNS), classes=len(_read("classes.json")["models"]))
    newest = {
        shape: {run: each["compute_mib"] for run, each in runs.items()}
        for shape, runs in _read("sizes.json")["sizes"].items()
    }
    older = {build: sizes for build, sizes in _read("older_builds.json").items() if build != "about"}
    for build, sizes in {**older, "b11549": newest}.items():
        errors = sorted(_buffer_errors(build, sizes))
        shares = (_quantile(errors, tenths) for tenths in (5, 9, 10))
        yield f"| {build} | {len(errors)} | {' | '.join(f'{share:.2%}' for share in shares)} |"
    figures = figures_of_logs()
    yield _LOGS.format(first="\n".join(_first_sight(figures)))
    for each in sorted(
        figures, key=lambda figure: (figure.error is not None, -abs(figure.error or 0), figure.log["id"])
    ):
        yield _row(each)


def _first_sight(figures: Sequence[Figure]) -> Iterator[str]:
    """What logs printed that were found after the rules: predicted then, and now."""
    fresh = [each for each in figures if each.part in each.log.get("first", {})]
    for part in ("cache", "states", "compute"):
        of_part = [each for each in fresh if each.part == part]
        cells = [part, str(len(of_part))]
        for predicted in (
            [Fraction(each.log["first"][part]) for each in of_part],
            [Fraction(each.predicted or 0, MIB) for each in of_part],
        ):
            pairs = [(said, each.printed) for said, each in zip(predicted, of_part, strict=True)]
            errors = sorted(abs(float(said / printed - 1)) for said, printed in pairs)
            alike = sum(abs(said - printed) <= Fraction("0.0101") for said, printed in pairs)
            cells += [str(alike), *(f"{_quantile(errors, tenths):.2%}" for tenths in (5, 9, 10))]
        yield f"| {' | '.join(cells)} |"


def _quantile(errors: list[float], tenths: int) -> float:
    return errors[max(0, -(-len(errors) * tenths // 10) - 1)]


@cache
def figures_of_logs() -> tuple[Figure, ...]:
    """All that the public logs print."""
    return tuple(figure for log in _read("logs.json")["logs"] for figure in _figures(log))


def _read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DATA / name).read_text(encoding="utf-8"))
    return found


def _buffer_errors(build: str, sizes: dict[str, dict[str, float]]) -> Iterator[float]:
    for shape, runs in sizes.items():
        for run in RUNS:
            if run.name in runs:
                yield abs(_buffer(build, shape, run) / MIB / runs[run.name] - 1)


def _buffer(build: str, shape: str, run: Run) -> int:
    options = {"ubatch-size": run.ubatch, "flash-attn": run.flash, "kv-unified": run.unified, "swa-full": run.swa_full}
    model = SHAPES[shape].model
    keeps = any(tensor.name in {"k", "c_kv"} for tensor in model.cached_tensors)
    ranks = _ranks(
        model,
        f"llama-cpp@{build}",
        options,
        batch=run.slots,
        context=run.context,
        cache_dtype=f"k={run.k},v={run.v}" if keeps else None,
    )
    layout = _layout(ranks)
    found = layout.temporary(layout.stages[0], Load(run.slots, run.context))
    return 0 if found is None else found.term.bytes


def _ranks(model: Any, engine: str, own: dict[str, Any], **options: Any) -> Ranks:
    given = {name: str(int(value)) if isinstance(value, bool) else str(value) for name, value in own.items()}
    return Ranks(make_scenario(model, engine=engine, engine_option=given, **options))


def _layout(ranks: Ranks) -> SettledLlama:
    found = ranks.settled(Deployment())
    if not isinstance(found, SettledLlama):
        raise TypeError(found)
    return found


def _figures(log: dict[str, Any]) -> Iterator[Figure]:
    """Those that a log prints."""
    build, options = log["build"], log["options"]
    said = log.get("rules", build)
    known = said if said.startswith("b") and int(said[1:]) >= OLDEST else "b11549"
    try:
        ranks = _ranks(log["model"], f"llama-cpp@{known}", log.get("engine_options", {}), **options)
        layout = _layout(ranks)
    except KvcalcError:
        yield from (Figure(log, part, Fraction(text), None) for part, text in log["printed"].items())
        return
    load = Load(options["batch"], options["context"])
    (stage,) = layout.stages
    states = layout.states_bytes(stage, load)
    second = layout.drafting_bytes(stage, load)
    by_vulkan = log.get("device", "").startswith("Vulkan")
    compute = compute_buffer(layout, stage, load, by_vulkan=by_vulkan) or layout.temporary(stage, load)
    said = {"cache": layout.held_bytes(stage, load) - states - second, "states": states}
    said["compute"] = 0 if compute is None else compute.term.bytes
    said["weights"] = ranks.of(Deployment())[0].weights_bytes or 0
    for part, text in log["printed"].items():
        yield Figure(log, part, Fraction(text), said[part])


def _row(figure: Figure) -> str:
    log, source = figure.log, figure.log["source"]
    if "#" in source:
        repository, _, number = source.partition("#")
        source = f"[{source}](https://github.com/{repository}/issues/{number})"
    off = "refused" if figure.error is None else f"{round(figure.error, 6) or 0.0:+.2%}"
    predicted = "" if figure.predicted is None else f"{figure.predicted / MIB:,.2f}"
    cells = off, predicted, f"{float(figure.printed):,.2f}", figure.part, log["id"], log["build"], source
    return f"| {' | '.join(cells)} |"
