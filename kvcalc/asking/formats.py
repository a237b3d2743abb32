"""Several formats of a cache, as people write them in one word."""

from __future__ import annotations


def split_formats(text: str) -> list[str]:
    """'bf16,fp8,k=q8_0,v=q4_0' -> bf16, fp8, and 'k=q8_0,v=q4_0': a tensor's format joins the one before it.

    Where a tensor comes again, the next format begins.
    """
    formats: list[str] = []
    named: set[str] = set()
    for part in text.split(","):
        tensor, equals, _ = part.partition("=")
        if equals and named and tensor.strip() not in named:
            formats[-1] += f",{part.strip()}"
        else:
            formats.append(part.strip())
            named = set()
        if equals:
            named.add(tensor.strip())
    return formats
