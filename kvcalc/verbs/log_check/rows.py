"""Each figure of a log beside what is predicted for it."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.engines import version_number
from kvcalc.logs import DIALECTS, Unit
from kvcalc.term import leaves
from kvcalc.verbs.log_check.result import GIVEN, TOKENS, LogRow
from kvcalc.verbs.searching.capacity_search import Replica, replica_of, usual

if TYPE_CHECKING:
    from kvcalc.deployment import Deployment
    from kvcalc.engines import Pool
    from kvcalc.logs import Printed, ServerLog
    from kvcalc.memory import Rank
    from kvcalc.scenario import Scenario

ESTIMATED_GRAPHS = "CUDA graphs, estimated"

_STAGE = re.compile(r"PP(\d{1,4})")
_NAMES = re.compile(r"PP\d{1,4}")
"""A worker's pipeline stage in its name (vLLM, v1/executor/multiproc_executor.py)."""


class Range(NamedTuple):
    """What is predicted: the usual figure, and the least and the most."""

    usual: int | float
    low: int | float
    high: int | float

    @classmethod
    def one(cls, value: float) -> Range:
        return cls(value, value, value)

    def plus(self, value: float) -> Range:
        """With so much more."""
        return Range(self.usual + value, self.low + value, self.high + value)


class Prediction(NamedTuple):
    """What is predicted of a server.

    Attributes:
        values: by the name of the figure.
        ranks: each different one.
    """

    values: dict[str, Range]
    ranks: tuple[Rank, ...]


def predict(scenario: Scenario, deployment: Deployment, log: ServerLog) -> Prediction:
    """Every figure that is known of the engine, under the names that logs have for them.

    A figure of a rank is predicted for the stages whose ranks print it: the most of what stands beside the cache, and
    the least of the cache's memory.

    Raises:
        KvcalcError: the weights are not known, or the engine does not serve such a server.
    """
    replica = replica_of(scenario, deployment, usual)
    context, ranks = scenario.workload.context, replica.ranks
    alone, figures = _first_rank_alone(scenario, log), dict[str, list[Range]]()
    for rank, memory in zip(ranks, replica.cache_memory, strict=True):
        taken = Range(*map(rank.taken_bytes, (memory, *rank.memory_seen_for_cache)))
        for name, value in _of_rank(rank, taken).items():
            figures.setdefault(name, []).append(value)
    values = {}
    for name, each in figures.items():
        printing = [value for rank, value in zip(ranks, each, strict=True) if _prints(rank, log, name, alone=alone)]
        values[name] = (min if name in _LEAST else max)(printing or each)
    values["cache of one request"] = Range.one(max(rank.cache_bytes(1, context) for rank in ranks))
    values |= {name: Range.one(value) for name, value in pool_figures(replica, context).items()}
    values |= _given_the_pool(replica, context, log, alone=alone)
    if not values[ESTIMATED_GRAPHS].usual:
        del values[ESTIMATED_GRAPHS]
    return Prediction(values, ranks)


KEPT = "experts' workspace"
"""Temporary memory that vLLM still holds once it has profiled (v1/worker/workspace.py), and so takes for consumed from
0.27 on, where it prints what is consumed in one figure and the peak above that in another."""


def _of_rank(rank: Rank, memory: Range) -> dict[str, Range]:
    """What a rank prints."""
    weights, graphs = rank.weights_bytes or 0, _of_overhead(rank, "graph")
    others = rank.overhead.bytes - graphs - _of_overhead(rank, "left free")
    temporary = Range(rank.temporary.term.bytes, rank.temporary.low, rank.temporary.high)
    kept = sum(leaf.bytes for leaf in leaves(rank.temporary.term) if leaf.path == KEPT)
    return {
        "usable memory": Range.one(rank.usable_bytes),
        "weights": Range.one(weights),
        "temporary": temporary,
        "non-torch memory": Range.one(others),
        "weights and non-torch memory": Range.one(weights + others + kept),
        "weights and temporary": temporary.plus(weights),
        "temporary and non-torch memory": temporary.plus(others),
        "temporary and CUDA graphs": temporary.plus(graphs - kept),
        ESTIMATED_GRAPHS: Range.one(graphs),
        "cache memory": memory,
    }


def _first_rank_alone(scenario: Scenario, log: ServerLog) -> bool:
    """Whether only the first rank prints its figures, by the version."""
    since, version = DIALECTS[log.engine].first_rank_alone, version_number(scenario.engine.version or "")
    return since is not None and version is not None and version[:2] >= since


def _prints(rank: Rank, log: ServerLog, name: str, *, alone: bool) -> bool:
    """Whether a rank of these stages prints a figure: workers are named after their stage, or only the first prints."""
    named = {int(stage[1]) for each in log.printed.get(name, ()) if (stage := _STAGE.search(each.process))}
    if not named and not alone:
        return True
    return any(number in numbers for number in named or {0} for numbers in rank.numbers)


