"""A document as one page of HTML that needs neither network nor script; for screens of any width, and for A4."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from kvcalc.charts.looks import style
from kvcalc.errors import one_line
from kvcalc.render.pages.document import Picture
from kvcalc.render.pages.page_blocks import block_html
from kvcalc.render.pages.page_style import STYLE

if TYPE_CHECKING:
    from kvcalc.render.pages.document import Document, Section

_ALLOWED = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
"""What a browser lets the page do, whatever stands in it."""


def page(document: Document) -> str:
    """The page."""
    title = escape(one_line(document.title))
    numbered = list(enumerate(document.sections, 1))
    contents = "".join(f'<li><a href="#s{number}">{escape(each.title)}</a></li>\n' for number, each in numbered)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_ALLOWED}">\n'
        f"<style>\n{style()}\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n"
        f'<nav aria-label="Contents">\n<ol>\n{contents}</ol>\n</nav>\n'
        f"{''.join(_section(each, str(number), 2) for number, each in numbered)}</main>\n</body>\n</html>\n"
    )


def _figure(picture: Picture, title: str) -> str:
    """What is wider than the screen moves within its own frame, as a table does."""
    return f'<figure class="wide" role="region" aria-label="{title}" tabindex="0">\n{picture.svg}</figure>\n'


def _section(section: Section, number: str, level: int) -> str:
    title = escape(one_line(section.title))
    blocks = "".join(
        _figure(each, title) if isinstance(each, Picture) else block_html(each, one_line(section.title))
        for each in section.content
    )
    parts = "".join(_section(each, f"{number}.{index}", level + 1) for index, each in enumerate(section.parts, 1))
    heading = f'<h{level} id="s{number}-heading"><span class="faint">{number}</span> {title}</h{level}>\n'
    return f'<section id="s{number}" aria-labelledby="s{number}-heading">\n{heading}{blocks}{parts}</section>\n'
