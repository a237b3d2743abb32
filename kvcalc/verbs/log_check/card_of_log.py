"""Which accelerator a log's server has: by the driver's name for it, else by its memory."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.catalogue import find_gpu, shipped_gpus
from kvcalc.catalogue.gpu_table import of_size
from kvcalc.note import Note, note
from kvcalc.scenario.options import DEFAULT_GPU
from kvcalc.units import GIB, format_size
from kvcalc.verbs.log_check.memory_by_cache import says_share
from kvcalc.verbs.log_check.memory_by_graphs import Between, memory_by_graphs
from kvcalc.verbs.log_check.sglang_memory import total_memory

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvcalc.gpu import Gpu
    from kvcalc.logs import Printed, ServerLog

ALIKE = Fraction(1, 200)
"""How far two cards of one kind may differ in memory: drivers and ECC take parts of it."""
ALIKE_BY_WHAT_IS_FREE = Fraction(1, 100)
"""The same where a card's memory follows from what was free before weights were loaded."""
ALIKE_BY_GRAPHS = Fraction(1, 50)
"""The same where it follows from CUDA graphs: logs of one kind of card have 31.35 to 31.84 GiB (RTX 5090)."""


WSL = "WSL"
"""Of a server under Windows, which is given the whole of a card: 31.84 GiB of an RTX 5090, 24.0 of an RTX 3090."""
WORKING_SET = "working set"
"""What a Mac's GPU may use: its memory, as Metal reports it."""

METAL = "MTL"
"""What llama.cpp calls a device of Apple's."""

MAKERS = {"vllm": ("NVIDIA", "AMD"), "sglang": ("NVIDIA", "AMD"), "tensorrt-llm": ("NVIDIA",)}
"""Engines whose logs are followed on cards of these makers alone."""

SMALL = 40 * GIB
SMALL_GPU = "rtx3090"
"""Taken for a card of less memory that is like none: no NVLink that its ranks could use, none of Hopper's kernels."""


MOST_NAMED = 4
"""Cards that would do, of those whose memory is told by the cache's."""


class LoggedCard(NamedTuple):
    """An accelerator.

    Attributes:
        memory_bytes: of it, where the log prints it and the catalogue has another figure.
        certain: whether the log or the user names it.
        told: whether anything but the cache's memory tells it.
        by_cache: whether that tells it.
    """

    gpu: Gpu
    memory_bytes: int | None
    certain: bool
    notes: tuple[Note, ...]
    told: bool = True
    by_cache: bool = False


def card_of(
    log: ServerLog,
    given: Gpu | str | None,
    likely: Callable[[Gpu], bool],
    tp: int = 1,
    by_cache: Between | None = None,
) -> LoggedCard:
    """The accelerator, and its memory as the log prints it.

    Args:
        log: what a server said.
        given: the one that is named beside it, which wins.
        likely: whether the engine would start on a card as the log says, where several have such a memory.
        tp: ranks of tensor parallelism, which share a node: a machine of one GPU is not meant where there are more.
        by_cache: its memory by that of its cache, which counts where nothing else tells it.

    Raises:
        KvcalcError: there is none of the given name.
    """
    total = total_memory(log) if log.engine == "sglang" else log.most("total memory") or log.most(WORKING_SET)
    alike_within = ALIKE if log.engine != "sglang" else ALIKE_BY_WHAT_IS_FREE
    alike_within = alike_within if total is not None else ALIKE_BY_GRAPHS
    named = _by_name(log.device, total) if given is None else find_gpu(given) if isinstance(given, str) else given
    told = memory_by_graphs(log) if total is None else Between(total.value, total.value)
    known = named is not None or told is not None
    told = told or by_cache
    near = [] if named or told is None else _by_memory(told, alike_within, log, tp)
    alike = sorted(near, key=lambda gpu: not likely(gpu))
    middle = None if known or by_cache is None else int((by_cache.low + by_cache.high) / 2)
    gpu = named or next(iter(alike), None) or _unlike_any(total.value if total is not None else middle)
    memory = gpu.nvidia_smi_bytes if total is None and named and WSL in log.settings else None
    if total is not None and not (gpu.memory_bytes and abs(gpu.memory_bytes - total.value) <= total.off):
        memory = int(total.value)
    if middle is not None and not alike:
        memory = middle
    notes = () if named else (_guessed(gpu, alike, log, by_cache=middle),)
    return LoggedCard(gpu, memory, named is not None, notes, known, middle is not None)


