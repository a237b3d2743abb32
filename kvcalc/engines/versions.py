"""Versions of engines as numbers that compare."""

from __future__ import annotations

import re

_VERSION = (
    r"v?(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?(?:\.(?:post)?(\d{1,6}))?"
    r"(\.?(?:a|b|rc|dev)\d+[^+]*)?"  # leads to a release
    r"(?:\+.*)?"  # a build of it
)


_BUILD = r"b(\d{1,6})"
"""How llama.cpp counts its builds."""


def version_number(version: str) -> tuple[int, ...] | None:
    """A version such as 0.19, v0.19.1 or 0.20.1rc1 as numbers to compare; None of any other name.

    Releases have four numbers: 0.19 is (0, 19, 0, 0), 0.10.1.1 and 0.10.1.post1 are (0, 10, 1, 1). What leads to a
    release comes before it: 0.20.1rc1 is (0, 20, 1, -1). Build b8946 is (8946, 0, 0, 0).
    """
    build = re.fullmatch(_BUILD, version)
    if build is not None:
        return int(build[1]), 0, 0, 0
    found = re.fullmatch(_VERSION, version)
    if found is None:
        return None
    major, minor, patch, post, before = found.groups()
    return int(major), int(minor), int(patch or 0), -1 if before else int(post or 0)
