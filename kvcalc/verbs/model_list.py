"""The models of the catalogue as a list: all of them, those that a word names, those that fit an accelerator."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from kvcalc.catalogue import shipped_models
from kvcalc.catalogue.name_index import paths_named
from kvcalc.deployment import Deployment
from kvcalc.engines import ContentCounter, RankLoad
from kvcalc.engines.content import rows_rate
from kvcalc.errors import KvcalcError, nearest_or_all
from kvcalc.formats.element import COMPUTE_FORMATS
from kvcalc.formats.told import told_format
from kvcalc.mechanisms import KINDS
from kvcalc.memory import Fit, Ranks
from kvcalc.note import Note, note
from kvcalc.scenario import cache_format
from kvcalc.scenario.make import gpu_of, make_scenario
from kvcalc.verbs.candidate import evaluate
from kvcalc.verbs.capacity_search import replica_of, usual
from kvcalc.verbs.listing import ModelList, ModelRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

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
    models = [found.model for found in shipped_models(None if word is None else paths_named(word))]
    if kinds:
        models = [model for model in models if kinds & {layer.attention.kind for layer in model.distinct()}]
    if fits is None:
        return ModelList(_sorted([_row(model) for model in models], by))
    card = gpu_of(fits)
    if options and "weight_dtype" in options:
        models = [model for model in models if told_format(model.name).stored in _PLAIN]
    tried = [_on(card, model, options or {}) for model in models]
    rows = [each for each in tried if isinstance(each, ModelRow)]
    refused = [each for each in tried if isinstance(each, KvcalcError)]
    if refused and len(refused) == len(models):
        raise refused[0]
    left = Counter("refused" if isinstance(each, KvcalcError) else str(each) for each in tried if each not in rows)
    return ModelList(_sorted(rows, by), card.name, tuple(_notes(left, len(models))))


def _sorted(rows: list[ModelRow], by: str) -> tuple[ModelRow, ...]:
    return tuple(sorted(rows, key=lambda row: (SORTS[by](row), row.name)))


def _kinds(text: str | None) -> set[str]:
    kinds = {each.strip().lower() for each in (text or "").split(",") if each.strip()}
    for each in sorted(kinds - KINDS.keys()):
        raise KvcalcError(f"--kind: no kind of attention '{each[:40]}'{nearest_or_all(each, KINDS)}")
    return kinds


LEFT_OUT = {
    "too_large": "are larger",
    "too_close": "fit only with less temporary memory than is usual",
    "context_too_short": "have a shorter context",
    "not_known": "have weights that are not known",
    "refused": "are not served so",
}
"""Why models do not stand in the list, and the names of their numbers in its note."""


def _on(card: Gpu, model: Model, options: Mapping[str, Any]) -> ModelRow | str | KvcalcError:
    """The model on one accelerator; a key of LEFT_OUT where it does not fit, an error where it is not served."""
    try:
        scenario = make_scenario(model, gpu=card, **options)
        context, alone, ranks = scenario.workload.context, Deployment(), Ranks(scenario)
        if context > (model.max_context or context):
            return "context_too_short"
        if (why := ranks.why_not_served(alone)) is not None:
            return KvcalcError(why)
        found = evaluate(scenario, alone, ranks)
        if not found.weights_known:
            return "not_known"
        if found.fit is Fit.NO or found.least_headroom < 0:
            return "too_large" if found.fit is Fit.NO else "too_close"
        sequences = replica_of(scenario, alone, usual, ranks).most_sequences(context)
    except KvcalcError as error:
        return error
    return _row(
        model,
        context=context,
        bytes_per_gpu=found.total_bytes,
        headroom_bytes=found.least_headroom,
        tight=found.fit is Fit.TIGHT,
        sequences=sequences,
    )


def _notes(left: Counter[str], models: int) -> Iterator[Note]:
    if left:
        parts = (f"{left[why]:,} {words}" for why, words in LEFT_OUT.items() if left[why])
        counts: dict[str, Any] = {why: left[why] for why in LEFT_OUT}
        text = f"{left.total():,} of {models:,} models are left out: {', '.join(parts)}"
        yield note("models-left-out", text, **counts)


def _row(model: Model, **of_accelerator: Any) -> ModelRow:
    kinds = model.distinct()
    formats = cache_format(model, None)
    rate = rows_rate(ContentCounter(formats).rows(kinds, 1), RankLoad(kinds, 1, 1, 1, formats))
    return ModelRow(
        name=model.name,
        mechanisms=tuple(dict.fromkeys(layer.attention.kind for layer in kinds)),
        layers=model.num_layers,
        bytes_per_token=rate.bytes_per_token,
        state_bytes_per_sequence=rate.state_bytes_per_sequence,
        dtype=formats.name,
        parameters=model.parameters,
        max_context=model.max_context,
        hub_ids=model.hub_ids,
        **of_accelerator,
    )
