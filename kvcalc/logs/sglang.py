"""SGLang's start-up log, 0.4.4 to 0.5.23: each line that is understood, with the versions that print it and where.

Its GB are 2^30 bytes. Every tensor-parallel rank prints the same lines; each begins with the time and the rank.
"""

from __future__ import annotations

import re
from fractions import Fraction
from types import MappingProxyType
from typing import TYPE_CHECKING

from kvcalc.logs.server_log import Dialect, Figure, Printed, Unit, Wording

if TYPE_CHECKING:
    from collections.abc import Mapping

_GIB = r"-?\d{1,7}(?:\.\d{1,20})?"
_COUNT = r"\d{1,18}"
_VERSION = r"0\.\d{1,3}\.\d{1,3}(?:\.post\d{1,2})?"


def _gib(group: str) -> str:
    return rf"(?P<{group}>{_GIB}) ?GB"


def _size(name: str) -> Figure:
    return Figure(name, Unit.GIB, decimals=2)


BEFORE_LOADING = "free memory before loading"
AFTER_LOADING = "free memory after loading"
POOL_TOKENS = "tokens of a pool"
_PARTS = ("keys", "values", "keys and values", "convolution states", "states")
BOTH_POOLS = "both pools"
_OF_A_POOL = ("keys", "keys and values")
"""Of which each pool prints one."""
WINDOW_TOKENS = "tokens of windows"

FIGURES = MappingProxyType(
    {
        "before": _size(BEFORE_LOADING),
        "after": _size(AFTER_LOADING),
        "weights": _size("weights"),
        "k": _size("keys"),
        "v": _size("values"),
        "kv": _size("keys and values"),
        "both": _size(BOTH_POOLS),
        "conv": _size("convolution states"),
        "ssm": _size("states"),
        "slots": Figure("slots of states", Unit.TOKENS),
        "pool_tokens": Figure(POOL_TOKENS, Unit.TOKENS),
        "window_tokens": Figure(WINDOW_TOKENS, Unit.TOKENS),
        "tokens": Figure("tokens", Unit.TOKENS),
        "context": Figure("longest request", Unit.TOKENS),
        "requests": Figure("sequences at once", Unit.TOKENS),
        "graphs": _size("CUDA graphs"),
        "left": _size("free memory"),
    }
)
"""By the name of the group that holds them in the patterns below."""


def _line(anchor: str, pattern: str, versions: str, source: str, *, starts: bool = False) -> Wording:
    return Wording(anchor, re.compile(pattern), versions, source, starts)


_RUNNER = "sglang/srt/model_executor/model_runner.py"
_POOL = "sglang/srt/mem_cache/memory_pool.py"


def _loaded(says: str, versions: str) -> Wording:
    pattern = rf"Load weight end\. {says}.{{0,200}}?avail mem={_gib('after')}, mem usage={_gib('weights')}"
    return _line("Load weight end", pattern, versions, f"{_RUNNER}, load_model")


def _allocated(says: str, versions: str) -> Wording:
    sizes = rf"(?:K size: {_gib('k')}, V size: {_gib('v')}|KV size: {_gib('kv')})"
    pattern = rf"KV Cache is allocated\. {says}#tokens: (?P<pool_tokens>{_COUNT}), {sizes}"
    return _line("KV Cache is allocated", pattern, versions, f"{_POOL}, KVCache")


