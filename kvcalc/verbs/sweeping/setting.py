"""A setting: all of a scenario but its batch and its context, settled once, and asked for its rows."""

from __future__ import annotations

from collections import OrderedDict
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from kvcalc.deployment import Deployment
from kvcalc.errors import KvcalcError
from kvcalc.legality import check_legal
from kvcalc.memory import Ranks
from kvcalc.scenario.asked_workload import MEDIA
from kvcalc.scenario.make import BESIDE, make_scenario
from kvcalc.scenario.reading import MAX_CONTEXT_WORD
from kvcalc.units import MAX_BATCH, MAX_CONTEXT
from kvcalc.verbs.sweeping.columns import FIELDS, error_columns
from kvcalc.verbs.sweeping.even import EvenRows
from kvcalc.verbs.sweeping.one_by_one import row_of
from kvcalc.verbs.sweeping.smallest_known import SmallestKnown

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence

    from kvcalc.scenario import Scenario
    from kvcalc.verbs.sweeping.columns import Columns

_SETTLED_ONCE = frozenset(
    {
        *("cache_dtype", "weight_dtype", "state_dtype", "conv_dtype", "dtype", "parameters", "assume", "shared_prefix"),
        *("input_tokens", "output_tokens", "prefix_groups", "weights", "temporary", "overhead", "reserve", "engine"),
        *(
            "engine_option",
            "block_size",
            "gpu",
            "gpu_memory",
            "utilization",
            "node_size",
            "tp",
            "pp",
            "dp",
            "ep",
            "dcp",
        ),
        *("dcp", "dp_attention", "allow_pp", *BESIDE),
        *(
            "layers",
            "heads",
            "kv_heads",
            "head_dim",
            "v_head_dim",
            "kv_lora_rank",
            "qk_rope_head_dim",
            "window",
        ),
    }
)
"""Options with which rows may share what is settled once. With any other a row is a whole estimate of its own."""

_CONTEXTS = 64
"""Of an engine that lays out models for each anew, those that are remembered."""

_CONTEXTS_TOLD = 4096
"""Contexts of which it is remembered what an engine makes of them: a sweep comes back to them with every batch."""


class Family:
    """What settings have in common that differ in their deployments alone."""

    def __init__(self) -> None:
        self._known: OrderedDict[Hashable, SmallestKnown] = OrderedDict()

    def known(self, scenario: Scenario, made: Hashable = None) -> SmallestKnown:
        """What is known of smallest deployments, of all contexts of which an engine makes the same."""
        if made not in self._known:
            self._known[made] = SmallestKnown(scenario)
            if len(self._known) > _CONTEXTS:
                self._known.popitem(last=False)
        return self._known[made]

    def forget(self) -> None:
        """Let go of what is remembered of single workloads."""
        for known in self._known.values():
            known.ranks.forget()


class _EachRow:
    """Rows of an engine, one by one: ranks are settled once for all contexts of which it makes the same."""

    def __init__(self, scenario: Scenario, family: Family, fields: Sequence[str], *, shares: bool) -> None:
        self._scenario, self._family, self._fields, self._shares = scenario, family, fields, shares

    @cached_property
    def _made(self) -> Callable[[int], Hashable]:
        """What the engine makes of a context."""
        return lru_cache(maxsize=_CONTEXTS_TOLD)(Ranks(self._scenario).made_of_longest)

    def over_batch(self, context: int, batches: Sequence[int]) -> Columns:
        rows = [self._row(batch, context) for batch in batches]
        return {name: [row[name][0] for row in rows] for name in self._fields}

    def over_contexts(self, batch: int, contexts: Sequence[int]) -> Iterator[Columns]:
        rows = [self._row(batch, context) for context in contexts]
        yield {**{name: [row[name][0] for row in rows] for name in self._fields}, "context": contexts}

    def _row(self, batch: int, context: int) -> Columns:
        scenario = self._scenario.with_workload(batch, context)
        if not self._shares:
            return row_of(scenario, self._fields)
        return row_of(scenario, self._fields, self._family.known(scenario, self._made(context)))


