"""Reads a log by the lines that an engine is known to print. No figure is computed here."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kvcalc.logs.arguments import command_pairs, first_word, plain_number, printed_pairs
from kvcalc.logs.folding import LEVEL
from kvcalc.logs.server_log import Minor, Printed, ServerLog
from kvcalc.logs.several_servers import Processes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kvcalc.logs.dialect import Dialect, LogLine

MAX_TIMES = 4096
"""Times that a figure is kept of one start: as many as there may be ranks."""

MAX_SETTINGS = 4 * 1024**2
"""Characters of settings that are read, of all starts together: some 10,000 each."""
MAX_WRAPPED = 12
"""Lines that a message may be wrapped into."""
MAX_KEPT = 2000
"""Characters of a message that are kept while its next lines are read."""

MAX_PAIRS = 2000
"""Keys of a model's file that are kept."""

MODEL = "MODEL"
DRAFT = "draft's "
"""Before the names of figures of a model that only drafts tokens."""

_SERVES = {"tokens", "concurrency"}
"""What is printed only of a start that works: of one that failed before, it is another try."""

_OF_CACHE = {
    *("tokens", "blocks", "concurrency", "cache memory", "keys", "keys and values", "both pools", "states"),
    *("KV buffer", "RS buffer", "Ollama's kv cache"),
}
"""Figures of which an engine prints one when its cache stands: a start without them is not over, or was ended."""

_STRENGTH = {"command": 1, "settings": 2}
"""What an engine prints of its settings wins over the command line, and what it printed last wins."""


class _Start:
    """What is known of one start while its lines are read."""

    def __init__(self) -> None:
        self.version: str | None = None
        self.model: str | None = None
        self.device: str | None = None
        self.settings: dict[str, tuple[int, str]] = {}
        self.printed: dict[str, list[Printed]] = {}
        self.between: tuple[Minor, Minor] | None = None
        self.generation = ""
        self.refused: str | None = None
        self.metadata: dict[str, str] = {}
        self.draft = False
        self.processes = Processes()

    @property
    def is_through(self) -> bool:
        """Whether it printed something of its cache, or why there is none."""
        return self.refused is not None or not _OF_CACHE.isdisjoint(self.printed)

    def narrow(self, known_line: LogLine) -> None:
        """Notes which versions print such a line; one that contradicts the others, as forks have, changes nothing."""
        self.generation = self.generation or known_line.generation
        own = known_line.between
        if own is None or self.between is None:
            self.between = self.between or own
            return
        both = max(own[0], self.between[0]), min(own[1], self.between[1])
        self.between = both if both[0] <= both[1] else self.between

    def begin_anew(self, known_line: LogLine) -> None:
        """Drops what such a line makes void; where another file is loaded, what was known of the one before too."""
        for name in known_line.anew:
            self.printed.pop(_named(self, name), None)
        if known_line.anew and "model" in known_line.pattern.groupindex and not self.draft:
            self.metadata.clear()
            self.model = None

    def set(self, option: str, value: str, strength: int) -> None:
        if strength >= self.settings.get(option, (0, ""))[0]:
            self.settings[option] = strength, value


def read_lines(lines: Iterable[str], dialect: Dialect) -> ServerLog | None:
    """The last start in a log that got as far as its cache, else that printed a figure, else the last.

    None where no line is known.

    Args:
        lines: of the log.
        dialect: of the engine that may have written it.

    Raises:
        KvcalcError: lines of several servers are mixed.
    """
    anchors = tuple(dict.fromkeys(each.anchor for each in dialect.lines))
    starts = [_Start()]
    known, left = False, MAX_SETTINGS
    for line, new in _joined(lines, anchors, wraps=dialect.wraps):
        for known_line in dialect.lines:
            found = known_line.pattern.search(line) if known_line.anchor in line else None
            if found is None or found.end() <= new:
                continue
            known = known or "device" not in found.re.groupindex
            if known_line.starts and (starts[-1].printed.keys() - dialect.before or starts[-1].refused):
                starts.append(_Start())
            starts[-1].begin_anew(known_line)
            starts[-1].narrow(known_line)
            told = next((found[group] for group in _STRENGTH if group in found.re.groupindex), "")
            left -= len(told)
            if left > 0 or not told:
                _note(starts[-1], found, dialect, line)
    if not known:
        return None
    backwards = starts[::-1]
    last = next((each for each in backwards if each.is_through), None)
    last = last or next((each for each in backwards if each.printed), starts[-1])
    printed = {name: tuple(values) for name, values in last.printed.items()}
    return ServerLog(
        engine=dialect.engine,
        version=last.version,
        model=last.model or last.settings.pop(MODEL, (0, None))[1],
        device=last.device or next((each.device for each in starts if each.device), None),
        settings={name: value for name, (_, value) in last.settings.items() if name != MODEL},
        printed=dialect.derive(printed) if dialect.derive else printed,
        between=last.between,
        generation=last.generation,
        starts=len(starts),
        refused=last.refused,
        metadata=last.metadata,
    )