WORDINGS = (
    _line(
        "server_args=",
        r"server_args=(?:ServerArgs\()?(?P<settings>.*)",
        "any",
        "sglang/srt/entrypoints/engine.py, _launch_subprocesses",
        starts=True,
    ),
    _line(
        "sglang",
        r"(?:sglang\.launch_server|sglang serve)\s(?P<command>.*)",
        "any",
        "the command line, where a log holds it",
    ),
    _line(
        "sglang",
        rf"(?:lmsysorg/sglang:v|sglang==|sglang[ _-]version[:= ]{{1,3}}v?)(?P<version>{_VERSION})",
        "any",
        "its image or package, where a log holds them",
    ),
    _line("Load weight begin", rf"Load weight begin\. avail mem={_gib('before')}", "any", f"{_RUNNER}, load_model"),
    _loaded(r"type=\w{1,80}, dtype=", "0.4 to 0.5.8"),
    _loaded(r"elapsed=[\d.]{1,20} s, type=\w{1,80}, dtype=", "0.5.9"),
    _loaded(r"elapsed=[\d.]{1,20} s, type=\w{1,80}, (?!dtype=)", "0.5.10 to 0.5.23"),
    _allocated("", "0.4 to 0.5.12"),
    _allocated(r"dtype: (?:torch\.)?(?P<kv_dtype>\w{1,20}), ", "0.5.13 to 0.5.23"),
    _line(
        "Mamba Cache is allocated",
        rf"Mamba Cache is allocated\. max_mamba_cache_size: (?P<slots>{_COUNT}), conv_state size: {_gib('conv')}, "
        rf"ssm_state size: {_gib('ssm')}",
        "any; since 0.5.4",
        f"{_POOL}, MambaPool",
    ),
    _line(
        "liding window memory pool",
        rf"liding window memory pool\. full_layer_tokens=(?P<pool_tokens>{_COUNT}), "
        rf"swa_layer_tokens=(?P<window_tokens>{_COUNT})",
        "any; since 0.4.9",
        "sglang/srt/model_executor/pool_configurator.py",
    ),
    _line(
        "SWAKVPool mem usage",
        rf"SWAKVPool mem usage: {_gib('both')}, swa size: (?P<window_tokens>{_COUNT}), "
        rf"full size: (?P<pool_tokens>{_COUNT})",
        "any; since 0.4.9",
        "sglang/srt/mem_cache/swa_memory_pool.py",
    ),
    _line(
        "max_total_num_tokens=",
        rf"max_total_num_tokens=(?P<tokens>{_COUNT}),(?:.{{0,120}}? max_running_requests=(?P<requests>{_COUNT}))?"
        rf"(?:, context_len=(?P<context>{_COUNT}))?(?:, available_gpu_mem={_gib('left')})?",
        "any",
        "sglang/srt/managers/scheduler.py",
    ),
    _line(
        "apture",
        rf"[Cc]apture [\w ]{{0,30}}graph end\. .{{0,60}}?mem usage={_gib('graphs')}",
        "any",
        f"{_RUNNER}, init_device_graphs",
    ),
    _line(
        "NVIDIA ",
        r"(?P<device>NVIDIA (?:(?:GeForce|RTX|Tesla|PRO) ){0,3}[A-Z]*\d{1,4}[\w-]*"
        r"(?: (?:PRO|\d{2,4}(?:GB)?|HBM\w+|PCIe|NVL|Ti|Blackwell|Workstation|Server|Edition|Ada|Generation))*)",
        "any",
        "nvidia-smi and check_env, where a log holds them",
    ),
    _line("device_name=", r"device_name=(?P<device>[\w-]{3,60})", "any", "names of tuned kernels' files"),
)

SINCE = MappingProxyType(
    {
        "enable_dp_lm_head": "0.4.6.post5",
        "sleep_on_idle": "0.4.8",
        "disable_hybrid_swa_memory": "0.4.9.post6",
        "enable_cudagraph_gc": "0.5.1",
        "enable_lmcache": "0.5.2",
        "enable_fp32_lm_head": "0.5.3",
        "grpc_mode": "0.5.4.post3",
        "enable_fused_qk_norm_rope": "0.5.6.post2",
        "enable_dynamic_chunking": "0.5.7",
        "enable_prefill_delayer": "0.5.8",
        "attn_cp_size": "0.5.9",
        "enable_mfu_metrics": "0.5.10.post1",
        "enable_http2": "0.5.11",
        "enable_strict_thinking": "0.5.12.post1",
        "enable_deepseek_v4_fp4_indexer": "0.5.13",
        "disable_prefill_cuda_graph": "0.5.14",
        "enable_unified_memory": "0.5.15.post1",
        "enable_waterfill": "0.5.16",
        "enable_linear_replayssm_spec": "0.5.17",
        "language_model_only": "0.5.18",
        "enable_layernorm_sp": "0.5.19",
        "enable_response_store": "0.5.20",
        "enable_pd_role_switch": "0.5.21",
        "enable_watermark": "0.5.22",
        "enable_paged_experts": "0.5.23",
    }
)
"""A setting that ServerArgs prints, always with a value, and the first version read that has it."""

