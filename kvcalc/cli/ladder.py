"""Command lines with several values of an option: a ladder in the place of one answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.cli.output import show
from kvcalc.cli.output_options import DEFAULT_UNIT
from kvcalc.errors import KvcalcError, NoError
from kvcalc.ladders import ladder, varied
from kvcalc.scenario.option import options_of
from kvcalc.scenario.spelled import typed_anew
from kvcalc.verbs.ladder import CapacityLadder, EstimateLadder, most_sequences, named

__all__ = ["refuse_unless", "show_ladder", "varied"]

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kvcalc.cli.output_options import Output
    from kvcalc.render import Report
    from kvcalc.verbs.ladder import LadderRow


def show_ladder(
    of: Callable[..., Any],
    report: Callable[..., Report],
    model: Any,
    given: Mapping[str, Any],
    output: Output,
    table: Any,
) -> Sequence[LadderRow]:
    """One table, or one JSON object, or CSV with a column for each axis; its rows, to be asked whether they hold.

    Args:
        of: what answers one point.
        report: of the ladder.
        model: what the command takes, one or several.
        given: the options of the command line.
        output: how, and where to.
        table: the command's options.

    Raises:
        KvcalcError: anything that cannot be; also the tree of terms, which is of one answer.
    """
    found: Any = ladder(of, model, **given)
    if output.explain:
        options = " and ".join(f"--{name.replace('_', '-')}" for name in found.axes)
        raise KvcalcError(f"--explain: explains one answer; give {options} one value")
    one = {**given, **_of_most_use(found).axes}
    unit = "" if output.unit == DEFAULT_UNIT else f" --unit {output.unit}"
    command = f"{typed_anew(found.command, model, one, options_of(table))}{unit} --explain"
    show(report(found, output.unit, command=command), output)
    rows: Sequence[LadderRow] = found.rows
    return rows


def _of_most_use(ladder: Any) -> LadderRow:
    """The row whose formulas one wants next: the first that does not fit, the most that fits, the largest cache."""
    rows: Sequence[LadderRow] = ladder.rows
    if isinstance(ladder, EstimateLadder):
        wrong = (row for row in ladder.rows if row.result.answer.fits is False)
        return next(wrong, max(ladder.rows, key=lambda row: row.result.cache.bytes))
    if isinstance(ladder, CapacityLadder):
        return most_sequences(ladder)
    return max(rows, key=lambda row: max(each.cache_bytes for each in row.result.rows))


def refuse_unless(rows: Sequence[LadderRow], holds: Callable[[Any], bool]) -> None:
    """Ends with exit code 1 where a row does not hold.

    Raises:
        NoError: with the first such row named.
    """
    wrong = [row for row in rows if not holds(row.result)]
    if wrong:
        more = f", and {len(wrong) - 1:,} more" if len(wrong) > 1 else ""
        raise NoError(f"--check: {len(wrong):,} of {len(rows):,} rows do not fit: {named(wrong[0].axes)}{more}")
