"""SGLang's own settings, and the pools that it plans of so many bytes: its server's arguments, model and configurator.

What the server does before it loads weights is done as it does it: arguments are resolved, config.json is read, the
configurator sizes the pools. Only what is free on the card is given.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import sglang_card
import torch
from sglang.srt.configs.model_config import AttentionArch, ModelConfig
from sglang.srt.distributed.utils import get_pp_indices
from sglang.srt.mem_cache import kv_cache_configurator
from sglang.srt.model_executor.model_runner_components.layer_setup import resolve_layer_indices
from sglang.srt.model_executor.model_runner_components.spec_aux_hidden_state import resolve_spec_aux_hidden_state_config
from sglang.srt.runtime_context import (
    SpawnRanks,
    get_exec,
    get_memory,
    get_model,
    get_parallel,
    get_schedule,
    get_spec,
    publish,
)
from sglang.srt.server_args import ServerArgs
from sglang.srt.speculative.spec_info import SpeculativeAlgorithm

CARD = sglang_card.CARD
WINDOWS_OF = {"GptOssForCausalLM": "gpt_oss", "Gemma4ForConditionalGeneration": "gemma4_causal"}
"""Modules of classes that say their window."""
DTYPES = {"bfloat16": torch.bfloat16, "fp8_e4m3": torch.float8_e4m3fn, "fp8_e5m2": torch.float8_e5m2}


def plan(
    config: dict[str, Any], memory: int, stage: int = 0, draft: dict[str, Any] | None = None, **given: Any
) -> dict[str, Any]:
    """What the server runs with, and its pools of so many bytes, on a rank of a pipeline stage."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "config.json").write_text(json.dumps(config), encoding="utf-8")
        if draft is not None:
            Path(folder, "draft").mkdir()
            Path(folder, "draft", "config.json").write_text(json.dumps(draft), encoding="utf-8")
            given["speculative_draft_model_path"] = str(Path(folder, "draft"))
        args = ServerArgs(model_path=folder, device="cuda", **given)
        get_parallel().clear_stamp()
        replica = 0 if args.enable_dp_attention else None
        publish(args, role="scheduler", ranks=SpawnRanks(world_rank=stage * args.tp_size, gpu_id=0, dp_rank=replica))
        model = ModelConfig.from_server_args(args)
        configurator = _configurator(args, model, stage)
    kv_cache_configurator.get_available_gpu_memory = lambda *_args, **_kwargs: memory / 2**30
    kv_cache_configurator.mm_runtime_reservation_gb = lambda **_kwargs: 0
    get_parallel().override_permanently(world_group=SimpleNamespace(cpu_group=None))
    torch.distributed.all_reduce = lambda *_args, **_kwargs: None  # stages are asked for one by one
    planned = configurator._resolve_memory_pool_config(0.0)  # noqa: SLF001  # as the server asks it
    return {
        "tokens": planned.max_total_num_tokens,
        "window_tokens": planned.swa_max_total_num_tokens,
        "slots": get_schedule().max_mamba_cache_size if configurator.mambaish_config is not None else None,
        "requests": planned.max_running_requests,
        "page_size": get_schedule().page_size,
        "mem_fraction_static": get_schedule().mem_fraction_static,
        "chunked_prefill_size": get_schedule().chunked_prefill_size,
        "cuda_graph_max_bs": get_exec().graph.cuda_graph_config.decode.max_bs,
        "attention_backend": get_exec().kernel.attention_backend,
        "radix_cache": not get_memory().disable_radix_cache,
        "kv_cache_dtype": str(configurator.kv_cache_dtype).removeprefix("torch."),
    }


def _window(model: Any) -> int | None:
    """As load_model_utils.resolve_sliding_window_size: what the model's class says, else what its file does."""
    module = WINDOWS_OF.get(model.hf_config.architectures[0])
    if module is None:
        window: int | None = model.sliding_window_size or model.attention_chunk_size
        return window
    told: int = importlib.import_module(f"sglang.srt.models.{module}").get_attention_sliding_window_size(
        model.hf_text_config
    )
    return told


def _configurator(args: Any, model: Any, stage: int) -> Any:
    start, end = get_pp_indices(model.num_hidden_layers, stage, args.pp_size)
    asked = get_model().kv_cache_dtype
    drafts = SpeculativeAlgorithm.from_string(get_spec().speculative_algorithm)  # NEXTN has become EAGLE
    beside = resolve_spec_aux_hidden_state_config(
        server_args=args, model_config=model, spec_algorithm=drafts, is_draft_worker=False
    )
    has = {
        "device": "cuda",
        "gpu_id": 0,
        "attn_dp_size": get_parallel().attn_dp_size,
        "pp_size": args.pp_size,
        "model_config": model,
        "server_args": args,
        "kv_cache_dtype": model.dtype if asked == "auto" else DTYPES[asked],
        "kv_cache_dtype_str": asked,
        "model_dtype": model.dtype,
        "page_size": get_schedule().page_size,
        "sliding_window_size": _window(model) if model.is_hybrid_swa else None,
        "spec_algorithm": drafts,
        "is_draft_worker": False,
        "post_capture_kv_active": False,
        "spec_aux_config": beside,
        "is_hybrid_swa": model.is_hybrid_swa,
        "is_hybrid_swa_compress": getattr(model, "is_hybrid_swa_compress", False),
        "use_mla_backend": model.attention_arch == AttentionArch.MLA,
        "layer_info": resolve_layer_indices(
            model=SimpleNamespace(start_layer=start, end_layer=end), model_config=model, is_draft_worker=False
        ),
    }
    of_class = kv_cache_configurator.KVCacheConfigurator
    fields = [field for field in dataclasses.fields(of_class) if field.init]
    asked_for = [each.name for each in fields if each.name in has or each.default is dataclasses.MISSING]
    return of_class(**{name: has.get(name) for name in asked_for})
