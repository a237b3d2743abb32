"""Prices of accelerators as people give them: NAME=USD on the command line, a YAML or a CSV file, or a mapping."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kvcalc.errors import KvcalcError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from fractions import Fraction

_FORM = "NAME=USD_PER_HOUR (for example h100=2.99)"
_FILES = (".csv", ".yaml", ".yml", ".json")
"""Endings of files whose names may hold an equals sign."""

_HEADERS = {"name", "gpu", "accelerator", "card", "device"}
"""What the first column may be called. Anything else is an accelerator, whose price is then read or refused."""

MAX_BYTES = 200_000
MAX_PRICES = 10_000


class Price(NamedTuple):
    """Of one accelerator for an hour, as it was given.

    Attributes:
        where: what messages begin with: the option, or the file and the line.
        of_file: a file may hold prices of accelerators that nobody asks for.
    """

    name: str
    usd: float | str | Fraction
    where: str
    of_file: bool = False


def prices(value: Any, what: str) -> tuple[Price, ...]:
    """A mapping, 'NAME=USD,NAME=USD', a file, or several of both.

    Raises:
        KvcalcError: it is neither, or a file is not what it should be.
    """
    if hasattr(value, "items"):
        return tuple(Price(str(name), usd, what) for name, usd in value.items())
    texts = [value] if isinstance(value, str | Path) else value
    found = tuple(price for text in texts for price in _read(text, what))
    typed = [price.name for price in found if not price.of_file]
    for name in typed:
        if typed.count(name) > 1:
            raise KvcalcError(f"{what}: '{name[:60]}' is given twice")
    return found


def _read(text: str | Path, what: str) -> Iterator[Price]:
    path = Path(text)
    if isinstance(text, Path) or "=" not in text or path.suffix.lower() in _FILES:
        yield from _of_file(path, what)
        return
    for each in text.split(","):
        name, equals, usd = each.partition("=")
        if not (equals and name.strip() and usd.strip() and name.isprintable()):
            raise KvcalcError(f"{what}: '{each[:60]}' is not {_FORM}")
        yield Price(name.strip(), usd.strip(), what)


def _of_file(path: Path, what: str) -> Iterator[Price]:
    from kvcalc.files import is_there

    try:
        there = is_there(path)
    except ValueError:  # a zero byte in the name
        there = False
    if not there:
        raise KvcalcError(f"{what}: '{str(path)[:60]}' is not {_FORM}, and no such file is there")
    found = _of_csv(path) if path.suffix.lower() == ".csv" else _of_yaml(path)
    for number, price in enumerate(found):
        if number >= MAX_PRICES:
            raise KvcalcError(f"{path}: more than {MAX_PRICES:,} prices")
        yield price


def _of_yaml(path: Path) -> Iterator[Price]:
    """A mapping of names to USD."""
    from kvcalc.catalogue.yaml_reader import Mark, read_yaml

    document = read_yaml(path)
    if not isinstance(document.root, dict):
        raise document.error(Mark(0, 0), "expected names and USD an hour, such as 'h100-sxm: 2.99'")
    for name, usd in document.root.items():
        place = document.values[(name,)]
        if isinstance(usd, bool) or not isinstance(usd, int | float | str):
            raise document.error(place, f"expected USD an hour of {name[:60]}, such as 2.99")
        yield Price(name, str(usd), f"{path}:{place.line + 1}", of_file=True)


def _of_csv(path: Path) -> Iterator[Price]:
    """Two columns, name and USD; a first line that begins with a column's name is a header."""
    import csv

    from kvcalc.importers.json_text import read_text

    lines = csv.reader(read_text(path, str(path), MAX_BYTES).splitlines())
    try:
        for number, row in enumerate(lines):
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            where = f"{path}:{lines.line_num}"
            if len(cells) != 2 or not all(cells):  # noqa: PLR2004  # name and USD
                raise KvcalcError(f"{where}: expected a name and USD an hour, such as 'h100-sxm,2.99'")
            if number == 0 and cells[0].lower() in _HEADERS:
                continue
            yield Price(cells[0], cells[1], where, of_file=True)
    except csv.Error as error:
        told = "no line of CSV: a quote is not closed, or a cell is too long"
        raise KvcalcError(f"{path}:{lines.line_num}: {told}") from error


def priced(given: Sequence[Price], names: Mapping[str, str], own_name: Any) -> dict[str, Price]:
    """Accelerator -> its price; one that is typed wins over one of a file.

    Args:
        given: in their order.
        names: names and aliases of the accelerators that are asked for -> their own.
        own_name: of any accelerator that there is; it raises KvcalcError where there is none.

    Raises:
        KvcalcError: an accelerator that does not exist, that is not asked for, or that has two prices.
    """
    known: dict[str, Price] = {}
    for price in given:
        name = names.get(price.name.lower()) or _existing(price, own_name)
        if name not in names.values():
            if price.of_file:
                continue
            raise KvcalcError(f"{price.where}: {name} is not among the accelerators of --gpu")
        before = known.get(name)
        if before is not None and before.of_file == price.of_file:
            raise KvcalcError(f"{price.where}: {name} has two prices")
        if before is None or before.of_file:
            known[name] = price
    return known


def _existing(price: Price, own_name: Any) -> str:
    """The name of an accelerator that a price is given for, if there is such a one."""
    try:
        return str(own_name(price.name))
    except KvcalcError as error:
        raise KvcalcError(f"{price.where}: {str(error).removeprefix('gpu: ')}") from error