def rows(log: ServerLog, prediction: Prediction) -> tuple[LogRow, ...]:
    """A row for each figure that is printed and known, in the order in which memory is shared out."""
    return tuple(
        _row(name, _printed(log, name), prediction.values.get(name))
        for name in dict.fromkeys((*prediction.values, *log.printed))
        if name in log.printed or name.removesuffix(GIVEN) in log.printed
        if name in prediction.values or name in _TOLD_ONLY
    )


WITHOUT_STATES = "cache memory but states"
"""Of a log that has no line of the states' memory."""
_TOLD_ONLY = (ESTIMATED_GRAPHS, "CUDA graphs", "free memory", WITHOUT_STATES)
"""Figures that are shown though nothing is predicted for them."""


def _of_overhead(rank: Rank, word: str) -> int:
    """The rows of a rank's overhead with a word in their names: CUDA graphs, what its engine does not touch."""
    return sum(leaf.bytes for leaf in leaves(rank.overhead) if word in leaf.path.lower())


def pool_figures(replica: Replica, context: int) -> dict[str, int | float]:
    """What an engine prints of the blocks that its memory for the cache is divided into."""
    pool: Pool | None = replica.pool(context)
    if pool is not None:
        figures = {
            "block size": pool.block_size,
            "blocks": pool.blocks,
            TOKENS: pool.tokens,
            "concurrency": pool.concurrency,
            "tokens of windows": pool.window_tokens,
            "slots of states": pool.slots,
        }
        return {name: value for name, value in figures.items() if value is not None}
    tokens = replica.most_tokens(context)
    return {} if tokens is None else {TOKENS: tokens}


def _given_the_pool(replica: Replica, context: int, log: ServerLog, *, alone: bool) -> dict[str, Range]:
    """The same of the memory that the log prints; the range is that of its rounding."""
    printed = log.least("cache memory")
    if printed is None or printed.value < 0:
        return {}
    found = [pool_figures(_with_memory(replica, log, sign, alone=alone), context) for sign in (0, -1, 1)]
    return {
        f"{name}{GIVEN}": Range(found[0][name], min(each[name] for each in found), max(each[name] for each in found))
        for name in ("blocks", TOKENS, "concurrency")
        if name in found[0]
    }  # another slot of states leaves less for tokens, however much more memory there is


def _with_memory(replica: Replica, log: ServerLog, sign: int, *, alone: bool) -> Replica:
    """Each stage's memory as its ranks print it, at an end of its rounding; as predicted, where none does."""
    memory = []
    for rank, predicted in zip(replica.ranks, replica.cache_memory, strict=True):
        printing = _prints(rank, log, "cache memory", alone=alone)
        numbers = {f"PP{number}" for numbers in rank.numbers for number in numbers}
        own = [each for each in log.printed["cache memory"] if numbers.intersection(_NAMES.findall(each.process))]
        printed = min(own or log.printed["cache memory"])
        memory.append(max(0, int(printed.value + sign * printed.off) if printing else predicted))
    return Replica(replica.ranks, tuple(memory))


def _printed(log: ServerLog, name: str) -> Printed | None:
    """What the engine counts with: the least memory of a rank's cache, the most of what stands beside it."""
    name = name.removesuffix(GIVEN)
    return log.least(name) if name in _LEAST else log.most(name)


_LEAST = frozenset(
    {
        "cache memory",
        "blocks",
        TOKENS,
        "tokens of windows",
        "slots of states",
        "concurrency",
        "usable memory",
        "free memory",
    }
)


def _row(name: str, printed: Printed | None, predicted: Range | None) -> LogRow:
    unit = _unit(name)
    shown = None if printed is None else _number(printed.value, unit)
    difference = None
    if printed is not None and predicted is not None and printed.value:
        difference = float(Fraction(predicted.usual) / printed.value - 1)
    return LogRow(
        name=name,
        unit=unit,
        printed=shown,
        predicted=None if predicted is None else predicted.usual,
        difference=difference,
        predicted_low=None if predicted is None else predicted.low,
        predicted_high=None if predicted is None else predicted.high,
        as_printed=None if printed is None else printed.text,
        why=None,
    )


_COUNTS = {
    "blocks": Unit.BLOCKS,
    TOKENS: Unit.TOKENS,
    "tokens of windows": Unit.TOKENS,
    "slots of states": Unit.TOKENS,
    "block size": Unit.TOKENS,
    "concurrency": Unit.SEQUENCES,
}


def _unit(name: str) -> str:
    count = _COUNTS.get(name.removesuffix(GIVEN))
    return "bytes" if count is None else str(count.value)


def _number(value: Fraction, unit: str) -> int | float:
    """Whole, but for sequences, which are a decimal."""
    return float(value) if unit == Unit.SEQUENCES.value else round(value)
