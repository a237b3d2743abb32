"""The steps of vLLM's start that plan the cache, by the names that the installed version has for them: 0.19 to 0.33.

What moved, and when: layers tell what they keep through the model runner that serves the model's class (V1 up to 0.28
beside V2), backends agree on a layout from 0.29, and groups are made in a module of their own from 0.33. Up to 0.25 the
figures that are printed are computed where they are printed.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
from vllm.config import set_current_vllm_config
from vllm.model_executor.model_loader.utils import initialize_model
from vllm.v1.attention.backends import utils as backends
from vllm.v1.core import kv_cache_utils
from vllm.v1.worker.gpu import attn_utils

Specs = dict[str, Any]


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return None


planning = _module("vllm.v1.core.kv_cache_planning") or kv_cache_utils


def make_workspace() -> None:
    """The workers' shared workspace, which up to 0.29 layers ask for a place as they are made."""
    workspace = _module("vllm.v1.worker.workspace")
    if workspace is not None and not workspace.is_workspace_manager_initialized():
        workspace.init_workspace_manager(torch.device("meta"))


def specs_of(config: Any) -> Specs:
    """What each layer keeps that is in the configuration's context."""
    runner = _module("vllm.v1.worker.gpu_model_runner")
    if runner is None or getattr(config, "use_v2_model_runner", False):
        return dict(attn_utils.get_kv_cache_spec(config))
    before = SimpleNamespace(vllm_config=config, shared_kv_cache_layers={})
    return dict(runner.GPUModelRunner.get_kv_cache_spec(before))


def layouts_of(config: Any) -> list[Any]:
    """The layouts that the backends of a stage have; none before 0.29."""
    if not hasattr(backends, "get_supported_kv_cache_layouts"):
        return []
    # not in every version, and types are those of the newest
    current = getattr(importlib.import_module("vllm.v1.worker.worker_base"), "get_current_attn_backends")  # noqa: B009
    return [layout.name for layout in backends.get_supported_kv_cache_layouts(current(config))]


def settle_layout(config: Any, layouts: Sequence[list[Any]], specs: Sequence[Specs]) -> str | None:
    """The layout that all stages have; None before 0.29."""
    if not hasattr(backends, "resolve_kv_cache_layout"):
        return None
    every = [spec for stage in specs for spec in stage.values()]
    return str(backends.resolve_kv_cache_layout(config, list(layouts), every).name)


def plans_of(config: Any, specs: Sequence[Specs], memory: int) -> list[Any]:
    """What each stage allocates of so much memory."""
    asked = (config, list(specs), [memory] * len(specs))
    if hasattr(planning, "get_global_kv_cache_groups"):
        return list(planning.get_kv_cache_configs(*asked, planning.get_global_kv_cache_groups(config, list(specs))))
    return list(planning.get_kv_cache_configs(*asked))


def capacity_of(config: Any, planned: Any) -> tuple[int, float]:
    """Tokens and concurrency, as they are printed."""
    if hasattr(kv_cache_utils, "get_kv_cache_capacity"):
        tokens, concurrency = kv_cache_utils.get_kv_cache_capacity(config, planned)
        return int(tokens), float(concurrency)
    lines: list[str] = []
    logger = vars(kv_cache_utils)["logger"]
    vars(kv_cache_utils)["logger"] = SimpleNamespace(
        info=lambda *_args, **_kwargs: None, info_once=lambda text, *args, **_kwargs: lines.append(text % args)
    )
    try:
        vars(kv_cache_utils)["_report_kv_cache_config"](config, planned)
    finally:
        vars(kv_cache_utils)["logger"] = logger
    (tokens,) = (line.split()[-2] for line in lines if line.startswith("GPU KV cache size"))
    return int(tokens.replace(",", "")), float(kv_cache_utils.get_max_concurrency_for_kv_cache_config(config, planned))


def block_bytes_of(planned: Any) -> int:
    """Bytes that a block takes of a stage's memory, over all its layers."""
    first, *_ = planned.kv_cache_tensors
    if hasattr(first, "layers"):  # from 0.29 a tensor is the whole allocation
        return int(first.size // planned.num_blocks)
    packed = getattr(first, "block_stride", 0)
    return int(packed or sum(each.size for each in planned.kv_cache_tensors) // planned.num_blocks)


def in_flight_of(config: Any) -> int:
    """Tokens that windows are kept for beside their own: of one step before 0.26."""
    return int(getattr(config, "max_in_flight_tokens", config.scheduler_config.max_num_batched_tokens))


def add_drafting_model(config: Any) -> None:
    """The layers that draft, beside the model's."""
    speculative = config.speculative_config
    with set_current_vllm_config(config):
        own = speculative.apply_draft_overrides(config) if hasattr(speculative, "apply_draft_overrides") else config
        initialize_model(own, model_config=speculative.draft_model_config)


def is_cacheable(spec: Any) -> bool:
    """Whether blocks are found again by a prefix, which all are before 0.29."""
    return bool(getattr(spec, "prefix_cacheable", True))
