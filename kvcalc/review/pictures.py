"""The pictures of a review: each a question to `kvcalc.plot`, with the review's own options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.api import plot
from kvcalc.noun import Noun, noun
from kvcalc.scenario.option import options_of
from kvcalc.scenario.options import PlotOptions
from kvcalc.scenario.options.deployment import Sizes
from kvcalc.scenario.spelled import typed_anew

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kvcalc.charts.picture import Picture
    from kvcalc.verbs.estimate_result import Estimate

_SIZES = frozenset(options_of(Sizes))
_LENGTHS = frozenset({"context", "input_tokens", "output_tokens", "mix"})

_OVER = {
    "cache": _LENGTHS,
    "sequences": _LENGTHS | {"batch"},
    "memory": frozenset[str](),
    "gpus": _SIZES | {"batch"},
}
"""Kinds of pictures, and the options that each goes over or looks for, so that it is not asked with them."""

_ON_A_DEPLOYMENT = ("cache", "sequences")
_LEAST_BATCHES = 256
"""How far GPUs are shown, at least."""


@noun
class Pictured(Noun):
    """A picture that can be drawn.

    Attributes:
        kind: as that of `kvcalc.plot`.
        models: names and paths; none where numbers of the options describe one.
        options: of `kvcalc.plot`.
    """

    kind: str
    models: tuple[str, ...]
    options: Mapping[str, Any]

    @property
    def command(self) -> str:
        """The command line that draws the same."""
        return typed_anew(f"plot {self.kind}", self.models, self.options, options_of(PlotOptions))

    def draw(self, unit: str) -> Picture:
        """The picture.

        Args:
            unit: of sizes.

        Raises:
            KvcalcError: there is no such picture of these options.
        """
        return plot(self.kind, self.models or None, unit=unit, **self.options)


def pictures(models: Sequence[str], given: Mapping[str, Any], answer: Estimate | None) -> Iterator[Pictured]:
    """Of one model, those against context are on the deployment of its estimate where none is given.

    Args:
        models: all of the review.
        given: options of the report, with a batch in the place of what it follows from.
        answer: the estimate of the first model; None where it refused.
    """
    taken = options_of(PlotOptions)
    found = {} if answer is None or len(models) > 1 or _SIZES & given.keys() else _deployment(answer)
    for kind, over in _OVER.items():
        options = {name: value for name, value in given.items() if name in taken and name not in over}
        if "gpu" in given:
            named = accelerators(given)
            options["gpu"] = ",".join(named) if kind == "gpus" else named[0]
        if kind in _ON_A_DEPLOYMENT:
            options |= found
        if kind == "gpus" and answer is not None and answer.question.batch > _LEAST_BATCHES:
            options["batch"] = _batches(answer.question.batch)
        yield Pictured(kind, tuple(models), options)


def _deployment(answer: Estimate) -> dict[str, int]:
    """Options of the smallest deployment that holds the workload."""
    smallest = answer.gpus.deployment
    if smallest is None:
        return {}
    return {name: size for name in ("tp", "pp", "dp") if (size := getattr(smallest, name)) > 1}


def _batches(batch: int) -> str:
    """Powers of two from 1 to the first that is not below the batch."""
    return ",".join(str(2**each) for each in range((batch - 1).bit_length() + 1))


def accelerators(given: Mapping[str, Any]) -> list[str]:
    """Those that are named, each by itself."""
    named = given["gpu"] if isinstance(given["gpu"], (list, tuple)) else [given["gpu"]]
    return [part.strip() for name in named for part in name.split(",")]
