"""Models that a version of vLLM has no class for: its registry, vllm/model_executor/models/registry.py."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

import kvcalc
from kvcalc.catalogue.models import model_names, named_model
from kvcalc.engines.vllm.classes import refuse_stages, refuse_without_class
from kvcalc.errors import KvcalcError
from kvcalc.model.model import Model

if TYPE_CHECKING:
    from pathlib import Path

REFUSED = [
    ("snowflake-arctic", "0.33", "it had ArcticForCausalLM up to 0.28"),  # supported in vLLM until v0.28.0
    ("snowflake-arctic", "0.29", "up to 0.28"),  # 0.28.0's registry has it, 0.29.0's has not
    ("grok-1", "0.33", "it had Grok1ModelForCausalLM up to 0.24"),
    ("qwen-7b", "0.25.1", "it had QWenLMHeadModel up to 0.23"),
    ("mpt-7b", "0.31", "up to 0.28"),
    ("minimax-text-01", "0.24", "up to 0.23"),
    ("kimi-k3", "0.26", "came with 0.27.1"),  # KimiK3ForConditionalGeneration: not in 0.26.0, there in 0.27.1
    ("qwen3.5-27b", "0.16", "came with 0.17"),
    ("gpt-oss-120b", "0.10.0", "came with 0.10.2"),
    ("gemma-4-31b", "0.16.1rc1", "came with 0.19"),
    ("baichuan2-7b", "0.25.1", "up to 0.24"),  # 0.24.0's registry has it, 0.25.1's has not
]
SERVED = [
    ("snowflake-arctic", "0.28"),
    ("grok-1", "0.24"),
    ("gpt-oss-120b", "0.10.1"),  # between two that were read: vllm-project/vllm#23278 is a log of it
    ("baichuan2-7b", "0.24.0"),  # though _PREVIOUSLY_SUPPORTED_MODELS of 0.26 says 0.23.0
    ("qwen-7b", "0.24.0rc1"),  # what leads to a release may be older than the removal
    ("gemma-4-31b", "0.17.2rc1"),  # a build ahead of its release, as a log shows
    ("llama-3-8b", "0.6.0"),
]


def _model(name: str) -> Model:
    found = named_model(name)
    assert found
    return found


@pytest.mark.parametrize(("model", "version", "told"), REFUSED)
def test_a_model_without_a_class_is_refused(model: str, version: str, told: str) -> None:
    with pytest.raises(KvcalcError, match=re.escape(told)) as refused:
        refuse_without_class(_model(model), version)
    step = re.search(r"--engine vllm@([\d.]+)$", str(refused.value))
    assert step
    refuse_without_class(_model(model), step[1])


@pytest.mark.parametrize(("model", "version"), SERVED)
def test_a_model_with_one_is_not(model: str, version: str) -> None:
    refuse_without_class(_model(model), version)


def test_the_next_step_is_a_version_that_is_known() -> None:
    with pytest.raises(KvcalcError, match=r"vllm@0\.28"):
        kvcalc.capacity("snowflake-arctic", engine="vllm", gpu="b200", tp=8, cache_memory="100GiB")
    assert kvcalc.capacity("snowflake-arctic", engine="vllm@0.28", gpu="b200", tp=8, cache_memory="100GiB").tokens


def test_the_next_step_is_a_version_whose_rules_are_followed() -> None:
    """Of every type of the catalogue, from the oldest version on: latents and states were kept otherwise at first."""
    steps = 0
    tried: set[str | None] = {None}
    for name in model_names():
        model = _model(name)
        if model.model_type in tried:
            continue
        tried.add(model.model_type)
        for version in ("0.6.0", "0.33.0"):
            try:
                refuse_without_class(model, version)
            except KvcalcError as error:
                step = str(error).partition("--engine vllm@")[2]
                assert _tokens(name, f"vllm@{step}"), name
                steps += 1
    assert steps > 50


def _tokens(name: str, engine: str) -> int | None:
    """DeepSeek-V4 is refused once more before 0.30, with a format of the cache as the step."""
    try:
        return kvcalc.capacity(name, engine=engine, gpu="h200", cache_memory="20GiB").tokens
    except KvcalcError as error:
        cache_dtype = str(error).partition("; --cache-dtype ")[2]
        return kvcalc.capacity(name, engine=engine, gpu="h200", cache_memory="20GiB", cache_dtype=cache_dtype).tokens


def test_a_class_is_refused_after_its_last_version_and_before_its_first() -> None:
    """The registries of 0.11.0 and 0.11.1, 0.10.1 and 0.10.2."""
    motif = replace(_model("llama-3-8b"), model_type="motif")
    for version, told in {"0.7.3": "came with 0.10.2", "0.11.1": "vllm@0.11.0", "0.33": "vllm@0.11.0"}.items():
        with pytest.raises(KvcalcError, match=re.escape(told)):
            refuse_without_class(motif, version)
    refuse_without_class(motif, "0.11.0")


def test_a_server_that_ran_is_not_refused(tmp_path: Path) -> None:
    """A backend or a plugin served it; its log is compared."""
    log = tmp_path / "log"
    log.write_text(
        "INFO vLLM server version 0.25.1, serving model Qwen/Qwen-7B\n"
        "INFO Available KV cache memory: 56.21 GiB\nINFO GPU KV cache size: 115,104 tokens\n"
    )
    assert kvcalc.capacity_from_log(log, "qwen-7b", gpu="h100").engine_version == "0.25.1"


@pytest.mark.parametrize(
    ("model", "version"), [("gemma-3n-e4b", "0.33"), ("smolvlm-256m", "0.33"), ("minimax-text-01", "0.23")]
)
def test_classes_without_pipeline_stages(model: str, version: str) -> None:
    """Pipeline parallelism is not supported for this model. Supported models implement the `SupportsPP` interface."""
    with pytest.raises(KvcalcError, match=r"--pp: .* SupportsPP"):
        kvcalc.capacity(model, engine=f"vllm@{version}", gpu="h100", pp=2, cache_memory="20GiB")


@pytest.mark.parametrize("kind", ["cohere_asr", "dory", "nemotron_h_omni"])
def test_types_without_pipeline_stages(kind: str) -> None:
    with pytest.raises(KvcalcError, match=r"--pp: .* SupportsPP"):
        refuse_stages(replace(_model("llama-3-8b"), model_type=kind), (0, 33), 2)


def test_a_class_that_lost_its_pipeline_stages() -> None:
    """DiffusionGemmaForConditionalGeneration has SupportsPP in 0.24 and 0.26, and not in 0.27.1."""
    model = replace(_model("llama-3-8b"), model_type="diffusion_gemma")
    refuse_stages(model, (0, 26, 0), 2)
    with pytest.raises(KvcalcError, match=r"--pp: .* no pipeline stages after 0.26 .*SupportsPP"):
        refuse_stages(model, (0, 27, 1), 2)


LLAMA_LIKE = {
    "hidden_size": 4096,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "num_hidden_layers": 4,
    "intermediate_size": 11008,
    "vocab_size": 32000,
    "max_position_embeddings": 32768,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "sliding_window": 4096,
}
FULL, SLIDING = "full_attention", "sliding_attention"


@pytest.mark.parametrize(
    "kind",
    [
        {"model_type": "olmo3", "layer_types": [FULL] * 4},
        {"model_type": "exaone4", "layer_types": [FULL] * 4},
        {"model_type": "qwen3", "use_sliding_window": True, "max_window_layers": 4},
    ],
)
def test_a_window_that_no_layer_has(kind: dict[str, Any], tmp_path: Path) -> None:
    """Asked, vLLM 0.26 planned SlidingWindowSpec for each of them, and 0.33 FullAttentionSpec."""
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**LLAMA_LIKE, **kind}), encoding="utf-8")
    asked: dict[str, Any] = {"gpu": "h100", "cache_memory": "20GiB", "context": 32768}
    with pytest.raises(KvcalcError, match="the sliding window of 4,096 tokens that its config"):
        kvcalc.capacity(file, engine="vllm@0.26", **asked)
    assert kvcalc.capacity(file, engine="vllm@0.33", **asked).tokens == 20 * 2**30 // (4 * 2 * 8 * 128 * 2)
    file.write_text(json.dumps({**LLAMA_LIKE, **kind, "sliding_window": None}), encoding="utf-8")
    assert kvcalc.capacity(file, engine="vllm@0.26", **asked).tokens


def test_a_window_that_the_class_does_not_switch_off(tmp_path: Path) -> None:
    """Attention takes the file's window, and Llama's class reads no use_sliding_window: vLLM's planner says so."""
    sizes = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4}
    keys = {"model_type": "llama", "vocab_size": 1000, "max_position_embeddings": 8192, "use_sliding_window": False}
    (tmp_path / "config.json").write_text(json.dumps({**keys, **sizes, "sliding_window": 4096}), encoding="utf-8")
    for version in ("0.26", "0.33"):
        with pytest.raises(kvcalc.KvcalcError, match=r"4,096 tokens that its config\.json switches off"):
            kvcalc.capacity(str(tmp_path / "config.json"), engine=f"vllm@{version}")
    assert kvcalc.estimate(str(tmp_path / "config.json")).cache.bytes
    (tmp_path / "config.json").write_text(json.dumps({**keys, **sizes, "sliding_window": 8192}), encoding="utf-8")
    assert kvcalc.capacity(str(tmp_path / "config.json"), engine="vllm").tokens


def test_windows_on_some_layers_of_qwens_class(tmp_path: Path) -> None:
    """0.19 to 0.33: "Sliding window for some but all layers is not supported" (models/qwen2.py)."""
    file = tmp_path / "config.json"
    kind = {"model_type": "qwen3", "use_sliding_window": True, "max_window_layers": 2}
    file.write_text(json.dumps({**LLAMA_LIKE, **kind}), encoding="utf-8")
    with pytest.raises(KvcalcError, match="a sliding window on all layers or on none"):
        kvcalc.capacity(file, engine="vllm", gpu="h100", cache_memory="20GiB")


def test_tables_on_every_stage_need_to_be_known() -> None:
    """gpt-oss makes both tables on every stage; with one for both the last has none beside the head."""
    model = replace(_model("gpt-oss-20b"), tie_word_embeddings=None)
    asked: dict[str, Any] = {"engine": "vllm", "gpu": "h100", "cache_memory": "20GiB"}
    with pytest.raises(KvcalcError, match="tie_word_embeddings says, which its file lacks"):
        kvcalc.capacity(model, **asked, pp=2)
    assert kvcalc.capacity(model, **asked).tokens
