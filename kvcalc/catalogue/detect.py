"""`--gpu auto`: what nvidia-smi, rocm-smi or the Mac say of the machine that kvcalc runs on."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.access import check_machine
from kvcalc.errors import CannotRunError, KvcalcError
from kvcalc.gpu import Gpu

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

AUTO = "auto"
_SECONDS = 10
_MIB = 2**20
_MOST_OUTPUT = 100_000


class Found(NamedTuple):
    """A card as a tool names it."""

    name: str
    memory_bytes: int | None


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
    names = sorted({card.name for card in cards})
    if len(names) > 1:
        raise KvcalcError(f"gpu: this machine has {' and '.join(names)}; name one of them")
    card = cards[0]
    try:
        known = find(card.name)
    except KvcalcError:
        if card.memory_bytes is None:
            raise
        known = Gpu(name="this-machine", title=card.name, source="asked of this machine")
    if known.memory_from in {"vendor", None} and card.memory_bytes is not None:
        return replace(known, memory_bytes=card.memory_bytes, memory_from="nvidia-smi")
    return known


def _nvidia() -> Iterator[Found]:
    for line in _asked("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits").splitlines():
        name, _, memory = line.rpartition(",")
        if name.strip():
            yield Found(name.strip(), int(memory) * _MIB if memory.strip().isdigit() else None)


def _amd() -> Iterator[Found]:
    try:
        cards = json.loads(_asked("rocm-smi", "--showproductname", "--showmeminfo", "vram", "--json") or "{}")
    except (ValueError, RecursionError):
        return
    for values in cards.values() if isinstance(cards, dict) else ():
        if not isinstance(values, dict):
            continue
        named = [values.get(key) for key in ("Card Series", "Card series", "Card Model", "Card model")]
        name = next((each for each in named if isinstance(each, str) and each), None)
        memory = str(values.get("VRAM Total Memory (B)", ""))
        if name is not None:
            yield Found(name, int(memory) if memory.isdigit() and len(memory) < len(str(2**60)) else None)


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
