"""Names of accelerators as people type them: '3090', 'RTX 5090', 'NVIDIA H100 80GB HBM3', 'm3 max 64gb', '2x3090'."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from kvcalc.catalogue.gpu_spelling import letters, plain, words
from kvcalc.catalogue.gpu_table import of_size
from kvcalc.errors import KvcalcError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from kvcalc.gpu import Gpu

MAX_NAME = 100
_ADDED = re.compile(r"\([^()]{0,60}\)|,.*")
_SWAPPED = {"rtx": "gtx", "gtx": "rtx"}
_SERIES = re.compile(r"^(?:rtx|gtx|rx|arc)(?=.*\d)")
_SIZE = re.compile(r"^(.+?(?:[\s_-]+|[a-z]))(\d{1,4})\s?(?:gb|gib|g)$")
_VENDOR = re.compile(r"^(?:nvidia|amd|intel|apple)[\s_-]+")
_TIMES = "[x*\N{MULTIPLICATION SIGN}]"
_SEVERAL = (
    re.compile(rf"(?:gpu_)?(?P<count>\d{{1,4}}|dual|quad|two)\s*(?:{_TIMES}|(?<=[ldo])\s)[\s_]*(?P<name>.+)"),
    re.compile(rf"(?P<name>.+?)(?:\s*{_TIMES}\s*|\s*:\s*)(?P<count>\d{{1,4}})"),
    re.compile(rf"(?P<name>.+?)\s*\((?P<count>\d{{1,4}})\s*{_TIMES}\)"),
)
_COUNTS = {"dual": "2", "two": "2", "quad": "4"}
_MACHINES = {"mac": "apple", "macs": "apple", "macbook": "apple", "mac studio": "apple", "mac mini": "apple"}
"""What people call the machines of a vendor."""
_KINDS = re.compile(r"(?:sxm|pcie|nvl|bw|blackwell|ada)?")
"""What may follow a name that several accelerators have in common, beside a size."""


def by_words(text: str, gpus: Iterable[Gpu]) -> Gpu | None:
    """The accelerator that a typed name is of; None where it is of none.

    Raises:
        KvcalcError: it is of several, of none with so much memory, or of more than one accelerator at a time.
    """
    known, asked = list(gpus), plain(text[:MAX_NAME].strip().lower())
    found = _named(asked, known)
    if found is not None:
        return found
    for pattern in _SEVERAL:
        several = pattern.fullmatch(asked)
        one = None if several is None else _named(several["name"], known)
        if several is not None and one is not None:
            count = _COUNTS.get(several["count"], several["count"])
            raise KvcalcError(
                f"gpu: '{asked}' is {count} accelerator{'s' * (count != '1')}; name one, and how many: "
                f"--gpu {one.name} --gpus {count}"
            )
    _refuse_size(asked, known)
    return _only(asked, called_by_driver(asked, known)) if "(" in asked or "/" in asked else None


def _refuse_size(asked: str, known: list[Gpu]) -> None:
    """Refuses a card with other memory than it is sold with, as some are rebuilt, and says how to give that."""
    size = _SIZE.match(asked)
    found = [] if size is None else [gpu for gpu in _fitting(letters(size[1]), known) if gpu.host_link != "unified"]
    if size is not None and found:
        sold = ", ".join(f"{gpu.name} with {gpu.label_gb}" for gpu in found)
        raise KvcalcError(
            f"gpu: none of that name is sold with {size[2]} GB ({sold}); of one that has as much: --gpu "
            f"{found[0].name} --gpu-memory {size[2]}GiB"
        )


def named(text: str, gpus: Iterable[Gpu]) -> list[Gpu]:
    """The accelerators that a name fits, or is a part of: 'h100', 'rtx 40', 'blackwell', 'amd'."""
    asked = letters(text[:MAX_NAME])
    whole = text.strip().lower()
    whole = _MACHINES.get(whole, whole)
    return [
        gpu
        for gpu in gpus
        if (asked and any(_within(asked, each) for each in map(words, (*_names(gpu), gpu.architecture or ""))))
        or whole in (gpu.vendor or "").lower()
    ]


def may_be(text: str, gpus: Iterable[Gpu]) -> list[Gpu]:
    """The accelerators whose whole name it may be."""
    return _fitting(letters(text[:MAX_NAME]), list(gpus))


def called_by_driver(text: str, gpus: Iterable[Gpu]) -> list[Gpu]:
    """The accelerators that a driver's name fits: several where only their memory tells them apart.

    What a driver adds in parentheses is left out: 'Apple M2 Pro (G14S B1)', 'AMD Radeon RX 7900 XTX (RADV NAVI31)'.
    One name may be of several chips: 'AMD Instinct MI60 / MI50', 'Radeon RX 6800/6800 XT / 6900 XT'.
    """
    known, asked = list(gpus), plain(text[:MAX_NAME].strip().lower())
    found = _called_so(asked, known) or _fitting(letters(_ADDED.sub(" ", asked)), known)
    if found or "/" not in asked:
        return found
    each = [_fitting(letters(_ADDED.sub(" ", part)), known) for part in asked.split("/")]
    if not all(each):
        return []
    found = list({gpu.name: gpu for part in each for gpu in part}.values())
    return sorted(found, key=lambda gpu: gpu.memory_bytes or 0)


def _called_so(asked: str, known: list[Gpu]) -> list[Gpu]:
    """Those of whose driver this is the name, to the letter."""
    return [gpu for gpu in known if asked in (each.lower() for each in gpu.device_names)]


def _within(asked: str, name: tuple[str, ...]) -> bool:
    """Whether a name has it from the beginning of a word or number on: m3 is no part of HBM3."""
    return any("".join(name[first:]).startswith(asked) for first in range(len(name)))


def _named(text: str, known: list[Gpu]) -> Gpu | None:
    for said in dict.fromkeys((text, _VENDOR.sub("", text))):
        typed = "-".join(said.split())
        own = next((gpu for gpu in known if typed == gpu.name or typed in gpu.aliases), None)
        if own is not None:
            return own
    own = next(iter(_called_so(text, known)), None)
    if own is not None:
        return own
    size = _SIZE.match(text)
    if size is not None and not any(letters(text) in _keys(gpu) for gpu in known):
        sized = _of_size(size[1].strip(), int(size[2]), known)
        if sized is not None:
            return sized
    return _only(text, _fitting(letters(text), known))


def _of_size(text: str, size_gb: int, known: list[Gpu]) -> Gpu | None:
    """Of the accelerators that a name fits, the one with so much memory."""
    typed = "-".join(text.split())
    whole = next((gpu for gpu in known if f"{typed.rstrip('-')}-{size_gb}gb" in gpu.aliases), None)
    if whole is not None:
        return whole
    own = [gpu for gpu in known if typed == gpu.name or typed in gpu.aliases]
    found = _fitting(letters(text), known)
    several = next((gpu for gpu in (*own, *found) if gpu.sizes_gb), None)
    if several is not None:
        return replace(of_size(several, size_gb), name=f"{several.name}-{size_gb}gb", sizes_gb=())
    return _only(f"{text} {size_gb}gb", [gpu for gpu in found if gpu.label_gb == size_gb])


def _fitting(asked: str, known: list[Gpu]) -> list[Gpu]:
    """Those whose name it is, with or without a series, and kinds of such a card."""
    whole = [gpu for gpu in known if asked and asked in _keys(gpu)]
    if not any(each.isdigit() for each in asked) and len(asked) < 4:  # noqa: PLR2004  # a word: of all of a name, or none
        return whole
    bare = [] if whole or _SERIES.match(asked) else [gpu for gpu in known if asked in map(_bare, _keys(gpu))]
    own = any(asked == letters(gpu.name) for gpu in whole)
    found = [*whole, *bare, *(gpu for gpu in known if _is_a_kind_of(asked, gpu, but_for_size=not own))]
    if not found and asked[:3] in _SWAPPED:  # RTX 1060, GTX 3060
        swapped = _SWAPPED[asked[:3]] + asked[3:]
        found = [gpu for gpu in known if swapped in _keys(gpu) or _is_a_kind_of(swapped, gpu, but_for_size=False)]
    return list({gpu.name: gpu for gpu in found}.values())


def _keys(gpu: Gpu) -> set[str]:
    return {letters(each) for each in _names(gpu)}


def _names(gpu: Gpu) -> Iterator[str]:
    yield gpu.name
    yield from gpu.aliases
    yield from gpu.device_names
    if gpu.title:
        yield gpu.title


def _bare(key: str) -> str:
    """A name without its series: 3090 of rtx3090."""
    return _SERIES.sub("", key)


def _is_a_kind_of(asked: str, gpu: Gpu, *, but_for_size: bool) -> bool:
    """Whether its name goes on with its size, or with what kind of such a card it is; or has its size within."""
    name = letters(gpu.name)
    without = letters(re.sub(rf"-{gpu.label_gb}(?:gb)?-", "-", gpu.name)) if but_for_size and asked != name else ""
    if without and (asked == without or asked.replace("gb", "") == name):
        return True
    for whole in {name, name if _SERIES.match(asked) else _bare(name)}:
        if asked and whole.startswith(asked) and whole != asked:
            rest = whole[len(asked) :].removeprefix(str(gpu.label_gb)).removeprefix("gb")
            if _KINDS.fullmatch(rest):
                return True
    return False


def _only(text: str, found: list[Gpu]) -> Gpu | None:
    if len(found) > 1:
        raise KvcalcError(f"gpu: '{text}' may be {any_of(sorted(gpu.name for gpu in found))}; name one of them")
    return found[0] if found else None


def any_of(names: Sequence[str]) -> str:
    """'x, y or z'."""
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last
