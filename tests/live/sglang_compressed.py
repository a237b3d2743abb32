"""SGLang's own pools of compressed attention: DSV4PoolConfigurator of a wheel, without its imports and without a card.

`pip download --no-deps sglang==0.5.23`, unzip it, then `python tests/live/sglang_compressed.py FOLDER [9 or 10
[flashmla_mega]]`: for each model, memory in GiB, requests, tokens of a chunk and whether there is a radix cache, the
bytes of a token, and the tokens of the full pool and of that of windows. The environment is the default one.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import kvcalc
from kvcalc.mechanisms import Compressed

ASKED = ((40, 256, 8192, True), (12, 8, 4096, True), (60, 64, 8192, False))
MODELS = ("deepseek-v4-flash", "deepseek-v4-pro", "deepseek-v4.1-flash")
POOL = "sglang.srt.mem_cache.deepseek_v4_memory_pool"
GATES = (
    "sglang.kernels.ops.attention.dsv4.unified_kv_kernels.env_gate",
    "sglang.srt.layers.attention.dsv4.unified_kv_gate",
)
OF_THE_CONFIGURATOR = {
    "MemoryPoolConfigurator",
    "MemoryPoolConfig",
    "_DSV4PoolSizes",
    "DSV4PoolConfigurator",
    "compute_swa_request_cap",
    "_get_dsv4_compress_state_dtype_sizes",
    "DSV4_DEFAULT_SWA_FULL_TOKENS_RATIO",
    "_operator_swa_full_tokens_ratio",
    "check_dsv4_unified_fp8_pd_supported",
}
OF_THE_POOL = {
    "get_dsv4_indexer_bytes_per_token",
    "get_compress_state_ring_size",
    "resolve_compress_state_ring_size",
    "collect_sources_by_ratio",
    "get_compress_state_write_pad",
    "get_swa_ring_size",
    "uses_draft_swa_ring",
    "get_draft_swa_ring_size",
    "_num_dsv4_physical_kv_pages",
    "resolve_compressed_kv_layout",
    "select_dsv4_kv_layout",
    "dsv4_unified_row_bytes",
}
HEAD = """
from __future__ import annotations
import logging
from abc import ABC
from dataclasses import dataclass
from typing import *
logger = logging.getLogger("sglang")
"""


class Given:
    """What is given by name; else None."""

    def __init__(self, **given: Any) -> None:
        self.__dict__.update(given)

    def __getattr__(self, name: str) -> None:
        return None


def taken(path: Path, names: set[str]) -> str:
    """The source of what a file defines by these names."""
    source = path.read_text(encoding="utf-8")
    found = []
    for node in ast.parse(source).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else node
        if getattr(target, "id", getattr(target, "name", None)) in names:
            first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))])
            found.append("\n".join(source.splitlines()[first - 1 : node.end_lineno]))
    return "\n\n".join(found)


def put(name: str, values: dict[str, Any]) -> None:
    """Makes a module, so that it is imported where the source does."""
    parts = name.split(".")
    for length in range(1, len(parts)):
        sys.modules.setdefault(".".join(parts[:length]), ModuleType(parts[length - 1]))
    module = ModuleType(name)
    module.__dict__.update({key: value for key, value in values.items() if not key.startswith("__")})
    sys.modules[name] = module


def scope_of(wheel: Path, card: int, backend: str, schedule: Given) -> dict[str, Any]:
    """The names that the configurator sees."""

    def env(value: object) -> Given:
        return Given(get=lambda: value)

    nothing = Given()
    own: dict[str, Any] = {
        "__name__": "configurator",
        "envs": Given(
            SGLANG_DSV4_COMPRESS_STATE_DTYPE=env("float32"),
            SGLANG_OPT_USE_ONLINE_COMPRESS=env(value=False),
            SGLANG_SWA_EVICTION_INTERVAL=env(128),
            SGLANG_DSV4_KV_LAYOUT=env("v4"),
            SGLANG_DSV4_COMPRESSED_KV_LAYOUT=env("auto"),
        ),
        "ceil_div": lambda number, by: -(-number // by),
        "ceil_align": lambda number, to: -(-number // to) * to,
        "torch": Given(
            cuda=Given(is_available=lambda: True, get_device_capability=lambda: (card, 0)),
            version=Given(cuda="13"),
            float32=Given(itemsize=4),
        ),
        "get_exec": lambda: Given(kernel=Given(dsv4_attn_backend=backend), features=nothing),
        "get_spec": lambda: nothing,
        "max_speculative_num_draft_tokens": lambda: None,
        "flashmla_supports_v41_kv_layouts": lambda: False,
        "DSV41_INDEX_PAGE_SIZE": 64,
        **dict.fromkeys(("get_schedule", "get_disagg", "get_memory"), lambda: schedule),
        **dict.fromkeys(("_is_hip", "_is_npu", "ONLINE_C128"), False),
        **dict.fromkeys(("KVCacheConfigurator", "ModelRunner"), object),
    }
    srt = wheel / "sglang/srt"
    put("configurator", {})  # where dataclasses look
    exec(HEAD, own)  # noqa: S102  # the wheel's
    for path in sorted(wheel.glob("sglang/kernels/ops/attention/dsv4/kv_layout.py")):
        exec(path.read_text(encoding="utf-8"), own)  # noqa: S102  # the wheel's
    exec(HEAD + taken(srt / "mem_cache/deepseek_v4_memory_pool.py", OF_THE_POOL), own)  # noqa: S102  # the wheel's
    put(POOL, own)
    for gate in GATES:
        put(gate, dict.fromkeys(("is_unified_kv_triton", "is_unified_kv_fp8"), lambda: False))
    exec(HEAD + taken(srt / "model_executor/pool_configurator.py", OF_THE_CONFIGURATOR), own)  # noqa: S102  # the wheel's
    return own


def pools(
    wheel: Path, card: int, model: str, asked: tuple[int, int, int, bool], backend: str = "flashmla"
) -> tuple[float, int, int]:
    """Bytes of a token, and tokens of the full pool and of that of windows."""
    gib, requests, chunk, radix_cache = asked
    layers = [layer[0].attention for layer in kvcalc.load_model(model).layout.layers]
    kinds = [each for each in layers if isinstance(each, Compressed)]
    ratios = [each.compress_ratio or 0 for each in kinds]
    sources = [place for place, each in enumerate(kinds) if each.compress_ratio and not each.shared_entries]
    schedule = Given(
        swa_full_tokens_ratio=0.1,
        max_running_requests=requests,
        disaggregation_mode="null",
        chunked_prefill_size=chunk,
        disable_radix_cache=not radix_cache,
    )
    config = Given(
        qk_nope_head_dim=448,
        qk_rope_head_dim=64,
        index_head_dim=128,
        context_len=1_048_576,
        compress_ratios=ratios,
        window_size=128,
        hf_config=Given(kv_source_layer_ids=sources),
    )
    server = Given(
        kv_cache_dtype_str="fp8_e4m3",
        model_config=config,
        layer_info=Given(start_layer=0, end_layer=len(ratios)),
        start_layer=0,
        end_layer=len(ratios),
        pp_size=1,
        dp_size=1,
        attn_dp_size=1,
        page_size=256,
        sliding_window_size=128,
        spec_algorithm=Given(is_none=lambda: True, is_dspark=lambda: False, is_eagle=lambda: False),
        server_args=schedule,
        ps=Given(pp_size=1, attn_dp_size=1),
    )
    configurator = scope_of(wheel, card, backend, schedule)["DSV4PoolConfigurator"](server)
    sizes = configurator.calculate_pool_sizes(gib * 2**30, 256)
    return configurator.bytes_per_full_token, sizes.full_max_total_num_tokens, sizes.swa_max_total_num_tokens


if __name__ == "__main__":
    folder, major, kernel = Path(sys.argv[1]), int((sys.argv[2:] or ["9"])[0]), (sys.argv[3:] or ["flashmla"])[0]
    for each in MODELS:
        for wanted in ASKED:
            sys.stdout.write(" ".join(map(str, (each, *wanted, *pools(folder, major, each, wanted, kernel)))) + "\n")
