"""`--gpu auto`: what nvidia-smi, rocm-smi or the Mac say of the machine that kvcalc runs on."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, NamedTuple

from kvcalc.access import check_machine
from kvcalc.errors import CannotRunError, KvcalcError
from kvcalc.gpu import Gpu

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

AUTO = "auto"
_SECONDS = 10
_MIB = 2**20
_MOST_OUTPUT = 100_000


THIS = "this-machine"
_ANOTHER = 0.1
"""From which share on a card's memory is not what its kind is sold with: some are rebuilt."""
_WITH_ECC = 16 / 15
"""What a card of GDDR is sold with, by what error correction leaves: a Tesla M40 of 12 GB tells 11,448 MiB."""


class Found(NamedTuple):
    """A card as a tool names it.

    Attributes:
        told_by: nvidia-smi, which overstates by what its driver keeps, or what tells as much as the runtime does.
    """

    name: str
    memory_bytes: int | None
    told_by: Literal["nvidia-smi", "runtime"] = "nvidia-smi"


def detected(find: Callable[[str], Gpu]) -> Gpu:
    """The accelerator of this machine: its catalogue entry where there is one, with the memory that the tool says.

    Args:
        find: an accelerator by name.

    Raises:
        KvcalcError: there is none that a tool tells of, or there are several that are unlike.
    """
    check_machine(f"gpu: {AUTO}")
    cards = list(_nvidia()) or list(_amd()) or list(_mac())
    if not cards:
        raise CannotRunError(
            "gpu: nvidia-smi, rocm-smi and the system tell of no accelerator here; name one (kvcalc gpus list)"
        )
    unlike = {card.name: card for card in cards}
    if len(unlike) > 1:
        found = [_named(card, find).name for card in cards if card.memory_bytes is not None]
        together = "" if THIS in found else f", or all for llama.cpp: --gpu {'+'.join(found)}"
        raise KvcalcError(f"gpu: this machine has {' and '.join(sorted(unlike))}; name one of them{together}")
    card = cards[0]
    known = _named(card, find)
    if card.memory_bytes is None:
        return known
    rebuilt = known.memory_bytes is not None and abs(card.memory_bytes / known.memory_bytes - 1) > _ANOTHER
    less = known.memory_bytes is not None and card.memory_bytes < known.memory_bytes  # of its own driver, or with ECC
    if known.memory_from != "runtime" or rebuilt or less:
        return replace(known, memory_bytes=card.memory_bytes, memory_from=card.told_by, nvidia_smi_bytes=None)
    return known


def _named(card: Found, find: Callable[[str], Gpu]) -> Gpu:
    """The catalogue's entry of a card; of several of one name, the one with as much memory; else what is told of it."""
    try:
        return find(card.name)
    except KvcalcError:
        if card.memory_bytes is None:
            raise
    gib = card.memory_bytes / 2**30
    for size in (round(gib), round(gib * _WITH_ECC)):
        try:
            return find(f"{card.name} {size}GB")
        except KvcalcError:
            continue
    return Gpu(name=THIS, title=card.name, source="asked of this machine")


def _nvidia() -> Iterator[Found]:
    """What nvidia-smi names.

    Raises:
        KvcalcError: a card is divided into slices, whose memory is not told so.
    """
    lines = _asked("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits").splitlines()
    modes = _asked("nvidia-smi", "--query-gpu=name,mig.mode.current", "--format=csv,noheader") if lines else ""
    divided = [name for name, mode in map(_halves, modes.splitlines()) if mode == "Enabled"]
    if divided:
        raise KvcalcError(
            f"gpu: {divided[0]} is divided into MIG slices here; name one, as in --gpu h100-sxm:1g.10gb (nvidia-smi -L "
            "lists them)"
        )
    for name, memory in map(_halves, lines):
        if name:
            yield Found(name, int(memory) * _MIB if memory.isdigit() else None)


def _halves(line: str) -> tuple[str, str]:
    name, _, value = line.rpartition(",")
    return name.strip(), value.strip()


def _amd() -> Iterator[Found]:
    said = _asked("rocm-smi", "--showproductname", "--showmeminfo", "vram", "--json")
    try:
        cards = json.loads(said[said.find("{") :] or "{}")  # warnings come first
    except (ValueError, RecursionError):
        return
    for values in cards.values() if isinstance(cards, dict) else ():
        if not isinstance(values, dict):
            continue
        named = [values.get(key) for key in ("Card Series", "Card series", "Card Model", "Card model")]
        name = next((each for each in named if isinstance(each, str) and each not in {"", "N/A"}), None)
        memory = str(values.get("VRAM Total Memory (B)", ""))
        if name is not None:
            told = int(memory) if memory.isdigit() and len(memory) < len(str(2**60)) else None
            yield Found(name, told, "runtime")


def _mac() -> Iterator[Found]:
    if platform.system() != "Darwin":
        return
    brand, _, memory = _asked("sysctl", "-n", "machdep.cpu.brand_string", "hw.memsize").strip().partition("\n")
    if brand.startswith("Apple") and memory.strip().isdigit():
        yield Found(f"{brand} {int(memory) // 2**30}GB", None)


def _asked(tool: str, *arguments: str) -> str:
    """What a tool prints; nothing where it is missing, fails or takes too long."""
    path = shutil.which(tool)
    if path is None:
        return ""
    try:
        done = subprocess.run(  # noqa: S603  # a tool of the system, by its path, with fixed arguments
            (path, *arguments), capture_output=True, timeout=_SECONDS, check=False, text=True, errors="replace"
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout[:_MOST_OUTPUT] if done.returncode == 0 else ""
