"""A speed that `kvcalc bench` measured, beside an estimate: refused where it is of another thing."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, Never

from kvcalc.errors import KvcalcError, one_line
from kvcalc.verbs.measured_speed import MeasuredSpeed

if TYPE_CHECKING:
    from kvcalc.verbs.estimate_result import Estimate

LEAST, MOST = 1e-12, 1e12
"""Beyond them, what should be seconds or threads is none."""

_LONGEST_NAME = 100
"""Characters of a name in the file."""


def measured_speed(file: str, model: str | None, result: Estimate) -> MeasuredSpeed:
    """What the machine of a measurement took for what an estimate is of.

    Args:
        file: what `kvcalc bench --json -o FILE` wrote.
        model: as it was named, so that the message of a refusal can name it again; None where options describe it.
        result: the estimate.

    Raises:
        KvcalcError: the file is no such thing, or it measured another model, workload, mechanism or format.
    """
    from kvcalc.importers.json_text import parse_mapping, read_text

    shown = f"--measured {file[:120]}"
    found = _Read(parse_mapping(read_text(Path(file), shown), shown), shown)
    if found.word("command") != "bench":
        found.refuse("is not what kvcalc bench --json prints")
    scenario, workload = result.scenario, result.workload
    again = _measured_anew(model, result)
    found.same("model.name", scenario.model.name, again)
    found.same("workload.batch", workload.batch, again)
    found.same("workload.context", workload.context, again)
    row = next((each for each in found.rows("rows") if each.value("own") is True), None)
    if row is None:
        found.refuse(f"measured other mechanisms than the model's own{again}")
    label, layers = row.word("layer"), {layer.label: layer for layer in scenario.model.distinct()}
    if label not in layers:
        found.refuse(f"measured layers of {label}, and the model has {', '.join(layers)}{again}")
    layer, dtype = layers[label], found.word("cache_dtype")
    formats = {scenario.cache_format.of(layer, tensor).name for tensor in layer.attention.cached()}
    if formats != {dtype}:
        asked = ", ".join(sorted(formats))
        found.refuse(f"measured a cache in {dtype}, and this is in {asked}; next: --cache-dtype {dtype}")
    seconds = row.number("median_s")
    bound = row.number("bound_s")
    number = scenario.model.distinct()[layer]
    return MeasuredSpeed(_machine(found), label, number, seconds, bound, seconds * number)


def _measured_anew(model: str | None, result: Estimate) -> str:
    """'; next: kvcalc bench ...', which measures what the estimate is of; of a model without a name nothing does."""
    if model is None:
        return ""
    scenario, workload = result.scenario, result.workload
    words = ["kvcalc", "bench", model, "-b", str(workload.batch), "-c", str(workload.context)]
    if scenario.cache_format_given:
        words += ["--cache-dtype", scenario.cache_format.name]
    return f"; next: {shlex.join([*words, '--json', '-o', f'{scenario.model.name}-bench.json'])}"


def _machine(found: _Read) -> str:
    """'AMD EPYC (cpu, 2 threads, torch 2.13.0)'."""
    device, threads = found.word("device"), found.number("threads")
    told = f"{threads:.0f} threads, " if device == "cpu" else ""
    return f"{found.word('device_name')} ({device}, {told}torch {found.word('torch')})"


class _Read:
    """Values of a file that nobody has checked, by their path."""

    def __init__(self, root: Any, shown: str) -> None:
        self._root, self._shown = root, shown

    def refuse(self, why: str) -> Never:
        raise KvcalcError(f"{self._shown}: {why}")

    def value(self, path: str) -> Any:
        """None where there is nothing."""
        found = self._root
        for key in path.split("."):
            found = found.get(key) if isinstance(found, dict) else None
        return found

    def word(self, path: str) -> str:
        """A name, on one line."""
        found = self.value(path)
        if not isinstance(found, str) or not found:
            self.refuse(f"has no {path}: it is not what kvcalc bench --json prints")
        return one_line(found, _LONGEST_NAME)

    def number(self, path: str) -> float:
        """A number from `LEAST` to `MOST`."""
        found = self.value(path)
        if isinstance(found, bool) or not isinstance(found, int | float) or not LEAST <= found <= MOST:
            self.refuse(f"{path} is no number from {LEAST:g} to {MOST:g}")
        return float(found)

    def rows(self, path: str) -> list[_Read]:
        """Objects of a list."""
        found = self.value(path)
        if not isinstance(found, list):
            self.refuse(f"has no {path}: it is not what kvcalc bench --json prints")
        return [_Read(each, self._shown) for each in found]

    def same(self, path: str, asked: object, again: str) -> None:
        """What was measured is what is asked."""
        found = self.value(path)
        if found != asked or isinstance(found, bool):
            told = one_line(str(found), _LONGEST_NAME)
            self.refuse(f"measured {path} {told}, and this is {asked}{again}")
