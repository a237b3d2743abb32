"""What one rank holds, as rows: every part with its size and the formula behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.memory.temporary import temporary
from kvcalc.render.view import Row, Weight
from kvcalc.term import Product, Share, Sum
from kvcalc.units import format_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.scenario import Scenario
    from kvcalc.term import Term


def rank_rows(tree: Term, scenario: Scenario, unit: str) -> Iterator[Row]:
    """A row for each part of the tree, and below it for each of its own parts."""
    for part in tree.parts if isinstance(tree, Sum) else (tree,):
        yield from _part_rows(scenario, part, unit)


def total_row(total: int, usable: int, unit: str) -> Row:
    """The sum, and what is left of what is usable."""
    return Row(("total", format_size(total, unit), "", spare_words(usable - total, unit)), Weight.TOTAL)


def spare_words(spare: int, unit: str) -> str:
    """What is left, or lacking."""
    return f"{format_size(spare, unit)} to spare" if spare >= 0 else f"{format_size(-spare, unit)} too much"


def _part_rows(scenario: Scenario, part: Term, unit: str) -> Iterator[Row]:
    size = format_size(part.bytes, unit)
    if isinstance(part, Sum) and len(part.parts) == 1:
        name = part.path if part.path != "reserve" else f"reserve: {part.parts[0].path}"
        yield Row((name, size, "", _formula(part.parts[0])))
    elif isinstance(part, Sum) and part.parts:
        yield Row((part.path, size, "", ""))
        for inner in part.parts:
            yield Row((f"  {inner.path}", "", format_size(inner.bytes, unit), _formula(inner)), Weight.PART)
    elif part.path == "temporary":
        yield Row((part.path, size, "", _temporary(scenario, unit)))
    else:
        yield Row((part.path, size, "", part.numbers))


def _formula(term: Term) -> str:
    """The numbers behind a term; a share shows the product that it divides."""
    match term:
        case Share(whole=Product() as whole, among=among, part=None):
            return f"{whole.numbers} / {among}"
        case Product(factors=(single,)):
            return "given" if single.name == "given" else single.name.replace("_", " ")
        case _:
            return term.numbers


def _temporary(scenario: Scenario, unit: str) -> str:
    figure = temporary(scenario.model, scenario.replacements.temporary)
    if not figure.is_range:
        return "given"
    return f"{format_size(figure.low, unit, 1)} to {format_size(figure.high, unit, 1)} seen in practice"
