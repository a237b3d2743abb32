"""Finding an accelerator that ships with kvcalc, by name or alias."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from kvcalc.catalogue import shipped
from kvcalc.catalogue.gpu_slices import SEPARATOR, slice_of, without_media
from kvcalc.catalogue.gpu_table import table
from kvcalc.errors import KvcalcError, did_you_mean
from kvcalc.files import stamp
from kvcalc.gpu import TOGETHER, UnlikeCards

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kvcalc.gpu import Gpu


_PLUS_OF_A_NAME = r"\bmax\+\s*(?=\d|pro\b)"
"""Ryzen AI Max+ 395: no two accelerators."""
AUTO = "auto"
"""The accelerator of the machine that kvcalc runs on."""


def gpu_names() -> list[str]:
    """Every accelerator of the catalogue."""
    return sorted((*shipped.names_in(shipped.GPUS), *table()))


def shipped_gpus() -> Iterator[Gpu]:
    """Every accelerator of the catalogue, by name."""
    of_table = table()
    return (of_table.get(name) or shipped.read_gpu(shipped.GPUS / f"{name}.yaml") for name in gpu_names())


def find_gpu(text: str) -> Gpu:
    """An accelerator of the catalogue, by name or alias; NAME+NAME is one deployment over several, NAME:SLICE a slice.

    Raises:
        KvcalcError: no such name (the nearest are in the message), or one that fits several.
    """
    text = without_media(text)
    if TOGETHER in text:
        text = re.sub(_PLUS_OF_A_NAME, "max ", text, flags=re.IGNORECASE)
    if TOGETHER in text:
        return UnlikeCards.of(tuple(find_gpu(each.strip()) for each in text.split(TOGETHER)))
    card, colon, own = text.removeprefix("gpu:").partition(SEPARATOR)
    if own.strip().isdigit():  # so many of them, as clouds are asked: A100:8
        return _find_card(text)
    return slice_of(_find_card(card.strip()), own) if colon else _find_card(text)


def _find_card(text: str) -> Gpu:
    name = text.lower()
    if name == AUTO:
        from kvcalc.catalogue.detect import detected

        return detected(find_gpu)
    path = shipped.path_of(shipped.GPUS, name)
    if path is not None:
        return shipped.read_gpu(path)
    path = _paths_of_aliases(shipped.GPUS, stamp(shipped.GPUS)).get(name)
    if path is not None and path.is_file() and name in (gpu := shipped.read_gpu(path)).aliases:
        return gpu
    if name in table():
        return table()[name]
    from kvcalc.catalogue.gpu_words import by_words

    gpus = list(shipped_gpus())
    found = next((gpu for gpu in gpus if name in gpu.aliases), None) or by_words(text, gpus)
    if found is not None:
        return found
    raise KvcalcError(_no_such_gpu(text, gpus))


@lru_cache(maxsize=4)
def _paths_of_aliases(folder: Path, _stamp: tuple[int, ...]) -> dict[str, Path]:
    """The file in which each alias was found; whether it still has the alias is for the caller to see."""
    return {alias: folder / f"{gpu.name}.yaml" for gpu in _of_files() for alias in gpu.aliases}


def _of_files() -> Iterator[Gpu]:
    return (shipped.read_gpu(shipped.GPUS / f"{name}.yaml") for name in shipped.names_in(shipped.GPUS))


_NONE = frozenset({"cpu", "cpu-only", "no-gpu", "none", "ram"})
"""What people type who have none."""
_SRAM = "keeps weights and caches in the static memory of many chips at once, for which kvcalc has no rules"
_UNLIKE = {"groq": _SRAM, "cerebras": _SRAM, "wse-": _SRAM, "graphcore": _SRAM}
"""Accelerators whose memory is not counted by the card."""
_LISTED = 8
"""So many accelerators at most are named in a message."""


def _no_such_gpu(text: str, gpus: list[Gpu]) -> str:
    shown = text[:100]
    from kvcalc.catalogue.gpu_words import any_of, named
    from kvcalc.catalogue.machines import machine_of

    machine = machine_of(shown)
    if machine is not None:
        number = "" if machine.number is None else f" --gpus {machine.number}"
        its = any_of(machine.cards)
        step = f": --gpu {its}{number}" if len(machine.cards) == 1 else "; name one of them"
        return f"gpu: '{shown}' is a machine, whose accelerators are {its}{step}"
    unlike = next((why for name, why in _UNLIKE.items() if name in text.lower()), None)
    if unlike is not None:
        return f"gpu: '{shown}' {unlike}; without --gpu the bytes are told, wherever they lie"
    words = "-".join(text.lower().split())
    if words in _NONE:
        return f"gpu: '{shown}' is no accelerator; without --gpu the bytes are told, wherever they lie"
    cards = [gpu.name for gpu in gpus if gpu.name.startswith(f"{words}-")]
    if len(cards) > 1:
        return f"gpu: '{shown}' may be {any_of(cards)}; name one of them"
    size_alone = re.fullmatch(r"\d+\s*g(?:i?b)?", text.strip().lower())
    part_of = [] if size_alone else [gpu.name for gpu in named(text, gpus)]
    if 1 < len(part_of) <= _LISTED:
        return f"gpu: '{shown}' may be {any_of(part_of)}; name one of them"
    hint = did_you_mean(text, part_of or [name for gpu in gpus for name in (gpu.name, *gpu.aliases)])
    if len(part_of) == 1:
        hint = f"; did you mean '{part_of[0]}'?"
    elif part_of:
        listed = "-".join(re.findall(r"[a-z0-9]+", text.lower()))
        hint = f"; 'kvcalc gpus list {listed}' shows {len(part_of)} that it may be"
    hint = hint or "; 'kvcalc gpus list' shows them all"
    return f"gpu: no accelerator '{shown}'{hint}"
