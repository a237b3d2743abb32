"""Whole outputs, in every format. UPDATE_GOLDENS=1 writes them anew; read the difference before committing it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from kvcalc.cli.app import run

GOLDEN = Path(__file__).parent / "golden"

COMMANDS = {
    "default": "estimate llama-3-70b",
    "batch": "estimate llama-3-70b --batch 32 --context 8192",
    "explained": "estimate llama-3-70b --batch 32 --context 8192 --explain",
    "latent": "estimate deepseek-v3 --gpu h200 --tp 8 --context 131072",
    "windows": "estimate gemma-3-27b --context 131072 --unit GB",
    "experts": "estimate gpt-oss-120b --tp 2 --pp 2 --context 8192 --explain",
    "pipeline": "estimate llama-3-70b --tp 8 --pp 2 --dp 2 -b 3 -c 8192 --explain",
    "stages": "estimate deepseek-v3.1 -b 8 -c 4096",
    "heads": "estimate llama-2-7b -c 4096 --gpu a100-40gb --weight-dtype q8_0 --cache-dtype int8_per_token_head",
    "ad-hoc": "estimate --layers 32 --heads 32 --kv-heads 4 --head-dim 64 --context 80000 --dtype bf16",
    "formats": "estimate qwen3-8b -c 32Ki --cache-dtype k=q8_0,v=q4_0 --reserve x=2GiB --temporary 1GiB --overhead 0B",
    "nothing-holds": "estimate llama-3.1-405b -c 8192 --gpu t4 --gpu-memory 1GiB",
    "shared-experts": "estimate deepseek-v3 --gpu h200 --dp 8 --dp-attention --ep 8 --context 131072 --batch 16",
    "spill": "estimate llama-3-70b --tp 4 --batch 100 --context 8192 --shared-prefix 1024 --spill",
    "ladder": "estimate llama-3-70b --batch 1,8 --context 4Ki,64Ki",
    "ladder-capacity": "capacity gemma-3-27b --tp 1,2 --engine exact,vllm --context 32Ki",
    "ladder-compare": "compare llama-3-8b qwen3-8b --gpu h100,a10g --batch 8 --context 8192",
    "compare": "compare llama-3-70b --batch 32 --context 8192",
    "compare-models": "compare llama-3-70b deepseek-v3 gemma-3-27b --context 32Ki --gpu h200",
    "capacity": "capacity deepseek-v3 --gpu h200 --tp 8 --context 131072",
    "capacity-given": "capacity gemma-3-27b --cache-memory 20GiB --context 32Ki --batch 4 --explain",
    "plan": "plan llama-3-70b --batch 32 --context 8192",
    "demand": "demand qwen3-8b --trace agents --tokens-per-second 30 --gpu l40s --concurrency 8",
    "demand-windows": "demand gemma-3-27b --trace chat --engine vllm --rate 2 --seed 7 --gpu a100-80gb",
    "plan-experts": "plan deepseek-v3 --gpu h200 --batch 16 --context 131072 --max-gpus 16",
    "plan-prices": "plan llama-3-8b --rps 9 --latency 20 --spare 1 --gpu h100,l40s --price h100=3 --price l40s=1",
    "vllm": "estimate gemma-3-27b --engine vllm --batch 4 --context 32Ki --tp 2",
    "llama-cpp": "estimate gemma-3-27b --engine llama-cpp --batch 4 --context 8Ki --cache-dtype q8_0 --gpu rtx5090",
    "transformers": "estimate gemma-3-27b --engine transformers --batch 2 --context 8Ki --gpu h200-sxm",
    "mlx": "estimate gemma-3-27b --engine mlx --context 8000 --gpu m4-max --gpu-memory 96GiB",
    "llama-cpp-capacity": "capacity qwen3.6-27b --engine llama-cpp --weights 14032MiB --cache-dtype q8_0 --gpu rtx3090",
    "sglang": "estimate gpt-oss-120b --engine sglang --batch 16 --context 32Ki --tp 2",
    "sglang-capacity": "capacity qwen3-next-80b-a3b --engine sglang --gpu h200 --tp 4 --context 256Ki",
    "lmdeploy": "capacity qwen3-32b --engine lmdeploy --gpu a100-80-sxm --tp 2 --engine-option quant-policy=8",
    "tensorrt-llm": "capacity llama-3.3-70b --engine tensorrt-llm --gpu h200 --tp 4 --context 32Ki",
    "vllm-capacity": "capacity qwen3-next-80b-a3b --engine vllm --gpu h200 --tp 4 --context 256Ki",
    "gpu": "gpus show h100",
    "explain-articles": "explain articles",
    "explain-gqa": "explain gqa",
    "explain-mla": "explain mla",
    "explain-tp": "explain tensor-parallel-size",
    "explain-format": "explain nvfp4",
}
FORMATS = {"table": "txt", "json": "json", "csv": "csv", "markdown": "md"}


ROWS = {
    "sweep": "sweep --model llama-3-8b,gemma-3-27b,nosuch --batch 1,100 -c 1Ki..32Ki*32 --cache-dtype bf16,fp8 "
    "--tp 1,3",
    "sweep-fields": "sweep --model qwen3-8b --batch 8..24+8 -c max --gpu l40s --engine exact,vllm "
    "--fields answer_gpus,cache_lower_bound,gpus_utilization,decode_limited_by",
}
FORMATS_OF_ROWS = {"csv": "csv", "jsonl": "jsonl"}

PICTURES = {
    "plot-cache": "plot cache llama-3-70b --cache-dtype bf16,fp8 --tp 4 --gpu h100,h200 -b 16 -c 1Ki..128Ki*2",
    "plot-sequences": "plot sequences qwen3-8b --gpu l40s,h100 --engine vllm",
    "plot-gpus": "plot gpus llama-3-70b --gpu h100,h200 -b 1..64*2",
    "plot-memory": "plot memory deepseek-v3 --gpu h200 --batch 16 -c 32Ki --tp 8,16",
}
FORMATS_OF_PICTURES = {"text": "txt"}  # docs/pictures.md has others

REPORTS = {"report": "report llama-3-8b --batch 4 --context 4Ki --lora 16"}
FORMATS_OF_REPORTS = {"html": "html", "markdown": "md"}

CASES = [
    *((name, how) for name in PICTURES for how in FORMATS_OF_PICTURES),
    *((name, how) for name in COMMANDS for how in FORMATS),
    *((name, how) for name in ROWS for how in FORMATS_OF_ROWS),
    *((name, how) for name in REPORTS for how in FORMATS_OF_REPORTS),
]
ALL_COMMANDS = COMMANDS | ROWS | PICTURES | REPORTS
ALL_FORMATS = FORMATS | FORMATS_OF_ROWS | FORMATS_OF_PICTURES | FORMATS_OF_REPORTS

_CATALOGUE = re.compile(r"\d+ files, checksum \w{8}")
"""What a report says of the catalogue, which changes with every file of it."""


@pytest.mark.parametrize(("name", "how"), CASES)
def test_output_is_as_it_was(name: str, how: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*ALL_COMMANDS[name].split(), "--format", how]) == 0
    printed = _CATALOGUE.sub("some files, checksum 01234567", capsys.readouterr().out)
    golden = GOLDEN / f"{name}.{ALL_FORMATS[how]}"
    if os.environ.get("UPDATE_GOLDENS"):
        golden.write_text(printed, encoding="utf-8")
    assert printed == golden.read_text(encoding="utf-8")


def test_every_golden_belongs_to_a_command() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == {f"{name}.{ALL_FORMATS[how]}" for name, how in CASES}