def _joined(lines: Iterable[str], anchors: tuple[str, ...], *, wraps: bool) -> Iterator[tuple[str, int]]:
    """The lines that may be known, and where what is new in each begins.

    A line that begins no message of its own may continue the one before it: terminals and people wrap lines.
    """
    before, wrapped = "", MAX_WRAPPED
    for line in lines:
        if not wraps:
            if any(anchor in line for anchor in anchors):
                yield line, 0
            continue
        begins = LEVEL.search(line) is not None
        if begins or wrapped >= MAX_WRAPPED:
            before, whole, wrapped = "", line, 0 if begins else wrapped
        else:
            whole, wrapped = f"{before} {line.strip()}", wrapped + 1
        if any(anchor in whole for anchor in anchors):
            yield whole, len(before)
        before = whole[-MAX_KEPT:]


def _note(start: _Start, found: re.Match[str], dialect: Dialect, line: str) -> None:
    """Notes what a line tells."""
    if "key" in found.re.groupindex:
        _note_pair(start, found["key"].strip(), found["value"].strip(), dialect)
        return
    for group, text in found.groupdict().items():
        if text is None:
            continue
        if group in dialect.figures:
            _note_figure(start, group, text, dialect, line)
        elif group in _STRENGTH:
            _note_settings(start, group, text, dialect)
        elif group not in _OF_START and group in dialect.settings:
            _note_pair(start, group, text, dialect)
        else:
            _note_of_start(start, group, text)


_UNTAGGED = re.compile(r"v?0\.(?:0\.0|1)\.?dev")
"""How setuptools_scm names a build of a checkout without tags, of whatever version: 0.1.dev1+gda1daf40b."""

_OF_START = {"draft", "refused", "generation", "version", "model", "device"}


def _note_of_start(start: _Start, group: str, text: str) -> None:
    """What is known of a start beside its figures and settings; of what may stand there twice the first counts."""
    match group:
        case "draft":
            start.draft = True
        case "refused":
            start.refused = text
        case "generation":
            start.generation = text.lower()
        case "version":
            start.version = start.version or (None if _UNTAGGED.match(text) else text.removeprefix("v"))
        case "model":
            start.model = start.model or text.rstrip("\"',")  # of a list, or a table's cell
        case "device":
            start.device = start.device or text.replace("_", " ")


def _note_figure(start: _Start, group: str, text: str, dialect: Dialect, line: str) -> None:
    process = dialect.process.search(line)
    start.processes.note(line)
    printed = dialect.figures[group].printed(text, process["name"] if process else "")
    values = start.printed.setdefault(_named(start, dialect.figures[group].name), [])
    start.refused = None if group in _SERVES else start.refused
    if len(values) < MAX_TIMES:
        values.append(printed)


def _named(start: _Start, figure: str) -> str:
    """A figure's name; of a model that only drafts it is another."""
    return f"{DRAFT}{figure}" if start.draft else figure


def _note_pair(start: _Start, name: str, value: str, dialect: Dialect) -> None:
    """A setting of the server, or a key of its model's file, of which the first that is printed counts."""
    if start.draft:
        return
    if name in dialect.settings:
        start.set(dialect.settings[name], value, _STRENGTH["settings"])
    elif (key := dialect.metadata.get(name, name)) and len(start.metadata) < MAX_PAIRS:
        start.metadata.setdefault(key, value[:MAX_KEPT])


def _note_settings(start: _Start, group: str, text: str, dialect: Dialect) -> None:
    """What a server was told, printed by itself or as a command line."""
    if group == "command":
        found = command_pairs(text, dialect.settings, dialect.flags)
        pairs = [(name, plain_number(value, dialect.suffixes)) for name, value in found]
        told = first_word(text)
        if told is not None:
            start.set(MODEL, told, _STRENGTH[group])
    else:
        pairs = list(printed_pairs(text, dialect.settings, dialect.nested))
    for name, value in pairs:
        start.set(dialect.settings[name], value, _STRENGTH[group])
