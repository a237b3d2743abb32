"""Names of accelerators as people type them: '3090', 'RTX 5090', 'NVIDIA H100 80GB HBM3', 'm3 max 64gb', '2x3090'."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from kvcalc.catalogue.gpu_table import of_size
from kvcalc.errors import KvcalcError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from kvcalc.gpu import Gpu

MAX_NAME = 100
_LEFT_OUT = re.compile(
    r"\b(?:nvidia|geforce|quadro|amd|radeon|intel|apple|tesla|instinct|jetson|graphics|gpu|generation|corporation|tm|r"
    r"|macbook (?:pro|air)|macbook|mac (?:studio|mini|pro)|imac"
    r"|edition|founders|fe|desktop|workstation|server|dual slot|oam|vf|hbm\d?e?|gddr\d?[xw]?|huawei|gmktec)\b"
)
_SHORT = (
    (re.compile(r"\b(?:mobile|notebook)\b"), "laptop"),
    (re.compile(r"\b((?:rtx ?)?[2-5]0[5-9]0(?: ?ti)?) ?m\b"), r"\1 laptop"),
    (re.compile(r"\b((?:[gr]tx ?)?(?:16[56]|[24]0[6-8])0(?: ?ti)?) ?s\b"), r"\1 super"),
)
"""What people call GeForce cards for laptops and SUPER cards, beside their maker's words: 4090M, 4070 Ti S."""
_ADDED = re.compile(r"\([^()]{0,60}\)|,.*")
_SERIES = re.compile(r"^(?:rtx|gtx|rx|arc)(?=.*\d)")
_SIZE = re.compile(r"^(.+?(?:[\s_-]+|[a-z]))(\d{1,4})\s?(?:gb|gib|g)$")
_TIMES = "[x*\N{MULTIPLICATION SIGN}]"
_SEVERAL = (
    re.compile(rf"(?:gpu_)?(?P<count>\d{{1,4}}|dual|quad)\s*(?:{_TIMES}|(?<=l|d)\s)[\s_]*(?P<name>.+)"),
    re.compile(rf"(?P<name>.+?)(?:\s*{_TIMES}\s*|\s*:\s*)(?P<count>\d{{1,4}})"),
)
_COUNTS = {"dual": "2", "quad": "4"}
_MACHINES = {"mac": "apple", "macs": "apple", "macbook": "apple", "mac studio": "apple", "mac mini": "apple"}
"""What people call the machines of a vendor."""
_KINDS = re.compile(r"(?:sxm|pcie|nvl|bw|blackwell|ada)?")
"""What may follow a name that several accelerators have in common, beside a size."""


def by_words(text: str, gpus: Iterable[Gpu]) -> Gpu | None:
    """The accelerator that a typed name is of; None where it is of none.

    Raises:
        KvcalcError: it is of several, of none with so much memory, or of more than one accelerator at a time.
    """
    known, asked = list(gpus), text[:MAX_NAME].strip().lower()
    found = _named(asked, known)
    if found is not None:
        return found
    for pattern in _SEVERAL:
        several = pattern.fullmatch(asked)
        one = None if several is None else _named(several["name"], known)
        if several is not None and one is not None:
            count = _COUNTS.get(several["count"], several["count"])
            raise KvcalcError(
                f"gpu: '{asked}' is {count} accelerators; name one, and how many: --gpu {one.name} --gpus {count}"
            )
    _refuse_size(asked, known)
    return _only(asked, called_by_driver(asked, known)) if "(" in asked else None


def _refuse_size(asked: str, known: list[Gpu]) -> None:
    """Refuses a card with other memory than it is sold with, as some are rebuilt, and says how to give that."""
    size = _SIZE.match(asked)
    found = [] if size is None else [gpu for gpu in _fitting(_letters(size[1]), known) if gpu.host_link != "unified"]
    if size is not None and found:
        sold = ", ".join(f"{gpu.name} with {gpu.label_gb}" for gpu in found)
        raise KvcalcError(
            f"gpu: none of that name is sold with {size[2]} GB ({sold}); of one that has as much: --gpu "
            f"{found[0].name} --gpu-memory {size[2]}GiB"
        )


