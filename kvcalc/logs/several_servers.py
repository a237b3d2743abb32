"""Whether a log holds lines of several servers, which are never taken for one: by their places, or by their processes.

A restart is none: its process is new, and the old one prints no more.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError

if TYPE_CHECKING:
    from collections.abc import Iterable

_PLACE = re.compile(r"(?:(?P<service>[\w.-]{1,80}) {0,60}\| |\[(?P<pod>pod/[\w./-]{1,200})\] )")
"""What docker compose and kubectl --prefix put before a line."""
_ENGINE = "LLM engine (v"
"""In the line in which an engine of vLLM tells its configuration: once of each, whatever nodes its ranks are on."""
_PROCESS = re.compile(r"\((?P<name>(?:EngineCore|Worker_)\w{0,60}) pid=(?P<pid>\d{1,10})\)")
"""Of which a server has one of each name."""
MOST_NAMED = 4


def refuse_several_places(lines: Iterable[str]) -> None:
    """Refuses the log of several services or pods with an engine each.

    Raises:
        KvcalcError: there are several.
    """
    places: dict[str, str] = {}
    for line in lines:
        if _ENGINE in line and (found := _PLACE.match(line)) is not None:
            places[found["service"] or found["pod"]] = found[0].rstrip()
    if len(places) > 1:
        named = ", ".join(list(places)[:MOST_NAMED]) + (", ..." if len(places) > MOST_NAMED else "")
        first = next(iter(places.values()))
        raise KvcalcError(
            f"--from-log: the log holds lines of {len(places)} servers ({named}); give those of one: "
            f"grep -F '{first}' FILE | kvcalc capacity --from-log -"
        )


class Processes:
    """The processes of a start that have printed figures, each the last of its name."""

    def __init__(self) -> None:
        self._last: dict[str, str] = {}
        self._gone: set[tuple[str, str]] = set()

    def note(self, line: str) -> None:
        """Notes whose figure it is.

        Raises:
            KvcalcError: another process of that name has printed one since this one did.
        """
        found = _PROCESS.search(line)
        if found is None:
            return
        name, pid = found["name"], found["pid"]
        before = self._last.get(name, pid)
        if (name, pid) in self._gone:
            raise KvcalcError(
                f"--from-log: lines of several servers are mixed in the log ({name} pid {pid} and pid {before}); give "
                f"those of one, as its own log file has them: kvcalc capacity --from-log FILE"
            )
        if before != pid:
            self._gone.add((name, before))
        self._last[name] = pid
