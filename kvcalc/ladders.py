"""kvcalc from Python: an answer for each of a few values of its options, as one result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, overload

from kvcalc.api import capacity, compare, estimate
from kvcalc.scenario.reading import MAX_CONTEXT_WORD
from kvcalc.verbs.ladder import (
    OF_COMPARISONS,
    OF_EACH,
    CapacityLadder,
    CapacityRow,
    ComparisonLadder,
    ComparisonRow,
    EstimateLadder,
    EstimateRow,
    answers,
    several_of,
)

if TYPE_CHECKING:
    from kvcalc.verbs.capacity_result import Capacity
    from kvcalc.verbs.comparing.result import Comparison
    from kvcalc.verbs.estimate_result import Estimate

AnyLadder = EstimateLadder | CapacityLadder | ComparisonLadder


class _Kind(NamedTuple):
    axes: tuple[str, ...]
    row: Callable[[dict[str, int | str], Any], Any]
    whole: Callable[[tuple[Any, ...]], AnyLadder]


_KINDS: Mapping[Callable[..., Any], _Kind] = {
    estimate: _Kind(OF_EACH, EstimateRow, EstimateLadder),
    capacity: _Kind(OF_EACH, CapacityRow, CapacityLadder),
    compare: _Kind(OF_COMPARISONS, ComparisonRow, ComparisonLadder),
}


@overload
def ladder(of: Callable[..., Estimate], /, model: Any = None, **options: Any) -> EstimateLadder: ...
@overload
def ladder(of: Callable[..., Capacity], /, model: Any = None, **options: Any) -> CapacityLadder: ...
@overload
def ladder(of: Callable[..., Comparison], /, model: Any = None, **options: Any) -> ComparisonLadder: ...
def ladder(of: Callable[..., Any], /, model: Any = None, **options: Any) -> AnyLadder:
    """Answers side by side: `ladder(estimate, "llama-3-70b", context=["4Ki", "64Ki"]).rows[1].result.cache.bytes`.

    Args:
        of: `kvcalc.estimate`, `kvcalc.capacity` or `kvcalc.compare`.
        model: as that function takes it.
        options: likewise; batch, context, cache_dtype, weight_dtype, gpu, tp, pp and engine may have several values, in
            a list or as on a command line ('1,8,32', '1Ki..64Ki*2'). Formats and engines of a comparison are its own
            rows. The last of those named here changes fastest.

    Raises:
        TypeError: another function.
        KvcalcError: anything that cannot be, with the values named that it is of.
    """
    if of not in _KINDS:
        raise TypeError("ladder() is of estimate, capacity or compare")
    kind = _KINDS[of]
    several = several_of(options, kind.axes)
    loaded = model if of is compare else _loaded(model, options)  # a comparison may be of several
    rows = answers(lambda point: of(loaded, **{**options, **point}), several)
    return kind.whole(tuple(kind.row(_in_numbers(axes, result), result) for axes, result in rows))


def _in_numbers(axes: dict[str, int | str], result: Any) -> dict[str, int | str]:
    """With the context that 'max' is, as rows of a sweep have it."""
    return {**axes, "context": result.workload.context} if axes.get("context") == MAX_CONTEXT_WORD else axes


def varied(of: Callable[..., Any], options: Mapping[str, Any]) -> bool:
    """Whether an option has several values, so that there are as many answers.

    Raises:
        KvcalcError: a list or a range that cannot be, or more rows than one looks at.
    """
    return bool(several_of(options, _KINDS[of].axes))


def _loaded(model: Any, options: Mapping[str, Any]) -> Any:
    """A model that is named is looked for once: it may be a large file, a pipe, or a repository."""
    from kvcalc.catalogue import find_model
    from kvcalc.scenario.option import read_options
    from kvcalc.scenario.options import Assumptions

    if not isinstance(model, str | Path):
        return model
    return find_model(str(model), read_options(Assumptions, {"assume": options.get("assume")})["assume"])
