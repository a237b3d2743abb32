"""How wide dense feed-forward blocks are where a class works that out of the file's width."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.importers.sourced import Sourced

if TYPE_CHECKING:
    from kvcalc.importers.config import Config

MAX_FACTOR = 100
_OF_TWO = {"qwen", "molmo"}
"""Their key counts a block's gate and its projection up together: QWenMLP and Molmo's in vLLM take half of it."""


def as_built(config: Config, width: Sourced) -> Sourced:
    """The width of the matrices of one block.

    Half of the key's where that counts two. LFM2 (Lfm2MLP of transformers, the same in vLLM): two thirds of the file's,
    times a factor, up to a multiple, unless block_auto_adjust_ff_dim is false.

    Raises:
        KvcalcError: a factor that cannot be.
    """
    if config.model_type in _OF_TWO:
        return Sourced(width.value // 2, f"half of {width.reason}, which counts two matrices")
    adjust, factor = config.get("block_auto_adjust_ff_dim"), config.get("block_ffn_dim_multiplier")
    if config.model_type != "lfm2" or (adjust is not None and not adjust.value):
        return width
    multiple = config.optional_count("block_multiple_of")
    step = 256 if multiple is None else int(multiple.value)
    if factor is not None and not (isinstance(factor.value, (int, float)) and 0 < factor.value <= MAX_FACTOR):
        raise config.refusal(f"block_ffn_dim_multiplier is no number up to {MAX_FACTOR}")
    wanted = int(int(2 * width.value / 3) * (1.0 if factor is None else factor.value))
    return Sourced(-(-wanted // step) * step, f"2/3 of {width.reason}, up to a multiple of {step}")
