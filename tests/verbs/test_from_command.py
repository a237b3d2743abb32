"""Command lines as people keep them: read as their engine reads them, and never run."""

from __future__ import annotations

import os
from typing import Any

import pytest
from conftest import texts

from kvcalc import KvcalcError, estimate
from kvcalc.api import capacity, capacity_from_command
from kvcalc.logs.command import MAX_LENGTH, read_command
from kvcalc.logs.command_lines import COMMAND_LINES
from kvcalc.logs.command_lines.base import CommandLine
from kvcalc.units import GIB

SAME_SERVER = [
    "vllm serve Qwen/Qwen3-8B --tensor-parallel-size 2 --max-model-len 16384 --kv-cache-dtype fp8",
    "vllm serve Qwen/Qwen3-8B -tp 2 --max_model_len=16384 --kv-cache-dtype=fp8_e4m3",
    "vllm serve --model Qwen/Qwen3-8B -tp=2 --max-model-len 16K --kv_cache_dtype fp8 --gpu-memory-utilization .92",
    (
        "vllm serve Qwen/Qwen3-8B \\\n  --tensor-parallel-size 2 \\\n  --max-model-len '16384' \\\n  "
        '--kv-cache-dtype "fp8"\n'
    ),
    (
        "cd /srv && CUDA_VISIBLE_DEVICES=0,1 nohup vllm serve Qwen/Qwen3-8B -tp 2 --max-model-len 16384 "
        "--kv-cache-dtype fp8 "
        "> vllm.log 2>&1 &"
    ),
    (
        "python3 -m vllm.entrypoints.openai.api_server --model Qwen/Qwen3-8B --tensor-parallel-size 2 "
        "--max-model-len 16384 "
        "--kv-cache-dtype fp8 --host 0.0.0.0 --port 8000 --served-model-name q"
    ),
    (
        "docker run --runtime nvidia --gpus all -v ~/.cache/huggingface:/root/.cache/huggingface --env "
        "HF_TOKEN=$HF_TOKEN "
        "-p 8000:8000 --ipc=host vllm/vllm-openai:v0.33.0 --model Qwen/Qwen3-8B --tensor-parallel-size 2 "
        "--max-model-len "
        "16384 --kv-cache-dtype fp8"
    ),
    (
        "uv run vllm serve qwen3-8b --enable-prefix-caching --trust-remote-code -tp 2 --max-model-len 1 "
        "--max-model-len 16384 "
        "--kv-cache-dtype fp8 --cpu-offload-gb 0 --enable-lora=false  # the last of two counts"
    ),
]


@pytest.mark.parametrize("line", SAME_SERVER)
def test_ways_to_write_one_server(line: str) -> None:
    found = capacity_from_command(line, gpu="h100")
    asked = capacity("qwen3-8b", engine="vllm", tp=2, context=16384, cache_dtype="fp8", gpu="h100")
    assert (found.deployment, found.workload, found.tokens, found.blocks) == (
        asked.deployment,
        asked.workload,
        asked.tokens,
        asked.blocks,
    )
    assert not {"flags-not-known", "flags-not-counted"} & {each.code for each in found.notes}


OTHERS: list[tuple[str, dict[str, Any]]] = [
    (
        (
            "python -m sglang.launch_server --model-path deepseek-ai/DeepSeek-V3 --tp 8 --dp 2 "
            "--enable-dp-attention --ep 8 "
            "--context-length 4096 --mem-fraction-static 0.85"
        ),
        {
            "engine": "sglang",
            "tp": 4,
            "dp": 2,
            "dp_attention": True,
            "ep": 8,
            "context": 4096,
            "engine_option": {"mem-fraction-static": "0.85"},
        },
    ),
    (
        (
            "sglang serve --model-path deepseek-ai/DeepSeek-V3 --tp-size 8 --attn-dp-size 2 --ep-size 8 "
            "--context-length 4096 "
            "--cuda-graph-max-bs-decode 64"
        ),
        {
            "engine": "sglang",
            "tp": 4,
            "dp": 2,
            "dp_attention": True,
            "ep": 8,
            "context": 4096,
            "engine_option": {"cuda-graph-max-bs": "64"},
        },
    ),
    (  # without --enable-expert-parallel each rank has a part of every expert
        "vllm serve deepseek-ai/DeepSeek-V3 -tp 4 -dp 2 --max-model-len 4096 --max-num-seqs 64",
        {
            "engine": "vllm",
            "tp": 4,
            "dp": 2,
            "dp_attention": True,
            "context": 4096,
            "batch": 128,
            "engine_option": {"max-num-seqs": "64"},
        },
    ),
    (
        (
            "vllm serve deepseek-ai/DeepSeek-V3 -tp 4 -dp 2 --enable-expert-parallel --max-model-len 4096 "
            "--max-num-seqs 64"
        ),
        {
            "engine": "vllm",
            "tp": 4,
            "dp": 2,
            "dp_attention": True,
            "ep": 8,
            "context": 4096,
            "batch": 128,
            "engine_option": {"max-num-seqs": "64"},
        },
    ),
    (
        (
            "mpirun -n 8 trtllm-serve serve deepseek-ai/DeepSeek-V3 --backend pytorch --tensor_parallel_size 8 "
            "--ep_size 8 "
            "--max_batch_size 16 --max_seq_len 4096 --free_gpu_memory_fraction 0.8"
        ),
        {
            "engine": "tensorrt-llm",
            "tp": 8,
            "ep": 8,
            "context": 4096,
            "batch": 16,
            "engine_option": {"free-gpu-memory-fraction": "0.8"},
        },
    ),
]


@pytest.mark.parametrize(("line", "options"), OTHERS)
def test_what_other_servers_are_told(line: str, options: dict[str, Any]) -> None:
    found, asked = capacity_from_command(line, gpu="b200"), capacity("deepseek-v3", gpu="b200", **options)
    for name in ("deployment", "workload", "tokens", "sequences", "cache_memory_bytes", "model"):
        assert getattr(found, name) == getattr(asked, name)