def named(text: str, gpus: Iterable[Gpu]) -> list[Gpu]:
    """The accelerators that a name fits, or is a part of: 'h100', 'rtx 40', 'blackwell', 'amd'."""
    asked = _letters(text[:MAX_NAME])
    whole = text.strip().lower()
    whole = _MACHINES.get(whole, whole)
    return [
        gpu
        for gpu in gpus
        if (asked and any(_within(asked, each) for each in map(_words, (*_names(gpu), gpu.architecture or ""))))
        or whole in (gpu.vendor or "").lower()
    ]


def may_be(text: str, gpus: Iterable[Gpu]) -> list[Gpu]:
    """The accelerators whose whole name it may be."""
    return _fitting(_letters(text[:MAX_NAME]), list(gpus))


def called_by_driver(text: str, gpus: Iterable[Gpu]) -> list[Gpu]:
    """The accelerators that a driver's name fits: several where only their memory tells them apart.

    What a driver adds in parentheses is left out: 'Apple M2 Pro (G14S B1)', 'AMD Radeon RX 7900 XTX (RADV NAVI31)'.
    """
    known, asked = list(gpus), text[:MAX_NAME].strip().lower()
    return _called_so(asked, known) or _fitting(_letters(_ADDED.sub(" ", asked)), known)


def _called_so(asked: str, known: list[Gpu]) -> list[Gpu]:
    """Those of whose driver this is the name, to the letter."""
    return [gpu for gpu in known if asked in (each.lower() for each in gpu.device_names)]


def _letters(text: str) -> str:
    """A name without vendors, spaces and dashes."""
    return "".join(_words(text))


def _words(text: str) -> list[str]:
    """A name's words and numbers, without vendors."""
    words = re.sub(r"[-_/()]", " ", text.lower())
    for pattern, meant in _SHORT:
        words = pattern.sub(meant, words)
    words = _LEFT_OUT.sub(" ", words)
    return re.findall(r"[a-z]+|[0-9]+|\+", words)


def _within(asked: str, words: list[str]) -> bool:
    """Whether a name has it from the beginning of a word or number on: m3 is no part of HBM3."""
    return any("".join(words[first:]).startswith(asked) for first in range(len(words)))


def _named(text: str, known: list[Gpu]) -> Gpu | None:
    words = "-".join(text.split())
    own = next((gpu for gpu in known if words == gpu.name or words in gpu.aliases), None)
    own = own or next(iter(_called_so(text, known)), None)
    if own is not None:
        return own
    size = _SIZE.match(text)
    if size is not None and not any(_letters(text) in _keys(gpu) for gpu in known):
        sized = _of_size(size[1].strip(), int(size[2]), known)
        if sized is not None:
            return sized
    return _only(text, _fitting(_letters(text), known))


def _of_size(text: str, size_gb: int, known: list[Gpu]) -> Gpu | None:
    """Of the accelerators that a name fits, the one with so much memory."""
    words = "-".join(text.split())
    own = [gpu for gpu in known if words == gpu.name or words in gpu.aliases]
    found = _fitting(_letters(text), known)
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
    found = [*whole, *bare, *(gpu for gpu in known if _is_a_kind_of(asked, gpu))]
    return list({gpu.name: gpu for gpu in found}.values())


def _keys(gpu: Gpu) -> set[str]:
    return {_letters(each) for each in _names(gpu)}


def _names(gpu: Gpu) -> Iterator[str]:
    yield gpu.name
    yield from gpu.aliases
    yield from gpu.device_names
    if gpu.title:
        yield gpu.title


def _bare(key: str) -> str:
    """A name without its series: 3090 of rtx3090."""
    return _SERIES.sub("", key)


def _is_a_kind_of(asked: str, gpu: Gpu) -> bool:
    """Whether its name goes on with its size, or with what kind of such a card it is; or has its size within."""
    name = _letters(gpu.name)
    size = re.compile(rf"-{gpu.label_gb}(?:gb)?-")
    if asked == _letters(size.sub("-", gpu.name)) != name:
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
