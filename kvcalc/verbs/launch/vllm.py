"""`vllm serve`: flags as the version has them.

vllm/engine/arg_utils.py, EngineArgs.add_cli_args, read in the wheels of 0.6.0 to 0.33.0.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from kvcalc.engines.option_values import AUTO
from kvcalc.errors import KvcalcError
from kvcalc.formats.turboquant import TURBOQUANT
from kvcalc.mechanisms import MLA, GatedDeltaNet, Mamba1, Mamba2, Role
from kvcalc.verbs.launch.beside import adapters_of_vllm, drafts_of_vllm
from kvcalc.verbs.launch.formats import quantization
from kvcalc.verbs.launch.line import DTYPES, Line, Served, Version, decimal, several_nodes

if TYPE_CHECKING:
    from collections.abc import Mapping

SINCE: Mapping[str, Version] = MappingProxyType(
    {
        "--enable-expert-parallel": (0, 8),
        "--data-parallel-size": (0, 8, 5),
        "--speculative-config": (0, 8, 5),
        "--disable-hybrid-kv-cache-manager": (0, 9, 1),
        "--no-disable-hybrid-kv-cache-manager": (0, 9, 1),
        "--decode-context-parallel-size": (0, 10, 2),
        "--kv-cache-memory-bytes": (0, 10, 2),
        "--mamba-ssm-cache-dtype": (0, 10, 2),
        "--performance-mode": (0, 17),
        "--language-model-only": (0, 17),
        "--skip-mm-profiling": (0, 19),
        "--runner": (0, 10, 2),
        "--gdn-prefill-backend": (0, 19),
        "--async-scheduling": (0, 19),
        "--no-async-scheduling": (0, 19),
        "--lora-target-modules": (0, 19),
        "--moe-backend": (0, 17),
        "--no-enable-prefix-caching": (0, 6, 6),
    }
)
"""The first version read that has a flag; all have the others."""
BF16_SPELLED: Version = (0, 11)
"""--kv-cache-dtype bfloat16, for models whose cache is fp8 by default (vllm/config/cache.py, CacheDType)."""
_STATES = {"fp32": (0, 10, 2), "fp16": (0, 13), "bf16": (0, 22)}
"""vllm/config/cache.py, MambaDType: formats of states, and the first version read that has each."""
_OF_DELTA_NETS: Version = (0, 20, 2)
"""--mamba-ssm-cache-dtype is of gated delta nets too (mamba_utils.py, gated_delta_net_state_dtype)."""
_VALUES = (
    "max-num-batched-tokens",
    "max-num-seqs",
    "block-size",
    "kv-cache-memory-bytes",
    "performance-mode",
    "moe-backend",
    "gdn-prefill-backend",
    "runner",
)
_SWITCHES = (
    "enable-prefix-caching",
    "enable-chunked-prefill",
    "async-scheduling",
    "disable-hybrid-kv-cache-manager",
    "enforce-eager",
    "language-model-only",
    "skip-mm-profiling",
)


def vllm(served: Served) -> Line:
    """The words of a server.

    Raises:
        KvcalcError: no flag of this version says what is asked for.
    """
    line = Line(("vllm", "serve", served.model.text))
    _deployment(served, line)
    line.add("--max-model-len", served.scenario.workload.context)
    _formats(served, line)
    gpu, share = served.scenario.gpu, served.scenario.utilization
    if share != served.scenario.engine.default_utilization(gpu):
        line.add("--gpu-memory-utilization", decimal(share))
    if served.model.revision is not None:
        line.add("--revision", served.model.revision)
    _options(served, line)
    drafts_of_vllm(served, line)
    adapters_of_vllm(served, line)
    for word in line.words:
        since = SINCE.get(word)
        if since is not None and served.number < since:
            first = ".".join(map(str, since))
            raise KvcalcError(f"--emit: vllm {served.version} has no {word}; --engine vllm@{first} or later has")
    return line


def _deployment(served: Served, line: Line) -> None:
    deployment, experts = served.deployment, served.scenario.model.is_mixture_of_experts
    if deployment.dp > 1 and experts and not deployment.dp_attention:
        raise KvcalcError(
            f"--emit: {deployment.dp} replicas of a mixture of experts share them in one vllm serve; give "
            "--dp-attention, or emit the line of one replica (--dp 1 with its share of --batch) and start it that often"
        )
    for flag, size in (
        ("--tensor-parallel-size", deployment.tp),
        ("--pipeline-parallel-size", deployment.pp),
        ("--data-parallel-size", deployment.dp),
        ("--decode-context-parallel-size", deployment.dcp),
    ):
        if size > 1:
            line.add(flag, size)
    if deployment.ep > 1:
        line.add("--enable-expert-parallel")
    spread = several_nodes(served)
    if spread is not None:
        if deployment.dp > 1:
            raise KvcalcError(
                f"--emit: {deployment.gpus:,} GPUs are several nodes, on each of which data-parallel replicas need a "
                "line of their own; emit the line of one replica (--dp 1 with its share of --batch)"
            )
        line.add("--distributed-executor-backend", "ray")
        line.notes.append(spread)


def _formats(served: Served, line: Line) -> None:
    scenario, version = served.scenario, served.number
    kept, model = scenario.cache_format, scenario.model
    if scenario.dtype_given and model.dtype is not None:
        line.add("--dtype", DTYPES[model.dtype])
    method = quantization(scenario, "vllm")
    if method is not None:
        line.add("--quantization", method)
    if scenario.cache_format_given and (name := _cache_dtype(served, version)) is not None:
        line.add("--kv-cache-dtype", name)
    if kept.conv is not None:
        raise KvcalcError("--conv-dtype: vllm keeps the inputs of convolutions as it computes; leave it out")
    if kept.state is not None and any(tensor.role is Role.STATE for tensor in model.cached_tensors):
        _state(served, line, version)


def _cache_dtype(served: Served, version: Version) -> str | None:
    kept = served.scenario.cache_format
    if kept.name in TURBOQUANT:
        return kept.name
    if kept.name == "fp8_ds_mla" or not kept.tensors:
        name = kept.name if kept.name == "fp8_ds_mla" else kept.default.name
        if name == "fp8_ds_mla":
            return "fp8"  # of sparse latents it means the same (_canonicalize_sparse_mla_kv_cache_dtype)
        if name != kept.computing.name:
            return name
        kinds = served.scenario.model.layout.kinds
        sparse = any(isinstance(each.attention, MLA) and each.attention.index_topk is not None for each in kinds)
        return DTYPES[name] if sparse and version >= BF16_SPELLED else None
    raise KvcalcError(f"--cache-dtype: kvcalc emits no flag of vllm for '{kept.name}'; give one format for all of it")


def _state(served: Served, line: Line, version: Version) -> None:
    state = served.scenario.cache_format.state
    kinds = [layer.attention for layer in served.scenario.model.layout.kinds]
    name = "" if state is None else state.name
    followed = (Mamba1, Mamba2, GatedDeltaNet) if version >= _OF_DELTA_NETS else (Mamba1, Mamba2)
    if not any(isinstance(each, followed) for each in kinds) or version < _STATES.get(name, (10**6,)):
        raise KvcalcError(
            f"--state-dtype: kvcalc emits no flag of vllm {served.version} for states in {name}; leave it out"
        )
    line.add("--mamba-ssm-cache-dtype", DTYPES[name])


def _options(served: Served, line: Line) -> None:
    given = served.given
    told = served.scenario.drafting is not None or given.get("speculative-method", AUTO) != AUTO
    undrafted = not told and given.get("num-speculative-tokens")
    unsaid = {
        "usage": given.get("usage") and "vllm serve is a server",
        "compiled-before": "compiled-before" in given and "a server finds that out itself",
        "num-speculative-tokens": undrafted and "what drafts the tokens is not said (speculative-method)",
        "kv-offloading-backend": given.get("kv-offloading-backend") and "kvcalc emits no flag for what is kept beside",
    }
    for name, why in ((name, why) for name, why in unsaid.items() if why):
        raise KvcalcError(f"--emit: --engine-option {name}: {why}; leave it out")
    if "use-v1" in given:
        line.environment["VLLM_USE_V1"] = str(int(given["use-v1"]))
    if "use-flashinfer-sampler" in given:
        line.environment["VLLM_USE_FLASHINFER_SAMPLER"] = str(int(given["use-flashinfer-sampler"]))
    for name in _VALUES:
        if name in given:
            line.add(f"--{name}", given[name])
    for name in _SWITCHES:
        if name in given:
            line.add(f"--{name}" if given[name] else f"--no-{name}")