GGUF = "Qwen/Qwen3-8B-GGUF:Q8_0"
DRAFT = "Qwen/Qwen3-0.6B-GGUF:Q8_0"
SLOTS: list[tuple[str, dict[str, Any]]] = [
    ("-c 65536 -np 4 -ngl 99", {"batch": 4, "context": 16384}),
    ("-c 65536 --parallel 4 --kv-unified", {"batch": 4, "context": 16384, "engine_option": {"kv-unified": "1"}}),
    ("-c 65536", {"batch": 4, "context": 16384, "engine_option": {"kv-unified": "1"}}),  # 4 slots of its own choice
    ("-c 0 -np 1", {"batch": 1, "context": 40960}),
    ("-c 8192 -np 1 -ctk q8_0", {"batch": 1, "context": 8192, "cache_dtype": "k=q8_0,v=fp16"}),
    ("-c 8192 -np 1 -ngl 20 -fa", {"context": 8192, "engine_option": {"n-gpu-layers": "20", "flash-attn": "on"}}),
    ("-c 8192 -np 1 -nkvo -ub 1024", {"context": 8192, "engine_option": {"no-kv-offload": "1", "ubatch-size": "1024"}}),
    ("-c 8192 -np 1 -ts 1/1", {"context": 8192, "pp": 2, "engine_option": {"tensor-split": "1,1"}}),
    ("-c 8192 -np 1 -sm none -ts 1,1", {"context": 8192}),
    ("-c 8192 -np 1 -b 256", {"context": 8192, "engine_option": {"ubatch-size": "256"}}),
    ("-c 8192 -np 1 -ub 8192", {"context": 8192, "engine_option": {"ubatch-size": "2048"}}),
    ("-c 8192 -np 1 -b 8192 -ub 0", {"context": 8192, "engine_option": {"ubatch-size": "8192"}}),
    ("-c 8192 -np 1 -nkvo --kv-offload", {"context": 8192}),
    ("-c 8192 -np 1 --draft-max 8 -ngld 99 -ctkd q8_0 -cms 512 -to 60 -lm mlock -nocb", {"context": 8192}),
]


@pytest.mark.parametrize(("flags", "options"), SLOTS)
def test_slots_of_llama_server(flags: str, options: dict[str, Any]) -> None:
    found = capacity_from_command(f"llama-server -hf {GGUF} {flags}", gpu="rtx4090")
    asked = capacity(GGUF, engine="llama-cpp", gpu="rtx4090", **{"pp": 1, **options})
    for name in ("deployment", "workload", "tokens", "sequences", "cache_memory_bytes", "n_gpu_layers"):
        assert getattr(found, name) == getattr(asked, name)


def test_variables_of_llama_server_stand_for_its_flags() -> None:
    container = "docker run -e LLAMA_ARG_CTX_SIZE=8192 --env=LLAMA_ARG_N_PARALLEL=2"
    line = f"{container} ghcr.io/ggml-org/llama.cpp:server-cuda -hf {GGUF}"
    assert capacity_from_command(line, gpu="rtx4090").workload == estimate(GGUF, batch=2, context=4096).workload
    with pytest.raises(KvcalcError, match="LLAMA_ARG_RPC changes memory"):
        capacity_from_command(line.replace("--env=", "-e LLAMA_ARG_RPC=host:50052 --env="))
    drafts = capacity_from_command(line.replace("--env=", f"-e LLAMA_ARG_SPEC_DRAFT_HF_REPO={DRAFT} --env="))
    assert drafts.cache_memory_bytes < capacity_from_command(line).cache_memory_bytes


@pytest.mark.parametrize("flag", ["-cmoe", "--cpu-moe", "-ncmoe 36"])
def test_all_experts_may_stay_with_the_host(flag: str) -> None:
    line = f"llama-server -hf ggml-org/gpt-oss-120b-GGUF -c 16384 -np 1 {flag}"
    said: dict[str, Any] = {"engine": "llama-cpp", "gpu": "rtx4090", "context": 16384, "pp": 1}
    asked = capacity("gpt-oss-120b", **said, weight_dtype="mxfp4_moe", engine_option={"n-cpu-moe": "36"})
    found = capacity_from_command(line, gpu="rtx4090")
    assert found.cache_memory_bytes == asked.cache_memory_bytes > 0


ELSEWHERE = (
    "--spec-default",
    "-otd exps=CPU",
    "-ncmoed 4",
    "--ctx-size-draft 512",
    "-ncffn 10",
    "--moe-cache-mib 4096",
    "-dr gemma3",
    "--gpt-oss-20b-default",
)


@pytest.mark.parametrize("flag", ELSEWHERE)
def test_what_moves_the_memory_of_llama_server_is_refused(flag: str) -> None:
    with pytest.raises(KvcalcError, match=f"{flag.partition(' ')[0]} changes memory"):
        capacity_from_command(f"llama-server -hf {GGUF} -c 8192 -np 1 {flag}")


