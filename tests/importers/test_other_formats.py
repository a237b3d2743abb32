"""Lists of sizes in other formats than Hugging Face's, as their publishers write them, cut down to what is read."""

from __future__ import annotations

from typing import Any

import pytest
from config_files import imported, kinds

LLAMA_3_8B = {
    "dim": 4096,
    "n_layers": 32,
    "n_heads": 32,
    "n_kv_heads": 8,
    "vocab_size": 128256,
    "multiple_of": 1024,
    "ffn_dim_multiplier": 1.3,
    "norm_eps": 1e-05,
    "rope_theta": 500000.0,
}
MISTRAL_7B = {
    "dim": 4096,
    "n_layers": 32,
    "head_dim": 128,
    "hidden_dim": 14336,
    "n_heads": 32,
    "n_kv_heads": 8,
    "norm_eps": 1e-05,
    "vocab_size": 32000,
    "sliding_window": 4096,
}
DEEPSEEK_V3 = {
    "vocab_size": 129280,
    "dim": 7168,
    "inter_dim": 18432,
    "moe_inter_dim": 2048,
    "n_layers": 61,
    "n_heads": 128,
    "n_dense_layers": 3,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "n_activated_experts": 8,
    "route_scale": 2.5,
    "score_func": "sigmoid",
    "q_lora_rank": 1536,
    "kv_lora_rank": 512,
    "dtype": "fp8",
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "n_expert_groups": 8,
}
DECODER = {
    "head_size": 96,
    "hidden_size": 3072,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "num_hidden_layers": 32,
    "inputs": {"past_key_names": "past_key_values.%d.key"},
}


def exported(**more: Any) -> dict[str, Any]:
    return {"model": {"type": "phi3", "context_length": 4096, "vocab_size": 32064, "decoder": {**DECODER, **more}}}


CASES: dict[str, tuple[dict[str, Any], list[str], int | None]] = {
    "Meta": (LLAMA_3_8B, ["gqa 32/8 x 128"] * 32, 8_030_261_248),
    "Meta, without heads of its own": ({"dim": 4096, "n_layers": 2, "n_heads": 32}, ["mha 32 x 128"] * 2, None),
    "Mistral": (MISTRAL_7B, ["gqa 32/8 x 128, window 4,096"] * 32, 7_241_732_096),
    "Mistral without a window": (
        {k: v for k, v in MISTRAL_7B.items() if k != "sliding_window"},
        ["gqa 32/8 x 128"] * 32,
        7_241_732_096,
    ),
    "Ministral": (
        {**MISTRAL_7B, "n_layers": 4, "sliding_window": [None, 512]},
        ["gqa 32/8 x 128", "gqa 32/8 x 128, window 512"] * 2,
        None,
    ),
    "Mixtral": (
        {**MISTRAL_7B, "sliding_window": None, "moe": {"num_experts": 8, "num_experts_per_tok": 2}},
        ["gqa 32/8 x 128"] * 32,
        46_702_792_704,
    ),
    "named": ({**LLAMA_3_8B, "model_type": "arcee", "mlp": "two"}, ["gqa 32/8 x 128"] * 32, None),
    "DeepSeek-V3": (DEEPSEEK_V3, ["mla 128 heads, 512+64"] * 61, 671_026_404_352),
    "DeepSeek-V3.2": (
        {**DEEPSEEK_V3, "index_n_heads": 64, "index_head_dim": 128, "index_topk": 2048},
        ["mla 128 heads, 512+64, index 128, top 2,048"] * 61,
        None,
    ),
    "DeepSeek-V4": (
        {
            "dim": 4096,
            "n_layers": 3,
            "n_heads": 64,
            "head_dim": 512,
            "rope_head_dim": 64,
            "q_lora_rank": 1024,
            "moe_inter_dim": 2048,
            "window_size": 128,
            "index_n_heads": 64,
            "index_head_dim": 128,
            "index_topk": 512,
            "dtype": "fp8",
            "expert_dtype": "fp4",
            "compress_ratios": [0, 4, 128, 0],
        },
        [
            "compressed 64 heads, 512, window 128",
            "compressed 64 heads, 512, window 128, 1 per 4 overlapping, index 128, top 512",
            "compressed 64 heads, 512, window 128, 1 per 128",
        ],
        None,
    ),
    "ExecuTorch, with states": (
        {
            "dim": 1024,
            "n_layers": 2,
            "n_heads": 8,
            "n_kv_heads": 2,
            "head_dim": 256,
            "hidden_dim": 3584,
            "linear_conv_kernel_dim": 4,
            "linear_key_head_dim": 128,
            "linear_value_head_dim": 128,
            "linear_num_key_heads": 16,
            "linear_num_value_heads": 16,
            "layer_types": ["linear_attention", "full_attention"],
        },
        ["gated_deltanet 16/16 x 128, kernel 4", "gqa 8/2 x 256"],
        None,
    ),
    "ExecuTorch, with convolutions": (
        {
            "dim": 1024,
            "n_layers": 2,
            "n_heads": 16,
            "n_kv_heads": 8,
            "hidden_dim": 4608,
            "layer_types": ["conv", "full_attention"],
        },
        ["short_conv 1024, kernel 3", "gqa 16/8 x 64"],
        None,
    ),
    "converted": (
        {"head_num": 16, "head_num_kv": 4, "size_per_head": 128, "layer_num": 2, "inter_size": 1024, "vocab_size": 9},
        ["gqa 16/4 x 128"] * 2,
        None,
    ),
    "exported": (exported(), ["mha 32 x 96"] * 32, None),
    "exported with windows": (
        exported(num_hidden_layers=2, sliding_window={"window_size": 512, "layers": [1]}),
        ["mha 32 x 96", "mha 32 x 96, window 512"],
        None,
    ),
    "exported with an encoder": (
        exported(num_hidden_layers=1, inputs={"cross_past_key_names": "past_key_cross_%d"}),
        ["mha 32 x 96 cross 32/32 x 96, 1,500 tokens"],
        None,
    ),
}
"""What each is of, its layers, and the published parameters (of DeepSeek-V3: of its class) where they are counted."""


@pytest.mark.parametrize("name", CASES)
def test_a_file_of_another_format_is_the_same_model(name: str) -> None:
    values, layers, parameters = CASES[name]
    assert kinds(values) == layers
    if parameters is not None or "architectures" in values or name in {"named", "converted", "exported"}:
        assert imported(values).model.parameters == parameters
