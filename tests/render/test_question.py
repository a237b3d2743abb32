"""The first lines of a screen: a model's layers are counted as the rows below them are."""

from __future__ import annotations

import pytest
from conftest import Kvcalc


@pytest.mark.parametrize(
    ("model", "heading"),
    [
        ("llama-3-8b", "gqa 32/8 x 128, 32 layers, bf16"),
        ("longcat-flash", "56 x mla 64 heads, 512+64, bf16"),  # 28 layers that keep two latents each
        ("gemma-3-27b", "52 x gqa 32/16 x 128, window 1,024; 10 x gqa 32/16 x 128, bf16"),
    ],
)
def test_the_heading_counts_caches(kvcalc: Kvcalc, model: str, heading: str) -> None:
    result = kvcalc("estimate", model)
    assert heading in " ".join(result.stdout.split())