REFUSED = [
    ("", "is empty"),
    ("ls -la", "no server is started that is known by 'ls -la'"),
    ("vllm bench serve --model x", "no server is started"),
    ("vllm serve a/b && vllm serve c/d", "2 servers are started"),
    ("vllm serve 'Qwen/Qwen3-8B", "a quote is not closed"),
    ("vllm serve", "names no model"),
    ("vllm serve --foo Qwen/Qwen3-8B", "is 'Qwen/Qwen3-8B' one? put it first"),
    ("vllm serve Qwen/Qwen3-8B meta-llama/Llama-3.1-8B", "names several models"),
    ("vllm serve $MODEL", "which a shell would replace"),
    ("vllm serve Qwen/Qwen3-8B --max-model-len $(cat len)", "--max-model-len is $(cat"),
    ("vllm serve Qwen/Qwen3-8B --max-model-len `id`", "--max-model-len is `id`"),
    ("vllm serve no-such/model-9000b", "model: no file, name or hub id"),
    ("vllm serve Qwen/Qwen3-8B -tp x", "--from-command: the line's --tp: not a number: 'x'"),
    ("vllm serve Qwen/Qwen3-8B -tp 3", "tp: 3 is illegal"),
    ("vllm serve Qwen/Qwen3-8B --kv-cache-dtype q8_0", "--from-command: the line's --cache-dtype: vllm"),
    ("vllm serve Qwen/Qwen3-8B --block-size 7", "--from-command: the line's --engine-option block-size: 7"),
    ("trtllm-serve Qwen/Qwen3-8B --tp_size 0", "--from-command: the line's --tp: must be at least 1"),
    ("vllm serve Qwen/Qwen3-8B --cpu-offload-gb 10", "give what it takes as --reserve"),
    ("vllm serve Qwen/Qwen3-8B --num-gpu-blocks-override 10", "changes memory"),
    ('vllm serve Qwen/Qwen3-8B --quantization-config \'{"method": "x"}\'', "changes memory"),
    ("sglang serve --model-path Qwen/Qwen3-8B --enable-paged-experts --enable-unified-memory", "changes memory"),
    ("sglang serve --model-path Qwen/Qwen3-8B --attention-context-parallel-size 2", "changes memory"),
    ("sglang serve --model-path Qwen/Qwen3-8B --enable-encoder-swa-bounded-replay", "changes memory"),
    ("sglang serve --model-path Qwen/Qwen3-8B --dsv4-attn-backend trtllm", "changes memory"),
    ("sglang serve --model-path Qwen/Qwen3-8B --swa-prefix-tails 100", "changes memory"),
    ("SGLANG_DSV4_KV_LAYOUT=v41 sglang serve --model-path Qwen/Qwen3-8B", "SGLANG_DSV4_KV_LAYOUT changes memory"),
    ("SGLANG_ENABLE_DSV41_ENGRAM_HOST_TABLE=1 sglang serve --model-path Qwen/Qwen3-8B", "HOST_TABLE changes memory"),
    ('vllm serve Qwen/Qwen3-8B -ac \'{"indexer_kv_dtype": "mxfp4"}\'', "-ac: indexer_kv_dtype changes memory"),
    ("vllm serve Qwen/Qwen3-8B --attention-config.indexer_kv_dtype mxfp4", "indexer_kv_dtype changes memory"),
    ("vllm serve Qwen/Qwen3-8B --attention-config.hisparse_config.device_buffer_size 64", "changes memory"),
    (
        'vllm serve Qwen/Qwen3-8B --kv-transfer-config \'{"kv_connector": "HiSparseConnector"}\'',
        "HiSparseConnector changes",
    ),
    (
        "vllm serve Qwen/Qwen3-8B --kv-transfer-config.kv_connector HiSparseConnector",
        "HiSparseConnector changes memory",
    ),
    ("vllm serve Qwen/Qwen3-8B --attention-config flashinfer", "--attention-config is no object in JSON"),
    ("vllm serve Qwen/Qwen3-8B --config c.yaml", "put them into the line"),
    ("vllm serve Qwen/Qwen3-8B --quantization experts_int8", "--weight-dtype FORMAT"),
    ("sglang serve --model-path Qwen/Qwen3-8B --speculative-algorithm EAGLE", "--speculative-num-steps N"),
    ('vllm serve Qwen/Qwen3-8B -sc \'{"method": "medusa", "num_speculative_tokens": 3}\'', "method 'medusa'"),
    ("vllm serve Qwen/Qwen3-8B --speculative-config [1", "no object in JSON"),
    ('vllm serve Qwen/Qwen3-8B --speculative-config \'{"model": "x"}\'', "lacks num_speculative_tokens"),
    ("vllm serve Qwen/Qwen3-8B --spec-method mtp --spec-tokens 1", "--mtp"),
    ("vllm serve Qwen/Qwen3-8B -tp2", "if -tp is meant"),
    ("vllm serve Qwen/Qwen3-8B --tensor-parallel 2", "if --tensor-parallel-size is meant"),
    ("vllm serve Qwen/Qwen3-8B --max-model-length 4096", "if --max-model-len is meant"),
    ("vllm serve Qwen/Qwen3-8B --gpu-memory-utilization", "lacks its value"),
    ("vllm serve Qwen/Qwen3-8B --dtype bf16", "known are bfloat16"),
    ("vllm serve Qwen/Qwen3-8B --speculative-config.method ngram", "lacks num_speculative_tokens"),
    ("vllm serve Qwen/Qwen3-8B --speculative-config.a.b 1", "as one object in JSON"),
    (
        "vllm serve Qwen/Qwen3-8B --spec-method mtp --spec-model a/b --spec-tokens 1",
        "those of another checkpoint; leave its 'model' out",
    ),
    ("vllm serve Qwen/Qwen3-30B-A3B --num-redundant-experts 4", "--num-redundant-experts changes memory"),
    ("sglang serve --model-path Qwen/Qwen3-8B --enable-lora", "give --max-lora-rank"),
    (
        "sglang serve --model-path Qwen/Qwen3-8B --enable-lora --max-lora-rank 8 --lora-target-modules all",
        "name the modules (q_proj k_proj",
    ),
    ("trtllm-serve Qwen/Qwen3-8B --extra_llm_api_options o.yaml", "put them into the line"),
    (f"llama-server -hf {GGUF} -c 8k", "--from-command: -c: '8k'"),
    (f"llama-server -hf {GGUF} -sm row -ts 1,1", "--split-mode row"),
    ("llama-server -m llama-3-8b", "the GGUF file that is served"),
    ("vllm serve " + "x" * MAX_LENGTH, "more than the limit of 65,536"),
    ("vllm serve Qwen/Qwen3-8B " + "-tp 1 " * 3000, "more than the limit of 4,096"),
    ("vllm serve Qwen/Qwen3-8B --max-model-len " + "9" * 5000, "--context: not a number"),
    (
        "vllm serve Qwen/Qwen3-8B --max-num-seqs 99999999999",
        "the line's --max-num-seqs: 99,999,999,999 is beyond the limit",
    ),
    ("vllm serve \x1b[31mred", "model: no file"),
]


@pytest.mark.parametrize(("line", "told"), REFUSED)
def test_what_cannot_be_read_is_refused(line: str, told: str) -> None:
    with pytest.raises(KvcalcError) as refused:
        capacity_from_command(line)
    message = str(refused.value)
    assert told in message
    assert len(message) < 1000
    assert all(each.isprintable() for each in message.split("\n"))


def test_options_beside_the_line_are_blamed_themselves() -> None:
    with pytest.raises(KvcalcError, match=r"^--tp: not a number"):
        capacity_from_command("vllm serve Qwen/Qwen3-8B -tp 2", tp="x")


