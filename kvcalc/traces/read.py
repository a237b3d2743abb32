"""Reading a trace: CSV with a header, or JSON Lines, a request a line."""

from __future__ import annotations

import csv
import json
from array import array
from itertools import accumulate, chain, islice
from operator import lt
from typing import TYPE_CHECKING, Any, NoReturn

from kvcalc.errors import KvcalcError, nearest_or_all
from kvcalc.traces.at_once import counts, times
from kvcalc.traces.clock import Clock
from kvcalc.traces.columns import ARRIVAL, HASHES, INPUT, OUTPUT, UNITS, columns_of, holds_texts
from kvcalc.traces.lines import lines_of
from kvcalc.traces.trace import Hashes, Trace
from kvcalc.units import MAX_CONTEXT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from kvcalc.traces.columns import Columns

MAX_REQUESTS = 5 * 10**6
MAX_HASHES = 5 * 10**7
"""Blocks of all requests together."""
_LINES_LOOKED_AT = 8
"""Of a list of JSON, to say what it holds."""
_AT_ONCE = 1 << 12
"""Rows of CSV."""
_MOST_DIGITS = 13
"""Of numbers of tokens; one of fewer is within the limit."""
_DELIMITERS = ",;\t"


def read_trace(file: str | Path, time_unit: str | None = None, hash_block: int | None = None) -> Trace:
    """The requests of a file.

    Args:
        file: its path, or '-' for standard input.
        time_unit: of times that are numbers, one of UNITS; None: of the format that the columns tell, else seconds.
        hash_block: tokens of a block that hash_ids name; None: of the format.

    Raises:
        KvcalcError: it cannot be read, lacks the lengths, or has a line that is wrong: with the line's number.
    """
    if time_unit is not None and time_unit not in UNITS:
        raise KvcalcError(f"--time-unit: no unit '{time_unit[:40]}'{nearest_or_all(time_unit, UNITS)}")
    where = f"--trace {file}"[:200]
    lines = lines_of(file, where)
    first = next((line for line in lines if line.strip()), None)
    if first is None:
        raise KvcalcError(f"{where}: is empty; it needs a header and a request a line, or an object of JSON a line")
    if first.lstrip().startswith("{"):
        return _Reader(where, time_unit, hash_block).json_lines(chain([first], lines))
    if first.lstrip().startswith("["):
        if any('"conversations"' in line for line in chain([first], islice(lines, _LINES_LOOKED_AT))):
            raise KvcalcError(holds_texts(where))
        raise KvcalcError(f"{where}: a list of JSON; write an object a line instead: jq -c '.[]' FILE")
    return _Reader(where, time_unit, hash_block).csv(first, lines)


