"""Asks vLLM what it would plan: its own configuration, its own model classes and its own planner, on a CPU.

As vllm/v1/engine/core.py does at start (EngineCore._initialize_kv_caches): the configuration is made of the options
that a user gives, the model is made of its config.json on the meta device, the platform aligns blocks, every layer
tells its specification, layers are grouped, and blocks are counted. Only the memory is given instead of measured.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pretended_card
import torch
import vllm.distributed.parallel_state as parallel
import vllm_steps as steps
from vllm.config import get_layers_from_vllm_config, set_current_vllm_config
from vllm.engine.arg_utils import EngineArgs
from vllm.model_executor.layers.attention_layer_base import AttentionLayerBase
from vllm.model_executor.model_loader.utils import initialize_model
from vllm.platforms import current_platform
from vllm.usage.usage_lib import UsageContext
from vllm.v1.attention.backends import flashinfer
from vllm.v1.core.kv_cache_utils import generate_scheduler_kv_cache_config
from vllm.v1.kv_cache_interface import MambaSpec, UniformTypeKVCacheSpecs

vars(flashinfer)["_get_multi_ctas_kv_counter_buffer"] = lambda *_args, **_kwargs: None  # its size is a kernel's to tell

USAGES = {"server": UsageContext.OPENAI_API_SERVER, "offline": UsageContext.LLM_CLASS}


class _Processes:
    def __init__(self, size: int, rank: int) -> None:
        self._size, self._rank = size, rank
        self.world_size = size

    def size(self) -> int:
        return self._size

    def rank(self) -> int:
        return self._rank


class _Group(parallel.GroupCoordinator):  # type: ignore[misc]  # vLLM is not installed where types are checked
    """One rank of a group whose other ranks do not exist."""

    def __init__(self, size: int, rank: int, name: str) -> None:
        self.world_size, self.ranks, self.local_rank = size, list(range(size)), 0
        self.rank = self.rank_in_group = rank
        self.unique_name = name
        self.device_group = self.cpu_group = _Processes(size, rank)
        self.device_communicator = self.mq_broadcaster = None
        self.device = torch.device("cpu")
        self.use_device_communicator = self.use_custom_op_call = False


def be_rank(config: Any, stage: int, rank: int = 0) -> None:
    """This process becomes one rank of a pipeline stage."""
    sizes = config.parallel_config
    tp, pp, dcp = sizes.tensor_parallel_size, sizes.pipeline_parallel_size, sizes.decode_context_parallel_size
    for name, size, place in (
        ("_TP", tp, rank),
        ("_ETP", tp, rank),
        ("_PP", pp, stage),
        ("_WORLD", tp * pp, stage * tp + rank),
        ("_DP", 1, 0),
        ("_EP", tp, rank),
        ("_EPLB", tp, rank),
        ("_DCP", dcp, rank % dcp),
        ("_PCP", 1, 0),
    ):
        setattr(parallel, name, _Group(size, place, name))


def _add_drafting_layers(config: Any, stage: int) -> None:
    """As vllm/v1/worker/gpu/spec_decode/eagle/utils.py, load_eagle_model, on the last stage."""
    speculative = config.speculative_config
    last = stage + 1 == config.parallel_config.pipeline_parallel_size
    if speculative is None or speculative.method not in {"mtp", "dspark"} or not last:
        return
    target = set(config.compilation_config.static_forward_context)
    steps.add_drafting_model(config)
    layers = get_layers_from_vllm_config(config, AttentionLayerBase)
    for name in set(layers) - target:
        layers[name].is_draft_layer = True


def made_on_meta(config: Any, stage: int | None = None) -> torch.nn.Module:
    """The model as this rank has it; with a stage, also what drafts there."""
    steps.make_workspace()
    config.compilation_config.static_forward_context.clear()
    config.compilation_config.static_all_moe_layers.clear()
    before = torch.get_default_dtype()
    torch.set_default_dtype(config.model_config.dtype)
    try:
        with torch.device("meta"), pretended_card.OnMeta():
            model: torch.nn.Module = initialize_model(config)
            if stage is not None:
                _add_drafting_layers(config, stage)
            return model
    finally:
        torch.set_default_dtype(before)


def _specs_of_stage(config: Any, stage: int) -> tuple[dict[str, Any], list[str]]:
    """What each layer of a stage keeps, and the layouts that its backends have."""
    be_rank(config, stage)
    made_on_meta(config, stage)
    with set_current_vllm_config(config):
        current_platform.update_block_size_for_backend(config)
        layouts = steps.layouts_of(config)
        specs = steps.specs_of(config)
    if config.model_config.is_hybrid and all(isinstance(spec, MambaSpec) for spec in specs.values()):
        raise ValueError("a stage of states alone aligns no blocks, and its specs do not go with the other stages'")
    return specs, layouts


def _blocks_of_request(config: Any, group: Any) -> int:
    spec = group.kv_cache_spec
    return int(-(-spec.max_memory_usage_bytes(config) // spec.page_size_bytes))


def _group(config: Any, group: Any) -> list[Any]:
    """Its layers, what they are, tokens of a block, and blocks of one request at max_model_len."""
    spec = group.kv_cache_spec
    inner = next(iter(spec.kv_cache_specs.values())) if isinstance(spec, UniformTypeKVCacheSpecs) else spec
    kind = type(inner).__name__.removesuffix("Spec")
    return [len(group.layer_names), kind, spec.block_size, _blocks_of_request(config, group)]


def plan(model: Mapping[str, Any], memory: int, arguments: Mapping[str, Any], usage: str = "server") -> dict[str, Any]:
    """What vLLM plans for a model.

    Args:
        model: as its config.json has it.
        memory: bytes for the cache on each rank.
        arguments: of vLLM's EngineArgs.
        usage: whose defaults: `server` or `offline`.

    Returns:
        The figures that vLLM prints, and those that they rest on.
    """
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "config.json").write_text(json.dumps(model), encoding="utf-8")
        given = EngineArgs(model=folder, load_format="dummy", skip_tokenizer_init=True, **arguments)
        config = given.create_engine_config(USAGES[usage])
        stages = [_specs_of_stage(config, stage) for stage in range(config.parallel_config.pipeline_parallel_size)]
    specs = [each for each, _ in stages]
    with set_current_vllm_config(config):
        layout = steps.settle_layout(config, [each for _, each in stages], specs)
        whole = steps.plans_of(config, specs, memory)
        scheduler = generate_scheduler_kv_cache_config(whole)
        tokens, concurrency = steps.capacity_of(config, scheduler)
        cacheable = [each.kv_cache_spec for each in scheduler.kv_cache_groups if steps.is_cacheable(each.kv_cache_spec)]
        return {
            "blocks": scheduler.num_blocks,
            "block_size": min(spec.block_size for spec in cacheable),
            "tokens": tokens,
            "concurrency": round(concurrency, 6),
            "bytes_per_block": max(steps.block_bytes_of(each) for each in whole if each.kv_cache_tensors),
            "blocks_per_request": sum(_blocks_of_request(config, each) for each in scheduler.kv_cache_groups),
            "groups": [_group(config, each) for each in scheduler.kv_cache_groups],
            "layout": layout,
            "max_in_flight_tokens": steps.in_flight_of(config),
            "max_num_seqs": config.scheduler_config.max_num_seqs,
        }
