"""What one rank holds, as rows: every part with its size and the formula behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.render.rounding import figure, shared_out, spare_words, steps
from kvcalc.render.view import Row, Weight
from kvcalc.term import Product, Share, Sum
from kvcalc.units import format_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.term import Term


def rank_rows(tree: Term, temporary_seen: tuple[int, int] | None, unit: str) -> Iterator[Row]:
    """A row for each part of the tree, and below it for each of its own parts; they add up as they are printed.

    Args:
        tree: all that a rank holds, or its cache.
        temporary_seen: the range of temporary memory; None where a figure is given.
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
        yield Row((name, size, "", _formula(part.parts[0])))
    elif isinstance(part, Sum) and part.parts:
        yield Row((part.path, size, "", ""))
        inner_shares = shared_out([inner.bytes for inner in part.parts], share, unit)
        for inner, each in zip(part.parts, inner_shares, strict=True):
            cells = (f"  {inner.path}", "", figure(each, inner.bytes, unit), _formula(inner))
            yield Row(cells, Weight.PART)
    elif part.path == "temporary":
        yield Row((part.path, size, "", _temporary(temporary_seen, unit)))
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


def _temporary(seen: tuple[int, int] | None, unit: str) -> str:
    if seen is None:
        return "given"
    low, high = (format_size(each, unit, 1) for each in seen)
    return f"{low} to {high} seen in practice"
