"""What is meant where a config.json leaves out how many experts there are, how wide, and which layers have them.

Source of each: transformers 5.24.0, models/<name>/configuration_<name>.py. A family that is listed without a number
of experts has none by default, and a file without one is not counted.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def _experts(number: int, per_token: int, width: int | None = None, key: str = "num_experts", **more: int) -> Any:
    sizes = {} if width is None else {"moe_intermediate_size": width}
    return {key: number, "num_experts_per_tok": per_token, **sizes, **more}


def _routed(number: int, per_token: int, width: int, shared: int = 1, **more: int) -> Any:
    return _experts(number, per_token, width, "n_routed_experts", n_shared_experts=shared, **more)


_LOCAL = "num_local_experts"
_ONE_DENSE: Mapping[str, Any] = {"first_k_dense_replace": 1}
"""Classes that make the first layer dense where mlp_layer_types is absent."""

_DEEPSEEK = _routed(256, 8, 2048, first_k_dense_replace=3)

EXPERT_DEFAULTS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        **dict.fromkeys(("mixtral", "minimax", "granitemoe"), _experts(8, 2, key=_LOCAL)),
        "granitemoehybrid": _experts(8, 2, key=_LOCAL, shared_intermediate_size=1024),
        "phimoe": _experts(16, 2, key=_LOCAL),
        "gpt_oss": _experts(128, 4, key=_LOCAL),
        "minimax_m2": _experts(256, 8, key=_LOCAL),
        "llama4_text": _experts(16, 1, key=_LOCAL, interleave_moe_layer_step=1),
        "olmoe": _experts(64, 8),
        "jamba": _experts(16, 2, expert_layer_period=2, expert_layer_offset=1),
        "qwen2_moe": _experts(60, 4, 1408, shared_expert_intermediate_size=5632),
        "qwen3_moe": _experts(128, 8, 768),
        "qwen3_vl_moe_text": _experts(60, 4, 1408),
        "qwen3_next": _experts(512, 10, 512, shared_expert_intermediate_size=512),
        "qwen4_exp_text": _experts(512, 10, 512, shared_expert_intermediate_size=512),
        "qwen3_5_moe_text": _experts(256, 8, 512, shared_expert_intermediate_size=512),
        "ernie4_5_moe": _experts(
            64, 6, 1536, "moe_num_experts", moe_num_shared_experts=2, moe_layer_start_index=1, moe_layer_end_index=-1
        ),
        "hunyuan_v1_moe": _experts(1, 1, num_shared_expert=1),
        "hy_v3": _experts(192, 8, 1536, num_shared_experts=1, **_ONE_DENSE),
        "kimi_linear": _experts(256, 8, 1024, n_shared_experts=1, **_ONE_DENSE),
        "bailing_hybrid": _experts(512, 8, 768, n_shared_experts=1, first_k_dense_replace=2),
        "exaone_moe": _experts(64, 8, 1024, num_shared_experts=1, **_ONE_DENSE),
        "afmoe": _experts(64, 6, 1408, num_shared_experts=2, num_dense_layers=1),
        "laguna": _experts(256, 8, 512, shared_expert_intermediate_size=512, **_ONE_DENSE),
        "lfm2_moe": _experts(32, 4, 1792, num_dense_layers=2),
        "glm4_moe": _routed(128, 8, 1408, **_ONE_DENSE),
        "glm4_moe_lite": _routed(64, 4, 1536, **_ONE_DENSE),
        "mistral4": _routed(128, 4, 2048),
        "axk1": _routed(192, 8, 2048, **_ONE_DENSE),
        "solar_open": _routed(128, 8, 1280),
        **dict.fromkeys(("deepseek_v3", "deepseek_v32", "glm_moe_dsa", "kimi_k2"), _DEEPSEEK),
        "deepseek_v4": _routed(256, 6, 2048),
        "deepseek_v41_text": {},
        "glm5_next_text": _routed(288, 8, 2048, first_k_dense_replace=3),
        "deepseek_v2": {"n_routed_experts": 64, "n_shared_experts": 2, "moe_intermediate_size": 1407},
        "longcat_flash": {"n_routed_experts": 512, "moe_topk": 12, "expert_ffn_hidden_size": 2048},
        "mimo_v2_flash": {**_experts(256, 8, 2048, "n_routed_experts"), **_ONE_DENSE},
        "nemotron_h": {"n_shared_experts": 1},
        "dots1": {"moe_intermediate_size": 1408},
        "flint": {"mlp_only_layers": [0, 1]},
        "bailing_moe": {},
        **{name: {} for name in ("mellum", "beam", "kolibri1", "flex_olmo", "aria_text", "cohere2_moe")},
        **{name: {} for name in ("granitemoeshared", "granitemoe_swa", "qwen3_omni_moe_text", "glm4v_moe_text")},
        **{name: {} for name in ("sarvam_moe", "sarvam_mla")},
        "dbrx": {},
        "deepseek": {},
        "minimax_text_01": {},
        "minimax_m1": {},
    }
)

DENSE_UP_TO: Mapping[str, int] = MappingProxyType(
    {"jamba": 1, **dict.fromkeys(("qwen2_moe", "qwen3_moe", "qwen3_next", "hunyuan_v1_moe", "granitemoehybrid"), 0)}
)
"""Families with experts, and the number up to which their classes build dense layers instead."""
