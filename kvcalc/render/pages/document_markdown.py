"""A document as Markdown; pictures are drawn in letters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.render.markdown import escaped, write_block
from kvcalc.render.pages.document import Picture
from kvcalc.render.view import Verbatim

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.render.pages.document import Document, Section


def document_markdown(document: Document) -> str:
    """The document."""
    sections = (
        text for number, each in enumerate(document.sections, 1) for text in _section(each, str(number), level=2)
    )
    return "\n".join((f"# {escaped(document.title)}\n", *sections))


def _section(section: Section, number: str, level: int) -> Iterator[str]:
    yield f"{'#' * level} {number} {escaped(section.title)}\n"
    for each in section.content:
        yield write_block(Verbatim(each.drawn, "text") if isinstance(each, Picture) else each)
    for index, part in enumerate(section.parts, 1):
        yield from _section(part, f"{number}.{index}", level + 1)
