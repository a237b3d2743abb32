"""Launch lines: spelled as each version's own parser has them, and read back to the server that they are of."""

from __future__ import annotations

import json
import os
import shlex
from shutil import which
from subprocess import run
from typing import Any

import pytest
import yaml
from conftest import DATA, texts
from launch_lines import DRAFT, GGUF, SAME, flags_of

from kvcalc import KvcalcError, load_model
from kvcalc.api import capacity_from_command
from kvcalc.engines import version_number
from kvcalc.logs.command_lines.llama_server import READ
from kvcalc.verbs.capacity import capacity
from kvcalc.verbs.launch import TARGETS
from kvcalc.verbs.launch.of_verbs import launched

LINES = [
    (
        "vllm",
        "llama-3-70b",
        {"batch": 32, "context": 8192, "tp": 4, "cache_dtype": "fp8", "utilization": "0.95"},
        (
            "vllm serve meta-llama/Meta-Llama-3-70B --tensor-parallel-size 4 --max-model-len 8192 --kv-cache-dtype fp8 "
            "--gpu-memory-utilization 0.95 --max-num-seqs 32"
        ),
    ),
    ("vllm", "unsloth/llama-3-8b", {"context": 4096}, "vllm serve unsloth/llama-3-8b --max-model-len 4096"),
    (
        "vllm",
        "gemma-3-27b",
        {"context": 4096, "engine_option": {"language-model-only": "true"}},
        "vllm serve google/gemma-3-27b-it --max-model-len 4096 --language-model-only",
    ),
    (
        "vllm",
        "qwen3-embedding-8b",
        {"context": 4096, "engine_option": {"runner": "pooling"}},
        "vllm serve Qwen/Qwen3-Embedding-8B --max-model-len 4096 --runner pooling",
    ),
    (
        "vllm",
        "deepseek-v3",
        {"context": 4096, "tp": 4, "dp": 2, "dp_attention": True, "ep": 8, "gpu": "b200", "batch": 64},
        (
            "vllm serve deepseek-ai/DeepSeek-V3 --tensor-parallel-size 4 --data-parallel-size 2 "
            "--enable-expert-parallel "
            "--max-model-len 4096 --max-num-seqs 32"
        ),
    ),
    (
        "vllm",
        "qwen3-8b",
        {"context": 4096, "engine": "vllm@0.8.5", "engine_option": {"use-v1": "false", "enable-prefix-caching": False}},
        ": vllm 0.8.5; VLLM_USE_V1=0 vllm serve Qwen/Qwen3-8B --max-model-len 4096 --no-enable-prefix-caching",
    ),
    (
        "vllm",
        "qwen3-8b",
        {"context": 4096, "engine": "vllm@0.15.0", "engine_option": {"use-flashinfer-sampler": "true"}},
        ": vllm 0.15.0; VLLM_USE_FLASHINFER_SAMPLER=1 vllm serve Qwen/Qwen3-8B --max-model-len 4096",
    ),
    (
        "sglang",
        "deepseek-v3",
        {"context": 4096, "tp": 4, "dp": 2, "dp_attention": True, "ep": 8, "gpu": "b200", "batch": 64},
        (
            "python -m sglang.launch_server --model-path deepseek-ai/DeepSeek-V3 --tp-size 8 --attn-dp-size 2 "
            "--ep-size 8 "
            "--context-length 4096 --max-running-requests 64"
        ),
    ),
    (
        "sglang",
        "deepseek-v3",
        {"context": 4096, "tp": 4, "dp": 2, "dp_attention": True, "gpu": "b200", "engine": "sglang@0.5.14"},
        (
            ": sglang 0.5.14; python -m sglang.launch_server --model-path deepseek-ai/DeepSeek-V3 --tp-size 8 "
            "--dp-size 2 --enable-dp-attention --context-length 4096"
        ),
    ),
    (
        "sglang",
        "qwen3-8b",
        {"context": 4096, "cache_dtype": "fp8", "engine_option": {"mem-fraction-static": "0.8", "page-size": "16"}},
        (
            "python -m sglang.launch_server --model-path Qwen/Qwen3-8B --context-length 4096 --kv-cache-dtype fp8_e4m3 "
            "--mem-fraction-static 0.8 --page-size 16"
        ),
    ),
    (
        "llama-server",
        GGUF,
        {"batch": 4, "context": 8192, "cache_dtype": "q8_0", "gpu": "rtx4090"},
        f"llama-server -hf {GGUF} -c 32768 -np 4 -ngl 999 -sm none -ctk q8_0 -ctv q8_0",
    ),
    (
        "llama-server",
        GGUF,
        {"context": 8192, "gpu": "rtx3090+rtx4090", "engine_option": {"flash-attn": "off"}},
        f"llama-server -hf {GGUF} -c 8192 -np 1 -ngl 999 -fa off",
    ),
    (
        "llama-server",
        "Qwen/Qwen3-8B-GGUF",
        {"context": 8192, "gpu": "rtx4090", "weight_dtype": "q4_k"},
        "llama-server -hf Qwen/Qwen3-8B-GGUF:Q4_K_M -c 8192 -np 1 -ngl 999 -sm none",
    ),
    (
        "trtllm-serve",
        "llama-3.1-8b",
        {"batch": 64, "context": 8192, "tp": 2, "engine_option": {"free-gpu-memory-fraction": "0.8"}},
        (
            "trtllm-serve meta-llama/Llama-3.1-8B-Instruct --tp_size 2 --max_batch_size 64 --max_seq_len 8192 "
            "--kv_cache_free_gpu_memory_fraction 0.8"
        ),
    ),
]