class _Reader:
    """One file while it is read."""

    def __init__(self, where: str, time_unit: str | None, hash_block: int | None) -> None:
        self._where, self._time_unit, self._block = where, time_unit, hash_block
        self._number = 1
        self._arrivals, self._inputs, self._outputs = array("q"), array("q"), array("q")
        self._ids, self._ends = array("q"), array("q")
        self._names: dict[object, int] = {}
        self._latest, self._disordered = 0, 0

    def csv(self, first: str, lines: Iterator[str]) -> Trace:
        """A file whose first line names the columns."""
        delimiter = max(_DELIMITERS, key=first.count)
        try:
            header = [name.strip() for name in next(csv.reader([first], delimiter=delimiter, strict=True))]
            if header and all(_is_number(each) or not each for each in header[1:]) and len(header) > 1:
                raise KvcalcError(
                    f"{self._where}:1: the first line must name the columns, for example "
                    "TIMESTAMP,ContextTokens,GeneratedTokens"
                )
            columns = columns_of(header, self._where)
            self._begin(columns)
            places = {said: header.index(name) for said, name in columns.names.items() if said != HASHES}
            self._rows(csv.reader(lines, delimiter=delimiter, strict=True), places, len(header))
        except csv.Error:
            self._number += 1
            self._refuse("no line of CSV: a quote is not closed, or a cell is too long")
        return self._trace(columns)

    def _rows(self, rows: Iterator[Sequence[str]], places: dict[str, int], named: int) -> None:
        more = True
        while more:
            some: list[Sequence[str]] = []
            try:
                some.extend(islice(rows, _AT_ONCE))
                more = bool(some)
            finally:  # what is wrong in a row above comes first
                if not self._added_at_once(some, places, named):
                    self._one_by_one(some, places, named)

    def _added_at_once(self, rows: Sequence[Sequence[str]], places: dict[str, int], named: int) -> bool:
        """Whether the rows are written as they mostly are; if not, nothing of them is taken."""
        if {*map(len, rows)} != {named} or len(self._inputs) + len(rows) > MAX_REQUESTS:
            return False
        columns = [*zip(*rows, strict=True)]
        prompts, generated = (counts(columns[places[said]]) for said in (INPUT, OUTPUT))
        if prompts is None or generated is None or max(*prompts, *generated) > MAX_CONTEXT:
            return False
        if ARRIVAL in places:
            try:
                arrivals = times(columns[places[ARRIVAL]], self._clock)
            except KvcalcError:
                return False
            if arrivals is None:
                return False
            latest = [*accumulate(arrivals, max, initial=self._latest)]
            self._disordered += sum(map(lt, arrivals, latest))
            self._latest = latest[-1]
            self._arrivals.extend(arrivals)
        self._inputs.extend(prompts)
        self._outputs.extend(generated)
        self._number += len(rows)
        return True

    def _one_by_one(self, rows: Sequence[Sequence[str]], places: dict[str, int], named: int) -> None:
        at_input, at_output, at_time = places[INPUT], places[OUTPUT], places.get(ARRIVAL)
        last = max(places.values())
        for row in rows:
            self._number += 1
            if not row:
                continue
            if len(row) <= last:
                self._refuse(f"{len(row)} columns, where the header has at least {last + 1}")
            if len(row) > named and any(row[named:]):
                self._refuse(
                    f"{len(row)} columns, where the header has {named}; a cell that has a comma stands in quotes"
                )
            self._add(row[at_input], row[at_output], None if at_time is None else row[at_time])

    def json_lines(self, lines: Iterator[str]) -> Trace:
        """A file of objects; the first tells which keys there are."""
        columns: Columns | None = None
        decoder = json.JSONDecoder(parse_float=str, parse_constant=str)
        self._number = 0
        for line in lines:
            self._number += 1
            if not line.strip():
                continue
            try:
                held = decoder.decode(line)
            except (ValueError, RecursionError) as error:
                raise KvcalcError(f"{self._where}:{self._number}: not an object of JSON") from error
            if not isinstance(held, dict):
                self._refuse("not an object of JSON")
            if columns is None:
                columns = columns_of(tuple(map(str, held)), self._where)
                self._begin(columns)
                names = columns.names
                hashed = names.get(HASHES)
                timed = names.get(ARRIVAL)
            lacking = [name for said, name in names.items() if said != HASHES and name not in held]
            if lacking:
                self._refuse(f"lacks '{lacking[0][:60]}', which the first line has")
            self._add(held[names[INPUT]], held[names[OUTPUT]], None if timed is None else held[timed])
            if hashed is not None:
                self._hash(held.get(hashed) or ())
        if columns is None:
            raise KvcalcError(f"{self._where}: is empty")
        return self._trace(columns)

    def _begin(self, columns: Columns) -> None:
        self._clock = Clock(self._time_unit or columns.unit)
        self._block = self._block or columns.known.block_tokens

    def _add(self, prompt: Any, generated: Any, arrival: Any) -> None:
        if len(self._inputs) == MAX_REQUESTS:
            self._refuse(f"more than {MAX_REQUESTS:,} requests; give a part of them (head -n {MAX_REQUESTS})")
        try:
            if arrival is not None:
                time = self._clock.read(arrival if isinstance(arrival, str) else _number_text(arrival))
                if time < self._latest:
                    self._disordered += 1
                else:
                    self._latest = time
                self._arrivals.append(time)
            for said, value, tokens in ((INPUT, prompt, self._inputs), (OUTPUT, generated, self._outputs)):
                plain = type(value) is str and value.isdecimal() and value.isascii() and len(value) < _MOST_DIGITS
                tokens.append(int(value) if plain else _tokens(value, said))
        except KvcalcError as error:
            self._refuse(str(error))

    def _hash(self, ids: Any) -> None:
        """The blocks of the last request."""
        tokens, names = self._inputs[-1], self._names
        if not isinstance(ids, list | tuple) or not all(isinstance(each, int | str) for each in ids):
            self._refuse("hash_ids: not a list of numbers or names")
        if self._block is not None and len(ids) > -(-tokens // self._block):
            self._refuse(
                f"{len(ids):,} hash_ids for {tokens:,} tokens of input, more than there are blocks of {self._block:,}; "
                f"--hash-block says how many tokens each is of, here {max(1, tokens // len(ids)):,}"
            )
        self._ids.extend([names.setdefault(each, len(names)) for each in ids])
        if len(self._ids) > MAX_HASHES:
            self._refuse(f"more than {MAX_HASHES:,} hash_ids; give a part of the requests")
        self._ends.append(len(self._ids))

    def _refuse(self, what: str) -> NoReturn:
        raise KvcalcError(f"{self._where}:{self._number}: {what}")

    def _trace(self, columns: Columns) -> Trace:
        if not self._inputs:
            raise KvcalcError(f"{self._where}: has no request below its header")
        timed = len(self._arrivals) > 0
        hashes = Hashes(self._block, self._ids, self._ends) if self._ids and self._block else None
        if self._ids and self._block is None:
            raise KvcalcError(f"{self._where}: has hash_ids; --hash-block N says how many tokens each is of")
        trace = Trace(
            columns.known.name,
            self._arrivals if timed else None,
            self._inputs,
            self._outputs,
            self._clock.in_words if timed else None,
            hashes,
            self._disordered,
        )
        return _sorted(trace) if self._disordered else trace


def _sorted(trace: Trace) -> Trace:
    """In the order of arrival; those of one moment as the file has them."""
    arrivals = trace.arrivals or array("q")
    order = sorted(range(len(arrivals)), key=arrivals.__getitem__)

    def in_order(values: array[int]) -> array[int]:
        return array("q", (values[each] for each in order))

    hashes = trace.hashes
    if hashes is not None:
        ids, ends = array("q"), array("q")
        for each in order:
            ids.extend(hashes.ids[hashes.ends[each - 1] if each else 0 : hashes.ends[each]])
            ends.append(len(ids))
        hashes = hashes._replace(ids=ids, ends=ends)
    return trace._replace(
        arrivals=in_order(arrivals), inputs=in_order(trace.inputs), outputs=in_order(trace.outputs), hashes=hashes
    )


def _tokens(value: Any, said: str) -> int:
    """A number of tokens: an integer, or a decimal that is whole, as spreadsheets write it."""
    if isinstance(value, str):
        text = value.strip()
        whole, _, part = text.partition(".")
        plain = whole.isdecimal() and whole.isascii() and not part.strip("0")
        if plain and len(whole) > _MOST_DIGITS:
            raise KvcalcError(f"{said}: {text[:40]} is not from 0 to {MAX_CONTEXT:,}")
        value = int(whole) if plain else text
    if isinstance(value, bool) or not isinstance(value, int):
        raise KvcalcError(f"{said}: not a whole number: {value!r:.60}")
    if not 0 <= value <= MAX_CONTEXT:
        shown = value if abs(value) <= MAX_CONTEXT * MAX_CONTEXT else "a number"
        raise KvcalcError(f"{said}: {shown} is not from 0 to {MAX_CONTEXT:,}")
    return value


def _number_text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int):
        raise KvcalcError(f"not a time: {value!r:.60}")
    return str(value) if abs(value) < 10**40 else "1e40"


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).replace("-", "", 1).isdecimal()
