"""The workload that is asked for: how many sequences of how many tokens, and what they share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.errors import KvcalcError
from kvcalc.named_tuple import NamedTuple
from kvcalc.note import Note, note
from kvcalc.scenario.reading import MAX_CONTEXT_WORD
from kvcalc.scenario.workload import Workload, default_context
from kvcalc.units import MAX_CONTEXT, check_count

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.engines import Engine
    from kvcalc.model.model import Model
    from kvcalc.scenario.mix import Mix


MEDIA = ("images", "image_size", "audio")
"""Options whose tokens are added to the context."""


class Asked(NamedTuple):
    """What is to be held.

    Attributes:
        shared_prefix: first tokens that sequences share; 0 of none.
        prefix_groups: how many such prefixes there are.
        notes: what was assumed.
    """

    workload: Workload
    shared_prefix: int
    prefix_groups: int
    notes: tuple[Note, ...]


def asked_workload(model: Model, engine: Engine, given: Mapping[str, Any]) -> Asked:
    """What the options ask for.

    Raises:
        KvcalcError: options that do not go together.
    """
    mix: Mix | None = given.get("mix")
    context, notes = _context(model, given) if mix is None else (mix.longest, ())
    if mix is not None:
        _check_mix(mix, engine, given)
        mix = None if mix.is_one_length else mix
    if any(given.get(name) is not None for name in MEDIA):
        tokens, told = _media_tokens(model, given)
        mix = None if mix is None else mix.with_input(tokens)
        context, notes = check_count(context + tokens, "--context", MAX_CONTEXT), (*notes, *told)
    prefix = given["shared_prefix"]
    shortest = context if mix is None else mix.shortest_input
    if prefix is not None and prefix > shortest:
        what = "context of" if mix is None else "shortest input of --mix,"
        raise KvcalcError(f"--shared-prefix: {prefix:,} tokens are more than the {what} {shortest:,}")
    if given["prefix_groups"] is not None and prefix is None:
        raise KvcalcError("--prefix-groups: of prefixes of how many tokens? Give --shared-prefix N")
    generated = 0 if mix is not None else given["output_tokens"] or 0
    workload = Workload(given["batch"], context, mix, generated)
    return Asked(workload, prefix or 0, given["prefix_groups"] or 1, notes)


def _media_tokens(model: Model, given: Mapping[str, Any]) -> tuple[int, tuple[Note, ...]]:
    """Tokens of images and sound in each request."""
    from kvcalc.scenario.images import image_tokens
    from kvcalc.scenario.sounds import sound_tokens

    images, told = image_tokens(model, given)
    sound, told_of_sound = sound_tokens(model, given)
    return images + sound, (*told, *told_of_sound)


def _check_mix(mix: Mix, engine: Engine, given: Mapping[str, Any]) -> None:
    for name, option in (("context", "--context"), ("input_tokens", "--input"), ("output_tokens", "--output")):
        if given[name] is not None:
            raise KvcalcError(f"{option}: --mix says how long requests are; give one or the other")
    if engine.one_length and len({kind.peak for kind in mix.kinds}) > 1:
        tokens = max(kind.input for kind in mix.kinds) + max(kind.output for kind in mix.kinds)
        raise KvcalcError(f"--mix: {engine.one_length}; give --context {tokens}")


def _context(model: Model, given: Mapping[str, Any]) -> tuple[int, tuple[Note, ...]]:
    """The tokens of each sequence, and what is to be noted of them."""
    context, prompt, generated = given["context"], given["input_tokens"], given["output_tokens"]
    if prompt is not None or generated is not None:
        if context is not None:
            raise KvcalcError("--context: is --input plus --output; give one or the other")
        if prompt is None or generated is None:
            raise KvcalcError("--input and --output go together: the context is their sum")
        return check_count(prompt + generated, "--context", MAX_CONTEXT), ()
    if context is None:
        tokens = default_context(model.max_context)
        taken = f"context is not given: {tokens:,} is used (-c sets it)"
        return tokens, (note("default-context", taken, context=tokens),)
    if context != MAX_CONTEXT_WORD:
        return context, ()
    if model.max_context is None:
        raise KvcalcError(f"--context: {model.name} does not say its max_context; give a number")
    return model.max_context, ()
