"""What was asked, in the order of a review: the workload, the formats, the engine, the accelerator, the deployment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.formats.file_types import shown
from kvcalc.review.review import Setting
from kvcalc.scenario.option import options_of
from kvcalc.scenario.options import DEFAULT_GPU, ReportOptions
from kvcalc.scenario.spelled import spelled

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvcalc.scenario import Scenario
    from kvcalc.verbs.question import Question

_SHOWN = {
    "sequences": ("batch", "tokens", "rps", "latency"),
    "context": ("context", "input_tokens", "output_tokens", "mix", "images", "image_size"),
    "format of computing": ("dtype",),
    "format of the cache": ("cache_dtype",),
    "format of the weights": ("weight_dtype",),
    "engine": ("engine",),
    "accelerator": ("gpu", "gpu_memory", "utilization"),
    "deployment": ("tp", "pp", "dp", "ep", "dcp", "dp_attention", "gpus"),
}
"""Parts of the question, and the options that set each."""


def settings_of(given: Mapping[str, Any], question: Question | None, scenario: Scenario | None) -> tuple[Setting, ...]:
    """Every part of the question with its value, given or a default; then all other options that were given.

    Args:
        given: the options of the report.
        question: as a result repeats it; None where nothing was answered.
        scenario: what that was computed from.
    """
    rows = []
    if question is not None and scenario is not None:
        refused = any(name in given for name in _SHOWN["deployment"])  # else it would be the question's
        smallest = "refused, as the answer says" if refused else "the smallest that holds the workload"
        values = dict(_values(question, scenario, smallest))
        rows = [Setting(name, values[name], _as_given(given, options)) for name, options in _SHOWN.items()]
    shown = {name for options in _SHOWN.values() for name in options} if rows else set()
    others = (name for name in options_of(ReportOptions) if name in given and name not in shown)
    return (*rows, *(Setting(options_of(ReportOptions)[name].label, "", _as_given(given, (name,))) for name in others))


def _values(question: Question, scenario: Scenario, smallest: str) -> Iterator[tuple[str, str]]:
    yield "sequences", f"{question.batch:,} held at the same time"
    lengths = f"{question.context:,} tokens of each"
    if question.mix:
        lengths = f"a mix of {question.shortest:,} to {question.context:,} tokens"
    yield "context", lengths
    yield "format of computing", question.dtype
    yield "format of the cache", question.cache_dtype
    yield "format of the weights", shown(scenario.weight_format) if scenario.weight_format else "as the checkpoint's"
    yield "engine", question.engine
    gpu = question.accelerator
    yield (
        "accelerator",
        f"{gpu.gpu}: {gpu.memory_bytes:,} bytes, of which {gpu.utilization:g} may be used: {gpu.usable_bytes:,}"
        if gpu
        else DEFAULT_GPU,
    )
    yield "deployment", str(question.deployment) if question.deployment else smallest


def _as_given(given: Mapping[str, Any], names: tuple[str, ...]) -> str:
    """'--input 7000 --output 1000'; empty where none of them is given."""
    options = options_of(ReportOptions)
    return " ".join(
        " ".join((options[name].label, *value))
        for name in names
        if name in given
        for value in spelled(options[name], given[name])
    )
