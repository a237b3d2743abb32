"""Several formats of a cache, as people write them in one word."""

from __future__ import annotations

from itertools import pairwise

from kvcalc.errors import KvcalcError


def split_formats(text: str) -> list[str]:
    """'bf16,fp8,k=q8_0,v=q4_0' -> bf16, fp8, and 'k=q8_0,v=q4_0': a tensor's format joins the one before it.

    Where a tensor comes again, the next format begins: 'k=q8_0,v=q4_0,k=fp8,v=fp8' are two.

    Raises:
        KvcalcError: a tensor comes again, and the two formats would not name the same tensors, all of them.
    """
    formats: list[str] = []
    named: list[list[str]] = []  # the tensors that each names
    for part in text.split(","):
        tensor, equals, _ = (word.strip() for word in part.partition("="))
        if equals and named and named[-1] and tensor not in named[-1]:
            formats[-1] += f",{part.strip()}"
            named[-1].append(tensor)
        else:
            formats.append(part.strip())
            named.append([tensor] if equals else [])
    for before, after in pairwise(named):
        if before and after and (len(before) == 1 or sorted(before) != sorted(after)):
            raise KvcalcError(
                f"--cache-dtype: tensor '{after[0][:40]}' is given twice; to compare formats of single tensors, name "
                "the same ones in each, at least two: k=fp8,v=fp8,k=bf16,v=bf16"
            )
    return formats
