"""Command lines as people keep them: read as their engine reads them, and never run."""

from __future__ import annotations

import os
from typing import Any

import pytest
from conftest import texts
from launch_lines import GGUF

from kvcalc import KvcalcError
from kvcalc.api import capacity, capacity_from_command
from kvcalc.logs.command import MAX_LENGTH, read_command
from kvcalc.logs.command_lines import COMMAND_LINES
from kvcalc.logs.command_lines.base import CommandLine

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


@pytest.mark.parametrize("line", COMMAND_LINES.values(), ids=[*COMMAND_LINES])
def test_no_option_is_both_read_and_refused(line: CommandLine) -> None:
    assert [name for name in line.refused if line.settings.get(name)] == []