def test_options_without_a_rule_are_told() -> None:
    line = (
        "vllm serve Qwen/Qwen3-8B --limit-mm-per-prompt '{\"image\": 1}' --frobnicate 3 --attention-backend FLASHINFER"
    )
    notes = {each.code: each for each in capacity_from_command(line).notes}
    assert notes["flags-not-known"].data == {"flags": ("--frobnicate",)}
    assert notes["flags-not-counted"].data == {"flags": ("--limit-mm-per-prompt", "--attention-backend")}
    assert notes["command-version"].data == {"version": "0.33.0"}


def test_the_version_that_a_line_tells_is_taken() -> None:
    for line, version in (
        ("vllm serve Qwen/Qwen3-8B  # vllm 0.10.2", "0.10.2"),
        (": vllm 0.10.2; vllm serve Qwen/Qwen3-8B", "0.10.2"),
        (": vllm 0.10.2 && vllm serve Qwen/Qwen3-8B", "0.10.2"),
        ("#!/bin/sh\n# SGLang 0.5.8\nsglang serve --model-path Qwen/Qwen3-8B  # vllm 0.9.0 before", "0.5.8"),
        ("pip install 'vllm[runai]==0.19.0' && vllm serve Qwen/Qwen3-8B", "0.19.0"),
        ("uv run --with=vllm==0.19.0 vllm serve Qwen/Qwen3-8B", "0.19.0"),
        ("uvx vllm@0.19.0 serve Qwen/Qwen3-8B", "0.19.0"),
        ("docker run nvcr.io/nvidia/tensorrt-llm/release:1.1.0 trtllm-serve Qwen/Qwen3-8B", "1.1"),
        (f"llama-server -hf {GGUF} -c 8192 -np 1 # llama.cpp b10229", "b10229"),
        ("docker run vllm/vllm-openai:v0.10.2 --model Qwen/Qwen3-8B", "0.10.2"),
        ("docker run lmsysorg/sglang:v0.5.8-cu129 python3 -m sglang.launch_server --model-path Qwen/Qwen3-8B", "0.5.8"),
        (f"podman run ghcr.io/ggml-org/llama.cpp:server-cuda-b10229 -hf {GGUF}", "b10229"),
    ):
        found = capacity_from_command(line)
        assert found.engine_version == version
        assert "command-version" not in {each.code for each in found.notes}
    assert capacity_from_command("vllm serve Qwen/Qwen3-8B", engine="vllm@0.10.2").engine_version == "0.10.2"
    with pytest.raises(KvcalcError, match=r"newer than the newest that is known; --engine vllm@0\.33\.0 counts it"):
        capacity_from_command("docker run vllm/vllm-openai:v9.1.0 Qwen/Qwen3-8B")
    with pytest.raises(KvcalcError, match=r"two versions of vllm: 0\.10\.2, 0\.19\.0; leave one"):
        capacity_from_command("docker run vllm/vllm-openai:v0.10.2 Qwen/Qwen3-8B # vllm 0.19.0")
    with pytest.raises(KvcalcError, match="--engine sglang: the line starts vllm; leave it out"):
        capacity_from_command("vllm serve Qwen/Qwen3-8B", engine="sglang")


def test_a_context_left_to_vllm_is_what_fits() -> None:
    """At most the model's own; else the longest whose blocks, of 16 tokens, are all but the null block."""
    line = "vllm serve Qwen/Qwen3-8B --max-model-len"
    for left in ("-1", "auto"):
        found = capacity_from_command(f"{line} {left}", gpu="l4")
        assert found.blocks is not None
        length = 16 * (found.blocks - 1)
        assert (found.workload.context, found.sequences, found.max_context) == (length, 1, length)
        told = [each.data for each in found.notes if each.code == "context-fitted"]
        assert told == [{"model": 40960, "fitted": length}]
        assert capacity_from_command(f"{line} {length}", gpu="l4").sequences == 1
        assert capacity_from_command(f"{line} {length + 1}", gpu="l4").sequences == 0
        whole = capacity_from_command(f"{line} {left}", gpu="h100")
        assert whole == capacity_from_command("vllm serve Qwen/Qwen3-8B", gpu="h100")
    assert capacity_from_command(f"{line} -1", gpu="l4", context=512).workload.context == 512
    with pytest.raises(KvcalcError, match="finds a length by rules that kvcalc does not follow; write --max-model-len"):
        capacity_from_command(f"{line} -1", gpu="l4", engine="vllm@0.28.0")
    with pytest.raises(KvcalcError, match=r"vllm 0\.13\.0 takes no --max-model-len below 1"):
        capacity_from_command(f"{line} -1", gpu="l4", engine="vllm@0.13.0")


def test_options_beside_a_command_win() -> None:
    line = "vllm serve Qwen/Qwen3-8B --max-model-len 16384 --max-num-seqs 4 --gpu-memory-utilization 0.8"
    found = capacity_from_command(
        line, context=8192, batch=2, utilization="0.9", engine_option={"max-num-seqs": 8}, tp=2
    )
    asked = capacity(
        "qwen3-8b", engine="vllm", context=8192, batch=2, utilization="0.9", engine_option={"max-num-seqs": 8}, tp=2
    )
    assert found.tokens == asked.tokens
    assert found.workload == asked.workload


def test_nothing_is_run_and_no_other_file_is_opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "made").write_text("x")
    monkeypatch.chdir(tmp_path)
    for name in ("system", "popen"):
        monkeypatch.setattr(os, name, lambda *_: pytest.fail("a shell"))
    command = read_command("vllm serve ./gone --chat-template made --download-dir /etc/passwd; rm made")
    assert command.model == "./gone"
    assert (tmp_path / "made").exists()
    with pytest.raises(KvcalcError, match=r"\./gone"):
        capacity_from_command("vllm serve ./gone")


