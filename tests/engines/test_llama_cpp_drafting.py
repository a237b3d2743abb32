"""Layers that draft tokens: a context of their own, and copies of every state."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from llama_cpp_shapes import SHAPES

import kvcalc
from kvcalc.engines import Load
from kvcalc.engines.llama_cpp.compute import compute_buffer
from kvcalc.engines.llama_cpp.layout import LlamaLayout
from kvcalc.engines.llama_cpp.second_context import second_cache
from kvcalc.memory import Ranks

MIB = 2**20
DRAFTING = replace(SHAPES["qwen3.6-27b"].model, mtp_layers=1)
PRINTED = [
    (8192, "fp16", 0, 6400, 1870, 0),
    (8192, "fp16", 2, 6400, 5611, 3200),
    (131072, "fp16", 2, 102400, 5611, 51200),
    (131072, "q8_0", 2, 54400, 5611, 51200),
]
"""Tokens, format, tokens drafted; then KV, states and the drafting layer's KV in f16, in hundredths of a MiB.

As b11549 prints them of 8 layers of Qwen3.6-27B and one that drafts: contexts of both kinds on a device like CUDA's.
"""


def settled(**options: Any) -> LlamaLayout:
    asked = kvcalc.make_scenario(DRAFTING, engine="llama-cpp", **options)
    layout = Ranks(asked).settled(kvcalc.Deployment())
    assert isinstance(layout, LlamaLayout)
    return layout


@pytest.mark.parametrize(("context", "kept_in", "drafted", "kv", "states", "second"), PRINTED)
def test_caches_of_both_contexts_are_as_printed(
    context: int, kept_in: str, drafted: int, kv: int, states: int, second: int
) -> None:
    layout = settled(context=context, cache_dtype=kept_in, engine_option={"draft-n": str(drafted)})
    (stage,), load = layout.stages, Load(1, context)
    drafting = second_cache(layout, stage)
    assert (0 if drafting is None else drafting.term(context).bytes) * 100 == second * MIB
    assert abs(layout.states_bytes(stage, load) * 100 - states * MIB) <= MIB
    assert abs(layout.held_bytes(stage, load) * 100 - (kv + states + second) * MIB) <= MIB


BUFFERS = [(8192, "fp16", 13002), (131072, "fp16", 19602), (8192, "q8_0", 14028), (131072, "q8_0", 72028)]
"""Compute buffers of the context that drafts, likewise; both caches in the same format."""


@pytest.mark.parametrize(("context", "kept_in", "hundredths"), BUFFERS)
def test_the_second_compute_buffer_is_no_larger_than_the_first(context: int, kept_in: str, hundredths: int) -> None:
    layout = settled(context=context, cache_dtype=kept_in, engine_option={"draft-n": "2"})
    (stage,), load = layout.stages, Load(1, context)
    one, both = compute_buffer(layout, stage, load), layout.temporary(stage, load)
    assert one is not None
    assert both is not None
    assert both.term.bytes == 2 * one.term.bytes
    assert 0.7 < hundredths * MIB / 100 / one.term.bytes <= 1


def test_another_model_that_drafts_is_not_counted_and_said_so() -> None:
    found = kvcalc.estimate("llama-3-8b", engine="llama-cpp", gpu="rtx4090", engine_option={"draft-n": "4"})
    assert "draft-not-counted" in {each.code for each in found.notes}
    plain = kvcalc.estimate("llama-3-8b", engine="llama-cpp", gpu="rtx4090")
    assert found.cache.bytes == plain.cache.bytes


def test_a_token_costs_a_row_of_both_caches() -> None:
    layout = settled(context=8192, engine_option={"draft-n": "2"})
    (stage,) = layout.stages
    one, two = (layout.held_bytes(stage, Load(1, tokens)) for tokens in (8192, 8192 + 256))
    assert two - one == 256 * layout.rate(stage, Load(1, 8192)).bytes_per_token
