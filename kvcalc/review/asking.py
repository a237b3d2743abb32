"""Which options of one question each verb is asked with, and the command line that asks it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from kvcalc.api import capacity, compare, estimate, plan
from kvcalc.errors import KvcalcError
from kvcalc.review.pictures import accelerators
from kvcalc.review.review import Asked
from kvcalc.scenario.option import options_of
from kvcalc.scenario.options import CapacityOptions, CompareOptions, PlanOptions, ScenarioOptions
from kvcalc.scenario.options.deployment import Sizes, Spill
from kvcalc.scenario.options.plan import Sizing
from kvcalc.scenario.spelled import typed_anew

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class Verb(NamedTuple):
    """A verb that can be asked.

    Attributes:
        takes: the table of its options.
        without: options that a report does not hand on to it.
    """

    name: str
    ask: Callable[..., Any]
    takes: Any
    without: frozenset[str] = frozenset()


ESTIMATE = Verb("estimate", estimate, ScenarioOptions)
CAPACITY = Verb("capacity", capacity, CapacityOptions, frozenset(options_of(Spill)))
PLAN = Verb("plan", plan, PlanOptions, frozenset(options_of(Sizes)))  # which it looks for
COMPARE = Verb("compare", compare, CompareOptions)


def ask(verb: Verb, models: str | Sequence[str] | None, given: Mapping[str, Any]) -> Asked:
    """A verb's answer to a question, or its refusal.

    Args:
        verb: which.
        models: as that verb takes them.
        given: options of a report.
    """
    options = options_of(verb.takes)
    takes = {name: value for name, value in given.items() if name in options and name not in verb.without}
    if "gpu" in takes and verb is not PLAN:
        takes["gpu"] = accelerators(given)[0]
    command = typed_anew(verb.name, models, takes, options)
    try:
        return Asked(verb.name, command, verb.ask(models, **takes))
    except KvcalcError as error:
        return Asked(verb.name, command, None, tuple(map(str, error.args)))


def is_sized(given: Mapping[str, Any]) -> bool:
    """Whether the batch follows from tokens or requests a second, which a plan works out."""
    return any(name in given for name in options_of(Sizing))
