"""What a file of towers takes under llama.cpp, beside totals that servers printed of such files in f16."""

from __future__ import annotations

import pytest

import kvcalc
from kvcalc.engines.llama_cpp.mmproj import TOWERS, mmproj_of

PRINTED = {
    "qwen3.6-35b-a3b": 1130.63,
    "qwen3-vl-8b": 1502.33,
    "gemma-4-31b": 1300.79,
    "qwen3.6-27b": 2030.57 - 872.93,
}
"""MiB of weights, buffer and image together ("estimated worst-case memory usage of mmproj"). The last is of a file in
f32, which has 457,666,560 parameters (872.93 MiB at 16 bits) twice as large."""


@pytest.mark.parametrize("name", PRINTED)
def test_a_file_takes_what_a_server_printed(name: str) -> None:
    found = mmproj_of(kvcalc.load_model(name).tower_parameters or 0)
    assert abs((found.on_card + found.beside) / 2**20 - PRINTED[name]) < 0.02


def test_a_model_of_the_catalogue_has_each() -> None:
    names = (
        "kimi-vl-a3b",
        "llava-1.5-7b",
        "llava-1.5-13b",
        "voxtral-mini-3b-2507",
        "llama-4-scout-17b-16e",
        "internvl3-1b",
        "pixtral-12b",
        "qwen2-vl-72b",
        "qwen3.5-122b-a10b",
    )
    towers = [kvcalc.load_model(name).tower_parameters for name in names]
    assert set(towers) <= {*TOWERS}


def test_of_another_tower_the_weights_alone_are_told() -> None:
    found = mmproj_of(1000)
    assert (found.on_card, found.buffer) == (2000, None)
    assert "without a buffer" in found.told
