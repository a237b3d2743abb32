"""Every code of a note can be met, is told in docs/json.md, and is made nowhere under another name."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Kvcalc
from each import for_each

import kvcalc as package
from kvcalc.engines import ENGINES, choose_engine
from kvcalc.importers.config_json.read import import_config
from kvcalc.mechanisms import GQA, MHA, Cross, NoAttention
from kvcalc.model.layers import LayerGroup
from kvcalc.model.model import Model, WeightPart
from kvcalc.note import CODES, Note

for engine in ENGINES:
    choose_engine(engine, {})  # its file registers its codes

SMALL: dict[str, Any] = {"temporary": 0, "overhead": 0, "utilization": 1}
HEADS = GQA(num_heads=4, num_kv_heads=2, head_dim=16)
LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "torch_dtype": "bfloat16",
    "vocab_size": 100,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
}
HISPARSE = {"enable-hisparse": "true", "disable-radix-cache": "true"}
DRAFT = {**LLAMA, "draft_vocab_size": 50}
FP8 = {"quant_method": "fp8", "kv_cache_scheme": {"num_bits": 8}}
ELSEWHERE = {
    "bench-in-fp32": "speed/test_bench.py",
    "bench-left-out": "speed/test_bench.py",
    "bench-no-feed-forward": "speed/test_feed_forward.py",
    "bench-window": "speed/test_bench.py",
    "bench-above-bound": "speed/test_bench.py",
    "trace-sorted": "verbs/test_demand.py",
    "requests-without-output": "verbs/test_demand.py",
    "hub-revision": "importers/test_hub.py",
    "files-not-read": "importers/test_checkpoint_refused.py",
    "engine-of-file": "importers/test_gguf.py",
    "unused-window": "importers/test_gguf.py",
    "weights-left-out": "importers/test_checkpoint_files.py",
    "elements-differ": "importers/test_checkpoint_files.py",
    "card-taken": "verbs/test_log_notes.py",
    "model-as-logged": "verbs/test_llama_cpp_log_check.py",
    "build-not-known": "verbs/test_llama_cpp_log_check.py",
    "log-cut": "verbs/test_log_notes.py",
    "log-silent": "verbs/test_log_notes.py",
    "log-overridden": "verbs/test_log_notes.py",
    "printed-twice": "verbs/test_log_check.py",
    "model-by-name": "verbs/test_log_notes.py",
    "models-left-out": "verbs/test_model_list.py",
    "no-model-named": "verbs/test_model_list.py",
    "several-starts": "verbs/test_log_notes.py",
    "version-not-logged": "verbs/test_log_notes.py",
    "launched-engine": "verbs/test_launch.py",
    "launched-limit": "verbs/test_launch.py",
    "launched-nodes": "verbs/test_launch.py",
    "launched-without": "verbs/test_launch.py",
    "context-fitted": "verbs/test_from_command.py",
    "command-version": "verbs/test_from_command.py",
    "ollama-default": "verbs/test_llama_cpp_command.py",
    "launcher-default": "verbs/test_llama_cpp_command.py",
    "mmproj-set-aside": "verbs/test_llama_cpp_command.py",
    "flags-not-counted": "verbs/test_from_command.py",
    "flags-not-known": "verbs/test_from_command.py",
    "draft-of-log": "verbs/test_sglang_log_check.py",
    "weights-as-printed": "verbs/test_log_model.py",
    "weights-by-name": "verbs/test_log_model.py",
}
"""Codes of files and servers that other tests write, and which of them does."""


def model(*layers: LayerGroup, **fields: Any) -> Model:
    return Model(name="small", layers=layers or (LayerGroup(count=3, attention=HEADS),), **fields)


def imported(config: dict[str, Any], **assumed: Any) -> tuple[Note, ...]:
    return import_config(json.dumps(config), "config.json", "some-model", assumed).notes


def of(result: Any) -> tuple[Note, ...]:
    """All notes of a result."""
    found: tuple[Note, ...] = (*result.notes, *result.not_modelled)
    return found


def estimate(name: Any, **options: Any) -> Callable[[], Iterable[Note]]:
    return lambda: of(package.estimate(name, **options))


def compare(names: Any, **options: Any) -> Callable[[], Iterable[Note]]:
    return lambda: of(package.compare(names, **options))


def demand(name: Any, trace: str, **options: Any) -> Callable[[], Iterable[Note]]:
    return lambda: of(package.demand(name, trace=trace, **options))


def capacity(name: Any, **options: Any) -> Callable[[], Iterable[Note]]:
    return lambda: of(package.capacity(name, **options))


def plan(name: Any, **options: Any) -> Callable[[], Iterable[Note]]:
    return lambda: of(package.plan(name, **options))


FOUR, ONE = MHA(num_heads=4, head_dim=8), MHA(num_heads=1, head_dim=8)
HEAD = model(
    LayerGroup(count=3, attention=GQA(num_heads=4, num_kv_heads=2, head_dim=8)),
    weights=(
        WeightPart(part="embedding", parameters=1, format="fp8", place="embedding"),
        WeightPart(part="head", parameters=5000, format="fp8", place="head"),
    ),
)
NARROW = model(LayerGroup(count=1, attention=MHA(num_heads=1, head_dim=40)))
ODD = model(LayerGroup(count=1, attention=GQA(num_heads=4, num_kv_heads=2, head_dim=15)), parameters=1000)
STAGES = model(
    LayerGroup(count=2, attention=NoAttention()),
    LayerGroup(count=1, attention=FOUR),
    parameters=3000,
    hidden_size=10,
    vocab_size=100,
    tie_word_embeddings=False,
)
REPLICAS = {"batch": 10, "context": 10, "weights": 50, "gpu_memory": 50 + 320 * 3}
CROSS = Cross(num_heads=4, num_kv_heads=2, head_dim=16, encoder_context=10)
DEVICES = replace(package.load_gpu("h100-sxm"), devices=2, name="twin")

SCENARIOS: dict[str, Callable[[], Iterable[Note]]] = {
    "computed-in-another-format": estimate("starcoder", engine="vllm"),
    "default-context": estimate("llama-3-8b"),
    "draft-unchanged": compare("llama-3-8b", draft="qwen3-0.6b"),
    "drafted-tokens": estimate("llama-3-70b", engine="vllm", draft="llama-3.1-8b"),
    "draft-pool-beside": estimate("llama-3.1-8b", engine="sglang", draft="llama-3.2-1b"),
    "no-experts-to-move": estimate("llama-3-8b", engine="llama-cpp", engine_option={"n-cpu-moe": 8}),
    "cache-on-host": estimate("llama-3-8b", engine="llama-cpp", engine_option={"no-kv-offload": "1"}),
    "part-on-gpu": lambda: package.capacity("llama-3-70b", engine="llama-cpp", gpu="rtx4090", gpus=1).notes,
    "weights-on-host": estimate("llama-3-8b", engine="llama-cpp"),
    "host-cache": estimate("llama-3-8b", engine="llama-cpp"),
    "mlx-prefix-in-every-sequence": estimate("llama-3-8b", engine="mlx", batch=2, shared_prefix=1024),
    "mlx-window-classes": estimate(
        model(LayerGroup(count=1, attention=HEADS, window=64), LayerGroup(count=1, attention=HEADS)), engine="mlx"
    ),
    "format-not-on-card": estimate("llama-3-8b", engine="tensorrt-llm", cache_dtype="nvfp4", gpu="h100"),
    "mlx-buffers": estimate("llama-3-8b", engine="mlx"),
    "prefix-in-every-sequence": estimate("llama-3-8b", engine="transformers", batch=2, shared_prefix=1024),
    "device-map": estimate("llama-3-8b", engine="transformers", pp=2),
    "prompt-of-states": estimate("qwen3-next-80b-a3b", engine="transformers", pp=4),
    "torch-allocator": estimate("llama-3-8b", engine="transformers"),
    "weights-in-no-gguf": estimate("deepseek-v3", engine="llama-cpp"),
    "slots-share-no-prefix": estimate("llama-3-8b", engine="llama-cpp", batch=2, shared_prefix=1024),
    "older-engine-version": estimate("llama-3-8b", engine="vllm@0.19.1"),
    "each-card": estimate("llama-3-8b", engine="llama-cpp", gpu="rtx4090+rtx3090"),
    "draft-not-counted": estimate("llama-3-8b", engine="vllm", engine_option={"num-speculative-tokens": "2"}),
    "compressed-attention-memory": estimate("deepseek-v4-flash", engine="vllm", gpu="h200", tp=4),
    "hisparse-host-pool": estimate("deepseek-v3.2", engine="sglang", gpu="h200", tp=8, engine_option=HISPARSE),
    "hisparse-buffers": estimate("deepseek-v3.2", engine="sglang", gpu="h200", tp=8, engine_option=HISPARSE),
    "bitsandbytes-plugin": estimate("llama-3-8b", engine="vllm", weight_dtype="nf4"),
    "gguf-plugin": estimate("llama-3-8b", engine="vllm", weight_dtype="q4_k_m"),
    "deprecated-quantisation": estimate(model(quant_method="fbgemm_fp8"), engine="vllm"),
    "turboquant-memory": estimate("llama-3-8b", engine="vllm", cache_dtype="turboquant_4bit_nc"),
    "engine-defaults": estimate("llama-3-8b", engine="vllm"),
    "model-type-not-known": estimate(model(), engine="vllm@0.28.0"),
    "engine-overhead-range": estimate("llama-3-8b", engine="vllm"),
    "graphs-beside-pool": estimate("llama-3-8b", engine="vllm@0.19.0", utilization="0.99"),
    "temporary-while-compiling": estimate("llama-3.1-8b", engine="vllm", gpu="l40s"),
    "temporary-with-images": estimate("gemma-3-27b", engine="vllm"),
    "temporary-as-reserved": estimate("llama-3-8b", engine="vllm@0.6.3"),
    "temporary-not-derived": estimate(model(), engine="vllm"),
    "unused-option": estimate("llama-3-8b", state_dtype="bf16"),
    "best-of-gpus": estimate("llama-3-8b", gpus=3),
    "smallest-deployment": capacity("llama-3-70b"),
    "speed-is-a-bound": demand("llama-3-8b", "chat"),
    "prefill-takes-no-time": demand("llama-3-8b", "chat"),
    "trace-time-unit": demand("llama-3-8b", "agents"),
    "prefix-hits-beside": demand("llama-3-8b", "agents"),
    "hash-ids-of-a-part": demand("llama-3-8b", "agents", hash_block=16),
    "prefix-hits-not-counted": demand("gemma-3-27b", "agents"),
    "mix-kinds-left-out": estimate("llama-3-8b", batch=2, mix="90%:1Ki,10%:8Ki"),
    "batch-from-tokens": plan("llama-3-8b", tokens="16Ki"),
    "audio-tokens": estimate("qwen2.5-omni-7b", audio=30),
    "image-tokens": estimate("qwen2.5-vl-7b", images=2, image_size="1024x768"),
    "batch-from-bound": plan("llama-3-8b", rps=2, input_tokens=1000, output_tokens=100),
    "batch-from-rate": plan("llama-3-8b", rps=2, latency=3),
    "gpus-left-out": plan("llama-3-8b", gpu="all", max_gpus=1),
    "assumed": lambda: imported(LLAMA, head_dim=64),
    "unknown-keys": lambda: imported({**LLAMA, "n_rep": 4}),
    "parameters-not-counted": lambda: imported({**LLAMA, "architectures": ["LlamaForSomething"]}),
    "draft-counted-whole": lambda: imported(DRAFT),
    "draft-embedding-not-counted": lambda: imported({**DRAFT, "architectures": ["LlamaForCausalLMEagle3"]}),
    "quantised-checkpoint": lambda: imported({**LLAMA, "quantization_config": {"quant_method": "quanto"}}),
    "quantised-weights": lambda: imported({**LLAMA, "quantization_config": FP8}),
    "cache-format-of-checkpoint": lambda: imported({**LLAMA, "quantization_config": FP8}),
    "default-dtype": estimate(model()),
    "context-above-max-context": estimate("gemma-2b", context=100_000),
    "windows-lower-bound": estimate("gemma-3-27b", context=100_000),
    "states-lower-bound": estimate("mamba-2.8b"),
    "encoder-context": estimate(model(LayerGroup(count=1, attention=CROSS))),
    "weights-left-in-dtype": estimate("llama-3-8b", weight_dtype="fp8"),
    "weights-unknown": estimate("palm-540b"),
    "towers-apart": estimate("gemma-3-27b", weight_dtype="q4_k_m"),
    "weights-of-a-mix": estimate("llama-3-8b", weight_dtype="q4_k_m"),
    "gpu-memory-as-sold": estimate("llama-3-8b", gpu="rx6900-xt"),
    "gpu-unified-memory": estimate("llama-3-8b", gpu="m4-max-64gb"),
    "gpu-smallest-size": estimate("llama-3-8b", gpu="m4-max"),
    "gpu-memory-from-nvidia-smi": estimate(
        "llama-3-8b", gpu=replace(package.load_gpu("h100-sxm"), memory_from="nvidia-smi")
    ),
    "gpu-slice": estimate("llama-3-8b", gpu="h100-sxm:3g.40gb"),
    "gpu-is-one-device": estimate("llama-3-8b", gpu="mi250x", gpu_memory="64GiB"),
    "gpu-of-several-devices": estimate("llama-3-8b", gpu=DEVICES),
    "process-context-squeezed": estimate("llama-3-8b", utilization=1),
    "cache-copied": estimate("deepseek-v3", tp=8),
    "tight": estimate("llama-3-70b", context=8192, tp=2),
    "several-replicas": estimate(model(LayerGroup(count=1, attention=ONE)), **REPLICAS, **SMALL),
    "weights-of-a-rank": estimate("llama-3-70b", pp=2),
    "blocks-split": estimate("gpt-oss-120b", tp=8),
    "stage-with-most-memory": estimate(STAGES, context=1, pp=2, gpu_memory=10_000, **SMALL),
    "no-legal-deployment": estimate("llama-3-8b", gpu_memory="1GiB"),
    "all-drafted-kept": estimate("deepseek-v3", mtp=1, tp=8, gpu="h200"),
    "no-decode-bound": estimate("llama-3-8b", weights="20GB"),
    "stages-not-tried": plan("llama-3-8b"),
    "sizes-not-served": plan("llama-3-8b", engine="lmdeploy", pp="1,2"),
    "no-pools": plan("llama-3-8b", rps=9, input_tokens=1000, output_tokens=10, handoff="50GB", max_gpus=1),
    "longest-context-above-max-context": capacity("gemma-2b"),
    "no-memory-for-cache": capacity("llama-3-8b", gpu_memory="1GiB", tp=1),
    "limiting-stage": capacity(HEAD, gpu_memory=6401, context=50, pp=2, **SMALL),
    "sequences-that-wait": capacity("mamba-2.8b", engine="vllm", tp=1),
    "row-left-out": compare(NARROW, cache_dtype="bf16,q8_0"),
    "no-other-mechanism": compare("mamba-2.8b"),
    "what-if-dims": compare("llama-3-8b"),
    "mla-left-out": compare(ODD),
    "same-weights": compare("llama-3-8b"),
    "states-unchanged": compare("falcon-h1-34b"),
    "ratio-to-mha-unknown": compare("mamba-2.8b"),
    "given-gpus": compare("llama-3-8b"),
    "utilizations-differ": compare(
        [
            package.make_scenario("llama-3-8b", engine=engine, utilization=u)
            for engine, u in (("exact", 0.9), ("vllm", 0.92))
        ]
    ),
    "not-on-given-gpus": compare(["llama-3-8b", "falcon-7b"], tp=8),
    "not-spilled": compare(["llama-3-8b", "llama-3-70b"], tp=1, spill=True),
    "sequences-unbounded": compare("llama-3-8b", shared_prefix=8192, context=8192),
    "adapters-and-drafts": estimate("llama-3-8b"),
    "blocks-and-fragmentation": estimate("llama-3-8b"),
    "cache-quality": estimate("llama-3-8b", cache_dtype="fp8"),
    "copied-weights": estimate("llama-3-8b", tp=2),
    "indexer-computing": estimate("deepseek-v3.2"),
    "mechanism-quality": compare("llama-3-8b"),
    "mtp-layers": estimate("deepseek-v3"),
    "quantised-weights-as-loaded": estimate("gpt-oss-120b"),
    "state-quality": estimate("mamba-2.8b", state_dtype="bf16"),
    "tower-activations": estimate("gemma-3-27b"),
    "weight-quality": estimate("llama-3-8b", weight_dtype="fp8"),
}
ON_THE_COMMAND_LINE = {
    "default-mla-dims": "estimate --layers 2 --heads 4 --kv-lora-rank 32 --qk-rope-head-dim 8 --json",
}
IN_VERIFY: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "modules-compute-in-bf16": ({"dtype": "int8"}, {}),
    "default-hidden-size": ({}, {}),
    "engine-not-proven": ({}, {}),
    "format-not-proven": ({}, {"cache_dtype": "fp8"}),
    "least-cache-not-proven": ({}, {}),
    "model-file-not-proven": ({}, {}),
}
"""Code -> fields of a model, and options."""


@for_each("code", SCENARIOS)
def test_a_code_can_be_met(code: str) -> None:
    told = [each for each in SCENARIOS[code]() if each.code == code]
    assert told
    assert json.loads(json.dumps([each.data for each in told]))


@pytest.mark.parametrize("code", ON_THE_COMMAND_LINE)
def test_a_code_can_be_met_on_the_command_line(kvcalc: Kvcalc, code: str) -> None:
    printed = json.loads(kvcalc(*ON_THE_COMMAND_LINE[code].split()).stdout)
    (told,) = [each for each in printed["notes"] if each["code"] == code]
    assert set(told) == {"code", "text", "data"}


@pytest.mark.torch
@pytest.mark.parametrize("code", IN_VERIFY)
def test_a_code_can_be_met_in_a_verification(code: str) -> None:
    fields, options = IN_VERIFY[code]
    result = package.verify(model(**fields), context=16, device="meta", **options)
    assert code in {each.code for each in (*result.notes, *result.not_proven)}


@for_each("code", ELSEWHERE)
def test_a_code_is_met_by_other_tests(code: str) -> None:
    assert f'"{code}"' in (ROOT / "tests" / ELSEWHERE[code]).read_text(encoding="utf-8")


def test_no_code_is_left_out() -> None:
    assert {*SCENARIOS, *ON_THE_COMMAND_LINE, *IN_VERIFY, *ELSEWHERE} == set(CODES)


def test_codes_are_words_with_dashes() -> None:
    assert [code for code in CODES if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", code)] == []


def made_in(path: Path) -> set[str]:
    """The codes of the notes that a file makes."""
    text = path.read_text(encoding="utf-8")
    if not re.search(r"\bnote\(", text):
        return set()  # without reading it
    calls = (each for each in ast.walk(ast.parse(text)) if isinstance(each, ast.Call))
    notes = (each.args[0] for each in calls if isinstance(each.func, ast.Name) and each.func.id == "note")
    return {str(each.value) for each in notes if isinstance(each, ast.Constant)}


def test_every_code_is_made_somewhere_and_every_one_that_is_made_is_registered() -> None:
    made = {code for path in (ROOT / "kvcalc").rglob("*.py") for code in made_in(path)}
    assert made == set(CODES)


def test_the_documentation_has_every_code() -> None:
    text = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
    section = text.split("## Notes\n")[1].split("\n## ")[0]
    assert dict(re.findall(r"^\| `([a-z0-9-]+)` \| (.+) \|$", section, re.MULTILINE)) == dict(CODES)
