"""One scenario as the page shows it: the answer, the bar, the formulas, and the same JSON as the command line's."""

from __future__ import annotations

import re
import shlex
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from kvcalc import api
from kvcalc.catalogue.pasted import pasted_model
from kvcalc.errors import KvcalcError, nearest_or_all, one_line
from kvcalc.gpu import TOGETHER
from kvcalc.render.screens.capacity import capacity_report
from kvcalc.render.screens.estimate_terms import estimate_formulas
from kvcalc.render.screens.estimate_view import estimate_view
from kvcalc.render.screens.question import count
from kvcalc.render.view import Bar, Grid
from kvcalc.scenario.option import given_of, options_of
from kvcalc.scenario.options import ScenarioOptions
from kvcalc.units import with_unit
from kvcalc.web.blocks import block_data, line_data
from kvcalc.web.form import FIELDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.catalogue.found_model import FoundModel
    from kvcalc.verbs.estimate_result import Estimate

UNIT = "GiB"
PASTED = "pasted text"
"""What messages call a model's text."""
_SIZES = ("tp", "pp", "dp", "ep", "dcp", "dp_attention")
_HELD = 1
"""Of the grids of a capacity: the question, what is held, what a rank holds."""
_PASTED_AGAIN = re.compile(rf"next: kvcalc estimate '?{PASTED}'?((?: --assume \S+)+)")


def calculation(model: str | None, text: str | None, options: Mapping[str, str | None]) -> dict[str, Any]:
    """An estimate, the capacity of the deployment that it shows, and both in words.

    Args:
        model: a name or a hub id of the catalogue.
        text: of a model's file, instead.
        options: by their names in Python; a switch is on where its text is not empty.

    Raises:
        KvcalcError: anything that cannot be, with the option named.
    """
    found, given = asked_of(model, text, options)
    result = api.estimate(found, **given)
    blocks = estimate_view(replace(result, not_modelled=()), UNIT).blocks  # which the page lists with the formulas
    first, *rest = (block_data(block) for block in blocks if not isinstance(block, Bar))
    question, memory, further = rest
    if result.not_modelled:
        left_out = f"{count(len(result.not_modelled), 'thing')} not modelled: listed with the formulas"
        further["lines"].append(line_data(left_out))
    return {
        "estimate": result.to_dict(),
        "headline": first,
        "bar": next((block_data(block) for block in blocks if isinstance(block, Bar)), None),
        "question": question,
        "memory": memory,
        "further": further,
        "capacity": _capacity(found, given, result),
        "formulas": [block_data(block) for block in estimate_formulas(result, UNIT)],
        "notes": [with_unit(note.text, UNIT) for note in result.notes],
        "command": _command(model, given),
    }


def asked_of(model: str | None, text: str | None, options: Mapping[str, str | None]) -> tuple[Any, dict[str, Any]]:
    """A model as Python takes it, and the options that are given.

    Raises:
        KvcalcError: a name and a text, an option that the page has not, or a text that is no model.
    """
    if model is not None and text is not None:
        raise KvcalcError("model: give its name or its text, not both")
    given = _given(options)
    return (model if text is None else _pasted(text, given.pop("assume", None))), given


def shown_deployment(given: Mapping[str, Any], result: Estimate) -> dict[str, Any]:
    """The options, with the deployment that an estimate shows in the place of one to be found."""
    asked = {name: value for name, value in given.items() if name not in {*_SIZES, "gpus"}}
    return asked if TOGETHER in result.answer.gpu else asked | given_of(asdict(result.answer.deployment))


def _given(options: Mapping[str, str | None]) -> dict[str, Any]:
    known = options_of(ScenarioOptions)
    given: dict[str, Any] = {}
    for name, value in options.items():
        if name not in FIELDS:
            raise KvcalcError(f"options: the page has no '{name[:40]}'{nearest_or_all(name[:40], FIELDS)}")
        if value is None or not value.strip():
            continue
        option = known[name]
        given[name] = True if not option.metavar else value.split() if option.repeatable else value.strip()
    return given


def _pasted(text: str, assumed: list[str] | None) -> FoundModel:
    """The model of a text; a refusal says what to write in the page's own field."""
    option = options_of(ScenarioOptions)["assume"]
    try:
        return pasted_model(text, PASTED, None if assumed is None else option.read(assumed, option.label))
    except KvcalcError as error:
        error.args = tuple(_PASTED_AGAIN.sub(lambda said: f"next: assume{said[1]}", str(line)) for line in error.args)
        raise


def _capacity(model: Any, given: Mapping[str, Any], result: Estimate) -> dict[str, Any]:
    """What `kvcalc capacity` says of the deployment that the estimate shows; or why it says nothing."""
    try:
        found = api.capacity(model, **shown_deployment(given, result))
    except KvcalcError as error:
        return {"refused": [with_unit(one_line(str(line)), UNIT) for line in error.args]}
    first, *blocks = capacity_report(found, UNIT, explain=False, command="").view().blocks
    grids = [block for block in blocks if isinstance(block, Grid)]
    return {"result": found.to_dict(), "headline": block_data(first), "held": block_data(grids[_HELD])}


def _command(model: str | None, given: Mapping[str, Any]) -> str | None:
    """The same on a command line; None of a pasted text, whose file it would have to name."""
    if model is None:
        return None
    words = ["kvcalc", "estimate", model]
    for name, value in given.items():
        label = options_of(ScenarioOptions)[name].label
        if value is True:
            words.append(label)
        else:
            words += [word for each in (value if isinstance(value, list) else [value]) for word in (label, each)]
    return shlex.join(words)