def _by_name(device: str | None, total: Printed | None) -> Gpu | None:
    """The card that a driver's name is of; of several that memory tells apart the nearest, or the first."""
    if device is None:
        return None
    from kvcalc.catalogue.gpu_words import called_by_driver

    found = called_by_driver(device, shipped_gpus())
    if total is not None and len(found) > 1:
        found.sort(key=lambda gpu: abs((gpu.memory_bytes or 0) - total.value))
    card = next(iter(found), None)
    if card is None or total is None:
        return card
    size = next((each for each in card.sizes_gb if each * GIB >= total.value), None)  # unified: a GPU has a share of it
    return card if size is None else replace(of_size(card, size), name=f"{card.name}-{size}gb", sizes_gb=())


def _makers(log: ServerLog) -> tuple[str, ...] | None:
    """Who may have made the card: whom its name tells, though it is not a known one, else whose cards are followed."""
    makers = MAKERS.get(log.engine)
    said = (log.device or "").lower()
    told = tuple(each for each in makers or () if said.startswith(each.lower()))
    return told or (("NVIDIA",) if WSL in log.settings else makers)


def _by_memory(told: Between, alike: Fraction, log: ServerLog, tp: int) -> list[Gpu]:
    """Cards with so much memory, the nearest first; of equals one with NVLink, whose ranks hold more.

    Where their memory is told roughly, the newest of those whose memory is known exactly. Windows tells all of it.
    """
    makers, windows = _makers(log), WSL in log.settings
    known = [gpu for gpu in shipped_gpus() if gpu.memory_bytes and (makers is None or gpu.vendor in makers)]
    known = [gpu for gpu in known if tp <= (gpu.gpus_per_node or tp)]
    sizes = {gpu.name: (gpu.nvidia_smi_bytes if windows else None) or gpu.memory_bytes or 0 for gpu in known}
    near = [gpu for gpu in known if told.low * (1 - alike) <= sizes[gpu.name] <= told.high * (1 + alike)]
    if told.low < told.high:
        return sorted(near, key=_newest)
    return sorted(near, key=lambda gpu: _nearest(gpu, abs(sizes[gpu.name] - told.low)))


def _nearest(gpu: Gpu, off: Fraction) -> tuple[bool, Fraction, bool]:
    return gpu.name != DEFAULT_GPU, off, not (gpu.interconnect or "").startswith("NVLink")


def _newest(gpu: Gpu) -> tuple[bool, bool, tuple[int, ...], int]:
    major, minor = gpu.compute_capability or (0, 0)
    exact = gpu.is_measured and bool(gpu.multiprocessors or gpu.bf16_dense_tflops)
    return gpu.name != DEFAULT_GPU, not exact, (-major, -minor), -(gpu.multiprocessors or 0)


def _unlike_any(memory: Fraction | int | None) -> Gpu:
    """What is used for a card that has as much memory as none does; its memory is as the log tells it."""
    return find_gpu(SMALL_GPU if memory is not None and memory < SMALL else DEFAULT_GPU)


def _guessed(gpu: Gpu, alike: list[Gpu], log: ServerLog, *, by_cache: int | None) -> Note:
    names = [each.name for each in alike if each is not gpu]
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    others = f"{', '.join(names[:MOST_NAMED])}{more}"
    if by_cache is not None:
        size = "" if alike else f"with {format_size(by_cache, 'GiB')} GiB, "
        why = f"{size}by what is printed of its cache, which is then no test of the prediction"
        why += "" if says_share(log) else "; what share of its memory is used is assumed too"
        why += f"; {others} would do" if names else ""
    elif alike:
        why = "by its memory" + (f"; {others} have as much" if others else "")
    else:
        why = "as always where nobody names one" if gpu.name == DEFAULT_GPU else "for want of one with as much memory"
    if not alike and any(each.process.startswith(METAL) for values in log.printed.values() for each in values):
        why = f"though {METAL} is Metal's name for a chip of Apple"
    said = "whose name is not known" if log.device else "which the log does not name"
    return note(
        "card-taken", f"the card, {said}, is assumed to be {gpu.name}, {why} (--gpu NAME sets it)", gpu=gpu.name
    )
