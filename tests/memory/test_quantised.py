"""Weights in a format by name, beside what published checkpoints in that format take, as the catalogue lists them."""

from __future__ import annotations

import pytest

from kvcalc import estimate
from kvcalc.catalogue import find_model
from kvcalc.catalogue.shipped import MODELS
from kvcalc.formats.weights import find_weight_format
from kvcalc.model.quantised import parts_in

PUBLISHED = {
    "fp8_block": (
        "qwen3-0.6b qwen3-8b qwen3-14b qwen3-32b qwen3-30b-a3b qwen3-235b-a22b qwen3-coder-480b-a35b "
        "qwen3-next-80b-a3b qwen3-vl-8b qwen3-vl-30b-a3b qwen3.5-27b qwen3.5-122b-a10b"
    ),
    "fp8": "llama-3.1-8b llama-3.1-70b",
    "awq": "qwen3-4b qwen3-14b qwen3-32b llama-3.1-8b llama-3.1-70b qwen2.5-vl-7b",
}
ENDINGS = {"fp8_block": ("-fp8",), "fp8": ("-fp8",), "awq": ("-awq", "-awq-int4")}
CASES = [(stored, model) for stored, models in PUBLISHED.items() for model in models.split()]


@pytest.mark.parametrize(("stored", "model"), CASES)
def test_a_format_by_name_takes_what_the_published_checkpoint_takes(stored: str, model: str) -> None:
    """To the byte: linear layers with their scales and zeros, the rest as it was."""
    published = next(f"{model}{each}" for each in ENDINGS[stored] if (MODELS / f"{model}{each}.yaml").exists())
    parts = parts_in(find_model(model).model, find_weight_format(stored, "weights"))
    assert parts is not None
    assert sum(part.size for part in parts) == sum(part.size for part in find_model(published).model.weights)


@pytest.mark.parametrize("model", ["llama-3.1-8b", "llama-3.2-1b", "llama-3.3-70b", "qwen2.5-7b-instruct", "phi-4"])
def test_scales_of_channels_are_less_than_a_thousandth(model: str) -> None:
    """FP8-dynamic has one for each output of a matrix, which --weight-dtype fp8 leaves out."""
    published = find_model(f"{model.removesuffix('-instruct')}-fp8-dynamic").model
    parts = parts_in(find_model(model).model, find_weight_format("fp8", "weights")) or ()
    taken = sum(part.size for part in published.weights)
    assert sum(part.size for part in parts) == pytest.approx(taken, rel=1.1e-3)


@pytest.mark.parametrize(
    ("name", "elements", "size"),
    [
        ("int4_g128", 128, 64 + 2 + 0.5),
        ("int4_g64", 64, 32 + 2 + 0.5),
        ("int4_g32", 32, 16 + 2 + 0.5),
        ("gptq_int8", 128, 128 + 2 + 1),
        ("int3", 128, 48 + 2 + 3 / 8),
        ("int2_g32", 32, 8 + 2 + 2 / 8),
        ("w4a16", 128, 64 + 2),
        ("nf4", 64, 32 + 4),
        ("nf4-double-quant", 64 * 256, 64 * 256 // 2 + 256 + 4),
        ("mxfp4", 32, 16 + 1),
        ("nvfp4", 16, 8 + 1),
        ("mlx_4bit", 64, 32 + 2 + 2),
        ("mlx-8bit", 64, 64 + 2 + 2),
        ("fp8_block", 128 * 128, 128 * 128 + 4),
        ("w8a8", 1, 1),
        ("fp8-dynamic", 1, 1),
    ],
)
def test_bytes_of_a_group(name: str, elements: int, size: float) -> None:
    found = find_weight_format(name, "weights")
    assert found.block_bytes * elements == size * found.block_elems


def test_mlx_quantises_tables_too_and_leaves_norms() -> None:
    parts = parts_in(find_model("qwen3-8b").model, find_weight_format("mlx_4bit", "weights")) or ()
    assert {part.part: part.format for part in parts if part.format != "mlx_4bit"} == {"norms and biases": "bf16"}
    assert estimate("qwen3-8b", weight_dtype="mlx_4bit").memory.weights_bytes == sum(part.size for part in parts)
    norms = 65 * 4096
    llama = estimate("llama-3-8b", weight_dtype="mlx_4bit").memory.weights_bytes
    assert llama == (8_030_261_248 - norms) * 36 // 64 + 2 * norms
