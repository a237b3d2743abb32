"""Emits the launch lines of random scenarios, reads each back, and compares every figure.

    python benchmarks/round_trip.py [--scenarios 300] [--seed 0]

A scenario that no line says is refused, which is counted by its reason; what is emitted must read back to the same
model, deployment, workload, formats, version and capacity. Compose files and values of helm are read back by the words
of the container's command. Prints what differs, and exits 1 where anything does.
"""

from __future__ import annotations

import argparse
import random
import shlex
import sys
import time
from collections import Counter
from typing import Any

import yaml

from kvcalc import KvcalcError
from kvcalc.api import capacity_from_command
from kvcalc.engines import ENGINES
from kvcalc.verbs.capacity import capacity
from kvcalc.verbs.capacity_result import Capacity
from kvcalc.verbs.launch import TARGETS
from kvcalc.verbs.launch.of_verbs import launched

MODELS = (
    *("llama-3-8b", "llama-3-70b", "qwen3-8b", "qwen3-30b-a3b", "deepseek-v2-lite", "deepseek-v3", "deepseek-v3.2"),
    *("gemma-3-27b", "gpt-oss-120b", "gpt-oss-20b", "qwen3-next-80b-a3b", "mistral-7b-v0.1", "glm-4.5-air", "phi-4"),
)
GGUF = ("Qwen/Qwen3-8B-GGUF:Q8_0", "unsloth/gpt-oss-20b-GGUF:F16", "unsloth/gemma-3-27b-it-GGUF:Q4_K_M")
GGUF_DRAFTS = ("Qwen/Qwen3-0.6B-GGUF:Q8_0", "unsloth/gemma-3-1b-it-GGUF:Q4_K_M")
GPUS = ("h100", "h200", "b200", "a100-80gb", "l40s", "mi300x", "rtx4090")
OWN: dict[str, tuple[tuple[str, str], ...]] = {
    "vllm": (
        ("enforce-eager", "true"),
        ("enforce-eager", "false"),
        ("max-num-batched-tokens", "4096"),
        ("max-num-seqs", "37"),
        ("enable-prefix-caching", "true"),
        ("enable-prefix-caching", "false"),
        ("disable-hybrid-kv-cache-manager", "true"),
        ("block-size", "32"),
        ("kv-cache-memory-bytes", "9GiB"),
        ("performance-mode", "throughput"),
        ("use-v1", "0"),
        ("use-flashinfer-sampler", "1"),
    ),
    "sglang": (
        ("mem-fraction-static", "0.75"),
        ("page-size", "16"),
        ("disable-radix-cache", "true"),
        ("chunked-prefill-size", "4096"),
        ("cuda-graph-max-bs", "16"),
        ("max-total-tokens", "100000"),
        ("swa-full-tokens-ratio", "0.5"),
        ("disable-cuda-graph", "true"),
        ("max-running-requests", "48"),
        ("mamba-full-memory-ratio", "0.5"),
    ),
    "llama-server": (
        ("ubatch-size", "1024"),
        ("ubatch-size", "4096"),
        ("flash-attn", "on"),
        ("flash-attn", "off"),
        ("n-gpu-layers", "20"),
        ("kv-unified", "1"),
        ("swa-full", "1"),
        ("n-cpu-moe", "8"),
        ("no-kv-offload", "1"),
        ("tensor-split", "3,1"),
    ),
    "trtllm-serve": (("free-gpu-memory-fraction", "0.7"),),
}
SIZES: tuple[dict[str, Any], ...] = (
    {},
    {},
    {"tp": 2},
    {"tp": 4},
    {"tp": 8},
    {"tp": 2, "pp": 2},
    {"pp": 3},
    {"tp": 2, "dp": 2},
    {"tp": 4, "ep": 4},
    {"tp": 8, "ep": 8},
    {"tp": 2, "dp": 2, "dp_attention": True, "ep": 4},
    {"tp": 8, "dcp": 2},
    {"gpus": 8},
)
FORMATS: dict[str, tuple[Any, ...]] = {
    "batch": (1, 4, 32, 100),
    "cache_dtype": ("fp8", "bf16", "fp16", "fp8_e5m2", "q8_0", "k=q8_0,v=fp16", "fp8_ds_mla"),
    "dtype": ("fp16", "bf16"),
    "weight_dtype": ("fp8",),
    "state_dtype": ("bf16", "fp32"),
    "utilization": ("0.8", "0.95"),
    "mtp": (1, 3),
    "draft": ("llama-3.1-8b", "qwen3-0.6b"),
    "lora": (16,),
}
LIMITS = {"max-num-seqs", "max-running-requests"}
"""Options that a line has in the place of the batch."""
BESIDE = ("command", "notes", "scenario")
"""Of a result, what no server has."""