@pytest.mark.parametrize(("word", "model", "options"), [each[:3] for each in LINES])
def test_these_lines_read_back(word: str, model: str, options: dict[str, Any]) -> None:
    found = launched("capacity", word, model, options)
    asked, back = capacity(found.scenario), capacity_from_command(found.text, gpu=options.get("gpu", "h100"))
    assert {name: getattr(back, name) for name in SAME} == {name: getattr(asked, name) for name in SAME}


@pytest.mark.parametrize(("word", "model", "options", "line"), LINES)
def test_a_line_is_spelled_as_its_engine_has_it(word: str, model: str, options: dict[str, Any], line: str) -> None:
    found = launched("estimate", word, model, options)
    assert found.text == line + "\n"
    assert ("launched-engine" in {each.code for each in found.notes}) == ("engine" not in options)
    assert ("launched-limit" in {each.code for each in found.notes}) == (
        "batch" in options and TARGETS[word].limit is not None
    )


REFUSED = [
    ("vlm", "llama-3-8b", {}, "--emit: 'vlm' cannot be emitted; did you mean 'vllm'?"),
    ("vllm", "llama-3-8b", {"engine": "sglang"}, "leave it out, or --engine vllm"),
    ("compose", "llama-3-8b", {"engine": "exact"}, "leave it out, or --engine vllm"),
    ("vllm", None, {"layers": 2, "heads": 8, "head_dim": 64, "parameters": 10**9}, "name one as MODEL"),
    ("vllm", "opt-175b", {"tp": 8, "context": 2048}, "name the repository as hf:ORG/NAME"),
    ("vllm", "llama-3-8b", {"context": 8193}, "-c 8192 is the most"),
    ("vllm", "llama-3-70b", {"tp": 1}, "tp 1 does not hold the workload; 2 GPUs do (tp 2)"),
    ("vllm", "llama-3-8b", {"weight_dtype": "int4"}, "name a checkpoint in int4 as MODEL"),
    ("vllm", "llama-3-8b", {"weight_dtype": "fp8", "gpu": "t4", "context": 512}, "from 8.0 on it has"),
    ("vllm", "llama-3-8b", {"cache_dtype": "fp8", "gpu": "t4", "context": 512}, "vllm keeps no cache in fp8 on t4"),
    ("vllm", "llama-3-8b", {"reserve": {"other": "1GiB"}}, "leave it out, and lower the share"),
    ("vllm", "llama-3-8b", {"host_memory": "10GiB"}, "--host-memory: kvcalc emits no flag"),
    ("vllm", "llama-3-8b", {"spill": True}, "leave --spill out"),
    ("vllm", "mixtral-8x7b", {"tp": 4, "dp": 2}, "give --dp-attention"),
    ("vllm", "llama-3-8b", {"engine_option": {"usage": "offline"}}, "vllm serve is a server; leave it out"),
    ("vllm", "llama-3-8b", {"dp": 2, "engine": "vllm@0.8.0"}, "--engine vllm@0.8.5 or later has"),
    ("vllm", GGUF, {}, "(--emit llama-server)"),
    ("sglang", "llama-3.1-405b", {"tp": 16}, "give --gpus 8, or an accelerator with more memory"),
    ("sglang", "llama-3-8b", {"engine_option": {"disable-hybrid-swa-memory": "false"}}, "leave it out"),
    ("llama-server", "llama-3-8b", {}, "ORG/NAME-GGUF:Q4_K_M"),
    ("llama-server", GGUF, {"dp": 2}, "emit its line with its share of --batch"),
    ("llama-server", GGUF, {"weight_dtype": "fp8"}, "name another file"),
    ("llama-server", GGUF, {"weight_dtype": "q4_k"}, "name Qwen/Qwen3-8B-GGUF:Q4_K_M as MODEL"),
    ("trtllm-serve", "llama-3-8b", {"cache_dtype": "fp8"}, "leave --cache-dtype out"),
    ("trtllm-serve", "llama-3-8b", {"dp": 2}, "emit the line of one replica"),
    ("llama-server", GGUF, {"mtp": 1}, "--mtp"),
    ("llama-server", GGUF, {"draft": DRAFT, "engine": "llama-cpp@b9093"}, "--engine llama-cpp@b9294 or later has"),
    ("llama-server", GGUF, {"draft": "qwen3-0.6b"}, "ORG/NAME-GGUF:Q4_K_M"),
    ("llama-server", GGUF, {"lora": 16}, "--lora: kvcalc emits no flag of llama-server"),
    ("trtllm-serve", "llama-3.1-8b", {"lora": 8}, "kvcalc emits no flag of trtllm-serve for that"),
    (
        "vllm",
        "qwen3-30b-a3b",
        {"lora": 8, "tp": 2, "dp": 2, "dp_attention": True, "ep": 4},
        "_ep_check); --tp 1 --dp 4 gives each one rank",
    ),
    ("helm", "llama-3-8b", {"gpu": "mi300x"}, "--emit vllm prints the line"),
]


