"""The memory of a rank as vLLM shares it out: a share of the card, less what the profiling run found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines.budget import Budget
from kvcalc.engines.vllm.profiled.overhead import CONTEXT_BYTES, graphs_charged, graphs_of, overhead_of, total
from kvcalc.engines.vllm.profiled.temporary import WHAT_IS_ALLOCATED, temporary_of
from kvcalc.engines.vllm.traits import traits_of
from kvcalc.note import note, register
from kvcalc.units import GIB, format_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.engines.setup import Setup
    from kvcalc.engines.vllm.settings import Settings
    from kvcalc.model.stages import Stage
    from kvcalc.note import Note

register(
    {
        "engine-overhead-range": "a part of the engine's overhead is known as a range, of which one figure is counted",
        "graphs-beside-pool": "CUDA graphs may not fit in what the utilization leaves",
        "temporary-with-images": "the engine's temporary memory holds images, and would be less for text alone",
        "temporary-while-compiling": "the engine's temporary memory is more in a start that compiles the model",
        "temporary-as-reserved": "the engine's temporary memory is all that PyTorch has reserved, which is a range",
        "temporary-not-derived": "the engine's temporary memory does not follow from the model's file",
    }
)

ROUNDED_UP = (0, 14)
"""request_memory of vllm/v1/worker/utils.py rounds up; up to 0.11 the product was no whole number of bytes."""

UNTOLD = GIB // 5
"""What nine in ten logs are off by at the most where their rows' own ranges do not tell it (docs/accuracy.md)."""


def budget_of(setup: Setup, settings: Settings, stage: Stage) -> Budget:
    """What a rank of a stage has."""
    traits = traits_of(setup.model, setup.weight_format)
    first, last = stage.number == 0, stage.numbers[-1].stop == setup.deployment.pp
    rows = overhead_of(setup, settings, traits, len(stage.layers), first=first, last=last)
    temporary = temporary_of(setup, settings, traits, first=first, last=last)
    seen = sum(row.low for row in rows) - UNTOLD, sum(row.high for row in rows) + UNTOLD
    return Budget(
        _usable(setup, settings), temporary, total(rows), cache=settings.kv_cache_memory_bytes, overhead_seen=seen
    )


def budget_notes(setup: Setup, settings: Settings, stage: Stage) -> Iterator[Note]:
    """What of it is a range, and what is not derived."""
    traits = traits_of(setup.model, setup.weight_format)
    first, last = stage.number == 0, stage.numbers[-1].stop == setup.deployment.pp
    for row, low, high in overhead_of(setup, settings, traits, len(stage.layers), first=first, last=last):
        if low < high:
            seen = f"{format_size(low, 'GiB')} to {format_size(high, 'GiB')} GiB"
            yield note(
                "engine-overhead-range",
                f"overhead, {row.path}: {format_size(row.bytes, 'GiB')} GiB is counted, {seen} observed",
                part=row.path,
                bytes=row.bytes,
                low_bytes=low,
                high_bytes=high,
                source=row.source,
            )
    yield from _graphs_beside(setup, settings, len(stage.layers))
    temporary = temporary_of(setup, settings, traits, first=first, last=last)
    if temporary is not None and settings.version < WHAT_IS_ALLOCATED:
        yield note(
            "temporary-as-reserved",
            f"temporary memory is what PyTorch has reserved in this version: from {format_size(temporary.low, 'GiB')} "
            f"to {format_size(temporary.high, 'GiB')} GiB",
            low_bytes=temporary.low,
            high_bytes=temporary.high,
        )
    elif temporary is not None and temporary.is_range and not traits.towers:
        yield note(
            "temporary-while-compiling",
            f"temporary memory is that of a start that compiles, {format_size(temporary.high, 'GiB')} GiB at most; one "
            f"that finds what it compiled before has {format_size(temporary.low, 'GiB')} GiB, and more for the cache "
            "(--engine-option compiled-before=true)",
            low_bytes=temporary.low,
            high_bytes=temporary.high,
        )
    elif temporary is not None and temporary.is_range:
        yield note(
            "temporary-with-images",
            f"temporary memory is that of text, {format_size(temporary.low, 'GiB')} GiB, and of the largest images "
            "that vLLM profiles, which is a range; a server for text alone (--limit-mm-per-prompt) has the former",
            text_bytes=temporary.low,
            high_bytes=temporary.high,
        )
    if temporary is None:
        yield note(
            "temporary-not-derived",
            f"temporary memory is a figure of its kind of model: {setup.model.name} lacks dims of its layers",
        )


def _graphs_beside(setup: Setup, settings: Settings, layers: int) -> Iterator[Note]:
    """Graphs that are not charged, where what utilization leaves may be too little for them and a process's context."""
    memory, usable = setup.gpu.memory_bytes, _usable(setup, settings)
    if graphs_charged(settings) or settings.enforce_eager or memory is None or usable is None:
        return
    graphs, left = graphs_of(setup, settings, layers).row.bytes, memory - usable
    if left < graphs + CONTEXT_BYTES:
        yield note(
            "graphs-beside-pool",
            f"CUDA graphs, about {format_size(graphs, 'GiB')} GiB, and a process's context lie beside what this "
            f"version counts, and utilization leaves {format_size(left, 'GiB')} GiB for them",
            graphs_bytes=graphs,
            left_bytes=left,
        )


def _usable(setup: Setup, settings: Settings) -> int | None:
    return usable_bytes(setup, settings.version, settings.kv_cache_memory_bytes)


def usable_bytes(setup: Setup, version: tuple[int, ...], stated: int | None) -> int | None:
    """The memory requested: ceil(total x utilization). All of it where the cache's memory is given outright."""
    memory, share = setup.gpu.memory_bytes, setup.utilization
    if memory is None or stated is not None:
        return memory
    product = memory * share.numerator
    return -(-product // share.denominator) if version >= ROUNDED_UP else product // share.denominator
