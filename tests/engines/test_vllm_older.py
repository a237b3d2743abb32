"""What older versions of vLLM do otherwise, each as that version's own planner said, asked on the CPU (tests/live)."""

from __future__ import annotations

from typing import Any

import pytest

import kvcalc
from kvcalc.deployment import Deployment
from kvcalc.engines.vllm.cache.span_specs import SlidingWindow
from kvcalc.engines.vllm.cache.specs import Request
from kvcalc.engines.vllm.cache.state_spec import State
from kvcalc.engines.vllm.layout import VllmLayout
from kvcalc.errors import KvcalcError
from kvcalc.mechanisms import GQA
from kvcalc.memory import Ranks
from kvcalc.model.layers import LayerGroup
from kvcalc.model.model import Model


def _windowed(layers: int) -> Model:
    """As `windows-14` of seed 7: heads of 128, all with a window of 4,097 tokens."""
    attention = GQA(kind="gqa", num_heads=64, num_kv_heads=16, head_dim=128)
    return Model(
        name="windowed",
        source="drawn",
        model_type="olmo3",
        dtype="bf16",
        max_context=262_144,
        layers=(LayerGroup(count=layers, attention=attention, window=4097),),
    )


def test_windows_begin_with_small_blocks_from_0_25_to_0_29() -> None:
    """0.26 and 0.29: 488,825 blocks of 16 tokens, 7,805,953 tokens; 0.30 and 0.31: blocks of 64."""
    asked: dict[str, Any] = {
        "context": 8192,
        "tp": 8,
        "block_size": 64,
        "gpu": "h100-sxm",
        "engine_option": {"max-num-batched-tokens": 2048},
        "cache_memory": 160_178_221_132,
    }
    for version in ("0.26", "0.29"):
        found = kvcalc.capacity(_windowed(20), engine=f"vllm@{version}", **asked)
        assert (found.blocks, found.block_size, found.tokens) == (488_825, 16, 7_805_953)
    for version in ("0.30", "0.31"):
        assert kvcalc.capacity(_windowed(20), engine=f"vllm@{version}", **asked).block_size == 64


@pytest.mark.parametrize(
    ("model", "version", "states"),
    [
        ("kimi-k3", "0.28", 2),  # MambaSpec of 0.28 has no num_prefill_checkpoint_blocks
        ("kimi-k3", "0.29", 3),
        ("kimi-k3", "0.31", 3),  # asked of its planner: groups of [23, "Mamba", 5760, 3]
        ("nvidia-nemotron-3-nano-30b-a3b-bf16", "0.31", 2),
        ("nvidia-nemotron-3-nano-30b-a3b-bf16", "0.33", 3),
        ("qwen3.5-27b", "0.31", 2),
        ("qwen3.5-27b", "0.33", 3),
    ],
)
def test_states_of_a_prefix_by_version(model: str, version: str, states: int) -> None:
    scenario = kvcalc.make_scenario(
        model, gpu="h100-sxm", context=8192, engine=f"vllm@{version}", engine_option={"enable-prefix-caching": "true"}
    )
    settled = Ranks(scenario).settled(Deployment())
    assert isinstance(settled, VllmLayout)
    specs = {spec for group in settled.groups for spec in group.specs if isinstance(spec, State)}
    assert {spec.states for spec in specs} == {states}


@pytest.mark.parametrize(
    ("model", "version", "options", "told"),
    [
        # 0.26, gpt-oss-20b: 4,352 bytes of a window's page, 2,304 of a whole layer's
        ("gpt-oss-20b", "0.26", {"cache_dtype": "int4_per_token_head"}, "lays out no int4_per_token_head for sliding"),
        ("gemma-3-4b", "0.20", {"cache_dtype": "nvfp4", "gpu": "b200"}, "lays out no nvfp4 for sliding windows"),
        # 0.26, Llama-4-Scout: promoted chunks have 16,384 bytes a page, whole layers 16,896
        (
            "llama-4-scout",
            "0.26",
            {
                "cache_dtype": "int8_per_token_head",
                "tp": 2,
                "engine_option": {"disable-hybrid-kv-cache-manager": "true"},
            },
            "lays out no int8_per_token_head for chunked local attentions",
        ),
        # 0.26: Hybrid KV cache manager is disabled but failed to convert the KV cache specs to one unified type
        (
            "gemma-3-4b",
            "0.26",
            {"block_size": 64, "engine_option": {"disable-hybrid-kv-cache-manager": "true"}},
            "does not go with disable-hybrid-kv-cache-manager",
        ),
    ],
)
def test_what_an_older_version_lays_out_wrong_is_refused(
    model: str, version: str, options: dict[str, Any], told: str
) -> None:
    asked: dict[str, Any] = {"context": 8192, "gpu": "h100-sxm", "cache_memory": "20GiB", **options}
    with pytest.raises(KvcalcError, match=told):
        kvcalc.capacity(model, engine=f"vllm@{version}", **asked)
    assert kvcalc.capacity(model, engine="vllm@0.33", **asked).tokens