def test_weights_by_the_method(kvcalc: Any) -> None:
    found = capacity_from_command("vllm serve Qwen/Qwen3-8B --quantization fp8")
    assert found.tokens == capacity("qwen3-8b", engine="vllm", tp=1, context="max", weight_dtype="fp8").tokens
    named = capacity_from_command("vllm serve RedHatAI/Qwen3-8B-FP8-dynamic")
    assert any("fp8" in each for each in texts(named.notes))
    run = kvcalc("capacity", "--from-command", "vllm serve Qwen/Qwen3-8B", "--json")
    assert run.code == 0
    assert '"deployment"' in run.stdout
    assert '"model"' in run.stdout


OLLAMA = [
    # The line, the card; tokens of a request, requests, tokens of a step, formats of weights and cache: routes.go and
    # sched.go of Ollama 0.33's server, llm/llama_server.go. 512 on the RTX 2060 as a log has it (file 61471163053).
    ("ollama run qwen3:8b", "rtx3060-12gb", (4096, 1, 512, "q4_k_m", "fp16")),
    ("ollama run qwen3:8b 'why is the sky blue?' --verbose", "rtx4090", (32768, 1, 1024, "q4_k_m", "fp16")),
    ("ollama run --think high qwen3:8b", "h100", (40960, 1, 2048, "q4_k_m", "fp16")),
    ("OLLAMA_CONTEXT_LENGTH=32768 ollama run llama3.1:8b", "rtx2060-6gb", (32768, 1, 512, "q4_k_m", "fp16")),
    ("OLLAMA_NUM_PARALLEL=2 ollama run llama3.1:8b-instruct-q8_0", "rtx4090", (32768, 2, 1024, "q8_0", "fp16")),
    ("OLLAMA_NUM_PARALLEL=2 ollama run qwen3.5:9b", "rtx4090", (32768, 1, 1024, "q4_k_m", "fp16")),
    (
        "docker exec -e OLLAMA_KV_CACHE_TYPE=q8_0 -it ollama ollama run gpt-oss:20b",
        "rtx4060-ti-16gb",
        (4096, 1, 512, None, "q8_0"),
    ),
]


@pytest.mark.parametrize(("line", "gpu", "told"), OLLAMA)
def test_what_ollama_tells_llama_server(line: str, gpu: str, told: tuple[Any, ...]) -> None:
    scenario = capacity_from_command(line, gpu=gpu).scenario
    weights = scenario.weight_format
    assert scenario.engine.name == "llama-cpp"
    assert (
        scenario.workload.context,
        scenario.workload.batch,
        scenario.engine.option("ubatch-size"),
        None if weights is None else weights.name,
        "q8_0" if "q8_0" in scenario.cache_format.name else "fp16",
    ) == told


def test_flags_by_which_sglang_chooses_its_share_of_memory_are_refused_where_nobody_gives_it() -> None:
    """sglang 0.5.23's planner on an H100: 0.835 without graphs of prefill, 0.83 with them."""
    line = "python -m sglang.launch_server --model-path Qwen/Qwen3-8B --context-length 8192"
    for flag in ("--cuda-graph-bs-decode 1 2 4", "--moe-a2a-backend deepep", "--disable-decode-cuda-graph"):
        with pytest.raises(
            KvcalcError, match=rf"{flag.split()[0]} decides --mem-fraction-static .*give --mem-fraction-static N"
        ):
            capacity_from_command(f"{line} {flag}", gpu="h100")
        told = capacity_from_command(f"{line} {flag} --mem-fraction-static 0.8", gpu="h100")
        assert {each.code: each for each in told.notes}["flags-not-counted"].data == {"flags": (flag.split()[0],)}
    found = capacity_from_command(f"{line} --disable-prefill-cuda-graph", gpu="h100")
    assert next(each.data for each in found.notes if each.code == "engine-defaults")["mem_fraction_static"] == 0.835


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("ollama run", "names no model; put one behind 'ollama run'"),
        ("OLLAMA_CONTEXT_LENGTH=many ollama run qwen3:8b", "OLLAMA_CONTEXT_LENGTH=many is no number"),
        ("OLLAMA_NUM_PARALLEL=2 ollama serve", "names no model; put its variables before 'ollama run MODEL'"),
    ],
)
def test_what_ollama_does_not_tell(line: str, says: str) -> None:
    with pytest.raises(KvcalcError, match=says):
        capacity_from_command(line, gpu="rtx4090")


LIBRARIES = [
    # The line; tokens of a sequence, sequences, options, format of the cache, cards: koboldcpp 1.113, koboldcpp.py and
    # gpttype_adapter.cpp; llama-cpp-python 0.3.35, llama_cpp/server/settings.py; lms, src/subcommands/load.ts.
    (
        "koboldcpp --model gemma-3-12b-q4_k_m --contextsize 16384 --gpulayers 99 --quantkv 1 --usecublas normal 0 mmq",
        (16512, 1, {"swa-full": True, "flash-attn": "on", "ubatch-size": 512, "n-outputs-max": 0}, "q8_0", 1),
    ),
    (
        "python koboldcpp.py -m gemma-3-12b-q4_k_m --gpulayers 20 --useswa --noflashattention --batchsize 256",
        (8320, 1, {"swa-full": False, "flash-attn": "off", "ubatch-size": 256, "n-gpu-layers": 20}, "fp16", 1),
    ),
    (
        "koboldcpp qwen3-30b-a3b-q4_k_m --gpulayers 999 --moecpu 20 --tensor_split 3 1 --lowvram --contbatch 3",
        (2080, 4, {"kv-unified": True, "n-cpu-moe": 20, "no-kv-offload": True, "tensor-split": (3, 1)}, "fp16", 2),
    ),
    (
        "python -m llama_cpp.server --model qwen3-8b-q4_k_m",
        (2048, 1, {"n-gpu-layers": 0, "flash-attn": "off", "swa-full": True, "n-outputs-max": 0}, "fp16", 1),
    ),
    (
        "python3 -m llama_cpp.server --model qwen3-8b-q4_k_m --n_ctx 8192 --n_gpu_layers -1 --type_k 8 --n_batch 256",
        (8192, 1, {"n-gpu-layers": None, "flash-attn": "off", "ubatch-size": 256}, "k=q8_0,v=fp16", 1),
    ),
    (
        "lms load qwen/qwen3-8b@q4_k_m --gpu max --context-length 8192 -y",
        (2048, 4, {"kv-unified": True, "n-outputs-max": None}, "fp16", 1),
    ),
]


