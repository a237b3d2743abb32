"""What is asked to lie beside a model: what drafts its tokens, and adapters. Imported only where one is asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvcalc.catalogue import find_model
from kvcalc.engines.lora import Lora, with_known_modules
from kvcalc.errors import KvcalcError
from kvcalc.model.mtp import mtp_model
from kvcalc.note import note
from kvcalc.scenario.drafting import Drafting
from kvcalc.scenario.options.drafting import MOST_DRAFTED
from kvcalc.scenario.scenario import cache_format

if TYPE_CHECKING:
    from collections.abc import Mapping
    from fractions import Fraction

    from kvcalc.engines import Engine
    from kvcalc.engines.cache_format import CacheFormat
    from kvcalc.model.model import Model
    from kvcalc.note import Note

_ASSUMED_OF_A_DRAFT = "of a draft: kvcalc models import FILE --assume KEY=VALUE -o draft.yaml, then --draft draft.yaml"
_ESTIMATE, _IMPORT = "next: kvcalc estimate ", "next: kvcalc models import "
NOT_COUNTED = "parameters-not-counted"
Asked = tuple[Drafting | None, "Engine", tuple["Note", ...]]
"""What drafts, the engine, which is told how many tokens are drafted a step, and notes."""


def drafting_of(model: Model, engine: Engine, given: Mapping[str, Any]) -> Asked:
    """What drafts tokens.

    Args:
        model: whose tokens are drafted.
        engine: with its options as they are given.
        given: every option of a scenario, read.

    Raises:
        KvcalcError: it cannot be, with the option named.
    """
    named, tokens = given["draft"], given["mtp"] or given["draft_tokens"]
    if named is None and given["draft_tp"] is not None:
        raise KvcalcError("--draft-tp: goes with --draft MODEL; layers of the model's own lie on its own ranks")
    if named is None and given["draft_tokens"] is not None:
        raise KvcalcError("--draft-tokens: goes with --draft MODEL; --mtp N says how many the model's own layers draft")
    if named is None and tokens is None:
        if given["draft_weights"] is not None:
            raise KvcalcError("--draft-weights: goes with --draft MODEL or --mtp N")
        return _of_option(model, engine, given), engine, ()
    option = "--draft" if given["mtp"] is None else "--mtp"
    if named is not None and given["mtp"] is not None:
        raise KvcalcError("--mtp: the model's own layers draft, or --draft a model of its own; give one of them")
    if not engine.drafts:
        raise KvcalcError(
            f"{option}: kvcalc does not follow what {engine.name} keeps of what drafts; --engine exact counts it"
        )
    own = named is None
    drafts, told_of = (engine.own_draft(model) or mtp_model(model), ()) if own else _named(named)
    unknown = next((f" ({each.data['reason']})" for each in told_of if each.code == NOT_COUNTED), "")
    notes = tuple(each for each in told_of if each.code != NOT_COUNTED)
    drafting = Drafting(
        drafts,
        _kept_in(drafts, engine, given),
        own_layers=own,
        without_table=own or any(each.code == "draft-embedding-not-counted" for each in notes),
        tp=given["draft_tp"],
        tokens=tokens,
        weights=given["draft_weights"],
        acceptance_length=given["acceptance_length"],
    )
    if not drafting.weighs:
        raise KvcalcError(
            f"{option}: what {drafts.name} weighs is not known, since its file does not tell it{unknown}; "
            "--draft-weights SIZE gives the bytes of a copy"
        )
    told, name = _drafting_engine(engine, drafting), engine.drafting_option
    _check_length(given["acceptance_length"], tokens or dict(told.given).get(name or ""))
    if told is not engine and tokens is None:
        taken = f"{name} is not given: 1 is used (--engine-option {name}=N sets it)"
        notes = (*notes, note("drafted-tokens", taken, drafted=1))
    return drafting, told, notes


def _of_option(model: Model, engine: Engine, given: Mapping[str, Any]) -> Drafting | None:
    """The model's own layers, where the engine's option asks for drafted tokens and nothing says what drafts them."""
    tokens, length = dict(engine.given).get(engine.drafting_option or ""), given["acceptance_length"]
    drafts = engine.own_draft(model) if tokens else None
    if drafts is None:
        if length is not None:
            raise KvcalcError("--acceptance-length: goes with --draft MODEL or --mtp N")
        return None
    _check_length(length, tokens)
    return Drafting(
        drafts,
        _kept_in(drafts, engine, given),
        own_layers=True,
        tokens=tokens,
        without_table=True,
        acceptance_length=length,
    )


def _check_length(length: Fraction | None, tokens: int | None) -> None:
    """What a step makes on average is a token of the model's own, and at most all that are drafted."""
    most = MOST_DRAFTED if tokens is None else tokens
    if length is not None and not 1 <= length <= most + 1:
        drafted = "" if tokens is None else f": {tokens} drafted and one of the model's own"
        raise KvcalcError(
            f"--acceptance-length: {float(length):g} tokens a step cannot be; from 1 to {most + 1}{drafted}"
        )


def _kept_in(drafts: Model, engine: Engine, given: Mapping[str, Any]) -> CacheFormat:
    formats = given["cache_dtype"], given["conv_dtype"], given["state_dtype"]
    try:
        return cache_format(drafts, *formats, engine.tensor_names)
    except KvcalcError as error:
        raise _of_draft(error) from error


def _of_draft(error: KvcalcError) -> KvcalcError:
    """The same, which is of a draft and not of the model, of whose file alone --assume is."""
    first, *others = error.args
    told = f"{first} ({_ASSUMED_OF_A_DRAFT})" if "--assume" in first else first
    steps = (f"{_IMPORT}{each.removeprefix(_ESTIMATE)} -o draft.yaml" if _is_step(each) else each for each in others)
    again = type(error)(f"--draft: {told}", *steps)
    again.__dict__ |= error.__dict__  # the name that was typed
    return again


def _is_step(line: str) -> bool:
    return line.startswith(_ESTIMATE) and "--assume" in line


def _named(named: Model | str | Path) -> tuple[Model, tuple[Note, ...]]:
    """A draft, and the notes of its file."""
    if not isinstance(named, str | Path):
        return named, ()
    try:
        found = find_model(str(named), {})
    except KvcalcError as error:
        raise _of_draft(error) from error
    return found.model, tuple(replace(each, text=f"draft: {each.text}") for each in found.notes)


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
        option = "--mtp" if drafting.own_layers else "--draft-tokens"
        raise KvcalcError(f"{option}: {drafting.tokens} tokens a step, and --engine-option {name} says {stated}")
    return replace(engine, given=tuple(sorted({**dict(engine.given), name: drafting.tokens or 1}.items())))


def adapters_of(engine: Engine, model: Model, given: Mapping[str, Any]) -> Lora | None:
    """The adapters that the engine has memory for.

    Raises:
        KvcalcError: there can be none, or it is not known what they take.
    """
    asked = Lora(given["lora"] or 0, given["max_loras"], given["lora_modules"])
    if not asked.rank:
        for option in ("max_loras", "lora_modules"):
            if given[option] is not None:
                raise KvcalcError(f"--{option.replace('_', '-')}: goes with --lora RANK")
        return None
    return engine.adapters(with_known_modules(asked, model), model)
