"""Random models of each kind that SGLang serves, as config.json has them, and random settings of its server."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

GIB = 2**30
EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 256, "n_routed_experts": 8, "num_experts": 8}
LATENT_EXPERTS = {
    **EXPERTS,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
    "n_group": 1,
    "topk_group": 1,
    "q_lora_rank": 96,
    "routed_scaling_factor": 1.0,
}
VISION = {
    "model_type": "gemma4_vision",
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "head_dim": 72,
    "position_embedding_size": 10_240,
    "pooling_kernel_size": 3,
}
"""Of Gemma-4-31B."""


class Case(NamedTuple):
    """What is asked: SGLang's options by its own names, of a rank of one stage with so many bytes for pools."""

    kind: str
    config: dict[str, Any]
    memory: int
    stage: int
    options: dict[str, Any]
    draft: dict[str, Any] | None = None


def _usual(draw: random.Random, architecture: str, **own: Any) -> dict[str, Any]:
    kv_heads = draw.choice((1, 2, 4, 8))
    return {
        "architectures": [architecture],
        "hidden_size": draw.choice((1024, 2048, 2304)),
        "intermediate_size": 2048,
        "num_hidden_layers": draw.randint(8, 40),
        "num_attention_heads": kv_heads * draw.choice((1, 2, 4, 8)),
        "num_key_value_heads": kv_heads,
        "head_dim": draw.choice((64, 80, 96, 128, 256)),
        "vocab_size": 32_000,
        "max_position_embeddings": 131_072,
        "torch_dtype": draw.choice(("bfloat16", "bfloat16", "float16")),
        **own,
    }


def _layers(draw: random.Random, config: dict[str, Any], *kinds: str, whole: str = "full_attention") -> list[str]:
    period = draw.randint(2, 6)
    count = config["num_hidden_layers"]
    return [whole if i % period == period - 1 else draw.choice(kinds) for i in range(count)]


def llama(draw: random.Random) -> dict[str, Any]:
    return {"model_type": "llama", **_usual(draw, "LlamaForCausalLM")}


def qwen3_moe(draw: random.Random) -> dict[str, Any]:
    return {"model_type": "qwen3_moe", **_usual(draw, "Qwen3MoeForCausalLM"), **EXPERTS}


def gemma3_text(draw: random.Random) -> dict[str, Any]:
    config = _usual(draw, "Gemma3ForCausalLM", sliding_window=draw.choice((512, 1024)))
    return {"model_type": "gemma3_text", **config, "layer_types": _layers(draw, config, "sliding_attention")}


def gpt_oss(draw: random.Random) -> dict[str, Any]:
    config = _usual(draw, "GptOssForCausalLM", sliding_window=128, num_local_experts=8, num_experts_per_tok=2)
    return {"model_type": "gpt_oss", **config, "layer_types": _layers(draw, config, "sliding_attention")}