@pytest.mark.parametrize(("line", "told"), LIBRARIES)
def test_programs_that_have_llama_cpp_in_them(line: str, told: tuple[Any, ...]) -> None:
    found = capacity_from_command(line, gpu="rtx4090")
    scenario, (context, batch, options, kept_in, cards) = found.scenario, told
    assert (scenario.workload.context, scenario.workload.batch) == (context, batch)
    assert {name: scenario.engine.option(name) for name in options} == options
    assert kept_in in (scenario.cache_format.name if scenario.cache_format_given else "fp16")
    assert found.deployment.pp == cards
    assert [each for each in found.notes if each.code == "launcher-default"]
    assert not [each for each in found.notes if each.code == "flags-not-known"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("koboldcpp --model qwen3-8b-q4_k_m", "--gpulayers is left to koboldcpp.* 999 for all layers"),
        (
            "koboldcpp --model qwen3-8b-q4_k_m --gpulayers 9 --sdmodel x",
            "--sdmodel changes memory.* --reserve NAME=SIZE",
        ),
        ("koboldcpp --model qwen3-8b-q4_k_m --gpulayers 9 --quantkv 9", "--quantkv 9 is none of bf16, f16"),
        ("koboldcpp_cu12.exe --gpulayers 9", "names no model"),
        ("koboldcpp --model qwen3-8b-q4_k_m --gpulayers 9 --contextsize", "--contextsize lacks its value"),
        ("python -m llama_cpp.server --n_ctx 8", "names no model"),
        ("python -m llama_cpp.server --model qwen3-8b-q4_k_m --type_k q8_0", "--type_k q8_0 is none of 0, 1, 2"),
        ("python -m llama_cpp.server --model qwen3-8b-q4_k_m --n_ubatch many", "--n_ubatch many is no number"),
        ("lms load qwen3-8b -c 8192", "put --gpu max there"),
        ("lms load qwen3-8b --gpu 0.5 -c 8192", "--gpu 0.5: which layers that are is LM Studio's choice"),
        ("lms load qwen3-8b --gpu max", "put --context-length N there"),
        ("lms load --gpu max -c 8192", "names no model"),
    ],
)
def test_what_programs_with_llama_cpp_leave_to_themselves(line: str, says: str) -> None:
    with pytest.raises(KvcalcError, match=says):
        capacity_from_command(line, gpu="rtx4090")


@pytest.mark.parametrize("file", ["Qwen3.6-27B-NVFP4.gguf", "Qwen3-8B-FP8.gguf", "Qwen3-32B-AWQ.gguf"])
def test_a_gguf_file_is_not_the_checkpoint_of_its_name(file: str) -> None:
    """llama.cpp has no type of fp8, and none of AWQ's integers (ggml.h); with a format that is given it counts."""
    line = f"llama-server -m /srv/{file} -c 8192"
    with pytest.raises(KvcalcError, match=r"does not know the GGUF file that is served; give its format"):
        capacity_from_command(line, gpu="a100-80-sxm")
    assert capacity_from_command(line, gpu="a100-80-sxm", weight_dtype="q8_0").max_context


def test_a_gguf_file_of_16_bits_is_told_by_its_name() -> None:
    line = "llama-server -m /srv/Qwen3-8B-BF16.gguf -c 8192"
    found, own = (capacity_from_command(line, gpu="a100-80-sxm", weight_dtype=each) for each in (None, "bf16"))
    assert found.max_context == own.max_context


@pytest.mark.parametrize(("file", "gib"), [("F16", 11.74), ("Q8_0", 10.67), ("mxfp4", 10.67)])
def test_files_of_gpt_oss_keep_their_experts_in_mxfp4(file: str, gib: float) -> None:
    """ggml-org's gpt-oss-20b-mxfp4.gguf has 12,109,566,624 bytes, 0.57 GiB of them an embedding that stays on the host;
    unsloth's F16 and Q8_0 have the same experts."""
    found = capacity_from_command(f"llama-server -m /srv/gpt-oss-20b-{file}.gguf -c 8192", gpu="rtx4090")
    assert found.at_limit is not None
    assert found.at_limit.parts[0].bytes / GIB == pytest.approx(gib, abs=0.005)


@pytest.mark.parametrize("path", [r"D:\m\Qwen3-8B-Q4_K_M.gguf", r'"D:\my models\Qwen3-8B-Q4_K_M.gguf"'])
@pytest.mark.parametrize("program", ["koboldcpp.exe", r"D:\kobold\koboldcpp_cu12.exe", "./koboldcpp-linux-x64-nocuda"])
def test_lines_of_windows_and_programs_as_releases_name_them(program: str, path: str) -> None:
    found = capacity_from_command(f"{program} --gpulayers 99 --model {path}", gpu="rtx3060-12gb")
    assert (found.scenario.model.name, found.scenario.workload.context) == ("qwen3-8b", 8320)


@pytest.mark.parametrize("file", ["/srv/Qwen3-30B-A3B-Q4_K_M.gguf", r"'D:\m\Qwen3-30B-A3B-Q4_K_M-00001-of-00002.gguf'"])
def test_a_file_on_another_machine_is_known_by_its_name(file: str) -> None:
    found, named = (
        capacity_from_command(f"llama-server -m {model} -c 8192 -np 1 --n-cpu-moe 24", gpu="rtx3060-12gb")
        for model in (file, "Qwen3-30B-A3B-Q4_K_M")
    )
    assert (found.model.name, found.max_context) == (named.model.name, named.max_context)
    assert "Q4_K_M" in texts(found.notes)[0]
    assert "is not on this machine" in texts(found.notes)[0]
    with pytest.raises(KvcalcError, match=r"like-none-12b\.gguf: cannot be read"):
        capacity_from_command("llama-server -m /srv/like-none-12b.gguf -c 8192", gpu="rtx3060-12gb")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/models/Qwen3-32B-AWQ/", "qwen3-32b-awq"),
        ("/data/hub/models--Qwen--Qwen3-8B-FP8/snapshots/0a1b2c3d", "qwen3-8b-fp8"),
        ("/root/autodl-tmp/Qwen/Qwen2___5-VL-7B-Instruct", "qwen2.5-vl-7b"),
        ("weights/hf/RedHatAI/Qwen3.6-35B-A3B-NVFP4", "redhatai-qwen3.6-35b-a3b-nvfp4"),
        ("/opt/models/qwen2_5_14b_instruct_awq", "qwen2.5-14b-awq"),
        (r"'C:\models\gemma-3-12b-it'", "gemma-3-12b"),
    ],
)
def test_a_folder_on_another_machine_is_known_by_its_name(path: str, name: str) -> None:
    found = capacity_from_command(f"vllm serve {path} --max-model-len 8192", gpu="h100")
    assert found.model.name == name
    assert "is not on this machine" in texts(found.notes)[0]


