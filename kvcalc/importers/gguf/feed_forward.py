"""Feed-forward blocks and experts of a GGUF file, and the classes whose names tell what its keys do not."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from kvcalc.importers.sourced import Sourced

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvcalc.importers.config import Config

WIDTH, EXPERTS = "feed_forward_length", "expert_feed_forward_length"
_LEVELS = "n_deepstack_layers"
CLASSES: Mapping[str, str] = MappingProxyType(
    {
        **{
            name: name
            for name in (
                *("arcee", "bloom", "cohere2", "falcon", "gpt2", "jais2", "mpt", "nemotron", "rwkv6", "rwkv7"),
                *("codeshell", "nemotron_h", "smallthinker", "starcoder2"),
            )
        },
        "cogvlm": "cogvlm",
        "cohere2moe": "cohere2_moe",
        "command-r": "cohere",
        "gemma3n": "gemma3n_text",
        "gemma4": "gemma4_text",
        "gptneox": "gpt_neox",
        "grok": "grok-1",
        "llama4": "llama4_text",
        "phi2": "phi",
        "plamo": "plamo",
        "qwen3vl": "qwen3_vl_text",
        "qwen3vlmoe": "qwen3_vl_moe_text",
        "starcoder": "gpt_bigcode",
        "t5": "t5",
    }
)
"""By architecture, the model_type of its config.json, where engines choose by it what dims do not tell."""
_AS_WIDE_AS_BLOCKS = frozenset({"llama", "granitemoe", "granitehybrid", "phimoe", "grok", "dbrx", "arctic", "jamba"})
"""Without a width of their own experts have that of feed-forward blocks (src/models/<name>.cpp)."""
_AS_WIDE_ALWAYS = frozenset({"granitemoe", "granitehybrid"})
"""Of these llama.cpp does not look for a width of experts."""
_TWICE = frozenset({"qwen"})
"""The first Qwen states both of gate and up (src/models/qwen.cpp: n_ff / 2)."""


def model_type(config: Config) -> Sourced | None:
    """As config.json has it, of some architectures."""
    levels = config.optional_count(_LEVELS, least=0)
    name = CLASSES.get(config.model_type)
    if name is None or (config.model_type.startswith("qwen3vl") and (levels is None or not levels.value)):
        return None
    return Sourced(name, f"general.architecture {config.model_type}")


def width_of_blocks(config: Config) -> Sourced | None:
    """Of feed-forward blocks; in a list, that of the widest."""
    found = config.get(WIDTH)
    if found is not None and isinstance(found.value, list):
        wide = max(config.numbers(WIDTH), default=0)
        return Sourced(wide, f"{WIDTH}, of the widest block") if wide else None
    width = config.optional_count(WIDTH, least=0)
    if width is None or not width.value or _experts_everywhere(config):
        return None
    if config.model_type in _TWICE and not width.value % 2:
        return Sourced(width.value // 2, f"{width.reason} / 2: of gate and up together")
    return width


def _experts_everywhere(config: Config) -> bool:
    """Llama 4 Scout: the key is of layers without experts, of which it has none."""
    step = config.optional_count("interleave_moe_layer_step")
    return config.model_type == "llama4" and step is not None and step.value == 1


def of_experts(config: Config) -> Iterator[tuple[str, Sourced]]:
    """Those of a mixture of experts."""
    experts = config.optional_count("expert_count", least=0)
    if experts is None or experts.value <= 1:
        return
    yield "num_experts", experts
    used = config.optional_count("expert_used_count")
    if used is not None:
        yield "num_experts_per_tok", used
    width = config.optional_uniform(EXPERTS)
    width = None if config.model_type in _AS_WIDE_ALWAYS else width
    if width is None and config.model_type in _AS_WIDE_AS_BLOCKS:
        own = width_of_blocks(config)
        width = None if own is None else Sourced(own.value, f"no {EXPERTS}: {own.reason}")
    if width is not None:
        yield "moe_intermediate_size", width
    shared = config.optional_count("expert_shared_count", least=0)
    if config.model_type == "llama4":
        yield "num_shared_experts", Sourced(1, "llama4: one beside the others")
    elif shared is not None and shared.value:
        yield "num_shared_experts", shared
    dense = config.optional_count("leading_dense_block_count", least=0)
    if dense is not None and dense.value:
        yield "first_k_dense", dense
