"""Element formats by their names as people write them: aliases, forks' names, and formats written by hand."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError, did_you_mean, nearest_or_all
from kvcalc.formats.element import ALIASES, FORMATS, ElementFormat

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FORK_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "q6_0": "q6_g32_s2",
        "q4_hqq": "q4_g32_s4",
        "q4_hqq_128": "q4_g128_s4",
        "turbo4": "q4_g32_s1",
        "tbqp3_0": "q3_g256_s4",
        "tbq3_0": "q3_g256_s2",
    }
)
"""What forks of llama.cpp keep a cache in, as formats written by hand.

q6_0 is ik_llama.cpp's (26 bytes of 32 elements), the others are as their forks' logs print them: stored files
54092791146 (q4_hqq), 53172676154 (turbo4, 17 bytes of 32) and 54492899325 (tbqp3_0 and tbq3_0, 100 and 98 of 256).
"""

_BY_HAND = r"q(\d{1,2})_g(\d{1,4})_s(\d{1,3})"
MOST_BITS = 32


def by_hand(name: str, what: str) -> ElementFormat | None:
    """The format of 'q4_g64_s4': 4 bits an element, and 4 bytes of scales for each 64; None of any other name.

    Raises:
        KvcalcError: no bits, or a group that does not fill whole bytes.
    """
    found = re.fullmatch(_BY_HAND, name)
    if found is None:
        return None
    bits, group, beside = map(int, found.groups())
    if not (0 < bits <= MOST_BITS and group):
        raise KvcalcError(f"{what}: '{name}' needs 1 to {MOST_BITS} bits, and at least 1 element in a group")
    if bits * group % 8:
        raise KvcalcError(f"{what}: '{name}' has {group} elements of {bits} bits, which fill no whole bytes")
    about = f"{bits} bits an element and {beside} bytes beside each {group}, as written by hand"
    return ElementFormat(name, group, bits * group // 8 + beside, about, "as written by hand: qBITS_gGROUP_sBYTES")


def format_names() -> list[str]:
    """Every accepted spelling of a single element format."""
    return [*FORMATS, *ALIASES]


_NOT_FOLLOWED = {
    "turboquant": "is no format of single tensors: vLLM has --cache-dtype turboquant_k8v4, turboquant_4bit_nc, "
    "turboquant_k3v4_nc and turboquant_3bit_nc, with --engine vllm",
    "q8_kv": "is ik_llama.cpp's, with 8 bytes beside each head of a key and none beside values (src/llama.cpp, "
    "ggml_new_tensor_2d of n_embd_head_k; row_meta_size of ggml/src/ggml.c): for heads of 128 give --cache-dtype "
    "k=q8_g128_s8,v=q8_g32_s0",
    "turbo3": "has two sizes in forks of llama.cpp, by what their logs print: give --cache-dtype q3_g32_s2 (14 bytes "
    "of 32) or q3_g128_s2 (50 of 128)",  # stored files 56680919943 and 52601386018; 61770422210
    "turbo2": "has two sizes in forks of llama.cpp, by their sources: give --cache-dtype q2_g32_s2 (10 bytes of 32) or "
    "q2_g128_s2 (34 of 128)",  # stored files 62117442616 and 66692815862; 55694231714
    "exl3": "names ExLlamaV3, whose cache has 2 to 8 bits an element and 2 bytes beside each 32 "
    "(exllamav3/cache/quant.py): give --cache-dtype q4_g32_s2 for 4 bits, or k=q6_g32_s2,v=q4_g32_s2",
}
"""What names of formats begin with that are known and not followed, and what does instead."""


def find_format(name: str, what: str) -> ElementFormat:
    """The element format of that name or alias.

    Raises:
        KvcalcError: no such format; the nearest names are in the message.
    """
    lowered = name.strip().lower()
    found = FORMATS.get(ALIASES.get(lowered, lowered)) or by_hand(FORK_TYPES.get(lowered, lowered), what)
    if found is not None:
        return found
    known = next((why for start, why in _NOT_FOLLOWED.items() if lowered.startswith(start)), None)
    if known is not None:
        raise KvcalcError(f"{what}: '{name[:40]}' {known}")
    raise KvcalcError(
        f"{what}: unknown format '{name[:40]}'" + (did_you_mean(name, format_names()) or nearest_or_all(name, FORMATS))
    )


def check_format(key: str, name: str | None, find: Callable[[str, str], ElementFormat] = find_format) -> None:
    """The format that a key of a file names must exist, among those that `find` finds.

    Raises:
        ValueError: it does not.
    """
    if name is not None:
        try:
            find(name, key)
        except KvcalcError as error:
            raise ValueError(str(error)) from error
