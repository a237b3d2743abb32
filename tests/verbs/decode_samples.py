"""Small models and accelerators whose bound of decoding is worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fuzzing import examples

import kvcalc
from kvcalc.mechanisms import MHA
from kvcalc.model.layers import LayerGroup
from kvcalc.model.model import WeightPart
from kvcalc.verbs.bounds.decode import DecodeBound

laws = examples(60)

H100, H200 = 3_350 * 10**9, 4_800 * 10**9
BF16, FP8 = 989_500 * 10**9, 1_979 * 10**12
"""Operations a second of both."""


def bound(model: kvcalc.Model | str, **options: Any) -> DecodeBound:
    """On an accelerator that holds everything, unless another is asked for."""
    found = kvcalc.estimate(model, **{"gpu_memory": "100TB", **options}).decode
    assert found is not None
    return found


def small(**dims: Any) -> kvcalc.Model:
    """4 layers of 225 bytes, a head of 100 and an embedding of 100; 64 bytes a token and layer."""
    return kvcalc.Model(
        name="small",
        tie_word_embeddings=False,
        weights=(
            WeightPart(part="embedding", parameters=100, format="fp8", place="embedding"),
            WeightPart(part="output head", parameters=100, format="fp8", place="head"),
            WeightPart(part="layers", parameters=900, format="fp8"),
        ),
        layers=(LayerGroup(count=4, attention=MHA(num_heads=2, head_dim=8)),),
        **dims,
    )


def with_experts(**dims: Any) -> kvcalc.Model:
    """The same with 8 experts of 300 bytes, of which a token uses 2."""
    experts = WeightPart(part="experts", parameters=2400, format="fp8", split="ep")
    return replace(small(), weights=(*small().weights, experts), **{"num_experts": 8, "num_experts_per_tok": 2, **dims})


def accelerator(**figures: Any) -> kvcalc.Gpu:
    """1,000 bytes a second of memory, 10 of the host link; computing takes no time worth mention."""
    rates: dict[str, Any] = {
        "memory_bandwidth_gb_per_s": 1e-6,
        "host_link_gb_per_s": 1e-8,
        "bf16_dense_tflops": 1e6,
        "fp8_dense_tflops": 1e6,
    }
    return kvcalc.Gpu(name="slow", memory_bytes=10**12, memory_from="runtime", **{**rates, **figures})
