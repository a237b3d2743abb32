"""A mix of requests as people write it: '70%:2Ki+500,30%:16Ki+1Ki', or a CSV file with share, input and output."""

from __future__ import annotations

from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvcalc.errors import KvcalcError
from kvcalc.files import read_bytes
from kvcalc.scenario.mix import MOST_KINDS, Kind, Mix
from kvcalc.units import MAX_CONTEXT, check_count, parse_count, parse_positive

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MOST_BYTES = 1 << 20
"""Of a file."""
MOST_LINES = 4096
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_FORM = "SHARE:INPUT+OUTPUT (for example 70%:2Ki+500,30%:16Ki+1Ki), or a CSV file with share,input,output"
_COLUMNS = ("share", "input", "output")
_PERCENT = 100


def mix(value: Any, what: str) -> Mix:
    """A text, the name of a CSV file, or kinds as (share, input, output).

    Raises:
        KvcalcError: it is none of these, or shares are not those of a whole.
    """
    if isinstance(value, Mix):
        return value
    if isinstance(value, str | Path):
        text = str(value).strip()
        if not text:
            raise KvcalcError(f"{what}: '' is not {_FORM}")
        is_file = isinstance(value, Path) or ":" not in text or text.lower().endswith(".csv")
        return _of_shares(_of_file(Path(text), what) if is_file else _of_text(text, what), what)
    try:
        rows = [tuple(row) for row in value]
    except TypeError:
        raise KvcalcError(f"{what}: not {_FORM}: {value!r:.60}") from None
    return _of_shares((_row(row, what) for row in rows), what)


def _of_text(text: str, what: str) -> Iterator[Kind]:
    for part in text.split(","):
        share, colon, lengths = part.partition(":")
        prompt, _, generated = lengths.partition("+")
        if not (colon and share.strip() and prompt.strip()):
            raise KvcalcError(f"{what}: '{part[:60]}' is not {_FORM}")
        yield _row((share, prompt, generated or "0"), f"{what} {part.strip()[:60]}")


def _of_file(path: Path, what: str) -> Iterator[Kind]:
    import csv

    shown = f"{what} {str(path)[:200]}"
    raw = read_bytes(path, shown, MOST_BYTES)
    if len(raw) > MOST_BYTES:
        raise KvcalcError(f"{shown}: longer than {MOST_BYTES:,} bytes")
    if raw[:2] in _UTF_16:
        raise KvcalcError(f"{shown}: is UTF-16; save it as UTF-8, as iconv -f UTF-16 -t UTF-8 FILE does")
    try:
        rows = list(islice(csv.reader(raw.decode("utf-8-sig").splitlines(), strict=True), MOST_LINES + 1))
    except UnicodeDecodeError as error:
        raise KvcalcError(f"{shown}: is not UTF-8 text (byte {error.start})") from None
    except csv.Error:
        raise KvcalcError(f"{shown}: no CSV file: a quote is not closed, or a cell is too long") from None
    if len(rows) > MOST_LINES:
        raise KvcalcError(
            f"{shown}: more than {MOST_LINES:,} lines; a mix has at most {MOST_KINDS:,} kinds of requests "
            "(kvcalc demand reads traces)"
        )
    lines = [(number, [cell.strip() for cell in row]) for number, row in enumerate(rows, 1) if any(map(str.strip, row))]
    header = [cell.lower() for cell in lines[0][1]] if lines else []
    if sorted(header) != sorted(_COLUMNS) or len(lines) == 1:
        raise KvcalcError(f"{shown}: has no header with {', '.join(_COLUMNS)} and a line below it")
    places = [header.index(name) for name in _COLUMNS]
    for number, cells in lines[1:]:
        if len(cells) != len(_COLUMNS):
            raise KvcalcError(f"{shown}, line {number}: has {len(cells)} cells, and the header {len(_COLUMNS)}")
        yield _row([cells[place] for place in places], f"{shown}, line {number}")


def _row(row: Iterable[Any], what: str) -> Kind:
    cells = list(row)
    if len(cells) != len(_COLUMNS):
        raise KvcalcError(f"{what}: {cells!r:.60} are not a share, an input and an output")
    share, prompt, generated = cells
    return Kind(_share(share, f"{what}: share"), _count(prompt, f"{what}: input", 1), _count(generated, what, 0))


def _count(value: Any, what: str, least: int) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return check_count(value, what, MAX_CONTEXT, least)
    return parse_count(str(value), what, MAX_CONTEXT, least)


def _share(value: Any, what: str) -> Fraction:
    """As a number: '70%' and 0.7 are 7/10; whether 70 is a percentage is seen by all of them together."""
    if isinstance(value, Fraction) and value > 0:
        return value
    text = str(value).strip()
    number = parse_positive(text.removesuffix("%"), what)
    return number / _PERCENT if text.endswith("%") else number


def _of_shares(kinds: Iterable[Kind], what: str) -> Mix:
    found = list(kinds)
    total = sum((kind.share for kind in found), Fraction(0))
    if total == _PERCENT:
        found = [kind._replace(share=kind.share / _PERCENT) for kind in found]
    elif total != 1:
        raise KvcalcError(
            f"{what}: shares add up to {float(total * _PERCENT):.10g}%, not 100%; change the last one, or divide each "
            "by their sum"
        )
    return Mix(tuple(found))
