"""The memory of a rank as SGLang shares it out: it profiles nothing.

    memory of the pools = free after loading - (1 - mem-fraction-static) x free before loading

sglang/srt/mem_cache/kv_cache_configurator.py, `_profile_available_bytes` (up to 0.5.14 sglang/srt/model_executor,
`profile_max_num_token`). Activations and CUDA graphs lie in the share that is left free.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

from kvcalc.engines.budget import Budget, Seen, Temporary
from kvcalc.engines.sglang.model_types import takes_more_than_text
from kvcalc.note import note, register
from kvcalc.term import Factor, Product, Sum
from kvcalc.units import GIB, MIB, format_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kvcalc.engines.setup import Setup
    from kvcalc.engines.sglang.defaults import Version
    from kvcalc.engines.sglang.settings import Settings
    from kvcalc.gpu import Gpu
    from kvcalc.note import Note

register(
    {"engine-overhead-range": "a part of the engine's overhead is known as a range, of which one figure is counted"}
)

LATER_IMPORTS = (0, 5, 7)
RESERVED_FOR_IMAGES = (0, 5, 18)
"""mm_runtime_reservation_gb of sglang/srt/mem_cache/kv_cache_configurator.py: SGLANG_VLM_CACHE_SIZE_MB, 100."""
IMAGES = 100 * MIB
PROFILE = "sglang/srt/mem_cache/kv_cache_configurator.py, _profile_available_bytes"


_CONTEXT = Seen(
    18,
    40,
    65,
    "the card's memory less 'Load weight begin. avail mem': 0.37 on H100 (0.4), 0.44 of 4 RTX 4090, 0.18 on a card of "
    "15.5 GiB [three logs]",
)
_CONTEXT_LATER = Seen(
    50,
    74,
    90,
    "the card's memory less 'Load weight begin. avail mem' in logs of 2026: 0.75, 0.75 and 0.70 on H100, 0.78 on B200, "
    "0.67 on RTX 5090, 0.51 on A100-40 [six logs]",
)
_WITH_WEIGHTS = Seen(
    0,
    2,
    5,
    "what several ranks take for NCCL while weights are loaded: 0.00, 0.01 and 0.04 with 4, 0.02 with 2, beyond the "
    "segments of PyTorch's allocator [four logs]",
)


def budget_of(setup: Setup, settings: Settings, uncharged: int) -> Budget:
    """What a rank has.

    Args:
        setup: the model on its deployment.
        settings: what the server runs with.
        uncharged: bytes of the pools that lie beside the budget, in the share that is left free.
    """
    memory = setup.gpu.memory_bytes
    nothing = Product("temporary", (Factor("within_what_is_left_free", 0, "byte"),), PROFILE)
    temporary = Temporary(nothing, 0, 0)
    if memory is None:
        return Budget(None, temporary, Sum("overhead", ()))
    others = Sum("overhead", tuple(_rows(setup, settings)))
    left = max(0, left_free(setup.gpu, settings) - uncharged)
    kept = Product(
        "left free: activations and CUDA graphs must fit",
        (Factor("left_free", left, "byte"),),
        f"{PROFILE}: (1 - mem_fraction_static) x what is free before loading",
    )
    least, most = (_beyond(setup, settings, end) for end in (attrgetter("low"), attrgetter("high")))
    counted = others.bytes + left
    return Budget(memory, temporary, others, kept, overhead_seen=(counted + least, counted + most))


def left_free(gpu: Gpu, settings: Settings) -> int:
    """What mem-fraction-static leaves of an accelerator, whose memory is known, for activations and CUDA graphs."""
    free = max(0, (gpu.memory_bytes or 0) - context_bytes(settings.version))
    share = settings.mem_fraction_static
    return free - free * share.numerator // share.denominator


def _beyond(setup: Setup, settings: Settings, end: Callable[[Seen], int]) -> int:
    """What an end of what was seen takes beyond what is counted: less is left free where less was free."""
    context, *others = (end(seen) - seen.typical for _, seen in _observed(setup, settings))
    return int(_bytes(context) * settings.mem_fraction_static) + _bytes(sum(others))


def context_bytes(version: Version) -> int:
    """What a process takes of a card before it loads weights, as it is counted."""
    return _bytes(_context(version).typical)


def budget_notes(setup: Setup, settings: Settings) -> Iterator[Note]:
    """What of it is a range."""
    if setup.gpu.memory_bytes is None:
        return
    for path, seen in _observed(setup, settings):
        shown = f"{format_size(_bytes(seen.low), 'GiB')} to {format_size(_bytes(seen.high), 'GiB')} GiB"
        yield note(
            "engine-overhead-range",
            f"overhead, {path}: {format_size(_bytes(seen.typical), 'GiB')} GiB is counted, {shown} observed",
            part=path,
            bytes=_bytes(seen.typical),
            low_bytes=_bytes(seen.low),
            high_bytes=_bytes(seen.high),
            source=seen.source,
        )


def _rows(setup: Setup, settings: Settings) -> Iterator[Product]:
    for path, seen in _observed(setup, settings):
        yield Product(path, (Factor("seen_in_practice", _bytes(seen.typical), "byte"),), seen.source)
    if settings.version >= RESERVED_FOR_IMAGES and takes_more_than_text(setup.model):
        source = "sglang/srt/mem_cache/kv_cache_configurator.py, mm_runtime_reservation_gb"
        yield Product("embeddings of images", (Factor("reserved", IMAGES, "byte"),), source)


def _observed(setup: Setup, settings: Settings) -> Iterator[tuple[str, Seen]]:
    yield "before weights are loaded: context, libraries", _context(settings.version)
    if setup.deployment.connected_ranks > 1:
        yield "while weights are loaded: communication", _WITH_WEIGHTS


def _context(version: Version) -> Seen:
    return _CONTEXT_LATER if version >= LATER_IMPORTS else _CONTEXT


def _bytes(hundredths: int) -> int:
    return hundredths * GIB // 100
