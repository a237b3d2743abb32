"""Names: of models that files do not name, and as messages show what files say."""

from __future__ import annotations

import re
import unicodedata

_NAME = re.compile(r"[^A-Za-z0-9._-]+")


def name_of(text: str) -> str:
    """A model's name, from that of a file, a folder or a repository."""
    plain = "".join(each for each in unicodedata.normalize("NFKD", text) if not unicodedata.combining(each))
    return _NAME.sub("-", plain).strip("-").lower()[:100] or "model"


def one_line(text: str, most: int = 60) -> str:
    """What a file calls something, as messages show it: nothing that ends a line or that a terminal would obey."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:most])
