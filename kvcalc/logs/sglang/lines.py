"""The lines of SGLang's start-up log that are understood, 0.4.4 to 0.5.23, with the versions that print each and where.

Every tensor-parallel rank prints the same lines; each begins with the time and the rank.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.logs.dialect import NVIDIA_CARD, log_line
from kvcalc.logs.sglang.figures import COUNT, gib

if TYPE_CHECKING:
    from kvcalc.logs.dialect import LogLine

_VERSION = r"0\.\d{1,3}\.\d{1,3}(?:\.post\d{1,2})?"
_RUNNER = "sglang/srt/model_executor/model_runner.py"
_POOL = "sglang/srt/mem_cache/memory_pool.py"


def _loaded(says: str, versions: str) -> LogLine:
    pattern = rf"Load weight end\. {says}.{{0,200}}?avail mem={gib('after')}, mem usage={gib('weights')}"
    return log_line("Load weight end", pattern, versions, f"{_RUNNER}, load_model")


def _allocated(says: str, versions: str) -> LogLine:
    sizes = rf"(?:K size: {gib('k')}, V size: {gib('v')}|KV size: {gib('kv')})"
    pattern = rf"KV Cache is allocated\. {says}#tokens: (?P<pool_tokens>{COUNT}), {sizes}"
    return log_line("KV Cache is allocated", pattern, versions, f"{_POOL}, KVCache")


LINES = (
    log_line(
        "server_args=",
        r"server_args=(?:ServerArgs\()?(?P<settings>.*)",
        "any",
        "sglang/srt/entrypoints/engine.py, _launch_subprocesses",
        starts=True,
    ),
    log_line(
        "sglang",
        r"(?:sglang\.launch_server|sglang serve)\s(?P<command>.*)",
        "any",
        "the command line, where a log holds it",
    ),
    log_line(
        "sglang",
        rf"(?:lmsysorg/sglang:v|sglang==|sglang[ _-]version[:= ]{{1,3}}v?)(?P<version>{_VERSION})",
        "any",
        "its image or package, where a log holds them",
    ),
    log_line("Load weight begin", rf"Load weight begin\. avail mem={gib('before')}", "any", f"{_RUNNER}, load_model"),
    _loaded(r"type=\w{1,80}, dtype=", "0.4 to 0.5.8"),
    _loaded(r"elapsed=[\d.]{1,20} s, type=\w{1,80}, dtype=", "0.5.9"),
    _loaded(r"elapsed=[\d.]{1,20} s, type=\w{1,80}, (?!dtype=)", "0.5.10 to 0.5.23"),
    _allocated("", "0.4 to 0.5.12"),
    _allocated(r"dtype: (?:torch\.)?(?P<kv_dtype>\w{1,20}), ", "0.5.13 to 0.5.23"),
    log_line(
        "Mamba Cache is allocated",
        rf"Mamba Cache is allocated\. max_mamba_cache_size: (?P<slots>{COUNT}), conv_state size: {gib('conv')}, "
        rf"ssm_state size: {gib('ssm')}",
        "any; since 0.5.4",
        f"{_POOL}, MambaPool",
    ),
    log_line(
        "liding window memory pool",
        rf"liding window memory pool\. full_layer_tokens=(?P<pool_tokens>{COUNT}), "
        rf"swa_layer_tokens=(?P<window_tokens>{COUNT})",
        "any; since 0.4.9",
        "sglang/srt/model_executor/pool_configurator.py",
    ),
    log_line(
        "DSV4 pool sizes",
        rf"DSV4 pool sizes: full=(?P<pool_tokens>{COUNT}), swa=(?P<window_tokens>{COUNT})",
        "any; since 0.5.15",
        "sglang/srt/model_executor/pool_configurator.py, DSV4PoolConfigurator",
    ),
    log_line(
        "SWAKVPool mem usage",
        rf"SWAKVPool mem usage: {gib('both')}, swa size: (?P<window_tokens>{COUNT}), "
        rf"full size: (?P<pool_tokens>{COUNT})",
        "any; since 0.4.9",
        "sglang/srt/mem_cache/swa_memory_pool.py",
    ),
    log_line(
        "max_total_num_tokens=",
        rf"max_total_num_tokens=(?P<tokens>{COUNT}),(?:.{{0,120}}? max_running_requests=(?P<requests>{COUNT}))?"
        rf"(?:, context_len=(?P<context>{COUNT}))?(?:, available_gpu_mem={gib('left')})?",
        "any",
        "sglang/srt/managers/scheduler.py",
    ),
    log_line(
        "apture",
        rf"[Cc]apture [\w ]{{0,30}}graph end\. .{{0,60}}?mem usage={gib('graphs')}",
        "any",
        f"{_RUNNER}, init_device_graphs",
    ),
    log_line(
        "NVIDIA ",
        NVIDIA_CARD,
        "any",
        "nvidia-smi and check_env, where a log holds them",
    ),
    log_line("device_name=", r"device_name=(?P<device>[\w-]{3,60})", "any", "names of tuned kernels' files"),
)