@pytest.mark.parametrize(
    ("name", "model"),
    [("llama3.1", "llama-3.1-8b"), ("qwen3:latest", "qwen3-8b"), ("deepseek-r1", "deepseek-r1-0528-qwen3-8b")],
)
def test_a_name_without_a_tag_is_the_librarys_own_size(name: str, model: str) -> None:
    assert capacity_from_command(f"ollama run {name}", gpu="rtx4090").model.name == model


def test_a_card_too_small_for_a_step_that_has_all_logits() -> None:
    """No sequence fits, so no step has tokens."""
    own = {"n-outputs-max": "0"}
    found = capacity("gemma-3-27b", engine="llama-cpp", engine_option=own, weights="16GiB", tp=1, gpu="rtx3060-12gb")
    assert found.sequences == 0


def test_a_context_beyond_the_model_is_cut_as_ollama_cuts_it() -> None:
    found = capacity_from_command("OLLAMA_CONTEXT_LENGTH=1000000 ollama run qwen3:8b", gpu="h100")
    assert found.workload.context == 40960
    assert [each.data for each in found.notes if each.code == "ollama-default"] == [{"weight_dtype": "q4_k_m"}]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("deepseek-ai/DeepSeek-V2-Lite --attention-backend TRITON_MLA", "blocks of latents have.* --block-size N"),
        ("Qwen/Qwen3-Next-80B-A3B-Instruct -tp 4 --attention-backend FLASHINFER", "blocks of states have"),
        (
            'google/gemma-3-27b-it -tp 2 --kv-transfer-config \'{"kv_connector":"LMCacheConnectorV1"}\'',
            "--engine-option disable-hybrid-kv-cache-manager=false",
        ),
        (
            'deepseek-ai/DeepSeek-V3.2 -tp 8 --kv-transfer-config \'{"kv_connector":"HiSparseConnector"}\'',
            "HiSparseConnector changes memory in a way that kvcalc does not follow",
        ),
        (
            "deepseek-ai/DeepSeek-V2-Lite --model-impl transformers",
            "--model-impl changes memory in a way that kvcalc does",
        ),
        ("Qwen/Qwen3-8B --runner draft", "--runner draft: kvcalc follows generate and pooling"),
        (
            "Qwen/Qwen3-Next-80B-A3B-Instruct -tp 4 --gdn-prefill-backend cutedsl",
            "kvcalc follows flashinfer and triton",
        ),
        ("Qwen/Qwen3-8B -tp 2 --enable-expert-parallel", "has no experts, which vllm refuses"),
        ("moonshotai/Kimi-K3 -tp 8 --kda-prefill-backend triton", "how many blocks vllm's states take"),
        ("google/gemma-3-27b-it -tp 2 --kv-offloading-size 9 --kv-offloading-backend lmcache", "keep every token"),
        ("Qwen/Qwen3-8B -tp 2 --enable-hc-sp", "--enable-hc-sp changes memory"),
        ("Qwen/Qwen3-8B -tp 2 --enable-batch-sharded-sampling", "--enable-batch-sharded-sampling changes memory"),
    ],
)
def test_what_lays_caches_out_otherwise_is_refused(line: str, says: str) -> None:
    with pytest.raises(KvcalcError, match=says):
        capacity_from_command(f"vllm serve {line} --max-model-len 8192", gpu="h200")


@pytest.mark.parametrize(
    "drafts",
    [
        """--speculative-config '{"method": "deepseek_mtp", "model": "{}", "num_speculative_tokens": 1}'""",
        """--speculative-config '{"model": "{}", "num_speculative_tokens": 1}'""",
        "--speculative-config.method mtp --speculative-config.num-speculative-tokens 1",
        "-sc.method mtp -sc.num_speculative_tokens=1",
    ],
)
def test_a_model_that_drafts_for_itself_does_so_with_its_layers(drafts: str) -> None:
    """Its own name as the draft's was counted as a second model; parts are made one object, as vLLM makes them."""
    name = "deepseek-ai/DeepSeek-R1"
    line = f"vllm serve {name} -tp 8 --max-model-len 8192 {drafts.replace('{}', name)}"
    found = capacity_from_command(line, gpu="h200", engine="vllm@0.33")
    plain = f'vllm serve {name} -tp 8 --max-model-len 8192 -sc \'{{"method": "mtp", "num_speculative_tokens": 1}}\''
    assert found.blocks == capacity_from_command(plain, gpu="h200", engine="vllm@0.33").blocks
    assert found.blocks


@pytest.mark.parametrize("version", ["0.19.0", "0.21.0"])
def test_offloading_kept_every_token_before_0_22(version: str) -> None:
    """vllm/config/vllm.py of 0.19.0, 0.21.0 and 0.22.0, where kv_transfer_config is not None."""
    line = "vllm serve google/gemma-3-27b-it -tp 2 --max-model-len 8192 --kv-offloading-size 9"
    with pytest.raises(KvcalcError, match="--engine-option disable-hybrid-kv-cache-manager=true, as vllm takes it"):
        capacity_from_command(line, gpu="h200", engine=f"vllm@{version}")
    assert capacity_from_command(line, gpu="h200", engine="vllm@0.22").blocks


def test_a_layout_of_the_pool_is_refused_for_unlike_layers() -> None:
    line = "VLLM_KV_CACHE_LAYOUT=HND vllm serve {} -tp 2 --max-model-len 8192"
    with pytest.raises(KvcalcError, match="VLLM_KV_CACHE_LAYOUT decides"):
        capacity_from_command(line.format("google/gemma-3-27b-it"), gpu="h200")
    assert capacity_from_command(line.format("Qwen/Qwen3-8B"), gpu="h200").blocks


