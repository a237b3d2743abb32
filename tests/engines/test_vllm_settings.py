"""What vLLM runs with where nobody says: as its own code decides, and as start-up logs show."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest

import kvcalc
from kvcalc.catalogue import find_gpu
from kvcalc.deployment import Deployment
from kvcalc.engines import ENGINES, choose_engine
from kvcalc.engines.vllm.engine import Vllm
from kvcalc.engines.vllm.layout import VllmLayout
from kvcalc.engines.vllm.profiled.graph_sizes import capture_sizes
from kvcalc.engines.vllm.settings import Settings
from kvcalc.errors import KvcalcError
from kvcalc.memory import Ranks
from kvcalc.units import GIB


def settings(version: str, gpu: str, model: str = "llama-3-8b", context: int = 8192, **options: Any) -> Settings:
    return layout(version, gpu, model, context, **options).settings


def layout(version: str, gpu: str, model: str, context: int, pp: int = 1, **options: Any) -> VllmLayout:
    given = {name.replace("_", "-"): str(value) for name, value in options.items()}
    with patch.dict(ENGINES, vllm=Vllm):
        scenario = kvcalc.make_scenario(
            model, gpu=gpu, context=context, engine=f"vllm@{version}", engine_option=given, weights="1GiB"
        )
        settled = Ranks(scenario).settled(Deployment(pp=pp))
    assert isinstance(settled, VllmLayout)
    return settled


@pytest.mark.parametrize(
    ("version", "gpu", "usage", "tokens", "sequences"),
    [
        ("0.33.0", "b200", "server", 16384, 1024),  # EngineArgs.get_batch_defaults of 0.33.0: 160 GiB and more
        ("0.26.0", "b200", "server", 8192, 1024),  # that of 0.26.0 has no such tier
        ("0.33.0", "h100", "server", 8192, 1024),
        ("0.33.0", "h100", "offline", 16384, 1024),
        ("0.33.0", "h100", "async", 2048, 128),  # SchedulerConfig's own, on every card
        ("0.8.5", "h100", "async", 2048, 1024),  # default_max_num_seqs of 0.8.5 has no usages
        ("0.19.0", "h100", "server", 8192, 1024),  # llm-d-incubation/llm-d-planner#205, settings at their defaults
        ("0.31.0", "a100-80-sxm", "server", 2048, 256),  # start-up log, stored file id 70682754770
        ("0.8.0", "rtx4090", "server", 2048, 1024),  # default_max_num_seqs of 0.8.0 is 1,024 on every card
        ("0.8.4", "rtx4090", "offline", 8192, 256),  # of 0.8.4 on cards that are not called H100 or H200
        ("0.8.4", "h200-sxm", "server", 8192, 1024),
        ("0.8.4", "a100-80-sxm", "server", 2048, 256),
        ("0.8.5", "rtx4090", "server", 2048, 256),
        ("0.8.5", "a100-80-sxm", "server", 8192, 1024),  # before vllm-project/vllm#17885
        ("0.10.2", "rtx4090", "server", 2048, 256),  # start-up log, stored file id 34681159919
        ("0.11.0", "rtx3090", "offline", 8192, 256),  # _set_default_args of 0.11.0, LLM_CLASS
        ("0.31.0", "gb10", "server", 2048, 256),  # NVML tells no memory of it, which then counts as 0
        ("0.33.0", "gb10", "server", 2048, 256),  # is_gb10
        ("0.28.0", "strix-halo-128gb", "server", 2048, 256),  # stored file 60894101463: 2,048 on one of 80 GiB
        ("0.28.0", "mi300x", "server", 16384, 1024),
        ("0.10.2", "jetson-thor", "server", 2048, 256),  # stored file 33178493884 prints 2,048
        ("0.33.0", "jetson-thor", "server", 8192, 1024),  # its memory is asked of torch then
    ],
)
def test_a_steps_tokens_and_sequences(version: str, gpu: str, usage: str, tokens: int, sequences: int) -> None:
    found = settings(version, gpu, usage=usage)
    assert (found.max_num_batched_tokens, found.max_num_seqs) == (tokens, sequences)
    assert found.defaults == ("max-num-batched-tokens", "max-num-seqs")


@pytest.mark.parametrize(
    ("version", "gpu", "model", "context", "tokens"),
    [
        ("0.7.3", "rtx3090", "qwen2.5-1.5b", 4096, 4096),  # vllm-project/vllm#13882: max_model_len
        ("0.7.3", "rtx3090", "qwen2.5-1.5b", 2000, 2048),  # vllm-project/vllm#12529
        ("0.7.3", "rtx3090", "qwen2.5-1.5b", 32768, 32768),
        ("0.7.3", "rtx3090", "qwen2.5-1.5b", 32769, 2048),  # in chunks above 32,768
        ("0.8.5", "t4", "qwen2.5-1.5b", 4096, 4096),  # V0 still: compute capability 7.5
        ("0.11.0", "t4", "qwen2.5-1.5b", 4096, 2048),
        ("0.7.3", "rtx3090", "qwen2-vl-7b", 2048, 5120),  # _MULTIMODAL_MODEL_MAX_NUM_BATCHED_TOKENS
    ],
)
def test_engine_v0_computes_prompts_whole(version: str, gpu: str, model: str, context: int, tokens: int) -> None:
    found = settings(version, gpu, model, context)
    assert (found.max_num_batched_tokens, found.max_num_seqs) == (tokens, 256)


def test_what_is_given_is_taken() -> None:
    found = settings("0.33.0", "h100", max_num_seqs=6, max_num_batched_tokens=100)
    assert (found.max_num_batched_tokens, found.max_num_seqs, found.defaults) == (100, 6, ())
    assert settings("0.33.0", "h100", context=100, max_num_seqs=6).max_num_batched_tokens == 600
    assert settings("0.33.0", "h100", max_num_batched_tokens=100).max_num_seqs == 100
    assert not list(settings("0.33.0", "h100", max_num_seqs=6, max_num_batched_tokens=100).notes(find_gpu("h100")))


def test_a_default_is_said() -> None:
    (told,) = settings("0.33.0", "h100").notes(find_gpu("h100-sxm"))
    assert told.text == (
        "vLLM 0.33.0's defaults for server use on h100-sxm: max-num-batched-tokens 8192, max-num-seqs 1024 "
        "(--engine-option sets them)"
    )
    assert told.data["max_num_seqs"] == 1024
    (told,) = settings("0.33.0", "h100", max_num_seqs=6).notes(find_gpu("h100-sxm"))
    assert told.text == (
        "vLLM 0.33.0's default for server use on h100-sxm: max-num-batched-tokens 8192 (--engine-option sets it)"
    )
    own = replace(find_gpu("h100-sxm"), memory_bytes=16 * GIB, memory_from="user")
    (told,) = settings("0.33.0", "h100", max_num_seqs=6).notes(own)
    assert "for server use on a GPU of 16.00 GiB, else as h100-sxm: " in told.text


@pytest.mark.parametrize(
    ("version", "model", "context", "tokens"),
    [
        ("0.6.0", "llama-3.1-8b", 131072, 512),  # SchedulerConfig of 0.6.0 to 0.6.4: "the best balance" of a chunk
        ("0.6.4", "llama-3.1-8b", 131072, 512),
        ("0.6.6", "llama-3.1-8b", 131072, 2048),
        ("0.6.3", "llama-3.1-8b", 4096, 4096),
        ("0.6.3", "mistral-7b-v0.1", 32768, 32768),
        ("0.6.0", "qwen2-vl-7b", 32768, 32768),
        ("0.6.0", "qwen2-vl-7b", 1024, 4096),  # _MULTIMODAL_MODEL_MAX_NUM_BATCHED_TOKENS
        ("0.6.3", "qwen2-vl-7b", 1024, 5120),
    ],
)
def test_tokens_of_a_step_of_v0(version: str, model: str, context: int, tokens: int) -> None:
    assert settings(version, "a100-80-sxm", model, context).max_num_batched_tokens == tokens


@pytest.mark.parametrize(
    ("version", "model", "runner"),
    [
        ("0.7.3", "llama-3-8b", "v0"),
        ("0.19.0", "llama-3-8b", "v1"),
        ("0.22.0", "qwen3-8b", "v2"),  # DEFAULT_V2_MODEL_RUNNER_ARCHITECTURES of 0.22.0: Qwen3ForCausalLM
        ("0.22.0", "llama-3-8b", "v1"),
        ("0.23.0", "llama-3-8b", "v2"),  # and of 0.23.0: Llama, Mistral
        ("0.23.0", "qwen2.5-1.5b", "v1"),
        ("0.25.1", "qwen2.5-1.5b", "v2"),
        ("0.26.0", "qwen2.5-1.5b", "v2"),  # _is_default_v2_model_runner_model of 0.26.0: neither experts nor states
        ("0.23.0", "yi-34b", "v2"),  # LlamaForCausalLM, whatever its name
        ("0.26.0", "qwen3-235b-a22b", "v1"),
        ("0.26.0", "deepseek-v2-lite", "v2"),  # DEFAULT_V2_MODEL_RUNNER_ARCHITECTURES of 0.26.0
        ("0.28.0", "kimi-k3", "v2"),  # which 0.27.1 adds
        ("0.29.0", "qwen3-235b-a22b", "v2"),
    ],
)
def test_which_model_runner(version: str, model: str, runner: str) -> None:
    assert settings(version, "h100", model).runner == runner


def test_tokens_in_flight() -> None:
    """VllmConfig.max_concurrent_batches: pp + 1 with runner V2."""
    assert layout("0.33.0", "h100", "llama-3-8b", 8192, pp=2).settings.max_in_flight_tokens == 3 * 8192


@pytest.mark.parametrize(
    ("version", "options", "steps"),
    [
        ("0.33.0", {"num_speculative_tokens": 2, "speculative_method": "ngram"}, 2),
        ("0.31.0", {"num_speculative_tokens": 2, "speculative_method": "ngram"}, 1),
        ("0.31.0", {"num_speculative_tokens": 2}, 2),  # EAGLE, MTP, a draft model
        ("0.26.0", {"num_speculative_tokens": 2, "speculative_method": "suffix"}, 1),
        ("0.33.0", {"runner": "pooling"}, 1),
        ("0.33.0", {"async_scheduling": "false"}, 1),
        ("0.33.0", {"async_scheduling": "true", "runner": "pooling"}, 2),
        ("0.25.1", {}, 1),  # SlidingWindowSpec has the tokens of one step
    ],
)
def test_steps_that_overlap(version: str, options: dict[str, Any], steps: int) -> None:
    """scheduler_config.async_scheduling (VllmConfig.__post_init__ of vllm/config/vllm.py)."""
    assert layout(version, "h100", "gemma-3-4b", 8192, **options).settings.max_concurrent_batches == steps


def test_a_step_that_takes_prompts_whole() -> None:
    """Without chunked prefill: 32,768 tokens, as vLLM 0.33's EngineArgs made of it on an H100 (tests/live)."""
    assert settings("0.33.0", "h100", context=32768, enable_chunked_prefill="false").max_num_batched_tokens == 32768
    assert settings("0.33.0", "h100", context=4096, enable_chunked_prefill="false").max_num_batched_tokens == 8192


