"""Lines of a log as their engine wrote them: what web pages, editors and notes add is taken off."""

from __future__ import annotations

import re

_CHARACTERS = {
    **dict.fromkeys(map(ord, "\u00a0\u2007\u2009\u202f"), " "),
    **dict.fromkeys(map(ord, "\u2018\u2019"), "'"),
    **dict.fromkeys(map(ord, "\u201c\u201d"), '"'),
    **dict.fromkeys(map(ord, "\u200b\u2060\ufeff"), None),
}
"""Spaces that do not break, quotation marks of typesetters, and characters of no width."""
_ENTITY = re.compile(r"&(?:quot|apos|lt|gt|amp|nbsp|#\d{1,4}|#x[0-9a-fA-F]{1,4});")
_NAMES = "a|b|br|body|code|div|em|font|html|i|li|ol|p|pre|samp|span|strong|table|tbody|td|tr|tt|ul"
_TAG = re.compile(rf"</?(?:{_NAMES})(?: [^<>]{{0,200}})? ?/?>")
_ESCAPED = re.compile(r"\\([_*\[\]`~#])")
"""Of Markdown."""


def plain(line: str) -> str:
    """A line without marks of HTML and Markdown, in plain characters."""
    if "<" in line:
        line = _TAG.sub("", line)
    if "&" in line and _ENTITY.search(line):
        from html import unescape  # few logs need it, and it loads a table

        line = unescape(line)
    if "\\" in line:
        line = _ESCAPED.sub(r"\1", line)
    if not line.isascii():
        line = line.translate(_CHARACTERS)
    return line.rstrip("`*") if line[-1:] in "`*" else line
