"""Asks vLLM what one of its ranks loads: its own model classes, made of config.json on the meta device.

Nothing is loaded, and what vLLM does after loading does not happen (process_weights_after_loading: kernels' own
layouts, latents' up-projections in the dtype of computing). What a rank has before that is counted: every parameter,
every buffer, and tensors that modules hold as plain attributes, each once.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from vllm.engine.arg_utils import EngineArgs
from vllm.model_executor.layers import rotary_embedding
from vllm_planner import USAGES, be_rank, made_on_meta
from vllm_vectors import models

_BLOCKS_OF_128 = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}
QUANTISED: dict[str, dict[str, Any]] = {
    "MiniMaxAI/MiniMax-M2.5": {
        **_BLOCKS_OF_128,
        "modules_to_not_convert": ["gate", "e_score_correction_bias", "lm_head"],
    },
    "deepseek-ai/DeepSeek-V3": _BLOCKS_OF_128,
    "deepseek-ai/DeepSeek-V3.2": _BLOCKS_OF_128,
    "moonshotai/Kimi-K2-Instruct": _BLOCKS_OF_128,
}
"""quantization_config of published checkpoints whose planner's files leave it out, since caches do not depend on it."""

LEFT_OUT = (
    *(
        "deepseek-ai/DeepSeek-V4",
        "deepseek-ai/DeepSeek-V3.1",
        "XiaomiMiMo",
        "moonshotai/Kimi-K2.6",
        "moonshotai/Kimi-K3",
    ),
    *("openai/gpt-oss", "mistralai/Devstral-2", "Qwen/Qwen3.6", "google/gemma-4-E4B", "nvidia/NVIDIA-Nemotron-3-Ultra"),
    *("meta-llama/Llama-4-Maverick", "meta-llama/Llama-4-Scout", "openai-community/gpt2"),
)
"""Whose files here lack what weights depend on: formats, or dims of a tower."""

DEPLOYMENTS: tuple[dict[str, Any], ...] = (
    *({"tp": tp} for tp in (1, 2, 4, 8)),
    *({"tp": 2, "pp": 2, "stage": stage} for stage in (0, 1)),
    {"tp": 8, "ep": 8},
)


def _plain(module: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Tensors that are attributes and nothing that PyTorch registers."""
    for name, value in vars(module).items():
        if isinstance(value, torch.Tensor):
            yield name, value
        elif isinstance(value, list | tuple):
            yield from ((f"{name}.{number}", each) for number, each in enumerate(value) if torch.is_tensor(each))


def tensors_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """By the name of the module and of the tensor; one that several share stands once, with the first name."""
    found: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for prefix, module in model.named_modules():
        own = (*module._parameters.items(), *module._buffers.items(), *_plain(module))  # noqa: SLF001  # each, undivided
        for name, tensor in own:
            if tensor is not None and id(tensor) not in seen:
                seen.add(id(tensor))
                found[f"{prefix}.{name}"] = tensor
    return found


def loaded(
    model: Mapping[str, Any], arguments: Mapping[str, Any], stage: int = 0, rank: int = 0, usage: str = "server"
) -> dict[str, torch.Tensor]:
    """The tensors of one rank of a pipeline stage.

    Args:
        model: as its config.json has it.
        arguments: of vLLM's EngineArgs.
        stage: of the pipeline.
        rank: among those that share the stage's layers.
        usage: whose defaults: `server` or `offline`.
    """
    vars(rotary_embedding)["_ROPE_DICT"].clear()  # tables that models made before this one share
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "config.json").write_text(json.dumps(model), encoding="utf-8")
        given = EngineArgs(model=folder, load_format="dummy", skip_tokenizer_init=True, **arguments)
        config = given.create_engine_config(USAGES[usage])
        be_rank(config, stage, rank)
        return tensors_of(made_on_meta(config))


def says(model: Mapping[str, Any], deployment: Mapping[str, int]) -> dict[str, int]:
    """Bytes of all tensors of the first rank of a stage, and how many of them are those of vectors and scalars."""
    arguments = {
        "tensor_parallel_size": deployment["tp"],
        "pipeline_parallel_size": deployment.get("pp", 1),
        "enable_expert_parallel": "ep" in deployment,
    }
    tensors = loaded(model, arguments, deployment.get("stage", 0)).values()
    sizes = [(each.dim(), each.numel() * each.element_size()) for each in tensors]
    return {"bytes": sum(size for _, size in sizes), "vectors": sum(size for dims, size in sizes if dims < 2)}


def configs() -> dict[str, dict[str, Any]]:
    """Of the models that are asked."""
    return {
        name: {**config, **({"quantization_config": QUANTISED[name]} if name in QUANTISED else {})}
        for name, config in models().items()
        if "/" in name and not name.startswith(LEFT_OUT)
    }
