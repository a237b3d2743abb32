"""Experts in nvfp4 as vLLM's kernels want them: each rank's share of an expert padded to their tiles.

vllm/model_executor/layers/fused_moe/oracle/nvfp4.py and, of quantization/utils, flashinfer_fp4_moe.py (cards that
compute in four bits) and marlin_utils_fp4.py, prepare_nvfp4_moe_layer_for_marlin (others).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines.gated import is_gated
from kvcalc.engines.vllm.loaded.mxfp4 import BLACKWELL, capability, experts_in
from kvcalc.term import Factor, Product

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.engines.setup import Setup
    from kvcalc.model.stages import Stage

BLOCK, BLOCK_BYTES = 16, 9
"""Elements that share a scale; 8 bytes and one more."""

MARLIN_PADS = (0, 25)
"""The first of the versions read whose Marlin kernel pads; before, it refuses what is no multiple of its tiles."""
GATED_TO_64 = (0, 26)
"""Since then gate and projection up together are a multiple of 128 for TRT-LLM's kernels; before, each one of 16."""
SOURCE = "vllm/model_executor/layers/fused_moe/oracle/nvfp4.py, convert_to_nvfp4_moe_kernel_format"


def padding_of_nvfp4_experts(setup: Setup, version: tuple[int, ...], stage: Stage) -> Iterator[Product]:
    """What the experts of a rank take beyond the checkpoint; nothing of other formats."""
    experts, power = experts_in("nvfp4", setup, stage), capability(setup)
    if experts is None or power is None or not experts.layers:
        return
    gated = is_gated(setup.model)
    rows = _multiple(power, version, experts.hidden, gated=gated)
    more = -experts.width % rows
    if more:
        elements = (3 if gated else 2) * experts.hidden * more
        factors = (
            Factor("layers", experts.layers, "layer"),
            Factor("experts", experts.number, "expert"),
            Factor("padding", -(-elements // BLOCK) * BLOCK_BYTES, "byte"),
        )
        yield Product(f"experts' columns padded to {rows}", factors, SOURCE)


def pads_nvfp4(power: int, version: tuple[int, ...]) -> bool:
    """Whether the kernel of a card pads; one that does not refuses what is no multiple of its tiles."""
    return power >= BLACKWELL or version >= MARLIN_PADS


def _multiple(power: int, version: tuple[int, ...], hidden: int, *, gated: bool) -> int:
    """What a rank's share of an expert's intermediate size is padded to."""
    if power >= BLACKWELL:
        return 128 if not gated else 64 if version >= GATED_TO_64 else 16
    if version < MARLIN_PADS:
        return 1
    return 64 if hidden % 128 == 0 else 128