def test_the_next_steps_of_these_refusals_work() -> None:
    latents = "vllm serve deepseek-ai/DeepSeek-V2-Lite --max-model-len 8192 --attention-backend TRITON_MLA"
    assert capacity_from_command(latents, gpu="h200", block_size=16).block_size == 16
    transfer = '--max-model-len 32768 --kv-transfer-config \'{"kv_connector":"NixlConnector","kv_role":"kv_both"}\''
    line = f"vllm serve google/gemma-3-27b-it -tp 2 {transfer}"
    tokens = [
        capacity_from_command(line, gpu="h200", engine_option={"disable-hybrid-kv-cache-manager": each}).tokens or 0
        for each in ("false", "true")
    ]
    assert tokens[0] > tokens[1]
    whole = transfer.replace("32768", "8192")
    assert capacity_from_command(f"vllm serve Qwen/Qwen3-8B {whole}", gpu="h200").tokens


@pytest.mark.parametrize("flag", ["--attention-backend FLASHMLA_SPARSE", "--attention-config.backend FLASHMLA_SPARSE"])
def test_a_backend_of_compressed_attention_is_refused(flag: str) -> None:
    """On Blackwell DeepSeek-V4.1 has entries of 528 bytes with it, and of 288 where nobody says."""
    line = "vllm serve deepseek-ai/DeepSeek-V4.1-Flash -tp 8 --max-model-len 65536"
    with pytest.raises(KvcalcError, match=f"{flag.partition(' ')[0]} decides how vllm keeps compressed attention"):
        capacity_from_command(f"{line} {flag}", gpu="b200")
    capacity_from_command(line, gpu="b200")


def test_parts_of_attention_that_move_no_cache_are_told() -> None:
    plain = capacity_from_command("vllm serve Qwen/Qwen3-8B --max-model-len 8192")
    parts = ('-ac \'{"backend": "FLASHINFER", "indexer_kv_dtype": "auto"}\'', "--attention-config.backend FLASHINFER")
    for part in parts:
        found = capacity_from_command(f"vllm serve Qwen/Qwen3-8B --max-model-len 8192 {part}")
        assert found.cache_memory_bytes == plain.cache_memory_bytes
        assert any(part.split()[0] in each.text for each in found.notes)


MOE = "llama-server -hf unsloth/Qwen3-30B-A3B-GGUF:Q4_K_M -c 32768"
ON_HOST = {
    "-ot exps=CPU": 48,
    "-ot '.ffn_.*_exps.=CPU'": 48,
    r"-ot 'blk\.(1[0-9]|2[0-9])\.ffn_.*_exps\.=CPU'": 20,
    r"-ot 'blk\.[0-4]\.ffn_.*_exps=CPU' --override-tensor 'blk\.[5-9]\.ffn_.*_exps=CPU'": 10,
    "-ot nothing=CPU": 0,
}


@pytest.mark.parametrize(("patterns", "layers"), ON_HOST.items())
def test_patterns_of_tensors_move_experts(patterns: str, layers: int) -> None:
    found = capacity_from_command(f"{MOE} {patterns}", gpu="rtx3090")
    assert found.scenario.engine.option("n-cpu-moe") == layers


@pytest.mark.parametrize(
    "patterns",
    [
        "-ot ffn=CPU",
        r"-ot 'blk\.[0-9]\.ffn_up_exps=CPU'",
        "-ot exps=CUDA1",
        "-ot '((a+)+)+=CPU'",
        "-ot '.*.*.*.*x=CPU'",
        "-ot '(exps=CPU'",
        "-ot exps=CPU -ncmoe 4",
        "-sm none",
    ],
)
def test_patterns_that_move_other_tensors_are_refused(patterns: str) -> None:
    with pytest.raises(KvcalcError, match=r"-ot|--split-mode none"):
        capacity_from_command(f"{MOE} {patterns}", gpu="rtx3090+rtx3090")


GEMMA_TOWER = 2 * 423_060_336 + 2 * 5_119_344 + 127_139_840
"""Bytes: at 16 bits, what of it is in f32, and a buffer of 121.25 MiB."""


@pytest.mark.parametrize(
    ("line", "set_aside"),
    [
        ("llama-server -hf ggml-org/gemma-3-27b-it-GGUF:Q4_K_M -c 8192", True),
        ("ollama run gemma3:27b", True),
        ("llama-server -hf ggml-org/gemma-3-27b-it-GGUF:Q4_K_M -c 8192 --no-mmproj", False),
        ("llama-server -hf ggml-org/gemma-3-27b-it-GGUF:Q4_K_M -c 8192 --no-mmproj-offload", False),
        ("llama-server -hf Qwen/Qwen3-8B-GGUF:Q8_0 -c 8192", False),
    ],
)
def test_a_tower_that_llama_server_loads_unasked_is_set_aside(line: str, set_aside: bool) -> None:
    found = capacity_from_command(line, gpu="rtx5090")
    assert dict(found.scenario.replacements.reserve) == ({"mmproj": GEMMA_TOWER} if set_aside else {})
    told = {each.code for each in found.notes} & {"mmproj-set-aside", "towers-apart"}
    assert told == ({"mmproj-set-aside"} if set_aside else {"towers-apart"} if "gemma" in line else set())
    named = capacity_from_command(line, gpu="rtx5090", reserve={"mmproj": 10**9})
    assert dict(named.scenario.replacements.reserve) == {"mmproj": 10**9}


def test_a_tower_of_a_file_that_is_named_is_set_aside() -> None:
    line = "llama-server -m gemma-3-27b --mmproj mmproj-model-f16.gguf -c 8192"
    found = capacity_from_command(line, gpu="rtx5090", weight_dtype="q4_k_m")
    assert dict(found.scenario.replacements.reserve) == {"mmproj": GEMMA_TOWER}


@pytest.mark.parametrize("line", COMMAND_LINES.values(), ids=[*COMMAND_LINES])
def test_no_option_is_both_read_and_refused(line: CommandLine) -> None:
    assert [name for name in line.refused if line.settings.get(name)] == []