class Setting:
    """A model with every option but batch and context."""

    def __init__(
        self, model: Any, options: Mapping[str, Any], fields: Sequence[str], family: Family | None = None
    ) -> None:
        self._model, self._options, self._fields = model, options, fields
        self._alone = False
        self._contexts: dict[Any, int | None] = {}
        self._error: str | None = None
        self._least = 1
        in_parts = any(options.get(name) is not None for name in ("input_tokens", "output_tokens", "mix", *MEDIA))
        try:
            scenario = make_scenario(model, **options, batch=1, context=None if in_parts else MAX_CONTEXT)
            self._least, self._alone = max(1, scenario.shared_prefix), scenario.workload.mix is not None
            # tokens of images and sound are added to the context of each row
            self._alone |= any(options.get(name) is not None for name in MEDIA)
            self._rows = self._rows_of(scenario, family or Family())
        except KvcalcError as error:
            # with a row's own batch and context another error may come first
            self._error, self._alone = error.sentence, in_parts or options.get("shared_prefix") is not None

    def _rows_of(self, scenario: Scenario, family: Family) -> EvenRows | _EachRow:
        given = {name for name, value in self._options.items() if value is not None and value is not False}
        shares = given <= _SETTLED_ONCE and set(self._fields) <= set(FIELDS)
        if not scenario.engine.plain or not shares:
            return _EachRow(scenario, family, self._fields, shares=shares)
        deployment, known = scenario.deployment or Deployment(), family.known(scenario)
        check_legal(deployment, scenario.model)
        if any(rank.stretch(scenario.workload.context) is None for rank in known.ranks.of(deployment)):
            return _EachRow(scenario, family, self._fields, shares=shares)
        return EvenRows(scenario, known, self._fields)

    def context(self, given: Any) -> int | None:
        """The context that a value of its axis is; None where that is to be said by who reads it."""
        if type(given) is int and self._least <= given <= MAX_CONTEXT:
            return given
        if given is not None and given != MAX_CONTEXT_WORD:
            return None
        if given not in self._contexts:
            try:
                made = make_scenario(self._model, **self._options, batch=1, context=given)
                self._contexts[given] = made.workload.context
            except KvcalcError:
                self._contexts[given] = None
        return self._contexts[given]

    def over_batch(self, context: Any, batches: Sequence[Any]) -> Columns:
        """A row of each of some batches at a context, with the context that it is."""
        found = self.context(context)
        if self._alone or found is None or not all(map(_is_batch, batches)):
            return self._joined([self._odd(batch, context) for batch in batches])
        if self._error is not None:
            return {**error_columns(self._fields, self._error, len(batches)), "context": [found] * len(batches)}
        return {**self._rows.over_batch(found, batches), "context": [found] * len(batches)}

    def over_context(self, batch: Any, contexts: Sequence[Any]) -> Columns:
        """A row of a batch at each of some contexts, with the contexts that they are."""
        found = [self.context(context) for context in contexts]
        known = [each for each in found if each is not None]
        if self._alone or len(known) < len(found) or not _is_batch(batch):
            return self._joined([self._odd(batch, context) for context in contexts])
        if self._error is not None:
            return {**error_columns(self._fields, self._error, len(found)), "context": found}
        return self._joined(list(self._rows.over_contexts(batch, known)))

    def _joined(self, parts: Sequence[Columns]) -> Columns:
        if len(parts) == 1:
            return parts[0]
        return {name: [value for part in parts for value in part[name]] for name in (*self._fields, "context")}

    def _odd(self, batch: Any, context: Any) -> Columns:
        """A row whose batch or context may not be one."""
        if not self._alone and _is_batch(batch) and self.context(context) is not None:
            return self.over_batch(context, [batch])
        try:
            scenario = make_scenario(self._model, **self._options, batch=batch, context=context)
        except KvcalcError as error:
            return {**error_columns(self._fields, error.sentence, 1), "context": [context]}
        return {**row_of(scenario, self._fields), "context": [scenario.workload.context]}


def _is_batch(batch: Any) -> bool:
    return type(batch) is int and 1 <= batch <= MAX_BATCH
