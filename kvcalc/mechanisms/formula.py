"""A formula, written from the products that it adds up: in words, or with their numbers."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from kvcalc.term import Factor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    Write = Callable[[Factor], str]


def in_words(products: Iterable[tuple[Factor, ...]]) -> str:
    """'num_kv_heads x (head_dim + v_head_dim)', in the names that model files use."""
    return _added_up(products, lambda factor: factor.derived[0] if factor.derived else factor.name)


def in_numbers(products: Iterable[tuple[Factor, ...]]) -> str:
    """'8 x (128 + 64)': as `in_words`, with the values."""
    return _added_up(products, lambda factor: factor.derived[1] if factor.derived else f"{factor.value:,}")


def _added_up(products: Iterable[tuple[Factor, ...]], write: Write) -> str:
    return " + ".join(_summands(Counter(products), write)) or "0"


def _summands(counts: Mapping[tuple[Factor, ...], int], write: Write) -> Iterator[str]:
    """Equal products are counted; different ones that begin alike share their first factor."""
    by_first: dict[Factor, dict[tuple[Factor, ...], int]] = {}
    for (first, *rest), count in counts.items():
        by_first.setdefault(first, {})[tuple(rest)] = count
    for first, rests in by_first.items():
        if len(rests) == 1 or () in rests:
            yield from (_product((first, *rest), count, write) for rest, count in rests.items())
        else:
            yield f"{_in_product(first, write)} x ({' + '.join(_summands(rests, write))})"


def _product(factors: tuple[Factor, ...], count: int, write: Write) -> str:
    if count == 1 and len(factors) == 1:
        return write(factors[0])
    counted = [str(count)] if count > 1 else []
    return " x ".join([*counted, *(_in_product(factor, write) for factor in factors)])


def _in_product(factor: Factor, write: Write) -> str:
    written = write(factor)
    return f"({written})" if " " in written else written
