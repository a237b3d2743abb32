"""What the requests of a trace hold over time, and the fewest GPUs that hold so much."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import gcd
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.deployment import Deployment
from kvcalc.errors import KvcalcError
from kvcalc.legality import check_legal
from kvcalc.memory import Ranks
from kvcalc.note import Note, note
from kvcalc.scenario import Workload
from kvcalc.units import MAX_CONTEXT
from kvcalc.verbs.bounds.decode import decode_bound, why_no_bound
from kvcalc.verbs.demand.bounds import steps_over_time
from kvcalc.verbs.demand.fewest_gpus import alike, points_of
from kvcalc.verbs.demand.held import Slopes, Steps, held
from kvcalc.verbs.demand.lines import lines_over_time
from kvcalc.verbs.demand.over_time import BUCKETS, OverTime
from kvcalc.verbs.demand.pieces import TOKENS, of_slopes
from kvcalc.verbs.demand.quantiles import percentile_of, percentiles
from kvcalc.verbs.demand.result import (
    POINTS,
    CacheOverTime,
    CountOverTime,
    Demand,
    GpusOverTime,
    Pace,
    Peaks,
    TraceSummary,
)
from kvcalc.verbs.demand.reuse import prefix_hits
from kvcalc.verbs.demand.stays import poisson, stays_of
from kvcalc.verbs.notes.not_modelled import not_modelled
from kvcalc.verbs.notes.of_answers import all_drafted_kept, no_legal_deployment, unknown_weights
from kvcalc.verbs.notes.of_gpus import gpu_notes
from kvcalc.verbs.notes.of_models import model_notes
from kvcalc.verbs.notes.of_weights import weight_notes
from kvcalc.verbs.question import Accelerator, ModelSummary, Question
from kvcalc.verbs.searching.deployment_search import smallest

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterator, Mapping

    from kvcalc.scenario import Scenario
    from kvcalc.scenario.demand_request import Serving
    from kvcalc.traces import Trace
    from kvcalc.verbs.demand.held import Held
    from kvcalc.verbs.demand.stays import Stays

_SHARES = {"p50": Fraction(50, 100), "p90": Fraction(90, 100), "p95": Fraction(95, 100), "p99": Fraction(99, 100)}
_DIGITS = 6
"""Of a speed that is a bound."""


def demand(scenario: Scenario, trace: Trace, serving: Serving) -> Demand:
    """What the requests of a trace hold over time.

    Args:
        scenario: the model, and where and how it is served; its workload plays no part.
        trace: the requests.
        serving: how they come and go.

    Raises:
        KvcalcError: the trace has no arrivals and no rate is given, the speed is not known, or the engine reserves its
            cache ahead.
    """
    longest = max(map(int.__add__, trace.inputs, trace.outputs))
    if longest > MAX_CONTEXT:
        raise KvcalcError(f"--trace: its longest request has {longest:,} tokens, beyond the limit of {MAX_CONTEXT:,}")
    if not longest:
        raise KvcalcError("--trace: its requests have no tokens")
    scenario = replace(scenario, workload=Workload(1, longest))
    deployment = scenario.deployment or Deployment()
    check_legal(deployment, scenario.model)
    ranks = Ranks(scenario)
    speed = serving.tokens_per_second or _bound(scenario, trace)
    stays = stays_of(trace, _arrivals(trace, serving), speed, serving.concurrency)
    each = held(ranks, deployment, longest)
    tokens = lines_over_time(stays, TOKENS, 0)
    counts = {name: percentile_of(tokens.slopes, share) for name, share in _SHARES.items()}
    counts["max"] = max(tokens.slopes)
    tokens_at = percentiles(tokens, tuple(_SHARES.values()))
    cache = _Cache.of(each, stays, tokens, tokens_at)
    mean_requests = Fraction(sum(number * ticks for number, ticks in tokens.slopes.items()), tokens.ticks)
    batches = {"mean": -(-mean_requests.numerator // mean_requests.denominator), **counts}
    wanted = [alike(at, cache.bytes[at], batches[at], longest, each.one) for at in POINTS]
    known = ranks.of(deployment)[0].weights_bytes is not None
    found = list(points_of(scenario, wanted)) if known else []
    largest = replace(scenario, workload=Workload(batches["max"], longest))
    last = found[-1][1] if found else None
    shown = scenario.deployment or (deployment if last is None else last.deployment)
    prefix, prefix_notes = prefix_hits(largest, trace, stays, each, last, serving.prefix_cache)
    used = Accelerator.of(scenario)
    return Demand(
        model=ModelSummary.of(scenario.model),
        trace=_summary(trace, stays, serving),
        engine=scenario.engine.name,
        engine_version=scenario.engine.version,
        deployment=deployment,
        pace=_pace(stays, speed, serving),
        cache=CacheOverTime(*(cache.bytes[at] for at in POINTS)),
        tokens=CountOverTime(
            round(float(_mean(tokens)), 3),
            *map(_up, (*tokens_at, Fraction(tokens.highest, tokens.scale))),
        ),
        requests=CountOverTime(round(float(mean_requests), 6), *counts.values()),
        gpus=GpusOverTime(used.gpu, *(([each.count for each, _ in found]) or [None] * len(POINTS))),
        points=tuple(point for point, _ in found),
        prefix=prefix,
        peaks=Peaks(stays.end / stays.second / BUCKETS, cache.peaks),
        not_modelled=tuple(not_modelled(largest, shown)),
        notes=(
            *scenario.notes,
            *_notes(trace, stays, serving, speed),
            *(all_drafted_kept(scenario) if serving.tokens_per_second is None else ()),
            *prefix_notes,
            *model_notes(largest, shown),
            *(() if known else (unknown_weights(scenario),)),
            *weight_notes(scenario),
            *gpu_notes(scenario),
            *((no_legal_deployment(scenario),) if known and last is None else ()),
        ),
        question=Question.of(largest, used),
        scenario=scenario,
    )


def _arrivals(trace: Trace, serving: Serving) -> array[int]:
    if serving.rate is not None:
        return poisson(len(trace.inputs), serving.rate, serving.seed)
    if trace.arrivals is None:
        raise KvcalcError(
            "--trace: has no column of arrival times; --rate R draws them, R requests a second (Poisson, --seed N)"
        )
    return trace.arrivals


def _bound(scenario: Scenario, trace: Trace) -> Fraction:
    """The speed of one request alone, of mean length: none is faster, whatever else is held."""
    context = _mean_context(trace)
    alone = replace(scenario, workload=Workload(1, context))
    found = None if scenario.deployment is not None else smallest(alone)
    deployment = scenario.deployment or (found.deployment if found else Deployment())
    missing = why_no_bound(alone, deployment)
    bound = decode_bound(alone, deployment) if missing is None else None
    if bound is None:
        raise KvcalcError(f"--tokens-per-second: is needed: {missing}")
    return Fraction(f"{bound.tokens_per_second_per_sequence:.{_DIGITS}g}")


def _mean_context(trace: Trace) -> int:
    """Tokens of a request in the middle of its output, on average."""
    return max(1, -(-(2 * sum(trace.inputs) + sum(trace.outputs)) // (2 * len(trace.inputs))))


class _Cache(NamedTuple):
    """Bytes at each point, and the most in each part of the time."""

    bytes: Mapping[str, int]
    peaks: tuple[int, ...]

    @classmethod
    def of(cls, each: Held, stays: Stays, tokens: OverTime, tokens_at: list[Fraction]) -> _Cache:
        """Where bytes are a multiple of tokens, so are their percentiles."""
        shape, factor, base, shares = each.each, Fraction(1), 0, tuple(_SHARES.values())
        if isinstance(shape, Slopes) and shape.bytes == (0,):
            over, factor, base = tokens, Fraction(shape.rates[0], shape.every), each.base_bytes
            found = tokens_at
        elif isinstance(shape, Steps):  # in whole blocks: small integers are added faster
            block, base = gcd(*shape.bytes) or 1, each.base_bytes
            factor = Fraction(block)
            small = shape._replace(bytes=tuple(taken // block for taken in shape.bytes))
            over = steps_over_time(stays, small, 0, shares, max(tokens.slopes))
            found = percentiles(over, shares)
        else:
            over = lines_over_time(stays, of_slopes(shape), each.base_bytes)
            found = percentiles(over, shares)
        points = {at: _up(base + factor * each) for at, each in zip(_SHARES, found, strict=True)}
        mean = base + factor * _mean(over)
        peaks = tuple(_up(base + factor * Fraction(peak, over.scale)) for peak in over.buckets)
        return cls({"mean": round(mean), **points, "max": max(peaks)}, peaks)


def _mean(over: OverTime) -> Fraction:
    return Fraction(over.sum, 2 * over.scale * over.ticks)


def _up(value: Fraction) -> int:
    return -(-value.numerator // value.denominator)


def _summary(trace: Trace, stays: Stays, serving: Serving) -> TraceSummary:
    seconds = Fraction(stays.end, stays.second)
    return TraceSummary(
        format=trace.format,
        time_unit=trace.time_unit,
        arrivals="trace" if serving.rate is None else "poisson",
        requests=stays.number,
        without_output=len(trace.inputs) - stays.number,
        input_tokens=sum(stays.prompts),
        output_tokens=sum(stays.generated),
        seconds=float(seconds),
        requests_per_second=float(stays.number / seconds),
        longest=stays.longest,
    )


def _pace(stays: Stays, speed: Fraction, serving: Serving) -> Pace:
    waited, longest = stays.waits
    return Pace(
        tokens_per_second=float(speed),
        is_bound=serving.tokens_per_second is None,
        concurrency=serving.concurrency,
        mean_seconds=float(Fraction(sum(stays.generated), stays.number) / speed),
        mean_wait_seconds=float(Fraction(waited, stays.number * stays.second)),
        max_wait_seconds=longest / stays.second,
    )


def _notes(trace: Trace, stays: Stays, serving: Serving, speed: Fraction) -> Iterator[Note]:
    if serving.tokens_per_second is None:
        yield note(
            "speed-is-a-bound",
            f"no speed is given: each request decodes {float(speed):g} tokens a second, the bound of one alone with "
            f"{_mean_context(trace):,} tokens; servers are slower, so more is held (--tokens-per-second sets it)",
            tokens_per_second=float(speed),
            context=_mean_context(trace),
        )
    yield note("prefill-takes-no-time", "prompts are assumed to be read at once: no time is counted for prefill")
    if trace.arrivals is not None and serving.rate is None and trace.time_unit != "dates":
        yield note(
            "trace-time-unit",
            f"times of the trace are assumed to be in {trace.time_unit} (--time-unit sets it)",
            unit=trace.time_unit,
        )
    if trace.disordered and serving.rate is None:
        yield note(
            "trace-sorted",
            f"the trace is sorted by time: a later line is of an earlier time {trace.disordered:,} times",
            requests=trace.disordered,
        )
    if without := len(trace.inputs) - stays.number:
        yield note(
            "requests-without-output",
            f"{without:,} requests generate nothing, and hold nothing here",
            requests=without,
        )
