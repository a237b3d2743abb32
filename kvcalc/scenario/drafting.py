"""What drafts tokens that the model then checks: a model of its own, or layers of the model's own file (MTP)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kvcalc.catalogue import find_model
from kvcalc.deployment import Deployment
from kvcalc.errors import KvcalcError
from kvcalc.model.mtp import mtp_model
from kvcalc.note import note
from kvcalc.scenario.scenario import Replacements, Scenario, cache_format, once

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.engines import Engine
    from kvcalc.engines.cache_format import CacheFormat
    from kvcalc.model.model import Model
    from kvcalc.note import Note


@dataclass(frozen=True, slots=True)
class Drafting:
    """What drafts tokens.

    Attributes:
        model: its layers and its weights.
        cache_format: of its cache.
        own_layers: whether it is layers of the model's own file, which lie on the ranks of the model as its others do.
        tp: ranks that share it, where that is asked for.
        tokens: drafted a step, where that is known.
        weights: bytes of one copy of its weights, where they are stated.
    """

    model: Model
    cache_format: CacheFormat
    own_layers: bool = False
    tp: int | None = None
    tokens: int | None = None
    weights: int | None = None

    @property
    def weighs(self) -> bool:
        """Whether its weights are known."""
        return self.weights is not None or self.model.parameters is not None or bool(self.model.weights)


class Asked(NamedTuple):
    """What is asked to draft.

    Attributes:
        what: None where nothing drafts.
        engine: told how many tokens are drafted a step.
    """

    what: Drafting | None
    engine: Engine
    notes: tuple[Note, ...] = ()


def drafting_of(model: Model, engine: Engine, given: Mapping[str, Any]) -> Asked:
    """What drafts tokens.

    Args:
        model: whose tokens are drafted.
        engine: with its options as they are given.
        given: every option of a scenario, read.

    Raises:
        KvcalcError: it cannot be, with the option named.
    """
    named, tokens = given["draft"], given["mtp"]
    if named is None and given["draft_tp"] is not None:
        raise KvcalcError("--draft-tp: goes with --draft MODEL; layers of the model's own lie on its own ranks")
    if named is None and tokens is None:
        if given["draft_weights"] is not None:
            raise KvcalcError("--draft-weights: goes with --draft MODEL or --mtp N")
        return Asked(_of_option(model, engine, given), engine)
    option = "--draft" if tokens is None else "--mtp"
    if named is not None and tokens is not None:
        raise KvcalcError("--mtp: the model's own layers draft, or --draft a model of its own; give one of them")
    if not engine.drafts:
        raise KvcalcError(
            f"{option}: kvcalc does not follow what {engine.name} keeps of what drafts; --engine exact counts it"
        )
    drafts, notes = (mtp_model(model), ()) if named is None else _named(named)
    drafting = Drafting(
        drafts,
        _kept_in(drafts, engine, given),
        own_layers=named is None,
        tp=given["draft_tp"],
        tokens=tokens,
        weights=given["draft_weights"],
    )
    if not drafting.weighs:
        raise KvcalcError(
            f"{option}: what {drafts.name} weighs is not known, since its file does not tell it; --draft-weights SIZE "
            "gives the bytes of a copy"
        )
    told, name = _drafting_engine(engine, drafting), engine.drafting_option
    if told is not engine and tokens is None:
        taken = f"{name} is not given: 1 is taken (--engine-option {name}=N sets it)"
        notes = (*notes, note("drafted-tokens", taken, drafted=1))
    return Asked(drafting, told, notes)


def _of_option(model: Model, engine: Engine, given: Mapping[str, Any]) -> Drafting | None:
    """The model's own layers, where the engine's option asks for drafted tokens and nothing says what drafts them."""
    tokens = dict(engine.given).get(engine.drafting_option or "")
    if not tokens or not model.mtp_layers:
        return None
    drafts = mtp_model(model)
    return Drafting(drafts, _kept_in(drafts, engine, given), own_layers=True, tokens=tokens)


def _kept_in(drafts: Model, engine: Engine, given: Mapping[str, Any]) -> CacheFormat:
    return cache_format(drafts, given["cache_dtype"], given["conv_dtype"], given["state_dtype"], engine.tensor_names)


def _named(named: Model | str | Path) -> tuple[Model, tuple[Note, ...]]:
    """A draft, and the notes of its file."""
    if not isinstance(named, str | Path):
        return named, ()
    found = find_model(str(named), {})
    own = (each for each in found.notes if each.code != "parameters-not-counted")
    return found.model, tuple(replace(each, text=f"draft: {each.text}") for each in own)


def _drafting_engine(engine: Engine, drafting: Drafting) -> Engine:
    """The engine with its own option for the tokens that are drafted a step.

    Raises:
        KvcalcError: the option is given, and says another number.
    """
    name = engine.drafting_option
    stated = dict(engine.given).get(name or "")
    if name is None or stated == (drafting.tokens or stated or 1):
        return engine
    if stated and drafting.tokens not in {None, stated}:
        raise KvcalcError(f"--mtp: {drafting.tokens} tokens a step, and --engine-option {name} says {stated}")
    return replace(engine, given=tuple(sorted({**dict(engine.given), name: drafting.tokens or 1}.items())))


@once
def draft_scenario(scenario: Scenario) -> Scenario | None:
    """The scenario of the draft alone: nothing of it is left to searches. None where nothing drafts."""
    drafting = scenario.drafting
    if drafting is None:
        return None
    return replace(
        scenario,
        model=drafting.model,
        cache_format=drafting.cache_format,
        engine=scenario.engine.for_draft(),
        drafting=None,
        deployment=None,
        gpu_limit=None,
        weight_format=scenario.weight_format if drafting.own_layers else None,
        replacements=Replacements(weights=drafting.weights),
        weights_as=None,
        spill=False,
        origin=f"the draft {drafting.model.name}",
        notes=(),
    )


def draft_deployment(scenario: Scenario, deployment: Deployment) -> Deployment:
    """The ranks that share a draft: all on one pipeline stage.

    Raises:
        KvcalcError: they cannot.
    """
    drafting = scenario.drafting
    if drafting is None:
        raise TypeError("nothing drafts")
    if drafting.own_layers:
        return replace(deployment, pp=1)
    return Deployment(scenario.engine.draft_tp(drafting.tp, deployment.tp))


def draft_copies(scenario: Scenario, deployment: Deployment) -> int:
    """How often the ranks of a replica hold a draft."""
    return deployment.tp // draft_deployment(scenario, deployment).tp
