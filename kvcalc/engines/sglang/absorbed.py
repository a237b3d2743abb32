"""The latents' up-projections that SGLang lays out anew once weights are loaded, beside kv_b_proj: w_kc and w_vc.

Queries go through the one into the latent space, and what attention sums through the other out of it. They are copies
whatever the format: of views that are transposed, or cut out of each head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.formats.by_name import find_format
from kvcalc.formats.weights import find_weight_format
from kvcalc.mechanisms import MLA
from kvcalc.term import Factor, Product

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.engines.setup import Setup
    from kvcalc.model.stages import Stage

SOURCE = "sglang/srt/models/deepseek_common/deepseek_weight_loader.py, post_load_weights: w_kc and w_vc (0.5.23)"
_IN_PLACE = frozenset({"minicpm3"})
"""Classes that let kv_b_proj go (sglang/srt/models/minicpm3.py, load_weights)."""


def absorbed_projections(setup: Setup, stage: Stage) -> Iterator[Product]:
    """What the layers of a rank of a stage keep of them, a row for each kind of latents."""
    if setup.model.model_type in _IN_PLACE:
        return
    for layer, count in stage.kinds.items():
        if isinstance(layer.attention, MLA):
            yield Product(
                "absorbed latent up-projections",
                (
                    Factor("layers", count, "layer"),
                    Factor("heads", layer.attention.num_heads // setup.deployment.tp, "head"),
                    Factor("kv_lora_rank", layer.attention.kv_lora_rank),
                    Factor("qk_nope_and_v_head_dim", layer.attention.qk_nope_head_dim + layer.attention.v_head_dim),
                    Factor("bytes_per_element", _element_bytes(setup), "byte"),
                ),
                SOURCE,
            )


def sizes_of_absorbed(setup: Setup, stage: Stage) -> Iterator[tuple[int, int]]:
    """How many copies of how many bytes there are."""
    if setup.model.model_type in _IN_PLACE:
        return
    for layer, count in stage.kinds.items():
        if isinstance(attention := layer.attention, MLA):
            wide = attention.num_heads // setup.deployment.tp * attention.kv_lora_rank * _element_bytes(setup)
            yield count, wide * attention.qk_nope_head_dim
            yield count, wide * attention.v_head_dim


def _element_bytes(setup: Setup) -> int:
    """As computed with; fp8 stays where a tensor has one scale, and on AMD's cards, which scale blocks anew so."""
    model = setup.model
    computing = find_format(model.dtype or "bf16", "dtype").block_bytes
    held = [part for part in model.weights if (part.place, part.split, part.scales) == ("layers", "tp", False)]
    if setup.weight_format is not None:
        formats, in_blocks = {setup.weight_format}, True
    else:
        names = [part.format for part in held] or [model.weight_dtype or model.dtype or "bf16"]
        formats = {find_weight_format(each, "format") for each in names}
        in_blocks = any(part.weight_block_size for part in held)
    is_fp8 = formats == {find_weight_format("fp8", "format")}
    return 1 if is_fp8 and (setup.gpu.vendor == "AMD" or not in_blocks) else computing
