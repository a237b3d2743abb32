"""What SGLang chooses by a model's class, and so by the model_type of its config.json, which names the class."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from kvcalc.note import note, register

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvcalc.engines.sglang.defaults import Version
    from kvcalc.model.model import Model
    from kvcalc.note import Note

register({"model-type-not-known": "the model's file does not say its model_type, by which the engine chooses"})

WINDOW_POOLS: Mapping[str, Version] = MappingProxyType(
    {
        "gpt_oss": (0, 5, 8),
        "llama4": (0, 5, 8),
        "mimo_v2_flash": (0, 5, 8),
        "step3p5": (0, 5, 9),
        "gemma4": (0, 5, 11),
        "gemma4_text": (0, 5, 11),
        "laguna": (0, 5, 12),
        "mimo_v2": (0, 5, 12),
        "gemma4_unified": (0, 5, 14),
        "step3p7": (0, 5, 14),
        "mellum": (0, 5, 16),
        "muse_glimmer": (0, 5, 18),
    }
)
"""Classes whose windows have a pool of their own, and since when (is_hybrid_swa_model of
sglang/srt/configs/model_config.py). All others keep every token in every layer, those of Gemma-2, Gemma-3, Exaone-4,
OLMo-3 and Mistral among them."""
WINDOWS_LESS_ONE = frozenset({"gpt_oss", "gemma4", "gemma4_text", "gemma4_unified", "mellum", "muse_glimmer"})
"""Of those, classes whose window is one token less to SGLang, which does not count the token that is read
(get_attention_sliding_window_size of sglang/srt/models)."""
TRTLLM_KEEPS_ALL: Version = (0, 5, 10)
"""Before it gpt-oss has no pool of windows with the attention backend of data-centre Blackwell."""

EXTRA_BUFFER: Mapping[str, Version] = MappingProxyType(
    dict.fromkeys(("qwen3_next", "qwen3_5", "qwen3_5_moe", "falcon_h1", "granitemoehybrid", "nemotron_h"), (0, 5, 14))
    | {"kimi_linear": (0, 5, 16), "kimi_k3": (0, 5, 20)}
)
"""Classes whose sequences have two more slots of states, and since when (_MAMBA_EXTRA_BUFFER_ARCHS of
sglang/srt/arg_groups/overrides.py; 0.5.14 server_args.py)."""

PAGED_STATES = frozenset({"qwen3_5", "qwen3_5_moe", "nemotron_h"})
"""Models with states that have pages of 64 on data-centre Blackwell (sglang/srt/arg_groups/model_overrides)."""

DEEPSEEK = frozenset({"deepseek_v3", "kimi_k2", "kimi_k25"})
"""Of the class DeepseekV3ForCausalLM, or a wrapper of it."""

TEXT_ALONE = frozenset({"gemma3", "llama4", "step3_vl"})
"""Multimodal classes that are served for text alone unless told otherwise (mm_disabled_models)."""
GRAPHS_WITH_TOWERS: Mapping[str, Version] = MappingProxyType(
    {
        "qwen3_5": (0, 5, 16),
        "qwen3_5_moe": (0, 5, 16),
        "kimi_k25": (0, 5, 18),
        "kimi_k3": (0, 5, 18),
        "muse_glimmer": (0, 5, 18),
    }
)
"""Multimodal classes with graphs of prefill (multimodal_breakable_cuda_graph_supported_model_archs)."""
PIECEWISE_BLOCKED = frozenset({"qwen3_next", "bailing_hybrid"})
"""Text models without graphs of prefill, 0.5.10 to 0.5.14 (piecewise_cuda_graph_disabled_model_archs)."""

DIVIDED_TOWERS = frozenset(
    {"internvl_chat", "glm4v", "mllama", "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe"}
)
"""Towers with VisionAttention of sglang/srt/layers/attention/vision.py, whose heads tensor-parallel ranks share."""

TOWERS_COUNT: Version = (0, 4, 9)
"""The default of mem-fraction-static looks at towers since then (adjust_mem_fraction_for_vlm)."""
WITHOUT_VISION_CONFIG = frozenset({"deepseek_v41"})
"""Classes that keep no vision_config of the file, so that the default does not see their towers
(normalize_deepseek_v41_config of sglang/srt/configs/deepseek_v41.py)."""
_MILLION = 10**6
_ANY = 10**6


def takes_more_than_text(model: Model) -> bool:
    """Whether its towers are loaded and served where nobody says otherwise (is_multimodal)."""
    return model.has_towers and model.model_type not in TEXT_ALONE


def towers_count(model: Model) -> bool:
    """Whether the default of mem-fraction-static looks at its towers."""
    return takes_more_than_text(model) and model.model_type not in WITHOUT_VISION_CONFIG


def tower_dims(model: Model) -> tuple[int, int] | None:
    """num_hidden_layers and hidden_size of vision_config as SGLang reads them: 24 and 1024 where a file lacks them.

    From published config.json; which of a family a model is, its tower's parameters tell. None: not known.
    """
    size = (model.tower_parameters or 0) // _MILLION
    of_family: dict[str, tuple[tuple[int, int, int], ...]] = {
        "qwen3_5": ((200, 24, 768), (400, 24, 1024), (700, 24, 1152)),
        "qwen3_5_moe": ((700, 24, 1152),),
        "qwen3_vl": ((450, 24, 1024), (700, 24, 1152)),
        "qwen3_vl_moe": ((700, 24, 1152),),
        "qwen2_5_vl": ((800, 24, 1280),),
        "qwen2_vl": ((800, 24, model.hidden_size or 1024),),
        "gemma4": ((500, 16, 768), (700, 27, 1152)),
        "gemma3n": ((1200, 24, 2048),),
        "kimi_vl": ((600, 27, 1152),),
        "kimi_k25": ((600, 27, 1152),),
        "kimi_k3": ((_ANY, 27, 1024),),
        "mistral3": ((600, 24, 1024),),
        "llava": ((400, 24, 1024),),
        "internvl_chat": ((400, 24, 1024),),
        "glm4v": ((1200, 24, 1536),),
    }
    tiers = of_family.get(model.model_type or "", ())
    return next(((layers, hidden) for below, layers, hidden in tiers if size < below), None)


@lru_cache(maxsize=64)
def tower_share(model: Model, version: Version) -> Fraction:
    """What the default of mem-fraction-static is multiplied by for a model that takes more than text."""
    dims = tower_dims(model) if towers_count(model) else None
    if dims is None or version < TOWERS_COUNT:
        return Fraction(1)
    layers, hidden = dims
    larger = Fraction(layers * hidden**2, 24 * 1024**2) - 1
    return Fraction(95, 100) * max(Fraction(8, 10), min(Fraction(105, 100), 1 - larger / 10))


def type_notes(model: Model) -> Iterator[Note]:
    """What is taken where the model's file does not say its model_type, if it matters here."""
    if model.model_type is None and any(layer.span is not None for layer in model.layout.kinds):
        told = "the model's file has no model_type, by which SGLang chooses; as of no special class"
        taken = "windows keep every token (--engine-option disable-hybrid-swa-memory=false gives them a pool)"
        yield note("model-type-not-known", f"{told}: {taken}", taken=("no pool of windows",))
