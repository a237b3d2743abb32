"""Temporary memory of transformers: every storage of forward passes on torch's meta device, tracked."""

from __future__ import annotations

import json
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from transformers_cases import EXPERTS

import kvcalc
from kvcalc.importers import import_config

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.torch

BATCH, PROMPT = 2, 512
SMALL = {
    "hidden_size": 512,
    "num_hidden_layers": 2,
    "vocab_size": 100,
    "max_position_embeddings": 4096,
    "pad_token_id": 0,
    "torch_dtype": "bfloat16",
}
HEADS = {"num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 64}
WIDE = {"num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64}
EQUAL = {"num_attention_heads": 16, "num_key_value_heads": 16, "head_dim": 64}
LATENT = {
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "kv_lora_rank": 128,
    "q_lora_rank": 256,
    "qk_rope_head_dim": 32,
    "qk_nope_head_dim": 64,
    "v_head_dim": 64,
}
CASES: dict[str, dict[str, Any]] = {
    "feed-forward block": {"model_type": "llama", **HEADS, "intermediate_size": 1792},
    "queries": {"model_type": "llama", **WIDE, "intermediate_size": 128},
    "keys": {"model_type": "llama", **EQUAL, "intermediate_size": 128},
    "windows": {
        "model_type": "gemma3_text",
        **HEADS,
        "intermediate_size": 1792,
        "sliding_window": 64,
        "layer_types": ["sliding_attention"] * 2,
    },
    "experts": {
        "model_type": "qwen3_moe",
        **HEADS,
        "intermediate_size": 128,
        "num_experts": 8,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 512,
    },
    "latents": {"model_type": "deepseek_v3", **LATENT, **EXPERTS, "intermediate_size": 128, "first_k_dense_replace": 2},
}


def tracker(known: list[Any]) -> Any:
    """Counts the bytes of storages that operations make beside known ones, while they live."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    class Tracked(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's
        def __init__(self) -> None:
            super().__init__()  # type: ignore[no-untyped-call]  # torch's
            self.known = {_identity(tensor) for tensor in known}
            self.live: dict[int, int] = {}
            self.peak = 0

        def __torch_dispatch__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
            made = func(*args, **(kwargs or {}))
            for tensor in made if isinstance(made, list | tuple) else (made,):
                if isinstance(tensor, torch.Tensor) and (key := _identity(tensor)) not in self.known | self.live.keys():
                    storage = tensor.untyped_storage()
                    self.live[key] = storage.nbytes()
                    weakref.finalize(storage, self.live.pop, key, None)
                    self.peak = max(self.peak, sum(self.live.values()))
            return made

    return Tracked()


def _identity(tensor: Any) -> int:
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001  # torch tells storages apart by it


def no_scores(module: Any, query: Any, key: Any, value: Any, mask: Any, **other: Any) -> Any:  # noqa: ARG001  # as called
    """As flash attention does: its output, and nothing else of that size."""
    batch, heads, tokens, _ = query.shape
    return query.new_empty(batch, tokens, heads, value.shape[-1]), None


def peak(values: dict[str, Any]) -> int:
    """Bytes that a pass over a prompt holds at most beside weights, its cache among them."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.cache_utils import DynamicCache
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    ALL_ATTENTION_FUNCTIONS.register("no_scores", no_scores)
    ALL_MASK_ATTENTION_FUNCTIONS.register("no_scores", lambda *_, **__: None)
    given = {key: value for key, value in values.items() if key not in {"model_type", "torch_dtype"}}
    config = CONFIG_MAPPING[values["model_type"]](**given)
    with torch.device("meta"), torch.no_grad():
        model: Any = AutoModelForCausalLM.from_config(
            config, dtype=torch.bfloat16, attn_implementation="no_scores"
        ).eval()
        tokens = torch.ones((BATCH, PROMPT), dtype=torch.long)
        with tracker([*model.parameters(), *model.buffers()]) as tracked:
            model(tokens, cache=DynamicCache(config=config), logits_to_keep=1)
    return int(tracked.peak)


@pytest.mark.parametrize("values", CASES.values(), ids=CASES)
def test_the_peak_of_a_prompt(values: dict[str, Any]) -> None:
    """With the cache that is there by then: of all layers but the last, which the first peaks come before."""
    shape = {**SMALL, **values}
    model = import_config(json.dumps(shape), "config.json", "small").model
    found = kvcalc.estimate(model, engine="transformers", batch=BATCH, context=PROMPT, gpu="h100-sxm")
    predicted = found.memory.temporary_bytes + found.cache.bytes
    assert peak(shape) == pytest.approx(predicted, rel=0.08)
