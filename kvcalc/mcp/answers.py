"""What tools answer that is more than a call of Python: models by name or text, lists, logs and rows."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from kvcalc import api
from kvcalc.access import in_folder
from kvcalc.catalogue import find_model
from kvcalc.catalogue.models import named_model
from kvcalc.catalogue.pasted import pasted_model
from kvcalc.errors import KvcalcError
from kvcalc.ladders import ladder, varied
from kvcalc.logs import read_log_text
from kvcalc.logs.log_text import MAX_BYTES, STDIN
from kvcalc.record import SCHEMA_VERSION, Result
from kvcalc.verbs.listing.catalogue import show_model
from kvcalc.verbs.listing.model_list import list_models
from kvcalc.verbs.listing.model_list_options import Chosen
from kvcalc.verbs.log_check import check_log

if TYPE_CHECKING:
    from collections.abc import Callable

Arguments = dict[str, Any]

MOST_ROWS = 1000
MOST_ANSWERS = 50
_MAY_BE_FILES = ("draft", "trace", "from_file", "mix")
"""Options that may name a file, which is then named as in a folder that may be read."""


class Rows(NamedTuple):
    """What a sweep answers."""

    rows: list[dict[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """Its object in JSON."""
        return {"schema_version": SCHEMA_VERSION, "command": "sweep", "rows": self.rows}


def files_of(given: Arguments) -> Arguments:
    """The arguments, with files by their paths.

    Raises:
        KvcalcError: standard input is named, which a server has none of.
    """
    named = {name: given[name] for name in _MAY_BE_FILES if isinstance(given.get(name), str)}
    for name, file in named.items():
        if file == STDIN:
            raise KvcalcError(f"{name}: a server has no standard input for it; name a file")
    return {**given, **{name: in_folder(file) for name, file in named.items()}}


def model_of(given: Arguments) -> Any:
    """The model of a call, taken out of its arguments: a name, or what a text describes."""
    name, text = given.pop("model", None), given.pop("model_text", None)
    if name is not None and text is not None:
        raise KvcalcError("model: give its name or its text, not both")
    if text is not None:
        return pasted_model(text, "model_text", given.pop("assume", None))
    return None if name is None else _located(name)


def one_or_several(of: Callable[..., Any], model: Any, given: Arguments) -> Result:
    """An answer, or one for each of the values of some options ('4Ki,16Ki').

    Raises:
        KvcalcError: anything that cannot be, or more answers than are read.
    """
    several = varied(of, given)
    found: Any = ladder(of, model, **given) if several else of(model, **given)
    if several and len(found.rows) > MOST_ANSWERS:
        raise KvcalcError(f"{len(found.rows):,} answers are more than {MOST_ANSWERS}; sweep gives a row for each")
    answer: Result = found
    return answer


def _located(name: str) -> str:
    """A name of the catalogue, or the path of a file that is named as in a folder which may be read."""
    return in_folder(name) if named_model(name) is None else name


def compare(given: Arguments) -> Result:
    several = given.pop("models", None)
    if several is None:
        model = model_of(given)
        return one_or_several(api.compare, None if model is None else [model], given)
    if not several or "model" in given or "model_text" in given:
        raise KvcalcError("models: one or more of them, and neither model nor model_text beside them")
    return one_or_several(api.compare, [_located(each) for each in several], given)


def sweep(given: Arguments) -> Rows:
    models = given.pop("model", None)
    if isinstance(models, list):
        models = [_located(each) for each in models]
    rows = [row.to_dict() for row in islice(api.sweep(models, **given), MOST_ROWS + 1)]
    if len(rows) > MOST_ROWS:
        raise KvcalcError(
            f"sweep: more than {MOST_ROWS:,} scenarios; narrow the axes, or have kvcalc sweep write a file"
        )
    return Rows(rows)


def from_log(given: Arguments) -> Result:
    log = given.pop("log")
    model = model_of(given)
    return check_log(read_log_text(log[:MAX_BYTES]), model, given, cut=len(log) > MAX_BYTES)


def models_list(given: Arguments) -> Result:
    chosen = {name: given.pop(name, None) for name in ("word", *Chosen.__annotations__)}
    return list_models(chosen.pop("word"), **chosen, options=given)


def models_show(given: Arguments) -> Result:
    assumed = given.get("assume")
    model = model_of(given)
    if model is None:
        raise KvcalcError("model: missing; give its name (models_list has them) or its text")
    found = find_model(model, assumed) if isinstance(model, str) else model
    return show_model(found.model, found.text)