def test_tokens_that_layers_draft_in_turn_are_a_multiple_of_them() -> None:
    """num_speculative_tokens must be divisible by n_predict (vllm/config/speculative.py of 0.19 to 0.33)."""
    asked: dict[str, Any] = {"gpu": "h200", "tp": 8, "context": 8192, "engine": "vllm"}
    with pytest.raises(KvcalcError, match=r"4 tokens are no multiple of the 3 layers that draft.* --mtp 3"):
        kvcalc.capacity("step-3.5-flash", **asked, mtp=4)


@pytest.mark.parametrize(("version", "windows"), [("0.30", 32), ("0.31", 33)])
def test_host_memory_keeps_what_several_drafting_layers_read_again(version: str, windows: int) -> None:
    """cdiv(512, 16), and since 0.31 cdiv(512 - 1 + 2, 16): get_sliding_window_size_in_chunks, of three groups."""
    scenario = kvcalc.make_scenario("step-3.5-flash", gpu="h200", tp=8, context=65536, engine=f"vllm@{version}", mtp=3)
    parked = Ranks(scenario).settled(scenario.deployment or Deployment()).parked(65536)
    assert not isinstance(parked, str)
    assert parked.units == 65536 // 16 + 3 * windows


@pytest.mark.parametrize(
    ("model", "version", "tokens", "retained"),
    [
        ("step-3.5-flash", "0.27.1", 3, 0),  # SlidingWindowSpec has no extra_retained_tokens
        ("step-3.5-flash", "0.28", 3, 2),
        ("step-3.5-flash", "0.33", 3, 2),
        ("step-3.5-flash", "0.33", 1, 0),  # one module drafts
        ("mimo-v2-flash", "0.33", 3, 0),  # vLLM loads one of its three
    ],
)
def test_windows_keep_what_several_drafting_layers_read_again(
    model: str, version: str, tokens: int, retained: int
) -> None:
    """extra_retained_tokens: max(0, num_prefill_lookahead_tokens - 1). Blocks by hand: of the window, and one more."""
    scenario = kvcalc.make_scenario(model, gpu="h200", tp=8, context=65536, engine=f"vllm@{version}", mtp=tokens)
    settled = Ranks(scenario).settled(scenario.deployment or Deployment())
    assert isinstance(settled, VllmLayout)
    windows = {spec for group in settled.groups for spec in group.specs if isinstance(spec, SlidingWindow)}
    assert windows
    request = Request(65536, settled.settings.max_in_flight_tokens)
    for spec in windows:
        held = spec.window - 1 + retained + settled.settings.max_in_flight_tokens
        assert spec.blocks(request) == -(-held // spec.block_size) + 1
        assert spec.retained == retained


def test_layers_with_windows_keep_every_token_up_to_0_9_0() -> None:
    """unify_hybrid_kv_cache_specs of 0.9.0.1 makes all of them whole; 0.9.1 has groups (v1/core/kv_cache_utils.py)."""
    asked: dict[str, Any] = {"context": 32_768, "tp": 1, "cache_memory": "40GiB"}
    whole, grouped = (kvcalc.capacity("gemma-3-27b", engine=f"vllm@{each}", **asked) for each in ("0.9.0", "0.9.1"))
    blocks = 40 * 2**30 // (62 * 16 * 2 * 16 * 128 * 2)
    assert (whole.blocks, whole.tokens) == (blocks, blocks * 16)
    assert whole.concurrency == pytest.approx(blocks * 16 / 32_768, abs=0.005)
    assert (whole.concurrency or 0) * 2 < (grouped.concurrency or 0)
