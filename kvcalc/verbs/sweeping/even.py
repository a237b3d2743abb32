"""Rows of plain formulas: along the batch or along the context every figure is a line, a step, or found already.

What is added up is what `estimate` adds up, once for a setting: its ranks, what stands beside their caches, the memory
that caches have. Only the bytes of caches change from row to row, and those are lines (`kvcalc.engines.growth`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.deployment import Deployment
from kvcalc.engines.growth import Growth
from kvcalc.verbs.estimate_parts import beside_cache, gpus_by_memory, unsplit_rank
from kvcalc.verbs.searching.candidate import Candidate, evaluate
from kvcalc.verbs.searching.replica import on_all_ranks
from kvcalc.verbs.sweeping.columns import ERROR
from kvcalc.verbs.sweeping.deployment_held import DeploymentHeld
from kvcalc.verbs.sweeping.uneven import Uneven, at

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvcalc.scenario import Scenario
    from kvcalc.verbs.sweeping.columns import Columns
    from kvcalc.verbs.sweeping.deployment_held import Line
    from kvcalc.verbs.sweeping.smallest_known import SmallestKnown

CONTEXTS_REMEMBERED = 16
"""Lists of contexts: a grid comes back to one of them with every batch."""

_OF_FITTING = {"gpus_fits", "gpus_tight"}
_OF_A_SEARCH = {"gpus_count", "gpus_tp", "gpus_pp", "gpus_dp", "most_sequences"}


class EvenRows:
    """Rows of one setting, of which batch and context alone change."""

    def __init__(self, scenario: Scenario, known: SmallestKnown, fields: Sequence[str]) -> None:
        """A setting with any workload.

        Raises:
            KvcalcError: as `estimate` does.
        """
        self._fields, self._known, self._asked = frozenset(fields), known, scenario.deployment
        deployment = scenario.deployment or Deployment()
        asked = evaluate(scenario, deployment, known.ranks)
        self._weights_known = asked.weights_known
        self._held = DeploymentHeld.of(deployment, asked.ranks)
        sequences, context = asked.sequences, scenario.workload.context
        self._beside_ranks = [asked.bytes_of(rank) - rank.cache_bytes(sequences, context) for rank in asked.ranks]
        self._of_a_token = [rank.rate(context).bytes_per_token for rank in asked.ranks]
        self._beside = beside_cache(scenario, asked, known.ranks).total_with(0)
        single = unsplit_rank(scenario, known.ranks)
        self._single = None if single is None else single.largest_rank
        self._beside_single = (
            0
            if single is None
            else single.most_bytes - single.largest_rank.cache_bytes(single.sequences, single.context)
        )
        self._elsewhere: dict[Deployment, DeploymentHeld] = {}
        self._known_contexts: dict[tuple[int, ...], Uneven | list[Sequence[int]]] = {}

    def over_batch(self, context: int, batches: Sequence[int]) -> Columns:
        """A row of each of some batches at a context."""
        dp = self._held.deployment.dp
        sequences = batches if dp == 1 else [-(-batch // dp) for batch in batches]
        stretches = self._held.stretches(context)
        lines = [stretch.held.over_sequences(context) for stretch in stretches]
        columns = self._of_lines(lines, [stretch.one.over_sequences(context) for stretch in stretches], sequences)
        if "gpus_by_memory" in self._fields:
            columns |= self._by_memory(self._of_single(context).over_sequences(context), batches)
        if self._fields & _OF_A_SEARCH:
            found = self._known.over_batch(context, batches) if self._searched else [None] * len(batches)
            columns |= self._found(found, [context] * len(batches))
        return columns

    def over_context(self, batch: int, contexts: Sequence[int]) -> Columns:
        """A row of a batch at each of some contexts, over which everything grows evenly."""
        sequences = self._held.deployment.sequences(batch)
        stretches = self._held.stretches(contexts[0])
        lines = [stretch.held.over_context(sequences) for stretch in stretches]
        columns = self._of_lines(lines, [stretch.one.over_context(0) for stretch in stretches], contexts)
        if "gpus_by_memory" in self._fields:
            columns |= self._by_memory(self._of_single(contexts[0]).over_context(batch), contexts)
        if self._fields & _OF_A_SEARCH:
            found = self._known.over_context(batch, contexts) if self._searched else [None] * len(contexts)
            columns |= self._found(found, contexts)
        return columns

    def over_contexts(self, batch: int, contexts: Sequence[int]) -> Iterator[Columns]:
        """A row of a batch at each of some contexts, in parts, with the contexts of each."""
        key = tuple(contexts)
        if key not in self._known_contexts:
            if len(self._known_contexts) >= CONTEXTS_REMEMBERED:
                self._known_contexts.clear()
            parts = list(self.even_parts(contexts))
            apart = len(self._held.ranks) == 1 and 2 * len(parts) > len(contexts) > 1
            self._known_contexts[key] = self._uneven(contexts) if apart else parts
        found = self._known_contexts[key]
        if isinstance(found, Uneven):
            yield {**self._of_uneven(found, batch, contexts), "context": contexts}
        else:
            yield from ({**self.over_context(batch, part), "context": part} for part in found)

    def _uneven(self, contexts: Sequence[int]) -> Uneven:
        (rank,), deployment = self._held.ranks, self._held.deployment
        stretches = [self._held.stretches(context)[0] for context in contexts]
        lines = [each.held.over_sequences(context) for each, context in zip(stretches, contexts, strict=True)]
        return Uneven(
            whole=tuple(
                (on_all_ranks(deployment, [(rank, a)]), on_all_ranks(deployment, [(rank, b)])) for a, b in lines
            ),
            rank=tuple(lines),
            ones=tuple(each.one.over_sequences(at)[0] for each, at in zip(stretches, contexts, strict=True)),
            fits=tuple(self._held.reach([line], "most") for line in lines),
            tight=tuple(self._held.reach([line], "least") for line in lines),
            single=tuple(self._of_single(context).over_sequences(context) for context in contexts),
        )

    def _of_uneven(self, known: Uneven, batch: int, contexts: Sequence[int]) -> Columns:
        sequences, nothing = self._held.deployment.sequences(batch), [None] * len(contexts)
        cache, rank = at(known.whole, sequences), at(known.rank, sequences)
        columns: Columns = {
            "cache_bytes": cache,
            "cache_bytes_per_rank": rank,
            "cache_bytes_per_sequence": known.ones,
            "cache_bytes_per_token": [self._of_a_token[0]] * len(contexts),
            "memory_total_bytes": _beside(cache, self._beside),
            "memory_per_rank_total_bytes": self._total_of(0, rank),
            "gpus_fits": nothing,
            "gpus_tight": nothing,
            ERROR: nothing,
        }
        if self._weights_known and self._fields & _OF_FITTING:
            columns["gpus_fits"] = [sequences <= most for most in known.fits]
            reaches = zip(known.fits, known.tight, strict=True)
            columns["gpus_tight"] = [fits < sequences <= tight for fits, tight in reaches]
        if "gpus_by_memory" in self._fields:
            columns |= self._of_sizes(at(known.single, batch))
        if self._fields & _OF_A_SEARCH:
            found = self._known.over_context(batch, contexts) if self._searched else nothing
            columns |= self._found(found, contexts)
        return columns

    @property
    def _searched(self) -> bool:
        """Whether the smallest deployment plays a part in any column."""
        return self._weights_known and (self._asked is None or bool(self._fields & (_OF_A_SEARCH - {"most_sequences"})))

    def _of_single(self, context: int) -> Growth:
        stretch = None if self._single is None else self._single.stretch(context)
        return Growth() if stretch is None else stretch.held

    def even_parts(self, contexts: Sequence[int]) -> Iterator[Sequence[int]]:
        """Contexts, those together over which everything grows evenly."""
        start, first, last = 0, 1, 0
        for place, context in enumerate(contexts):
            if not first <= context <= last:
                if place:
                    yield contexts[start:place]
                start = place
                parts = [*self._held.ranks, *([self._single] if self._single else [])]
                stretches = [stretch for rank in parts if (stretch := rank.stretch(context)) is not None]
                first, last = max(each.first for each in stretches), min(each.last for each in stretches)
        yield contexts[start:]

    def _of_lines(self, lines: Sequence[Line], ones: Sequence[Line], numbers: Sequence[int]) -> Columns:
        """What follows from the caches of the ranks at each of some numbers of sequences, or of tokens."""
        deployment, ranks = self._held.deployment, self._held.ranks
        start, step = (on_all_ranks(deployment, zip(ranks, each, strict=True)) for each in zip(*lines, strict=True))
        cache = _values((start, step), numbers)
        columns: Columns = {"cache_bytes": cache}
        if "memory_total_bytes" in self._fields:
            columns["memory_total_bytes"] = _beside(cache, self._beside)
        columns |= self._of_fullest(lines, ones, numbers)
        if self._weights_known and self._fields & _OF_FITTING:
            fits, tight = self._held.reach(lines, "most"), self._held.reach(lines, "least")
            columns["gpus_fits"] = [number <= fits for number in numbers]
            columns["gpus_tight"] = [fits < number <= tight for number in numbers]
        else:
            columns["gpus_fits"] = columns["gpus_tight"] = [None] * len(numbers)
        columns[ERROR] = [None] * len(numbers)
        return columns

    def _of_fullest(self, lines: Sequence[Line], ones: Sequence[Line], numbers: Sequence[int]) -> Columns:
        places = {self._fullest(lines, number) for number in {min(numbers), max(numbers)}}
        if len(places) == 1:  # of lines, what is the fullest at both ends is so in between
            return self._of_rank(places.pop(), lines, ones, numbers)
        rows = [self._of_rank(self._fullest(lines, number), lines, ones, [number]) for number in numbers]
        return {name: [row[name][0] for row in rows] for name in rows[0]}

    def _fullest(self, lines: Sequence[Line], number: int) -> int:
        """As `Candidate.fullest_rank` of plain formulas: the place of the rank with the most cache."""
        ranks = self._held.ranks
        return max(range(len(ranks)), key=lambda each: (lines[each][0] + lines[each][1] * number, -ranks[each].stage))

    def _of_rank(self, place: int, lines: Sequence[Line], ones: Sequence[Line], numbers: Sequence[int]) -> Columns:
        cache = _values(lines[place], numbers)
        return {
            "cache_bytes_per_rank": cache,
            "cache_bytes_per_sequence": _values(ones[place], numbers),
            "cache_bytes_per_token": [self._of_a_token[place]] * len(numbers),
            "memory_per_rank_total_bytes": self._total_of(place, cache),
        }

    def _total_of(self, place: int, caches: Sequence[int]) -> Sequence[int | None]:
        """All that a rank holds beside caches; nothing where nobody asks for it."""
        asked = self._weights_known and "memory_per_rank_total_bytes" in self._fields
        return _beside(caches, self._beside_ranks[place] if asked else None)

    def _by_memory(self, line: Line, numbers: Sequence[int]) -> Columns:
        return self._of_sizes(_values(line, numbers))

    def _of_sizes(self, caches: Sequence[int]) -> Columns:
        """What follows from the caches of a rank without any splitting."""
        if self._single is None or not self._weights_known:
            return {"gpus_by_memory": [None] * len(caches)}
        usable, beside = self._single.usable_bytes, self._beside_single
        return {"gpus_by_memory": [gpus_by_memory(beside + cache, usable) for cache in caches]}

    def _found(self, found: Sequence[Candidate | None], contexts: Sequence[int]) -> Columns:
        """The smallest deployments, and what the one that is shown holds."""
        each = {id(one): _place(one) for one in {id(one): one for one in found}.values()}
        count, tp, pp, dp = zip(*(each[id(one)] for one in found), strict=True)
        columns: Columns = {"gpus_count": count, "gpus_tp": tp, "gpus_pp": pp, "gpus_dp": dp}
        if "most_sequences" in self._fields:
            columns["most_sequences"] = self._most_sequences(found, contexts)
        return columns

    def _most_sequences(self, found: Sequence[Candidate | None], contexts: Sequence[int]) -> Sequence[int | None]:
        if not self._weights_known:
            return [None] * len(contexts)
        known: dict[tuple[int, int], int | None] = {}
        rows: list[int | None] = []
        for one, context in zip(found, contexts, strict=True):
            shown = None if self._asked is not None else one
            key = id(shown), context
            if key not in known:
                known[key] = self._held_by(shown).most_sequences(context)
            rows.append(known[key])
        return rows

    def _held_by(self, shown: Candidate | None) -> DeploymentHeld:
        if shown is None:
            return self._held
        if shown.deployment not in self._elsewhere:
            self._elsewhere[shown.deployment] = DeploymentHeld.of(shown.deployment, shown.ranks)
        return self._elsewhere[shown.deployment]


def _values(line: Line, numbers: Sequence[int]) -> list[int]:
    start, step = line
    return [start + step * number for number in numbers] if step else [start] * len(numbers)


def _beside(sizes: Sequence[int], beside: int | None) -> Sequence[int | None]:
    return [None] * len(sizes) if beside is None else [size + beside for size in sizes]


def _place(found: Candidate | None) -> tuple[int | None, int | None, int | None, int | None]:
    if found is None:
        return None, None, None, None
    deployment = found.deployment
    return deployment.gpus, deployment.tp, deployment.pp, deployment.dp
