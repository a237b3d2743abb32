"""A tree of terms as rows: each with its value, its formula in names and in numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.render.view import Row
from kvcalc.term import Share, Sum

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.term import Term


def term_rows(term: Term, depth: int, name: str | None = None) -> Iterator[Row]:
    yield Row((f"{'  ' * depth}{name or term.path}", f"{term.bytes:,}", term.formula, term.numbers))
    match term:
        case Sum(parts=parts):
            for part in parts:
                yield from term_rows(part, depth + 1)
        case Share(whole=whole):
            yield from term_rows(whole, depth + 1)
