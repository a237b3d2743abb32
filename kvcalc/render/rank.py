"""What one rank holds, as rows: every part with its size and the formula behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.render.rounding import figure, shared_out, spare_words, steps
from kvcalc.render.view import Row, Weight
from kvcalc.term import GIVEN, Product, Share, Sum
from kvcalc.units import format_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.term import Term

_WHERE_FROM = {"seen_in_practice": "seen in practice", "on_one_rank": "on one rank"}
"""Names of single factors that say more than their figures."""


def rank_rows(tree: Term, temporary_seen: tuple[int, int] | None, unit: str) -> Iterator[Row]:
    """A row for each part of the tree, and below it for each of its own parts; they add up as they are printed.

    Args:
        tree: all that a rank holds, or its cache.
        temporary_seen: the range of temporary memory; None of one figure.
        unit: of sizes.
    """
    parts = tree.parts if isinstance(tree, Sum) else (tree,)
    shares = shared_out([part.bytes for part in parts], steps(tree.bytes, unit), unit)
    for part, share in zip(parts, shares, strict=True):
        yield from _part_rows(part, share, temporary_seen, unit)


def total_row(total: int, usable: int, unit: str) -> Row:
    """The sum, and what is left of what is usable."""
    return Row(("total", format_size(total, unit), "", spare_words(total, usable, unit)), Weight.TOTAL)


def _part_rows(part: Term, share: int, temporary_seen: tuple[int, int] | None, unit: str) -> Iterator[Row]:
    size = figure(share, part.bytes, unit)
    if isinstance(part, Sum) and len(part.parts) == 1:
        name = part.path if part.path != "reserve" else f"reserve: {part.parts[0].path}"
        yield Row((name, size, "", _only_part(part.parts[0])))
    elif isinstance(part, Sum) and part.parts:
        seen = _temporary(part, temporary_seen, unit) if part.path == "temporary" and temporary_seen else ""
        yield Row((part.path, size, "", seen))
        inner_shares = shared_out([inner.bytes for inner in part.parts], share, unit)
        for inner, each in zip(part.parts, inner_shares, strict=True):
            cells = (f"  {inner.path}", "", figure(each, inner.bytes, unit), _formula(inner))
            yield Row(cells, Weight.PART)
    elif part.path == "temporary":
        yield Row((part.path, size, "", _temporary(part, temporary_seen, unit)))
    else:
        yield Row((part.path, size, "", part.numbers))


def _formula(term: Term) -> str:
    """The numbers behind a term; a share shows the product that it divides."""
    match term:
        case Share(whole=Product() as whole, among=among, part=None):
            return f"{whole.numbers} / {among}"
        case Product(factors=(_,), source=source) if source == GIVEN:
            return "given"
        case Product(factors=(single,)):
            return _WHERE_FROM.get(single.name, term.numbers)
        case _:
            return term.numbers


def _only_part(part: Term) -> str:
    """The formula of a row's only part, or the part's name where that says more than a figure."""
    formula = _formula(part)
    return part.path if isinstance(part, Product) and formula == part.numbers and len(part.factors) == 1 else formula


def _temporary(part: Term, seen: tuple[int, int] | None, unit: str) -> str:
    if seen is None:
        return _formula(part)
    low, high = (format_size(each, unit, 1) for each in seen)
    observed = isinstance(part, Product) and part.factors[0].name in _WHERE_FROM
    return f"{low} to {high} seen in practice" if observed else f"{low} to {high}"