@pytest.mark.parametrize(
    ("version", "options", "told"),
    [
        ("0.33.0", {"speculative_method": "ngram"}, "num-speculative-tokens=N"),
        ("0.33.0", {"speculative_method": "medusa"}, "ngram, suffix"),
        (
            "0.32.0",
            {"speculative_method": "ngram", "num_speculative_tokens": 2, "async_scheduling": "true"},
            "does not go with speculative-method ngram in vllm before 0.33",
        ),
        (
            "0.33.0",
            {"enable_chunked_prefill": "false", "max_num_batched_tokens": 4096},
            "4,096 is less than the 8,192 of --context.*max-num-batched-tokens=8192",
        ),
        ("0.10.0", {"enable_chunked_prefill": "false"}, "follows since vllm 0.19"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(version: str, options: dict[str, Any], told: str) -> None:
    with pytest.raises(KvcalcError, match=told):
        settings(version, "h100", **options)


@pytest.mark.parametrize(("version", "share"), [("0.19.0", 0.9), ("0.20.0", 0.92), ("0.33.0", 0.92)])
def test_utilization_by_version(version: str, share: float) -> None:
    with patch.dict(ENGINES, vllm=Vllm):
        assert float(kvcalc.make_scenario("llama-3-8b", engine=f"vllm@{version}").utilization) == share
        assert float(kvcalc.make_scenario("llama-3-8b", engine=f"vllm@{version}", utilization=0.5).utilization) == 0.5


@pytest.mark.parametrize(("name", "own"), [("max-model-len", "--context"), ("gpu_memory_utilization", "--utilization")])
def test_options_that_kvcalc_has_itself_are_named(name: str, own: str) -> None:
    with pytest.raises(KvcalcError, match=f"of vllm is given as {own}"):
        choose_engine("vllm", {name: "1"})


@pytest.mark.parametrize(
    ("model", "version", "gpu"),
    [
        ("llama-3-8b", "0.23.0", "h100"),  # the model runner
        ("gemma-4-e4b", "0.33.0", "h100"),  # towers that are whole on each rank
        ("gemma-3-27b", "0.19.0", "h100"),  # elements of an image
        ("nvidia-nemotron-nano-9b-v2", "0.33.0", "h100"),  # states in fp32
        ("opt-13b", "0.11.0", "a100-80-sxm"),  # feed-forward blocks without a gate
        ("glm-5", "0.33.0", "b200"),  # a cache in fp8
    ],
)
def test_what_is_chosen_by_class_does_not_go_by_name(model: str, version: str, gpu: str) -> None:
    given: dict[str, Any] = {"gpu": gpu, "tp": 8, "engine": f"vllm@{version}", "context": 4096}
    known = kvcalc.load_model(model)
    as_it_is = kvcalc.estimate(known, **given)
    renamed = kvcalc.estimate(replace(known, name="mine"), **given)
    assert (renamed.memory, renamed.cache) == (as_it_is.memory, as_it_is.cache)
    told = [each.code for each in kvcalc.estimate(replace(known, model_type=None), **given).notes]
    assert ("model-type-not-known" in told) == (version == "0.23.0" or known.has_towers or "nemotron" in model)


def test_engine_v0_where_it_is_asked_for() -> None:
    """VLLM_USE_V1=0, which EngineArgs.create_engine_config heeds from 0.8 to 0.10."""
    given = settings("0.8.5", "a100-80-sxm", use_v1="false")
    assert (given.runner, given.max_num_batched_tokens, given.enable_prefix_caching) == ("v0", 8192, False)
    assert settings("0.8.5", "a100-80-sxm").runner == settings("0.8.5", "a100-80-sxm", use_v1="true").runner == "v1"


@pytest.mark.parametrize(("version", "asked"), [("0.7.3", "true"), ("0.11.0", "false")])
def test_an_engine_that_a_version_lacks_is_refused(version: str, asked: str) -> None:
    with pytest.raises(KvcalcError, match="both its engines"):
        settings(version, "h100", use_v1=asked)


def test_performance_modes() -> None:
    """_set_default_max_num_seqs_and_batched_tokens_args of 0.33.0 doubles what nobody gave."""
    found = settings("0.33.0", "h100", performance_mode="throughput")
    assert (found.max_num_batched_tokens, found.max_num_seqs) == (16384, 2048)
    given = settings("0.33.0", "h100", performance_mode="throughput", max_num_seqs=64)
    assert (given.max_num_batched_tokens, given.max_num_seqs) == (16384, 64)
    balanced, fine = (settings("0.33.0", "h100", performance_mode=mode) for mode in ("balanced", "interactivity"))
    assert capture_sizes(fine, (9, 0)) - capture_sizes(balanced, (9, 0)) == 32 - len({1, 2, 4, 8, 16, 24, 32})
    with pytest.raises(KvcalcError, match=r"since 0\.17"):
        settings("0.16.0", "h100", performance_mode="throughput")


@pytest.mark.parametrize(
    ("model", "version", "gpu", "tokens"),
    [
        ("gemma-4-26b-a4b", "0.25.1", "gb10", 2496),  # two logs of sostrowsk/dgx-spark-local-llm print 2,496
        ("gemma-4-26b-a4b", "0.20.0", "gb10", 2048),
        ("gemma-4-12b", "0.29.0", "l4", 2496),  # Gemma4UnifiedTextConfig of transformers has "vision" by default
        ("gemma-4-26b-a4b", "0.25.1", "h100", 8192),
        ("gemma-4-e4b", "0.28.0", "l4", 2048),  # its tokens of images do not see each other
    ],
)
def test_a_step_has_room_for_an_item_whose_tokens_see_each_other(
    model: str, version: str, gpu: str, tokens: int
) -> None:
    assert settings(version, gpu, model).max_num_batched_tokens == tokens
    assert settings(version, gpu, model, max_num_batched_tokens=1024).max_num_batched_tokens == 1024


@pytest.mark.parametrize(
    ("model", "asked", "says"),
    [
        ("phi-4", {"tp": 5}, "--tp: 5 does not divide the 100,352 words of the padded vocabulary.*; --tp 2$"),
        ("llama-3.2-3b", {"tp": 24}, "--tp: 24 does not divide"),
        ("gemma-3-27b", {"tp": 2, "dtype": "fp16"}, "refuses gemma3 in fp16.*--dtype bf16$"),
    ],
)
def test_what_its_layers_refuse(model: str, asked: dict[str, Any], says: str) -> None:
    """The planner of 0.33 on these models: `100352 is not divisible by 5`, `does not support float16`."""
    with pytest.raises(KvcalcError, match=says):
        kvcalc.capacity(model, engine="vllm", gpu="h100", context=1024, **asked)


@pytest.mark.parametrize(("model", "tp"), [("qwen3-30b-a3b-fp8", 4), ("qwen3-235b-a22b-fp8", 8), ("minimax-m2.7", 8)])
def test_shares_of_experts_end_with_a_block_before_0_30(model: str, tp: int) -> None:
    """768 / 4 and 1,536 / 8 are 192 columns, and a block 128: `192 is not divisible by weight quantization block_n`."""
    asked: dict[str, Any] = {"gpu": "h200", "context": 1024, "tp": tp}
    with pytest.raises(KvcalcError, match=rf"within a block of 128.*before 0\.30.*--ep {tp} keeps"):
        kvcalc.capacity(model, engine="vllm@0.29", **asked)
    assert kvcalc.capacity(model, engine="vllm@0.29", ep=tp, **asked).tokens
    assert kvcalc.capacity(model, engine="vllm@0.30", **asked).tokens
    with pytest.raises(KvcalcError, match=r"within a block of 128.*which sglang refuses"):
        kvcalc.capacity(model, engine="sglang", **asked)
    assert kvcalc.capacity(model, engine="sglang", ep=tp, **asked).tokens


def test_words_are_padded_before_they_are_divided() -> None:
    """GPT-2's 50,257 words are 50,304 = 6 x 8,384, with which the planner of 0.33 plans."""
    assert kvcalc.capacity("gpt2", engine="vllm", gpu="h100", context=1024, tp=6).tokens


def test_text_alone_drafts_where_a_method_says_so() -> None:
    """Qwen3-Next's own layers are not loaded, as its planner has it."""
    tokens = {"num-speculative-tokens": 2}
    asked: dict[str, Any] = {"engine": "vllm", "gpu": "h100", "tp": 4, "context": 32768, "cache_memory": 30 * GIB}
    by_text = kvcalc.capacity("qwen3-next-80b-a3b", engine_option={**tokens, "speculative-method": "ngram"}, **asked)
    by_layers = kvcalc.capacity("qwen3-next-80b-a3b", engine_option=tokens, **asked)
    assert (by_text.blocks or 0) > (by_layers.blocks or 0)
    assert "draft-not-counted" not in {each.code for each in by_text.notes}
