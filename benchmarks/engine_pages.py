"""Writes docs/engines/NAME.md: an engine's rules, options and sources, as its own code has them.

`python benchmarks/engine_pages.py` prints the pages, `--write` writes them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from kvcalc.engines import ENGINES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kvcalc.engines import Engine

FOLDER = Path(__file__).parents[1] / "docs" / "engines"
PAGES = ("llama-cpp",)
"""Engines that have a page."""


def page(name: str) -> str:
    """The page of an engine."""
    return "\n".join(_lines(ENGINES[name])).rstrip() + "\n"


def _lines(engine: type[Engine]) -> Iterator[str]:
    yield f"# {engine.name}\n"
    yield "Written by `make accuracy` from the engine's own code, as `kvcalc explain` shows it.\n"
    yield f"{engine.about}\n"
    yield f"    {engine.formula}\n"
    yield f"Source: {engine.source}.\n"
    if engine.versions:
        known = ", ".join(engine.versions)
        yield f"Versions whose rules are known: {known}. One between two of them takes the older's.\n"
    if engine.rules:
        yield "## Rules\n"
        yield from _table(("what", "how", "where in the engine"), engine.rules)
    yield "\n## Options\n"
    rows = [(name, each.default_in_words, each.help) for name, each in engine.options.items()]
    yield from _table(("--engine-option", "default", "what it is"), rows)
    if engine.given_elsewhere:
        yield "\nOptions of the engine that kvcalc has as its own:\n"
        yield from _table(("of the engine", "of kvcalc"), list(engine.given_elsewhere.items()))


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', '/') for cell in row)} |"


def main() -> None:
    for name in PAGES:
        if "--write" in sys.argv[1:]:
            FOLDER.mkdir(exist_ok=True)
            (FOLDER / f"{name}.md").write_text(page(name), encoding="utf-8")
        else:
            sys.stdout.write(page(name))


if __name__ == "__main__":
    main()
