"""What a sweep reads where it runs: models of files and of the Hub, drafts, mixes, the cards of `--gpu auto`.

Partitions are made on other machines, and perhaps later. One that read something else would say something else under
the same words, so what is read is part of what a sweep is.
"""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING, Any

from kvcalc.catalogue import find_gpu, find_model
from kvcalc.errors import KvcalcError
from kvcalc.noun import every_field
from kvcalc.scenario.axes import axis_values
from kvcalc.scenario.option import read_options
from kvcalc.scenario.options import Assumptions, ScenarioOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Inputs = dict[str, str]
"""What is read, as it is given ('--model mine.yaml'), and a digest of what it is on this machine."""


def inputs_of(options: Mapping[str, Any]) -> Inputs:
    """All that the options of a sweep lead to on this machine."""
    return {name: _digest(read) for name, read in _reads(options)}


def _digest(read: Callable[[], object]) -> str:
    try:
        found = every_field(read())
    except KvcalcError as error:  # its rows have it too
        found = error.sentence
    return hashlib.sha256(found.encode(errors="replace")).hexdigest()[:16]


def _reads(options: Mapping[str, Any]) -> Iterator[tuple[str, Callable[[], object]]]:
    assumed = read_options(Assumptions, {"assume": options.get("assume")})["assume"]
    for named in _values(options, "model"):
        yield f"--model {named}", partial(_model, named, assumed)
    for card in _values(options, "gpu"):
        yield f"--gpu {card}", partial(find_gpu, card)
    if options.get("draft") is not None:
        yield f"--draft {options['draft']}", partial(_model, options["draft"], {})
    if options.get("mix") is not None:
        yield f"--mix {options['mix']}", partial(read_options, ScenarioOptions, {"mix": options["mix"]})


def _values(options: Mapping[str, Any], axis: str) -> list[str]:
    return [] if options.get(axis) is None else list(map(str, axis_values(axis, options[axis])))


def _model(named: str, assumed: Mapping[str, Any]) -> object:
    return find_model(named, assumed).model
