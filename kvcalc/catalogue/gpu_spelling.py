"""Names of accelerators as letters alone: without vendors, spaces, and what drivers and shops add."""

from __future__ import annotations

import re
from functools import lru_cache

_LEFT_OUT = re.compile(
    r"\b(?:nvidia|geforce|quadro|amd|radeon|intel|apple|tesla|instinct|jetson|graphics|gpu|generation|corporation|tm|r"
    r"|macbook (?:pro|air)|macbook|mbp|mac (?:studio|mini|pro)|imac|developer kit|engineering reference|lite hash rate"
    r"|edition|founders|fe|desktop|workstation|server|dual slot|oam|vf|series|hbm\d?e?|gddr\d?[xw]?|huawei|gmktec)\b"
)
_SHORT = (
    (re.compile(r"\b(?:mobile|notebook)\b"), "laptop"),
    (re.compile(r"\b((?:rtx ?)?[2-5]0[5-9]0(?: ?ti)?) ?m\b"), r"\1 laptop"),
    (re.compile(r"\b((?:rtx ?)?[23]0[5-9]0(?: ?(?:ti|super))?) ?max q\b"), r"\1 laptop"),
    (re.compile(r"\b((?:[gr]tx ?)?(?:16[56]|[24]0[6-8])0(?: ?ti)?) ?s\b"), r"\1 super"),
    (re.compile(r"\b([345]090)s\b"), r"\1"),
)
"""What people call GeForce cards for laptops, SUPER cards and several 3090s, beside their maker's words."""
_ADDED = (
    (re.compile(r"^gpu:"), ""),
    (re.compile(r"^.*\[(.+)\].*$"), r"\1"),  # lspci: GA102 [GeForce RTX 3090] (rev a1)
    (re.compile(r"\s+w/.*$"), ""),  # a processor with its graphics
    (re.compile(r"\(\d+-core gpu\)"), ""),
    (re.compile(r"\b1[3-6](?:\.\d)?(?:\"|[- ]?inch\b)"), ""),  # of a screen
)


def plain(text: str) -> str:
    """A name in small letters, without what a tool or a person says beside it."""
    for pattern, kept in _ADDED:
        text = pattern.sub(kept, text)
    return " ".join(text.split())


def letters(text: str) -> str:
    """A name without vendors, spaces and dashes."""
    return "".join(words(text))


@lru_cache(maxsize=8192)
def words(text: str) -> tuple[str, ...]:
    """A name's words and numbers, without vendors."""
    said = re.sub(r"[-_/()]", " ", text.lower())
    for pattern, meant in _SHORT:
        said = pattern.sub(meant, said)
    return tuple(re.findall(r"[a-z]+|[0-9]+|\+", _LEFT_OUT.sub(" ", said)))
