"""How a model's class names the linear modules of its layers, which is what adapters are of.

kvcalc counts by Llama's names, and MLA's by DeepSeek's. Where a class has one matrix for several of them, an adapter
has one pair of it: Phi-3's qkv_proj one A and one B as wide as queries, keys and values together, where Llama's q_proj,
k_proj and v_proj have three of each.

Sources: the classes of transformers 5.24.0, which a test builds; of those that are no part of it, the
packed_modules_mapping and the layers of vllm/model_executor/models of 0.19.0 and 0.33.0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.named_tuple import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.model.model import Model

Fused = dict[str, tuple[str, ...]]
"""A class's own name: those that are one matrix in it."""

QKV, GATE_UP = ("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj")
_NEOX: Fused = {
    "query_key_value": QKV,
    "dense": ("o_proj",),
    "dense_h_to_4h": ("up_proj",),
    "dense_4h_to_h": ("down_proj",),
}
_OPT: Fused = {"out_proj": ("o_proj",), "fc1": ("up_proj",), "fc2": ("down_proj",)}
_GLM: Fused = {"gate_up_proj": GATE_UP}
_GPT2: Fused = {"c_attn": QKV, "c_proj": ("o_proj", "down_proj"), "c_fc": ("up_proj",)}
_DELTA = ("in_proj_qkv", "in_proj_z", "in_proj_b", "in_proj_a", "out_proj")
_INDEXER = ("wq_b", "wk", "weights_proj")


class ModuleNames(NamedTuple):
    """Of a class.

    Attributes:
        own: names that are not Llama's, with those that they stand for.
        beside: linear modules of its layers that are not counted.
    """

    own: Mapping[str, tuple[str, ...]] = {}
    beside: tuple[str, ...] = ()

    def of(self, name: str) -> str:
        """What the class calls it."""
        return next((own for own, parts in self.own.items() if name in parts), name)


_AS_LLAMA = """
apertus apertus1p5_text arcee aria_text axk1 bitnet cohere cohere2 cohere2_moe cwm deepseek_v2 deepseek_v3 diffllama
dots1 emu3 ernie4_5 ernie4_5_moe exaone exaone4 exaone_moe flex_olmo gemma gemma2 gemma3_text gemma4_unified
gemma4_unified_text glm4_moe glm4_moe_lite gpt_oss granite granite_swa granitemoe granitemoe_swa granitemoeshared helium
hunyuan_v1_dense hunyuan_v1_moe hy_v3 hyperclovax internlm3 iquestcoder jais2 llama mellum mimo_v2_flash minicpm3
minimax_m2 ministral ministral3 mistral mixtral nemotron olmo olmo2 olmo3 olmoe phimoe qwen2 qwen3 qwen3_moe sarvam_mla
sarvam_moe seed_oss smollm3 solar_open stablelm vaultgemma youtu
"""
_TEXT_AS_LLAMA = """
gemma3 glm4v_moe idefics3 internvl internvl_chat kimi_vl llava llava_next mistral3 qwen2_vl qwen2_5_vl qwen2_audio
qwen2_5_omni qwen3_vl qwen3_vl_moe smolvlm voxtral
"""
"""Wrappers whose text layers are one of those above; adapters of towers are another thing."""
_OWN_CODE_AS_LLAMA = "deepseek kimi_k2 kimi_k25 mimo minicpm"
NAMES: dict[str, ModuleNames] = {
    **dict.fromkeys(f"{_AS_LLAMA} {_TEXT_AS_LLAMA} {_OWN_CODE_AS_LLAMA}".split(), ModuleNames()),
    **dict.fromkeys(("deepseek_v32", "glm_moe_dsa"), ModuleNames(beside=_INDEXER)),
    **dict.fromkeys(("falcon", "gpt_neox", "persimmon", "bloom"), ModuleNames(_NEOX)),
    **dict.fromkeys(("glm", "glm4", "glm4v"), ModuleNames(_GLM)),
    **dict.fromkeys(("phi3", "phi3_v"), ModuleNames({"qkv_proj": QKV, **_GLM})),
    **dict.fromkeys(("opt", "biogpt", "xglm"), ModuleNames(_OPT)),
    **dict.fromkeys(("gpt2", "gpt_bigcode"), ModuleNames(_GPT2)),
    **dict.fromkeys(("qwen3_5", "qwen3_5_text"), ModuleNames(beside=_DELTA)),
    **dict.fromkeys(("qwen3_5_moe", "qwen3_5_moe_text"), ModuleNames(beside=(*_DELTA, "shared_expert_gate"))),
    **dict.fromkeys(("gemma4", "gemma4_text"), ModuleNames(beside=("per_layer_input_gate", "per_layer_projection"))),
    "qwen3_next": ModuleNames(beside=("in_proj_qkvz", "in_proj_ba", "out_proj", "shared_expert_gate")),
    "qwen2_moe": ModuleNames(beside=("shared_expert_gate",)),
    "falcon_h1": ModuleNames(beside=("in_proj", "out_proj")),
    "phi": ModuleNames({"dense": ("o_proj",), "fc1": ("up_proj",), "fc2": ("down_proj",)}),
    "nanochat": ModuleNames({"fc1": ("up_proj",), "fc2": ("down_proj",)}),
    "starcoder2": ModuleNames({"c_fc": ("up_proj",), "c_proj": ("down_proj",)}),
    "gptj": ModuleNames({"out_proj": ("o_proj",), "fc_in": ("up_proj",), "fc_out": ("down_proj",)}),
    "codegen": ModuleNames({"qkv_proj": QKV, "out_proj": ("o_proj",), "fc_in": ("up_proj",), "fc_out": ("down_proj",)}),
    "mpt": ModuleNames({"Wqkv": QKV, "out_proj": ("o_proj",)}),
    "baichuan": ModuleNames({"W_pack": QKV}),
    "bailing_moe": ModuleNames({"query_key_value": QKV, "dense": ("o_proj",)}),
    "chatglm": ModuleNames({**_NEOX, "dense_h_to_4h": GATE_UP}),
    "internlm2": ModuleNames(
        {"wqkv": QKV, "wo": ("o_proj",), "w1": ("gate_proj",), "w3": ("up_proj",), "w2": ("down_proj",)}
    ),
    "qwen": ModuleNames({"c_attn": QKV, "c_proj": ("o_proj", "down_proj"), "w2": ("gate_proj",), "w1": ("up_proj",)}),
}
"""By model_type. Of others it is not known: their classes have linear modules of the same names in other places, as
afmoe's gate_proj of attention, or of other widths."""
SHARED = frozenset({"qwen2_moe", "qwen3_next", "qwen3_5_moe", "qwen3_5_moe_text", "gemma4", "gemma4_text"})
"""Classes whose layers have a shared expert, or a block, beside those that are chosen: however wide it is."""


def names_of(model: Model) -> ModuleNames | None:
    """Of its class; of a model without one Llama's; None where it is not known."""
    return ModuleNames() if model.model_type is None else NAMES.get(model.model_type)
