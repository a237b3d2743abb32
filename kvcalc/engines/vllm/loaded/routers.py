"""Routers that vLLM's classes keep in fp32, whatever a checkpoint has them in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines.merged_matrices import layers_with_experts
from kvcalc.formats.by_name import find_format
from kvcalc.term import Factor, Product

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.engines.setup import Setup
    from kvcalc.model.stages import Stage

IN_FP32 = frozenset(
    {
        *("afmoe", "bailing_hybrid", "bailing_moe_linear", "ernie4_5_moe", "glm4_moe", "glm4_moe_lite", "glm4v_moe"),
        *("hy_v3", "hy_v4", "hy_v4_vl", "mimo_v2_flash", "minimax_m2", "minimax_m3", "minimax_m3_vl"),
        *("minimax_text_01", "step3p5", "step3p7"),
    }
)
"""params_dtype of the gate in afmoe.py, bailing_moe_linear.py (whose default it is) and bailing_moe_v3.py,
ernie45_moe.py, glm4_moe.py (whose class glm4_moe_lite.py takes), hy_v3.py, minimax_m2.py, minimax_text_01.py,
step3p5.py, and in vllm/models of hy_v4 and minimax_m3; moe_router_dtype of mimo_v2.py. In 0.19 where it has the class,
and in 0.29 to 0.33; hy_v3 as its class on the meta device has it."""
SOURCE = "vllm/model_executor/models: gate in torch.float32"


def routers_in_fp32(setup: Setup, stage: Stage) -> Iterator[Product]:
    """What they take beyond the dtype of computing, on every rank."""
    model, layers = setup.model, layers_with_experts(setup.model, stage)
    more = 4 - find_format(model.dtype or "bf16", "dtype").block_bytes
    if model.model_type in IN_FP32 and layers and more and model.num_experts and model.hidden_size:
        factors = (
            Factor("layers", layers, "layer"),
            Factor("num_experts", model.num_experts, "expert"),
            Factor("hidden_size", model.hidden_size),
            Factor("bytes_more", more, "byte"),
        )
        yield Product("routers in fp32", factors, SOURCE)
