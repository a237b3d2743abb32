"""What families' layers have beside the projections that all have. One line a family.

Read from each class's `__init__` in transformers 5.24.0 (models/<name>/modeling_<name>.py), and compared in the tests
with what building that class counts. A family that is not here has no count.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from kvcalc.importers.config_json.parameters.anatomy import ALWAYS, BIAS, BIAS_UNLESS, NEVER, Anatomy, Flag

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kvcalc.importers.config import Config

_LLAMA = Anatomy(qkv_bias=BIAS, out_bias=BIAS, mlp_bias=Flag("mlp_bias"))
_PLAIN = Anatomy()
_BIASED = Anatomy(qkv_bias=BIAS, out_bias=BIAS)
_NORMED = Anatomy(qkv_bias=BIAS, out_bias=BIAS, qk_norm="head")
_OLD = Anatomy(
    qkv_bias=ALWAYS, out_bias=ALWAYS, norm_bias=True, gated=False, mlp_bias=ALWAYS
)  # GPT-2 and those that follow it
_LATENT = Anatomy(qkv_bias=BIAS, out_bias=BIAS)
_COHERE = Anatomy(qkv_bias=BIAS, out_bias=BIAS, norms=1, qk_norm="each head", if_qk_norm=Flag("use_qk_norm"))
_DELTANET = Anatomy(
    qkv_bias=BIAS,
    out_bias=BIAS,
    qk_norm="head",
    doubled_queries=True,
    shared_gate=True,
    only_if=(("attn_output_gate", (True,)),),
)
_FALCON = _OLD._replace(
    qkv_bias=Flag("bias"),
    out_bias=Flag("bias"),
    mlp_bias=Flag("bias"),
)
_STABLELM = Anatomy(qkv_bias=Flag("use_qkv_bias"), qk_norm="each head", if_qk_norm=Flag("qk_layernorm"), norm_bias=True)
_QWEN2 = Anatomy(qkv_bias=ALWAYS)
_USE_BIAS = Flag("use_bias")
_TIES_NOTHING: tuple[str, tuple[Any, ...]] = ("tie_word_embeddings", (False,))
"""Of classes that build an output head of their own, whatever a file says of it."""
_PHI = _OLD._replace(norms=1, head_bias=ALWAYS)

ANATOMIES: Mapping[str, Anatomy] = MappingProxyType(
    {
        **dict.fromkeys(("llama", "granite", "internlm3", "smollm3", "exaone"), _LLAMA),
        **dict.fromkeys(("iquestcoder", "emu3_text_model", "granite4_vision_text", "cwm"), _LLAMA),
        "granite_docling_text": _LLAMA,
        "cosmos3_edge_text": _LLAMA._replace(gated=False),
        "hyperclovax": _LLAMA._replace(norms=4, only_if=(("use_post_norm", (True,)),)),
        "granite_swa": _LLAMA._replace(sinks="all"),
        "jais2": Anatomy(
            BIAS_UNLESS, BIAS_UNLESS, gated=False, norm_bias=True, mlp_bias=Flag("mlp_bias", default=True)
        ),
        "aria_text": _LLAMA,
        "arcee": _LLAMA._replace(gated=False),
        "helium": _LLAMA._replace(out_bias=NEVER),
        **dict.fromkeys(("mistral", "mixtral", "ministral", "ministral3", "phi3", "jamba", "baichuan"), _PLAIN),
        "internlm": Anatomy(Flag("bias", default=True), Flag("bias", default=True)),
        "internlm2": Anatomy(only_if=(("bias", (False,)),)),
        **dict.fromkeys(("qwen2", "qwen2_vl_text", "qwen2_5_vl_text", "qwen2_5_omni_text", "mimo"), _QWEN2),
        "qwen": _QWEN2._replace(only_if=(("no_bias", (True,)),)),
        "qwen2_moe": Anatomy(qkv_bias=Flag("qkv_bias", default=True), shared_gate=True),
        **dict.fromkeys(("qwen3", "qwen3_moe", "qwen3_vl_text", "qwen3_vl_moe_text", "qwen3_omni_moe_text"), _NORMED),
        "mellum": _NORMED,
        **dict.fromkeys(("qwen3_next", "qwen3_5_text", "qwen3_5_moe_text"), _DELTANET),
        "qwen4_exp_text": _DELTANET._replace(norms=0, final_norm=False),
        **dict.fromkeys(("gemma", "vaultgemma", "granitemoe", "granitemoeshared", "deepseek"), _BIASED),
        "gemma2": Anatomy(qkv_bias=BIAS, out_bias=BIAS, norms=4),
        "llama4_text": Anatomy(qkv_bias=BIAS, out_bias=BIAS, shared_experts=1),
        "flint": _NORMED._replace(sinks="all"),
        "kolibri1": _NORMED._replace(norms=4),
        **dict.fromkeys(("gemma3n_text", "gemma4_text", "gemma4_unified_text"), _NORMED._replace(norms=4)),
        "dbrx": _PLAIN,
        "bailing_moe": Anatomy(
            qkv_bias=Flag("use_qkv_bias"),
            qk_norm="head",
            if_qk_norm=Flag("use_qk_norm"),
            only_if=(("use_bias", (False,)), ("use_rmsnorm", (True,))),
        ),
        "nemotron_h": Anatomy(norms=1, gated=False, mlp_bias=Flag("mlp_bias"), only_if=(_TIES_NOTHING,)),
        "nemotron-nas": Anatomy(norms=0, only_if=(("attention_bias", (False,)), ("mlp_bias", (False,)))),
        "longcat_flash": _LATENT._replace(norms=4, only_if=(("router_bias", (False,)),)),
        "gemma3_text": Anatomy(qkv_bias=BIAS, out_bias=BIAS, norms=4, qk_norm="head"),
        **dict.fromkeys(("olmo2", "olmo3", "olmoe", "flex_olmo"), _BIASED._replace(qk_norm="heads")),
        "olmo": Anatomy(qkv_bias=BIAS, out_bias=BIAS, norms=0, final_norm=False),
        "nanochat": Anatomy(qkv_bias=BIAS, out_bias=BIAS, norms=0, final_norm=False, gated=False),
        **dict.fromkeys(("exaone4", "exaone_moe"), Anatomy(qk_norm="head")),
        **dict.fromkeys(
            ("apertus", "apertus1p5_text"),
            _NORMED._replace(gated=False, activation=2, only_if=(("hidden_act", ("xielu",)),)),
        ),
        "glm": Anatomy(qkv_bias=BIAS_UNLESS),
        "glm4": Anatomy(qkv_bias=BIAS_UNLESS, norms=4),
        "glm4v_text": Anatomy(qkv_bias=ALWAYS, norms=4),
        "glm_ocr_text": Anatomy(norms=4),
        "granitemoe_swa": Anatomy(qkv_bias=BIAS, out_bias=BIAS, sinks="all"),
        "afmoe": _NORMED._replace(norms=4, gate="wide", router_bias=True),
        "muse_glimmer_text": Anatomy(qkv_bias=BIAS, out_bias=BIAS, norms=4, gate="wide"),
        "laguna": _NORMED._replace(gate="by gating", router_bias=True),
        "hunyuan_vl_text": _NORMED,
        "hunyuan_v1_dense": _NORMED._replace(only_if=(("use_qk_norm", (True,)), ("use_cla", (False,)))),
        "paddleocr_vl_text": Anatomy(qkv_bias=_USE_BIAS, out_bias=_USE_BIAS, mlp_bias=_USE_BIAS),
        "ernie4_5": Anatomy(qkv_bias=_USE_BIAS, out_bias=_USE_BIAS, mlp_bias=_USE_BIAS),
        "stablelm": _STABLELM,
        **dict.fromkeys(("cohere", "cohere2"), _COHERE),
        "seed_oss": Anatomy(qkv_bias=BIAS_UNLESS, out_bias=Flag("attention_out_bias"), mlp_bias=Flag("mlp_bias")),
        "minimax_m2": Anatomy(qk_norm="heads", only_if=(("use_qk_norm", (True,)),)),
        "gpt_oss": Anatomy(qkv_bias=BIAS_UNLESS, out_bias=BIAS_UNLESS, sinks="all", expert_bias=True),
        "phimoe": Anatomy(qkv_bias=BIAS, out_bias=BIAS, norm_bias=True, head_bias=Flag("lm_head_bias")),
        "nemotron": Anatomy(qkv_bias=BIAS, out_bias=BIAS, norm_bias=True, gated=False, mlp_bias=Flag("mlp_bias")),
        "starcoder2": _OLD._replace(
            qkv_bias=Flag("use_bias", default=True),
            out_bias=Flag("use_bias", default=True),
            mlp_bias=Flag("use_bias", default=True),
        ),
        "gpt_neo": _OLD._replace(qkv_bias=NEVER, positions=("max_position_embeddings",)),
        "biogpt": _OLD._replace(positions=("max_position_embeddings",), more_positions=2),
        "xglm": _OLD,
        "gpt2": _OLD._replace(positions=("n_positions", "n_ctx")),
        "gpt_bigcode": _OLD._replace(positions=("n_positions", "n_ctx")),
        "bloom": _OLD._replace(embedding_norm=True),
        "opt": _OLD._replace(
            qkv_bias=Flag("enable_bias", default=True),
            out_bias=Flag("enable_bias", default=True),
            mlp_bias=Flag("enable_bias", default=True),
            positions=("max_position_embeddings",),
            more_positions=2,
            only_if=(
                ("do_layer_norm_before", (True,)),
                ("_remove_final_layer_norm", (False,)),
                ("layer_norm_elementwise_affine", (True,)),
            ),
        ),
        "gpt_neox": _OLD._replace(qkv_bias=BIAS_UNLESS, out_bias=BIAS_UNLESS),
        "persimmon": _OLD._replace(qk_norm="head with bias", if_qk_norm=Flag("qk_layernorm", default=True)),
        **dict.fromkeys(
            ("gptj", "codegen"), Anatomy(norms=1, norm_bias=True, gated=False, mlp_bias=ALWAYS, head_bias=ALWAYS)
        ),
        "phi": _PHI._replace(qk_norm="head with bias", if_qk_norm=Flag("qk_layernorm")),
        "phi-msft": _PHI._replace(only_if=(("qk_layernorm", (False,)),)),
        "mpt": Anatomy(
            gated=False,
            only_if=(
                ("no_bias", (True,)),
                ("expansion_ratio", (4,)),
                ("attn_config.qk_ln", (False,)),
                ("attn_config.alibi", (True,)),
            ),
        ),
        "chatglm": Anatomy(
            qkv_bias=Flag("add_qkv_bias"),
            only_if=(("add_bias_linear", (False,)), ("post_layer_norm", (True,)), ("rmsnorm", (True,))),
        ),
        "sarvam_moe": Anatomy(qkv_bias=BIAS, qk_norm="head", if_qk_norm=Flag("use_qk_norm", default=True)),
        "glm4v_moe_text": Anatomy(qkv_bias=BIAS_UNLESS),
        "glm4_moe": Anatomy(qkv_bias=BIAS, qk_norm="head", if_qk_norm=Flag("use_qk_norm")),
        "solar_open": Anatomy(qkv_bias=BIAS, qk_norm="head", if_qk_norm=Flag("use_qk_norm")),
        "dots1": Anatomy(qkv_bias=BIAS, out_bias=BIAS, qk_norm="head"),
        "hunyuan_v1_moe": Anatomy(qkv_bias=BIAS, out_bias=BIAS, qk_norm="head", only_if=(("use_qk_norm", (True,)),)),
        "hy_v3": Anatomy(qkv_bias=BIAS, out_bias=BIAS, qk_norm="head", mlp_bias=Flag("mlp_bias")),
        "ernie4_5_moe": Anatomy(
            qkv_bias=Flag("use_bias"),
            out_bias=Flag("use_bias"),
            mlp_bias=Flag("use_bias"),
            head_bias=Flag("use_bias"),
            router_bias=True,
        ),
        "deepseek_v4": Anatomy(mlp_bias=Flag("mlp_bias"), only_if=(("n_shared_experts", (1,)),)),  # it builds one
        "deepseek_v41_text": Anatomy(router_bias=True),
        **dict.fromkeys(("deepseek_v3", "kimi_k2", "deepseek_v32", "glm_moe_dsa"), _LATENT),
        **dict.fromkeys(("glm4_moe_lite", "mistral4", "youtu", "sarvam_mla"), _LATENT),
        "glm5_next_text": _LATENT,
        "minicpm3": _LATENT._replace(mlp_bias=Flag("mlp_bias")),
        "kimi_linear": _LATENT._replace(only_if=(_TIES_NOTHING,)),
        "deepseek_v2": _LATENT._replace(mlp_bias=Flag("mlp_bias")),
        "axk1": _LATENT._replace(expert_norm=True),
        "falcon": _FALCON,
        "granitemoehybrid": Anatomy(qkv_bias=BIAS, out_bias=BIAS),
        "falcon_h1": Anatomy(qkv_bias=BIAS, out_bias=BIAS, mlp_bias=Flag("mlp_bias")),
        "bamba": Anatomy(qkv_bias=BIAS, out_bias=BIAS, mlp_bias=Flag("mlp_bias")),
        "bailing_hybrid": _LATENT._replace(gate="a head", only_if=(_TIES_NOTHING,)),
        **dict.fromkeys(("mamba", "falcon_mamba", "mamba2"), Anatomy(norms=1, feed_forward=False)),
        **dict.fromkeys(("lfm2", "lfm2_moe"), Anatomy(qk_norm="head")),
        "minimax": _PLAIN,
        **dict.fromkeys(
            ("minimax_text_01", "minimax_m1"), Anatomy(only_if=(("shared_intermediate_size", (0,)),))
        ),  # of which minimax is transformers' name
        "mimo_v2_flash": Anatomy(
            qkv_bias=BIAS,
            sinks="sliding",
            only_if=(("add_swa_attention_sink_bias", (True,)), ("add_full_attention_sink_bias", (False,))),
        ),
    }
)


_FLAT: Mapping[str, str] = {"qwen2_vl": "qwen2_vl_text", "qwen2_5_vl": "qwen2_5_vl_text"}
"""Types of files whose text model has no part of its own."""


def anatomy_of(config: Config) -> Anatomy | None:
    """That of a family; in some, attention and feed-forward block may share a norm."""
    found = ANATOMIES.get(_FLAT.get(config.model_type, config.model_type))
    one = _SHARED_NORM.get(config.model_type)
    return found if found is None or one is None else found._replace(norms=1 if one(config) else 2)


def _falcon_shares(config: Config) -> bool:
    """Falcon-7B's and Falcon-11B's, not Falcon-40B's, whose first files (RefinedWeb) name n_head_kv alone."""
    norms = config.get("num_ln_in_parallel_attn")
    newer = config.flag("new_decoder_architecture") or config.get("n_head_kv") is not None
    both = newer if norms is None else norms.value == 2  # noqa: PLR2004  # a norm each
    return config.flag("parallel_attn") and not both


_SHARED_NORM: Mapping[str, Callable[[Config], bool]] = {
    "falcon": _falcon_shares,
    "stablelm": lambda config: config.flag("use_parallel_residual"),
}
