"""Addresses of sites where models are."""

from __future__ import annotations

import re
from functools import cache


@cache
def _pattern() -> re.Pattern[str]:
    """Compiled when the first text with a slash is asked about: most names have none."""
    return re.compile(
        r"(?:https?://)?(?:www\.)?(?P<host>huggingface\.co|hf\.co|hf-mirror\.com|modelscope\.(?:cn|ai)|ollama\.com)/(?P<path>.+)",
        re.IGNORECASE,
    )


def path_of_address(text: str) -> str | None:
    """What follows the site; None of what is no address."""
    found = _pattern().fullmatch(text) if "/" in text else None
    return None if found is None else found["path"]


def is_address(text: str) -> bool:
    """Whether it is an address on a site where models are, not a path."""
    return path_of_address(text.strip()) is not None