@pytest.mark.parametrize(("word", "model", "options", "step"), REFUSED)
def test_what_no_line_says_is_refused_with_a_step(
    word: str, model: str | None, options: dict[str, Any], step: str
) -> None:
    with pytest.raises(KvcalcError) as refused:
        launched("estimate", word, model, options)
    assert step in str(refused.value)


def test_a_folder_is_launched_as_it_is_named(tmp_path: Any) -> None:
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "torch_dtype": "bfloat16",
        "vocab_size": 1024,
        "hidden_size": 256,
        "intermediate_size": 512,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 4096,
    }
    folder = tmp_path / "my model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    for named in (folder, folder / "config.json"):
        line = launched("estimate", "vllm", str(named), {"context": 1024}).text
        assert shlex.split(line)[2] == str(folder)
    assert capacity_from_command(line).model.layers == 2
    text = launched("estimate", "compose", str(folder), {"context": 1024}).text
    service = yaml.safe_load(text)["services"]["vllm"]
    assert (service["command"][0], service["volumes"]) == ("/model", [f"{folder}:/model:ro"])


SHELLS = {
    "sh": ("sh",),
    "bash": ("bash", "--norc", "-i"),
    "zsh": ("zsh", "-f", "-i"),
    "fish": ("fish", "--no-config", "-i"),
}


@pytest.mark.parametrize("shell", [name for name in SHELLS if which(name)])
def test_a_shell_that_is_typed_into_passes_a_servers_own_words_alone(shell: str, tmp_path: Any) -> None:
    """Also where the version is told, which is a comment in some shells only."""
    told = tmp_path / "vllm"
    told.write_text('#!/bin/sh\necho "[$VLLM_USE_V1]" "$@" >"${0%/*}/told"\n', encoding="utf-8")
    told.chmod(0o755)
    own: dict[str, Any] = {"use-v1": "false"}
    line = launched(
        "estimate", "vllm", "qwen3-8b", {"context": 4096, "engine": "vllm@0.8.5", "engine_option": own}
    ).text
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    run(
        SHELLS[shell],
        input=line,
        text=True,
        check=False,
        capture_output=True,
        timeout=60,
        start_new_session=True,  # away from the terminal that the tests run in
        env={"PATH": path, "HOME": str(tmp_path), "TERM": "dumb"},
    )
    words = " ".join(shlex.split(line.partition(" vllm serve ")[2]))
    assert (tmp_path / "told").read_text(encoding="utf-8") == f"[0] serve {words}\n"


