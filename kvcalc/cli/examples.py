"""What help shows beside the options of each command: examples that work as they stand, and related commands."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Guide(NamedTuple):
    """Examples of a command, and where to go from there."""

    examples: tuple[str, ...]
    see_also: tuple[str, ...] = ()


GUIDES: Mapping[str, Guide] = MappingProxyType(
    {
        "": Guide(
            (
                "kvcalc estimate llama-3-70b --batch 32 --context 8192",
                "kvcalc capacity qwen3-8b --gpu rtx4090 --engine vllm",
                "kvcalc plan deepseek-v3 --batch 16 --context 128Ki --gpu h200,b200",
                "kvcalc compare llama-3-70b --batch 32",
            ),
            ("kvcalc COMMAND --help", "kvcalc explain"),
        ),
        "estimate": Guide(
            (
                "kvcalc estimate llama-3-70b --batch 32 --context 8192",
                "kvcalc estimate llama-3-70b --tp 8 --cache-dtype fp8 --context max",
                "kvcalc estimate gemma-3-27b --engine vllm --gpu a100-80gb --gpus 4",
                "kvcalc estimate --layers 32 --heads 32 --head-dim 128 --parameters 7e9",
                "kvcalc estimate llama-3-8b --gpu l40s --users 4 --check",
                "kvcalc estimate llama-3-70b --batch 1,8 --context 4Ki,16Ki,64Ki",
                "kvcalc estimate llama-3-70b --batch 32 --tp 4 --emit vllm",
            ),
            ("kvcalc capacity (what fits)", "kvcalc plan (which deployments)", "kvcalc explain gqa (the formulas)"),
        ),
        "capacity": Guide(
            (
                "kvcalc capacity llama-3-70b --tp 4 --context 8192",
                "kvcalc capacity qwen3-8b --engine vllm --gpu rtx4090",
                "kvcalc capacity llama-3-70b --tp 2,4,8",
                "kvcalc capacity gemma-3-27b --cache-memory 20GiB --context 32Ki",
                "kvcalc capacity --from-command 'vllm serve Qwen/Qwen3-8B -tp 2'",
            ),
            ("kvcalc estimate (the inverse)", "kvcalc plan (which deployments)"),
        ),
        "plan": Guide(
            (
                "kvcalc plan llama-3-70b --batch 32 --context 8192",
                "kvcalc plan deepseek-v3 --gpu h200,b200 --batch 16 --context 128Ki",
                "kvcalc plan llama-3-8b --rps 9 --latency 20 --gpu l40s --price l40s=1",
                "kvcalc plan llama-3-70b --batch 32 --context 8192 --emit sglang",
            ),
            ("kvcalc estimate (one deployment)", "kvcalc gpus list"),
        ),
        "compare": Guide(
            (
                "kvcalc compare llama-3-70b --batch 32 --context 8192",
                "kvcalc compare llama-3-70b deepseek-v3 --context 32Ki --gpu h200",
                "kvcalc compare llama-3-8b qwen3-8b --gpu h100,h200 --batch 8",
                "kvcalc compare qwen3-8b --cache-dtype bf16,fp8,q8_0",
                "kvcalc compare gemma-3-27b --engine exact,vllm",
            ),
            ("kvcalc explain mla", "kvcalc estimate (one of the rows)"),
        ),
        "demand": Guide(
            (
                "kvcalc demand llama-3-8b --trace chat",
                "kvcalc demand llama-3-70b --trace chat --tokens-per-second 30 --gpu h200",
                "kvcalc demand qwen3-8b --trace agents --prefix-cache 40GiB",
                "kvcalc demand gemma-3-27b --trace chat --rate 5 --concurrency 64",
            ),
            ("kvcalc estimate (one workload)", "kvcalc plan (which deployments)"),
        ),
        "sweep": Guide(
            (
                "kvcalc sweep --model llama-3-70b -b 8..64+8 -c 1Ki..128Ki*2 --tp 4,8",
                "kvcalc sweep --model qwen3-8b,gemma-3-27b -c 32Ki --gpu l40s,h100",
                "kvcalc sweep --model llama-3-8b -b 1..99+1 --fields cache_bytes,gpus_count",
                "kvcalc sweep --model llama-3-8b -b 1..999+1 --shard 2/8 -o part-2.csv",
            ),
            ("kvcalc estimate (one row, with its formulas)", "kvcalc compare (a few side by side)"),
        ),
        "plot": Guide(
            (
                "kvcalc plot cache llama-3-70b deepseek-v3 --gpu h200 --tp 8",
                "kvcalc plot sequences qwen3-8b --gpu l40s,h100 --engine vllm -o fits.svg",
                "kvcalc plot gpus llama-3-70b --context 8192 --gpu h100,h200 -o gpus.html",
                "kvcalc plot memory deepseek-v3 --gpu h200 --batch 16 -c 32Ki --tp 8,16",
                "kvcalc plot cache gemma-3-27b --mechanisms",
            ),
            ("kvcalc sweep (the same as rows)", "kvcalc estimate (one point, with its formulas)"),
        ),
        "report": Guide(
            (
                "kvcalc report llama-3-70b --batch 32 --context 8192 -o review.html",
                "kvcalc report deepseek-v3 --engine vllm --gpu h200 --tp 8 -o review.md",
                "kvcalc report qwen3-8b gemma-3-27b --gpu l40s,h100 -c 32Ki -o review.html",
            ),
            ("kvcalc estimate (one of its answers)", "kvcalc plan (which deployments)"),
        ),
        "verify": Guide(
            (
                "kvcalc verify llama-3-8b --context 8192 --device meta",
                "kvcalc verify deepseek-v3 --tp 8 --device meta",
            ),
            ("kvcalc estimate (the figures that are verified)",),
        ),
        "bench": Guide(
            (
                "kvcalc bench llama-3-8b --batch 16 --context 8192",
                "kvcalc bench deepseek-v2-lite --mechanism mla,mha --batch 8 --context 4096",
                "kvcalc bench llama-3-8b --mechanism gqa --batch 16 --offload 0.25",
                "kvcalc bench llama-3-8b --batch 16 --json -o bench.json",
            ),
            ("kvcalc estimate --measured (a measured speed beside the bound)", "kvcalc compare (the bounds)"),
        ),
        "explain": Guide(
            ("kvcalc explain", "kvcalc explain mla", "kvcalc explain q8_0", "kvcalc explain vllm"),
            ("kvcalc estimate --explain (every term of one estimate)",),
        ),
        "mcp": Guide(
            ("kvcalc mcp", "kvcalc mcp --files ./models", "kvcalc mcp --hub"),
            ("kvcalc models schema --of estimate (what a tool answers)",),
        ),
        "web": Guide(
            ("kvcalc web", "kvcalc web --port 8080 --no-open"), ("kvcalc estimate (the same figures in the terminal)",)
        ),
        "models": Guide(("kvcalc models list", "kvcalc models show llama-3-70b"), ("kvcalc gpus",)),
        "models list": Guide(("kvcalc models list", "kvcalc models list --json"), ("kvcalc models show",)),
        "models show": Guide(
            ("kvcalc models show gemma-3-27b", "kvcalc models show gemma-3-27b -o my-model.yaml"),
            ("kvcalc models schema", "kvcalc models import"),
        ),
        "models import": Guide(
            (
                "kvcalc models import ./config.json",
                "kvcalc models import hf:Qwen/Qwen3-8B -o qwen3-8b.yaml",
                "kvcalc models import ./config.json --assume head_dim=128",
            ),
            ("kvcalc models show", "kvcalc models schema"),
        ),
        "models schema": Guide(
            ("kvcalc models schema -o model.schema.json", "kvcalc models schema --of estimate"), ("kvcalc models show",)
        ),
        "gpus": Guide(("kvcalc gpus list", "kvcalc gpus show h100"), ("kvcalc models",)),
        "gpus list": Guide(
            ("kvcalc gpus list", "kvcalc gpus list h100", "kvcalc gpus list amd --format csv"), ("kvcalc gpus show",)
        ),
        "gpus show": Guide(("kvcalc gpus show h100", "kvcalc gpus show a100-40gb --unit GB"), ("kvcalc gpus list",)),
    }
)
"""The words of a command -> what its help shows."""
