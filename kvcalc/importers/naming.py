"""Names of models that files do not name."""

from __future__ import annotations

import re

_NAME = re.compile(r"[^A-Za-z0-9._-]+")


def name_of(text: str) -> str:
    """A model's name, from that of a file, a folder or a repository."""
    return _NAME.sub("-", text).strip("-").lower()[:100] or "model"
