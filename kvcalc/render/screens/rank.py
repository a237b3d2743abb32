"""What one rank holds, as rows: every part with its size and the formula behind it; and the same as a bar."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.render.screens.rounding import figure, headroom_words, shared_out, steps
from kvcalc.render.view import Bar, BarPart, Row, Stacked, Tone, Weight
from kvcalc.term import GIVEN, Product, Share, Sum
from kvcalc.units import format_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kvcalc.term import Term

_WHERE_FROM = {"seen_in_practice": "observed", "on_one_rank": "on one rank"}
"""Names of single factors that say more than their figures."""

_MOST_FORMULAS = 3
"""Terms of a cache that are told one by one."""

_MOST_NAMES = 2
"""Terms of another part that are named where there are more than one else."""


def rank_rows(
    tree: Term, temporary_seen: tuple[int, int] | None, unit: str, *, all_terms: bool = False
) -> Iterator[Row]:
    """A row for each part of the tree; they add up as they are printed, and so do the terms that a row tells.

    Args:
        tree: all that a rank holds, or its cache.
        temporary_seen: the range of temporary memory; None of one figure.
        unit: of sizes.
        all_terms: whether to tell every term with its formula, or the largest.
    """
    for part, share in _shares(tree, unit):
        about = Stacked("\n".join(_about(part, share, temporary_seen, unit, all_terms=all_terms)))
        name = part.path
        if part.path == "reserve" and isinstance(part, Sum) and len(part.parts) == 1:
            name = f"reserve: {part.parts[0].path}"
        yield Row((name, figure(share, part.bytes, unit), about))


def rank_bar(tree: Term, usable: int, unit: str) -> Bar:
    """Where a rank's memory goes, in the figures of its rows."""
    shares = _shares(tree, unit)
    named = {part.path: (part.bytes, share) for part, share in shares}
    parts = [
        BarPart(name, size, figure(share, size, unit), tone)
        for name, tone in (("weights", Tone.HINT), ("cache", Tone.GOOD))
        if (size := named.get(name, (0, 0))[0])
        for share in (named[name][1],)
    ]
    others = [(part.bytes, share) for part, share in shares if part.path not in {"weights", "cache"}]
    if size := sum(each for each, _ in others):
        parts.append(BarPart("other", size, figure(sum(share for _, share in others), size, unit), Tone.CLOSE))
    left = usable - tree.bytes
    words = figure(abs(steps(usable, unit) - steps(tree.bytes, unit)), abs(left), unit)
    free = BarPart("free", left, words, Tone.FAINT) if left >= 0 else BarPart("too much", -left, words, Tone.BAD)
    return Bar((*parts, free))


def total_row(total: int, usable: int, unit: str) -> Row:
    """The sum, and what is left of what is usable."""
    return Row(("total", format_size(total, unit), headroom_words(total, usable, unit)), Weight.TOTAL)


def _shares(tree: Term, unit: str) -> list[tuple[Term, int]]:
    """Each part, and how many of the smallest figures that are printed it takes."""
    parts = tree.parts if isinstance(tree, Sum) else (tree,)
    return list(zip(parts, shared_out([part.bytes for part in parts], steps(tree.bytes, unit), unit), strict=True))


def _about(
    part: Term, share: int, temporary_seen: tuple[int, int] | None, unit: str, *, all_terms: bool
) -> Iterator[str]:
    if part.path == "temporary" and temporary_seen is not None:
        low, high = (format_size(each, unit, 1) for each in temporary_seen)
        observed = isinstance(part, Product) and part.factors[0].name in _WHERE_FROM
        yield f"observed {low} to {high}" if observed else f"{low} to {high}"
    elif part.path == "temporary" and isinstance(part, Product):
        yield _formula(part)
    elif not isinstance(part, Sum):
        yield part.numbers
    if not isinstance(part, Sum) or not part.parts:
        return
    if len(part.parts) == 1:
        yield _only_part(part.parts[0])
        return
    sizes = [inner.bytes for inner in part.parts]
    figures = [
        figure(each, inner.bytes, unit) for each, inner in zip(shared_out(sizes, share, unit), part.parts, strict=True)
    ]
    told = list(zip(part.parts, figures, strict=True))
    if all_terms or (part.path == "cache" and len(told) <= _MOST_FORMULAS):
        yield from _formulas(told)
    elif part.path == "cache":
        largest = _largest(told)[: _MOST_FORMULAS - 1]
        yield from _formulas(largest, *_more(part, share, [inner for inner, _ in largest], unit))
    else:
        largest = _largest(told) if len(told) <= _MOST_NAMES + 1 else _largest(told)[:_MOST_NAMES]
        named = [f"{shown} {_named(inner)}" for inner, shown in largest]
        more = [" ".join(_more(part, share, [inner for inner, _ in largest], unit))] if len(told) > len(largest) else []
        yield "; ".join([*named, *more])


def _formulas(told: Sequence[tuple[Term, str]], more: str = "", of: str = "") -> Iterator[str]:
    """A line for each term, and one for those that are left out."""
    widest = max(len(shown) for shown in (*(shown for _, shown in told), more))
    for inner, shown in told:
        yield f"{shown:>{widest}} {inner.path}: {_formula(inner)}"
    if more:
        yield f"{more:>{widest}} {of}"


def _largest(told: Sequence[tuple[Term, str]]) -> list[tuple[Term, str]]:
    return sorted(told, key=lambda each: -each[0].bytes)


def _more(part: Sum, share: int, told: Sequence[Term], unit: str) -> tuple[str, str]:
    """'2.15', 'in 5 more'; with what is told it makes the whole, as it is printed."""
    shares = shared_out([inner.bytes for inner in part.parts], share, unit)
    rest = [(inner, each) for inner, each in zip(part.parts, shares, strict=True) if inner not in told]
    size = sum(inner.bytes for inner, _ in rest)
    return figure(sum(each for _, each in rest), size, unit), f"in {len(rest)} more"


def _named(term: Term) -> str:
    """A term's name, and where its figure is from if that is no formula."""
    formula = _formula(term)
    return f"{term.path} ({formula})" if formula in {*_WHERE_FROM.values(), "given"} else term.path


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