SETTINGS = MappingProxyType(
    {
        "model_path": "MODEL",
        "model": "MODEL",
        "dtype": "--dtype",
        "quantization": "--weight-dtype",
        "kv_cache_dtype": "--cache-dtype",
        "kv_dtype": "kept as",
        "context_length": "--context",
        "tp_size": "--tp",
        "tp": "--tp",
        "tensor_parallel_size": "--tp",
        "pp_size": "--pp",
        "pipeline_parallel_size": "--pp",
        "dp_size": "--dp",
        "dp": "--dp",
        "data_parallel_size": "--dp",
        "ep_size": "--ep",
        "ep": "--ep",
        "expert_parallel_size": "--ep",
        "enable_dp_attention": "--dp-attention",
        "attn_dp_size": "--attn-dp",
        "attention_data_parallel_size": "--attn-dp",
        "mem_fraction_static": "mem-fraction-static",
        "page_size": "page-size",
        "swa_full_tokens_ratio": "swa-full-tokens-ratio",
        "mamba_full_memory_ratio": "mamba-full-memory-ratio",
        "chunked_prefill_size": "chunked-prefill-size",
        "cuda_graph_max_bs": "cuda-graph-max-bs",
        "cuda_graph_max_bs_decode": "cuda-graph-max-bs",
        "max_running_requests": "max-running-requests",
        "max_total_tokens": "max-total-tokens",
        "max_mamba_cache_size": "max-mamba-cache-size",
        "disable_radix_cache": "disable-radix-cache",
        "disable_cuda_graph": "disable-cuda-graph",
        "mamba_ssm_dtype": "--state-dtype",
        "speculative_algorithm": "speculative algorithm",
    }
    | {name: f"since {version}" for name, version in SINCE.items()}
)
"""sglang/srt/server_args.py, ServerArgs, and the names of its options on a command line."""


def derived(printed: Mapping[str, tuple[Printed, ...]]) -> Mapping[str, tuple[Printed, ...]]:
    """What its figures tell together: the memory of all pools of a rank, and the tokens of the full one.

    Of a rank that allocates two pools alike, one is a draft's, and their memory is not added up.
    """
    found = dict(printed)
    pools = printed.get(POOL_TOKENS, ())
    if "tokens" not in found and pools:
        found["tokens"] = (max(pools),)
    if BOTH_POOLS in printed:
        return {**found, "cache memory": printed[BOTH_POOLS]}
    pairs = [(name, each) for name in _PARTS for each in printed.get(name, ())]
    for process in dict.fromkeys(each.process for _, each in pairs):
        own = [each for _, each in pairs if each.process == process]
        allocated = sum(name in _OF_A_POOL and each.process == process for name, each in pairs)
        if allocated > (2 if WINDOW_TOKENS in printed else 1):
            continue
        total = sum((each.value for each in own), Fraction(0)), sum((each.off for each in own), Fraction(0))
        text = " + ".join(each.text for each in own)
        found["cache memory"] = (*found.get("cache memory", ()), Printed(*total, text, process))
    return found


SGLANG = Dialect(
    engine="sglang",
    figures=FIGURES,
    wordings=WORDINGS,
    settings=SETTINGS,
    nested=frozenset(),
    flags=MappingProxyType({}),
    process=re.compile(r"\[[\d -]{8,12}[\d:. ]{6,16} (?P<name>(?:[A-Z_]{2,12}\d{1,6} ?){1,6})\]"),
    typical=(
        "max_total_num_tokens=463866, chunked_prefill_size=8192",
        "KV Cache is allocated. #tokens: 463866, K size: 28.31 GB, V size: 28.31 GB",
    ),
    wraps=False,
    derive=derived,
)
