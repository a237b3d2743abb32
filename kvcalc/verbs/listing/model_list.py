"""The models of the catalogue as a list: all of them, those that a word names, those that fit an accelerator."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kvcalc.catalogue.name_index import paths_named
from kvcalc.catalogue.shipped import MODELS, read_model
from kvcalc.catalogue.suggestions import nearest_names
from kvcalc.errors import KvcalcError, either_of, nearest_or_all
from kvcalc.formats.element import COMPUTE_FORMATS
from kvcalc.formats.told import told_format
from kvcalc.mechanisms import KINDS
from kvcalc.note import Note, note
from kvcalc.verbs.listing.catalogue import ModelList, ModelRow
from kvcalc.verbs.listing.model_rows import row_of, shipped_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from kvcalc.gpu import Gpu
    from kvcalc.model.model import Model


_PLAIN = (None, *COMPUTE_FORMATS)
"""What the names of models say that are not other models again in another format of their weights."""

SORTS: Mapping[str, Callable[[ModelRow], Any]] = {
    "name": lambda row: row.name,
    "parameters": lambda row: -(row.parameters or 0),
    "cache": lambda row: (row.bytes_per_token, row.state_bytes_per_sequence),
    "context": lambda row: -(row.max_context or 0),
    "headroom": lambda row: -(row.headroom_bytes or 0),
}
"""What a list can be sorted by: names and caches from the least, the rest from the most."""


def list_models(
    word: str | None = None,
    *,
    kind: str | None = None,
    sort: str | None = None,
    fits: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> ModelList:
    """Models of the catalogue.

    Args:
        word: in one of their names, however it is spelled.
        kind: of attention that one of their layers has; several behind commas.
        sort: a key of SORTS; by name, or by parameters where an accelerator is asked for.
        fits: an accelerator, one of which holds them.
        options: of the scenario that it holds.

    Raises:
        KvcalcError: an unknown kind, key or accelerator, or an option without an accelerator.
    """
    kinds = _kinds(kind)
    by = sort or ("parameters" if fits else "name")
    if by not in SORTS:
        raise KvcalcError(f"--sort: '{by[:40]}' is no such key{nearest_or_all(by, SORTS)}")
    if options and fits is None:
        raise KvcalcError(f"--{min(options).replace('_', '-')}: is of an accelerator; --fits GPU names it")
    if by == "headroom" and fits is None:
        raise KvcalcError("--sort headroom: is of an accelerator; --fits GPU names it")
    paths = [*MODELS.glob("*.yaml")] if word is None else paths_named(word)
    if word is not None and not paths:
        return ModelList((), notes=(_none_named(word),))
    rows = [row for row in shipped_rows(paths) if not kinds or not kinds.isdisjoint(row.mechanisms)]
    if fits is None:
        return ModelList(_sorted(rows, by))
    from kvcalc.scenario.make import gpu_of

    card = gpu_of(fits)
    models = [read_model(MODELS / f"{row.name}.yaml") for row in rows]
    if options and "weight_dtype" in options:
        models = [model for model in models if told_format(model.name).stored in _PLAIN]
    found = _on(card, models, options or {})
    return replace(found, models=_sorted(found.models, by))


def _none_named(word: str) -> Note:
    """What may be meant by a word that is in no name."""
    nearest = nearest_names(word)
    names = () if nearest is None else tuple(path.stem for path in nearest.paths)
    meant = f"; did you mean {either_of(names)}?" if names else ""
    return note("no-model-named", f"no model has '{word[:60]}' in one of its names{meant}", names=names)


def _sorted(rows: Iterable[ModelRow], by: str) -> tuple[ModelRow, ...]:
    return tuple(sorted(rows, key=lambda row: (SORTS[by](row), row.name)))


def _kinds(text: str | None) -> set[str]:
    kinds = {each.strip().lower() for each in (text or "").split(",") if each.strip()}
    for each in sorted(kinds - KINDS.keys()):
        raise KvcalcError(f"--kind: no kind of attention '{each[:40]}'{nearest_or_all(each, KINDS)}")
    return kinds


def _on(card: Gpu, models: list[Model], options: Mapping[str, Any]) -> ModelList:
    """Those that one such accelerator holds."""
    from kvcalc.verbs.searching.on_card import LEFT_OUT, on_card

    rows: list[ModelRow] = []
    left, refused = Counter[str](), None
    for model in models:
        try:
            found = on_card(card, model, options)
        except KvcalcError as error:
            refused, found = refused or error, "refused"
        if isinstance(found, str):
            left[found] += 1
        else:
            rows.append(row_of(model, **found))
    if refused is not None and left["refused"] == len(models):
        raise refused
    return ModelList(tuple(rows), card.name, tuple(_notes(left, len(models), LEFT_OUT)))


def _notes(left: Counter[str], models: int, why_left: Mapping[str, str]) -> Iterator[Note]:
    if left:
        parts = (f"{left[why]:,} {words}" for why, words in why_left.items() if left[why])
        counts: dict[str, Any] = {why: left[why] for why in why_left}
        text = f"{left.total():,} of {models:,} models are left out: {', '.join(parts)}"
        yield note("models-left-out", text, **counts)