def scenario(chance: random.Random) -> tuple[str, str, dict[str, Any]]:
    """What is emitted, of which model, with which options."""
    word = chance.choice([each for each in TARGETS if each not in {"compose", "helm"}] * 3 + ["compose", "helm"])
    line = word if word in OWN else "vllm"
    engine = ENGINES[TARGETS[word].engine]
    options: dict[str, Any] = {
        "gpu": chance.choice(GPUS),
        "context": chance.choice((300, 2048, 8192, 32768, 131072)),
        **chance.choice(SIZES),
    }
    if chance.random() < 0.6:  # noqa: PLR2004  # an older version, more often than not
        options["engine"] = f"{engine.name}@{chance.choice(engine.versions)}"
    own = dict(
        chance.sample(OWN[line], chance.choice((0, 0, 1, 1, 2)) if len(OWN[line]) > 1 else chance.choice((0, 1)))
    )
    if own:
        options["engine_option"] = own
    for name, values in FORMATS.items():
        if chance.random() < (0.4 if name == "batch" else 0.1):
            options[name] = chance.choice(values if name != "draft" or word != "llama-server" else GGUF_DRAFTS)
    return word, chance.choice(GGUF if word == "llama-server" else MODELS), options


def line_of(word: str, text: str) -> str:
    """A file's container as a line, its image with it."""
    if word == "compose":
        service = yaml.safe_load(text)["services"]["vllm"]
        words = [each.replace("$$", "$") for each in service["command"]]
        variables = [f"--env={name}={value}" for name, value in service["environment"].items() if name != "HF_TOKEN"]
        return shlex.join(["docker", "run", *variables, service["image"], *words])
    if word == "helm":
        (spec,) = yaml.safe_load(text)["servingEngineSpec"]["modelSpec"]
        config = spec["vllmConfig"]
        words = [spec["modelURL"], *config["extraArgs"]]
        if config.get("tensorParallelSize", 1) > 1:
            words += ["--tensor-parallel-size", str(config["tensorParallelSize"])]
        words.append("--enable-prefix-caching" if config["enablePrefixCaching"] else "--no-enable-prefix-caching")
        variables = [f"--env={each['name']}={each['value']}" for each in spec.get("env", ())]
        return shlex.join(["docker", "run", *variables, f"{spec['repository']}:{spec['tag']}", *words])
    return text


def compared(asked: Capacity, back: Capacity) -> list[str]:
    """The figures that differ."""
    one, other = asked.to_dict(), back.to_dict()
    return [
        f"{name}: {one.get(name)} != {other.get(name)}"
        for name in {**one, **other}
        if name not in BESIDE and one.get(name) != other.get(name)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenarios", type=int, default=300, help="that are emitted")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--refusals", action="store_true", help="show why the others are not")
    given = parser.parse_args()
    chance, reasons, emitted, differing = random.Random(given.seed), Counter[str](), Counter[str](), 0  # noqa: S311  # no secret
    start, tried = time.perf_counter(), 0
    while emitted.total() < given.scenarios:
        word, model, options = scenario(chance)
        tried += 1
        try:
            found = launched("capacity", word, model, options)
        except KvcalcError as error:
            reasons[f"{word}: {str(error)[:110]}"] += 1
            continue
        emitted[word] += 1
        line = line_of(word, found.text)
        try:
            batch: dict[str, Any] = {"batch": found.scenario.workload.batch}
            beside = {} if LIMITS.isdisjoint(options.get("engine_option", {})) else batch
            told = compared(capacity(found.scenario), capacity_from_command(line, gpu=options["gpu"], **beside))
        except KvcalcError as error:
            told = [f"refused: {error}"]
        if told:
            differing += 1
            sys.stdout.write(f"{word} {model} {options}\n  {line.strip()}\n" + "".join(f"  {each}\n" for each in told))
    if given.refusals:
        sys.stdout.write("".join(f"{count:5} {why}\n" for why, count in reasons.most_common()))
    per = ", ".join(f"{count} {word}" for word, count in emitted.items())
    sys.stdout.write(
        f"{emitted.total()} emitted of {tried} scenarios ({per}); {differing} read back otherwise; "
        f"{time.perf_counter() - start:.0f} s\n"
    )
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
