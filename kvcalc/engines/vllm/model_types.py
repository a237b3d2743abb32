"""What vLLM chooses by a model's class, and so by the model_type of its config.json, which names the class."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from kvcalc.note import note, register

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvcalc.engines.vllm.traits import Traits
    from kvcalc.model.model import Model
    from kvcalc.note import Note

register({"model-type-not-known": "the model's file does not say its model_type, by which the engine chooses"})

RUNNER_BY_TYPE: tuple[int, ...] = (0, 22)
"""The first version whose model runner depends on the class."""
RUNNER_BY_EXPERTS: tuple[int, ...] = (0, 25)
"""Since then every model without experts or states has runner V2."""
RUNNER_V2_ALONE: tuple[int, ...] = (0, 29)

FIRST_IN_V2: Mapping[str, tuple[int, ...]] = MappingProxyType({"qwen3": (0, 22), "llama": (0, 23), "mistral": (0, 23)})
"""Before 0.25, classes with runner V2: Qwen3ForCausalLM, LlamaForCausalLM and MistralForCausalLM of
DEFAULT_V2_MODEL_RUNNER_ARCHITECTURES in vllm/config/vllm.py."""

EXPERTS_IN_V2: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "deepseek_v2": (0, 25),
        "qwen2_moe": (0, 25),
        "granitemoe": (0, 25),
        "longcat_flash_ngram": (0, 26),
        "kimi_k3": (0, 27),
        "deepseek_v4": (0, 28),
    }
)
"""The same list from 0.25 to 0.28, of classes with experts."""

WHOLE_TOWERS = frozenset({"gemma3n", "gemma4", "gemma4_unified"})
"""Towers are transformers' own modules, whole on every rank (models/gemma3n_mm.py, gemma4_mm.py: AutoModel)."""
PIXTRAL = frozenset({"mistral3", "pixtral"})
"""Towers of models/pixtral.py where weights come in Mistral's own format."""
PIXTRAL_DIVIDED: tuple[int, ...] = (0, 22)
"""The first of the versions read whose models/pixtral.py has QKVParallelLinear in its own tower; 0.19 has nn.Linear."""

PIXELS: Mapping[str, int] = MappingProxyType({"gemma3": 9408})
"""Elements of an image for each token of it. Gemma-3: 3 x 896 x 896 for 256 (two logs of 0.19: 3.94 and 3.89 GiB)."""
PIXELS_OF_OTHERS = 2352
"""3 x 14 x 14 of each of four patches that a token merges: Qwen2-VL, Pixtral, Kimi-VL."""

POSITIONS_OF_TOKENS = frozenset({"qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe", "qwen4_exp"})
"""Tables of rotations as long as the context, and no longer four times (models/qwen3_vl.py, mrope_positions_factor)."""
POSITIONS_SINCE: tuple[int, ...] = (0, 32)

ROTATES_NOTHING = frozenset(
    {"bloom", "gpt2", "gpt_bigcode", "jamba", "kimi_linear", "mpt", "nemotron_h", "nemotron_h_puzzle", "opt"}
)
"""Classes without rotations (vllm/model_executor/models), whatever dims their attention has."""
_OF_TRANSFORMERS: Mapping[tuple[int, ...], str] = MappingProxyType(
    {
        (0, 19): "smollm3",
        (0, 29): "flex_olmo hunyuan_v1_dense hunyuan_v1_moe olmo olmo2 olmo3 starcoder2 vaultgemma",
        (0, 31): "nanbeige",
        (0, 32): "arcee cwm glm gpt_neox jais2 mellum phi seed_oss",
    }
)
"""Classes that are transformers' own (models/registry.py), which make rotations anew: the first version read that says
so, of 0.19, 0.29, 0.31 and 0.32."""

UNUSED_LEFT_OUT: Mapping[str, tuple[int, ...]] = MappingProxyType({"gemma3n": (0, 31), "gemma4": (0, 31)})
"""Layers that read another's cache have no projections of their own to keys and values (models/gemma3n.py, gemma4.py,
is_kv_shared_layer): not in 0.29, where the checkpoint's are loaded, there in 0.31."""

OLMO_HYBRID = frozenset({"olmo_hybrid"})
MIMO_V2 = frozenset({"mimo_v2_flash", "mimo_v2"})
NEMOTRON_H = frozenset({"nemotron_h", "nemotron_h_puzzle", "NemotronH_Nano_VL_V2"})
"""States in fp32 where the file does not say (NemotronHForCausalLMConfig of vllm/model_executor/models/config.py)."""
GLM_NEXT = frozenset({"glm5_next", "glm5_next_text"})
GLM_SPARSE = frozenset({"glm_moe_dsa", *GLM_NEXT})
"""A cache in fp8 on Blackwell where nobody says (GlmMoeDsaForCausalLM and Glm5NextModelConfig of the same file)."""
BOUNDED_GATES = frozenset({"kimi_k3", *GLM_NEXT})
"""KDA with bounded gates, which FlashKDA needs (vllm/models/kimi_k3/nvidia/kda.py, glm5next/common/kda.py)."""


def keeps_rotations(model_type: str | None, version: tuple[int, ...]) -> bool:
    """Whether the model's class keeps tables of rotations."""
    kind = model_type or ""
    others = (names for since, names in _OF_TRANSFORMERS.items() if version >= since)
    return kind not in ROTATES_NOTHING and not any(kind in names.split() for names in others)


def runner_by_type(version: tuple[int, ...], model_type: str | None, traits: Traits) -> str:
    """The model runner where no engine V0 is left and the class decides: v1 or v2 (VllmConfig.use_v2_model_runner)."""
    if version >= RUNNER_V2_ALONE:
        return "v2"
    if version >= RUNNER_BY_EXPERTS:
        special = version >= EXPERTS_IN_V2.get(model_type or "", RUNNER_V2_ALONE)
        return "v1" if (traits.experts or traits.states) and not special else "v2"
    plain = not (traits.experts or traits.quantised or traits.towers or traits.states)
    return "v2" if plain and version >= FIRST_IN_V2.get(model_type or "", RUNNER_V2_ALONE) else "v1"


def type_notes(model: Model, version: tuple[int, ...], traits: Traits) -> Iterator[Note]:
    """What is taken where the model's file does not say its model_type, if it matters here."""
    if model.model_type is not None:
        return
    taken = []
    if RUNNER_BY_TYPE <= version < RUNNER_V2_ALONE:
        taken.append(f"model runner {runner_by_type(version, None, traits).upper()}")
    if traits.towers:
        taken.append("towers that ranks share")
    if any(getattr(kind.attention, "state_dtype", "") is None for kind in model.layout.kinds):
        taken.append("states in the dtype of the convolutions, but KDA's in fp32")
    if taken:
        told = "the model's file has no model_type, by which vLLM chooses; as of no special class"
        yield note("model-type-not-known", f"{told}: {', '.join(taken)}", taken=tuple(taken))
