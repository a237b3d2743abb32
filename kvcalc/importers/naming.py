"""Names of models that files do not name."""

from __future__ import annotations

import re
import unicodedata

_NAME = re.compile(r"[^A-Za-z0-9._-]+")


def name_of(text: str) -> str:
    """A model's name, from that of a file, a folder or a repository."""
    plain = "".join(each for each in unicodedata.normalize("NFKD", text) if not unicodedata.combining(each))
    return _NAME.sub("-", plain).strip("-").lower()[:100] or "model"