WIDE: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "vllm": [
        ("llama-3-8b", {"batch": 8, "dtype": "fp16", "weight_dtype": "fp8", "utilization": "0.7", "tp": 2, "pp": 2}),
        ("llama-3-8b", {"dp": 2, "cache_dtype": "fp8", "engine_option": {"enforce-eager": "true"}}),
        ("llama-3-8b", {"engine_option": {"block-size": "32", "max-num-batched-tokens": "4096"}}),
        ("llama-3-8b", {"engine_option": {"enable-prefix-caching": "false"}}),
        ("llama-3-8b", {"engine_option": {"kv-cache-memory-bytes": "20GiB"}}),
        ("llama-3-8b", {"engine_option": {"performance-mode": "throughput", "moe-backend": "cutlass"}}),
        ("gemma-3-27b", {"tp": 4, "engine_option": {"disable-hybrid-kv-cache-manager": "false"}}),
        ("gemma-3-27b", {"tp": 4, "engine_option": {"language-model-only": "true", "runner": "pooling"}}),
        ("deepseek-v2-lite", {"tp": 2, "ep": 2}),
        ("deepseek-v2-lite", {"tp": 2, "dcp": 2}),
    ],
    "sglang": [
        ("llama-3-8b", {"batch": 8, "dtype": "fp16", "weight_dtype": "fp8", "tp": 2, "pp": 2}),
        ("llama-3-8b", {"dp": 2, "cache_dtype": "fp8", "engine_option": {"disable-cuda-graph": "true"}}),
        (
            "llama-3-8b",
            {"engine_option": {"mem-fraction-static": "0.8", "page-size": "16", "chunked-prefill-size": "4096"}},
        ),
        ("llama-3-8b", {"engine_option": {"cuda-graph-max-bs": "16", "max-total-tokens": "100000"}}),
        ("llama-3-8b", {"engine_option": {"disable-radix-cache": "true"}}),
        ("deepseek-v2-lite", {"tp": 2, "dp": 2, "dp_attention": True, "ep": 4}),
        ("gemma-3-27b", {"tp": 4, "engine_option": {"swa-full-tokens-ratio": "0.5"}}),
        ("qwen3-next-80b-a3b", {"tp": 4, "gpu": "h200", "engine_option": {"mamba-full-memory-ratio": "0.5"}}),
    ],
}
VERSIONS = {
    "vllm": ("0.6.6", "0.8.5", "0.10.2", "0.33.0"),
    "sglang": ("0.4.6.post5", "0.5.14", "0.5.21", "0.5.23"),
}


@pytest.mark.parametrize(("word", "version"), [(word, each) for word, known in VERSIONS.items() for each in known])
def test_each_flag_is_one_of_that_versions_own_parser(word: str, version: str) -> None:
    """tests/live/write_flags.py reads them in the wheels."""
    kept, number = json.loads((DATA / "flags" / f"{word}.json").read_text()), version_number(version)
    assert version in kept["versions"].split()
    emitted = 0
    for model, options in WIDE[word]:
        try:
            line = launched("capacity", word, model, {"context": 2048, **options, "engine": f"{word}@{version}"}).text
        except KvcalcError:
            continue
        emitted += 1
        for flag in flags_of(line)[1 if word == "sglang" else 0 :]:
            first, last = (version_number(each) for each in kept["flags"][flag])
            assert first is not None
            assert last is not None
            assert number is not None
            assert first <= number <= last, f"{flag} in {line}"
    assert emitted >= 3


def test_the_flags_of_the_others_are_their_parsers() -> None:
    for word, *_ in (each for each in LINES if each[0] in {"llama-server", "trtllm-serve"}):
        known = json.loads((DATA / "flags" / f"{word}.json").read_text())["flags"]
        lines = [line for other, _, _, line in LINES if other == word]
        assert {flag for line in lines for flag in flags_of(line)} <= {*known}


def test_flags_that_are_read_of_llama_server_are_its_parsers() -> None:
    assert {*json.loads((DATA / "flags" / "llama-server.json").read_text())["read"]} == READ