def gemma4(draw: random.Random) -> dict[str, Any]:
    config = _usual(draw, "Gemma4ForConditionalGeneration", sliding_window=draw.choice((512, 1024)))
    outer = {name: config.pop(name) for name in ("architectures", "torch_dtype")}
    config["num_global_key_value_heads"] = draw.choice((None, max(1, config["num_key_value_heads"] // 2)))
    config |= {"global_head_dim": draw.choice((256, 512)), "num_kv_shared_layers": 0, "hidden_size_per_layer_input": 0}
    config["layer_types"] = [*_layers(draw, config, "sliding_attention")[:-1], "full_attention"]
    config["attention_k_eq_v"] = config["num_global_key_value_heads"] is not None
    return {
        "model_type": "gemma4",
        **outer,
        "text_config": {"model_type": "gemma4_text", **config},
        "vision_config": VISION,
    }


def mimo_v2_flash(draw: random.Random) -> dict[str, Any]:
    config = _usual(draw, "MiMoV2FlashForCausalLM", sliding_window=128, v_head_dim=draw.choice((64, 128)), head_dim=192)
    layers = [int(kind == "sliding_attention") for kind in _layers(draw, config, "sliding_attention")]
    own = {"hybrid_layer_pattern": layers, "swa_head_dim": 192, "swa_v_head_dim": draw.choice((64, 128))}
    own |= {"swa_num_attention_heads": config["num_attention_heads"], "add_full_attention_sink_bias": False}
    own |= {"swa_num_key_value_heads": config["num_key_value_heads"], "n_routed_experts": 8, **EXPERTS}
    return {"model_type": "mimo_v2_flash", **config, **own}


def deepseek_v3(draw: random.Random) -> dict[str, Any]:
    latent = {"kv_lora_rank": draw.choice((256, 512)), "qk_rope_head_dim": 64, "qk_nope_head_dim": 128}
    config = _usual(draw, "DeepseekV3ForCausalLM", v_head_dim=128, **latent)
    config.pop("head_dim")
    return {"model_type": "deepseek_v3", **config, **LATENT_EXPERTS}


def glm_moe_dsa(draw: random.Random) -> dict[str, Any]:
    config = {**deepseek_v3(draw), "model_type": "glm_moe_dsa", "architectures": ["GlmMoeDsaForCausalLM"]}
    return {
        **config,
        "torch_dtype": "bfloat16",
        "kv_lora_rank": 512,
        "index_head_dim": 128,
        "index_n_heads": 8,
        "index_topk": 2048,
    }


def qwen3_next(draw: random.Random) -> dict[str, Any]:
    config = _usual(draw, "Qwen3NextForCausalLM")
    heads = draw.choice((4, 8, 16))
    states = {
        "linear_num_key_heads": heads,
        "linear_num_value_heads": heads * draw.choice((1, 2)),
        "linear_key_head_dim": draw.choice((64, 128)),
        "linear_value_head_dim": draw.choice((64, 128)),
        "linear_conv_kernel_dim": 4,
        "full_attention_interval": 4,
        "shared_expert_intermediate_size": 256,
        "decoder_sparse_step": 1,
    }
    types = ["full_attention" if i % 4 == 3 else "linear_attention" for i in range(config["num_hidden_layers"])]
    return {"model_type": "qwen3_next", **config, **states, **EXPERTS, "layer_types": types}


def nemotron_h(draw: random.Random) -> dict[str, Any]:
    config = _usual(draw, "NemotronHForCausalLM")
    pattern = "".join(draw.choice("M-*") for _ in range(config["num_hidden_layers"] - 2)) + "M*"
    states = {
        "hybrid_override_pattern": pattern,
        "mamba_num_heads": draw.choice((16, 32, 64)),
        "mamba_head_dim": draw.choice((64, 128)),
        "n_groups": 8,
        "ssm_state_size": draw.choice((64, 128)),
        "conv_kernel": 4,
        "mamba_ssm_cache_dtype": draw.choice(("float32", "bfloat16")),
    }
    return {"model_type": "nemotron_h", **config, **states}


WITH_STATES = (qwen3_next, nemotron_h)
WINDOWED = (gpt_oss, gemma4)
KINDS = (llama, qwen3_moe, gemma3_text, gpt_oss, gemma4, mimo_v2_flash, deepseek_v3, glm_moe_dsa, *WITH_STATES)


def draw_case(draw: random.Random, number: int) -> Case:
    """A case of each kind in turn."""
    make = KINDS[number % len(KINDS)]
    config = make(draw)
    text = config.get("text_config", config)
    latent = "kv_lora_rank" in text
    heads = text.get("num_global_key_value_heads") or text["num_key_value_heads"]
    most = min(heads, text.get("linear_num_key_heads", 8), text.get("n_groups", 8))
    options: dict[str, Any] = {"tp_size": draw.choice([each for each in (1, 2, 4, 8) if latent or each <= most])}
    if text["num_attention_heads"] % options["tp_size"]:
        options["tp_size"] = 1
    if draw.random() < 0.2 and "hybrid_override_pattern" not in config:
        options["pp_size"] = 2
    if draw.random() < 0.3 and "index_topk" not in config:
        options["kv_cache_dtype"] = "fp8_e4m3"
    if draw.random() < 0.3 and "index_topk" not in config:
        options["page_size"] = draw.choice((1, 16, 64))
    if draw.random() < 0.25 and options.get("pp_size", 1) == 1:
        replicas = draw.choice((2, 4))
        options |= {"tp_size": options["tp_size"] * replicas, "dp_size": replicas, "enable_dp_attention": True}
    for name, chance, values in (
        ("chunked_prefill_size", 0.3, (2048, 4096, 8192, 16_384)),
        ("swa_full_tokens_ratio", 0.3, (0.25, 0.5, 0.9)),
        ("mamba_full_memory_ratio", 0.3, (0.5, 1.0, 2.0)),
        ("max_total_tokens", 0.15, (20_000, 100_000)),
        ("max_running_requests", 0.3, (32, 200)),
        ("disable_radix_cache", 0.15, (True,)),
    ):
        if draw.random() < chance:
            options[name] = draw.choice(values)
    stage, draft = draw.randrange(options.get("pp_size", 1)), None
    if draw.random() < 0.4 and options.get("pp_size", 1) == 1 and make is not mimo_v2_flash:
        draft = _draft(draw, make, config, options)
    return Case(make.__name__, config, draw.randint(4 * GIB, 120 * GIB), stage, options, draft)


OWN_LAYERS = {
    deepseek_v3: "num_nextn_predict_layers",
    glm_moe_dsa: "num_nextn_predict_layers",
    qwen3_next: "mtp_num_hidden_layers",
}


def _draft(
    draw: random.Random,
    make: Callable[[random.Random], dict[str, Any]],
    config: dict[str, Any],
    options: dict[str, Any],
) -> dict[str, Any] | None:
    """What drafts a chain of tokens: layers of the model's own, or a model of one layer, of which this is the file."""
    steps = draw.randint(1, 5)
    options |= {"speculative_algorithm": "EAGLE3", "speculative_num_steps": steps, "speculative_eagle_topk": 1}
    options["speculative_num_draft_tokens"] = steps + 1
    if make in WINDOWED:
        options.pop("disable_radix_cache", None)
    if make in OWN_LAYERS:
        options["speculative_algorithm"] = "NEXTN"
        config[OWN_LAYERS[make]] = 1
        return None
    text = config.get("text_config", config)
    same = {name: text[name] for name in ("hidden_size", "vocab_size", "max_position_embeddings")}
    own = {"num_hidden_layers": draw.choice((1, 1, 2)), "torch_dtype": text.get("torch_dtype", "bfloat16")}
    own |= {"num_attention_heads": 16, "num_key_value_heads": draw.choice((4, 8)), "head_dim": draw.choice((64, 128))}
    rest = {"draft_vocab_size": 32_000, "intermediate_size": 2048}
    return {"model_type": "llama", "architectures": ["LlamaForCausalLMEagle3"], **same, **own, **rest}