def test_a_plan_launches_its_first_row() -> None:
    found = launched("plan", "vllm", "llama-3-70b", {"batch": 32, "context": 8192, "gpu": ["h100,h200"]})
    assert found.text.startswith("vllm serve meta-llama/Meta-Llama-3-70B --tensor-parallel-size ")
    assert found.scenario.deployment is not None
    assert found.scenario.workload.batch == 32
    with pytest.raises(KvcalcError, match="--emit: nothing legal"):
        launched("plan", "vllm", "llama-3-70b", {"gpu": ["h100"], "max_gpus": 1})
    with pytest.raises(KvcalcError, match="--spare: "):
        launched("plan", "vllm", "llama-3-70b", {"gpu": ["h100"], "spare": 1})


def test_nodes_are_told() -> None:
    found = launched("capacity", "vllm", "llama-3.1-405b", {"tp": 8, "pp": 2, "context": 8192})
    assert " --distributed-executor-backend ray " in found.text
    assert [each.data for each in found.notes if each.code == "launched-nodes"] == [{"gpus": 16, "nodes": 2}]
    assert any("16 GPUs are 2 nodes of 8" in each for each in texts(found.notes))


def test_what_the_server_finds_itself_is_told() -> None:
    found = launched("estimate", "vllm", "llama-3-8b", {"temporary": "1GiB", "shared_prefix": 16})
    assert [each.data for each in found.notes if each.code == "launched-without"] == [
        {"options": ("--temporary", "--shared-prefix")}
    ]


def test_a_compose_file() -> None:
    text = launched("estimate", "compose", "gpt-oss-120b", {"batch": 8, "context": 32768, "tp": 2}).text
    service = yaml.safe_load(text)["services"]["vllm"]
    assert service["image"] == "vllm/vllm-openai:v0.33.0"
    assert service["deploy"]["resources"]["reservations"]["devices"] == [
        {"driver": "nvidia", "count": 2, "capabilities": ["gpu"]}
    ]
    assert service["ipc"] == "host"
    line = shlex.join([*service["entrypoint"], *service["command"]])
    assert line == "vllm serve openai/gpt-oss-120b --tensor-parallel-size 2 --max-model-len 32768 --max-num-seqs 8"


def test_files_of_a_slice_take_that_slice_and_no_whole_card() -> None:
    """In a cluster nvidia.com/gpu is a whole card, and so is a number in a compose file; its variable must be set."""
    asked: dict[str, Any] = {"batch": 1, "context": 4096, "gpu": "h200:1g.18gb", "weight_dtype": "fp8"}
    compose, helm = (
        yaml.safe_load(launched("estimate", word, "llama-3.1-8b", asked).text) for word in ("compose", "helm")
    )
    (device,) = compose["services"]["vllm"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["device_ids"] == ["${MIG_UUID:?of a 1g.18gb instance, as nvidia-smi -L lists it}"]
    assert "count" not in device
    (spec,) = helm["servingEngineSpec"]["modelSpec"]
    assert (spec["requestGPU"], spec["requestGPUType"]) == (1, "nvidia.com/mig-1g.18gb")
    whole = launched("estimate", "helm", "llama-3.1-8b", {**asked, "gpu": "h200"}).text
    assert "requestGPUType" not in whole


def test_helm_values() -> None:
    """The chart adds --enable-prefix-caching, or its opposite, and mounts shared memory by tensorParallelSize."""
    options = {"tp": 4, "context": 32768, "gpu": "h200"}
    models = {}
    for name in ("llama-3.3-70b", "qwen3-next-80b-a3b"):
        text = launched("estimate", "helm", name, {**options, "engine": "vllm@0.19"}).text
        (models[name],) = yaml.safe_load(text)["servingEngineSpec"]["modelSpec"]
    spec = models["llama-3.3-70b"]
    assert (spec["tag"], spec["modelURL"], spec["requestGPU"]) == (
        "v0.19.0",
        load_model("llama-3.3-70b").hub_ids[0],
        4,
    )
    assert spec["vllmConfig"] == {
        "enablePrefixCaching": True,
        "tensorParallelSize": 4,
        "extraArgs": ["--max-model-len", "32768"],
    }
    assert models["qwen3-next-80b-a3b"]["vllmConfig"]["enablePrefixCaching"] is False
