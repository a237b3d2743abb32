"""Models and settings to try: every kind of cache, in shapes, deployments and settings drawn at random.

The draw is seeded: the same code gives the same cases. A case that vLLM itself refuses is left out by whoever runs it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from vllm_vectors import kind_of

Config = dict[str, Any]

SEED = 20_26
WINDOWED, WHOLE = "sliding_attention", "full_attention"


class Case(NamedTuple):
    """One question.

    Attributes:
        model: its name among the models.
        settings: by kvcalc's names; what is not there is left to the engine.
        memory: bytes for the cache on each rank.
    """

    model: str
    settings: dict[str, Any]
    memory: int


def _base(architecture: str, kind: str, layers: int, hidden: int, heads: int, kv_heads: int, **more: Any) -> Config:
    return {
        "architectures": [architecture],
        "model_type": kind,
        "torch_dtype": "bfloat16",
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "intermediate_size": 4 * hidden,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "vocab_size": 32_000,
        "max_position_embeddings": 262_144,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False,
        **more,
    }


def _heads(draw: random.Random) -> tuple[int, int]:
    kv_heads = draw.choice([1, 2, 4, 8, 16])
    return kv_heads * draw.choice([1, 2, 4, 8]), kv_heads


def full(draw: random.Random) -> Config:
    """Every layer keeps every token."""
    heads, kv_heads = _heads(draw)
    dim = draw.choice([64, 80, 96, 128, 192, 256])
    return _base("LlamaForCausalLM", "llama", draw.randint(1, 40), heads * dim, heads, kv_heads, head_dim=dim)


def _pattern(draw: random.Random, layers: int, windowed: int) -> list[str]:
    kinds = [WINDOWED] * windowed + [WHOLE] * (layers - windowed)
    draw.shuffle(kinds)
    return kinds


def windows(draw: random.Random) -> Config:
    """Windowed and whole layers in any ratio and order: also few more of one than of the other, and none of one."""
    heads, kv_heads = _heads(draw)
    layers = draw.randint(2, 48)
    share = draw.choice([0.0, 0.25, 0.42, 0.5, 0.55, 0.6, 0.62, 0.75, 0.83, 0.9, 1.0])
    return _base(
        "Olmo3ForCausalLM",
        "olmo3",
        layers,
        heads * 128,
        heads,
        kv_heads,
        sliding_window=draw.choice([128, 512, 1000, 1024, 4096, 4097]),
        layer_types=_pattern(draw, layers, round(layers * share)),
        rope_parameters={"rope_type": "default", "rope_theta": 500_000.0},
    )


def gemma3(draw: random.Random) -> Config:
    """Windowed layers, five for each whole one, in models whose layers do not divide by six."""
    heads, kv_heads = _heads(draw)
    layers = draw.randint(6, 40)
    return _base(
        "Gemma3ForCausalLM",
        "gemma3_text",
        layers,
        heads * 256,
        heads,
        kv_heads,
        head_dim=256,
        query_pre_attn_scalar=256,
        sliding_window=draw.choice([512, 1024]),
        layer_types=[WHOLE if each % 6 == 5 else WINDOWED for each in range(layers)],
        hidden_activation="gelu_pytorch_tanh",
        rope_parameters={
            WHOLE: {"rope_type": "default", "rope_theta": 1_000_000.0},
            WINDOWED: {"rope_type": "default", "rope_theta": 10_000.0},
        },
    )


def gpt_oss(draw: random.Random) -> Config:
    """Windowed and whole layers in turn."""
    layers = draw.randint(3, 36)
    return _base(
        "GptOssForCausalLM",
        "gpt_oss",
        layers,
        2880,
        64,
        8,
        head_dim=64,
        sliding_window=128,
        layer_types=[WHOLE if each % 2 else WINDOWED for each in range(layers)],
        num_local_experts=8,
        num_experts_per_tok=4,
        rope_parameters={
            "rope_type": "yarn",
            "rope_theta": 150_000.0,
            "factor": 32.0,
            "beta_fast": 32.0,
            "beta_slow": 1.0,
            "truncate": False,
            "original_max_position_embeddings": 4096,
        },
    )


def chunks(draw: random.Random) -> Config:
    """Chunked local attention beside whole layers."""
    heads, kv_heads = 40, 8
    layers = draw.choice([4, 8, 12, 13, 18])
    whole_every = draw.choice([2, 4])
    no_rope = [int((each + 1) % whole_every != 0) for each in range(layers)]
    return _base(
        "Llama4ForCausalLM",
        "llama4_text",
        layers,
        5120,
        heads,
        kv_heads,
        head_dim=128,
        intermediate_size_mlp=16_384,
        num_local_experts=16,
        num_experts_per_tok=1,
        interleave_moe_layer_step=1,
        attention_chunk_size=draw.choice([2048, 8192]),
        no_rope_layers=no_rope,
        layer_types=["chunked_attention" if each else WHOLE for each in no_rope],
        rope_parameters={"rope_type": "default", "rope_theta": 500_000.0},
        hidden_act="silu",
        use_qk_norm=True,
    )


def mimo(draw: random.Random) -> Config:
    """Windowed layers with other heads than whole ones, and values shorter than keys."""
    layers = draw.randint(5, 24)
    pattern = [int(each % 6 != 0) for each in range(layers)]
    return _base(
        "MiMoV2FlashForCausalLM",
        "mimo_v2_flash",
        layers,
        4096,
        64,
        4,
        head_dim=192,
        v_head_dim=128,
        swa_num_attention_heads=64,
        swa_num_key_value_heads=8,
        swa_head_dim=192,
        swa_v_head_dim=128,
        sliding_window=128,
        sliding_window_size=128,
        attention_chunk_size=128,
        hybrid_layer_pattern=pattern,
        moe_layer_freq=[0] + [1] * (layers - 1),
        n_routed_experts=16,
        num_experts_per_tok=8,
        moe_intermediate_size=2048,
        n_group=1,
        topk_group=1,
        norm_topk_prob=True,
        scoring_func="sigmoid",
        topk_method="noaux_tc",
        rope_theta=5_000_000,
        swa_rope_theta=10_000,
        partial_rotary_factor=0.334,
        add_full_attention_sink_bias=False,
        add_swa_attention_sink_bias=True,
        attention_bias=False,
        attention_value_scale=0.707,
        layernorm_epsilon=1e-5,
        hidden_act="silu",
    )


def gemma4(draw: random.Random) -> Config:
    """Whole layers with longer heads than windowed ones, and layers that read another's cache."""
    layers = draw.choice([10, 12, 20, 30, 35, 42])
    shared = draw.choice([0, 0, layers // 3])
    kinds = [WHOLE if each % 5 == 4 else WINDOWED for each in range(layers)]
    kinds[-1] = WHOLE
    return _base(
        "Gemma4ForCausalLM",
        "gemma4_text",
        layers,
        2560,
        8,
        draw.choice([1, 2, 4]),
        head_dim=256,
        global_head_dim=512,
        sliding_window=draw.choice([512, 1024]),
        num_kv_shared_layers=shared,
        layer_types=kinds,
        hidden_size_per_layer_input=0,
        hidden_activation="gelu_pytorch_tanh",
        rope_parameters={
            WHOLE: {"rope_type": "proportional", "rope_theta": 1_000_000.0, "partial_rotary_factor": 0.25},
            WINDOWED: {"rope_type": "default", "rope_theta": 10_000.0},
        },
    )


def _mla(architecture: str, kind: str, draw: random.Random, **more: Any) -> Config:
    layers = draw.randint(2, 30)
    rank = draw.choice([256, 512])
    return _base(
        architecture,
        kind,
        layers,
        2048,
        16,
        16,
        kv_lora_rank=rank,
        q_lora_rank=draw.choice([None, 1536]),
        qk_nope_head_dim=128,
        qk_rope_head_dim=64,
        v_head_dim=128,
        n_routed_experts=16,
        n_shared_experts=1,
        num_experts_per_tok=4,
        moe_intermediate_size=512,
        first_k_dense_replace=1,
        moe_layer_freq=1,
        n_group=1,
        topk_group=1,
        norm_topk_prob=True,
        scoring_func="sigmoid",
        topk_method="noaux_tc",
        routed_scaling_factor=1.0,
        hidden_act="silu",
        rope_theta=10_000,
        **more,
    )


def mla(draw: random.Random) -> Config:
    """Latent attention."""
    return _mla("DeepseekV3ForCausalLM", "deepseek_v3", draw)


def indexed_mla(draw: random.Random) -> Config:
    """Latent attention with an indexer in each layer."""
    model = _mla("DeepseekV32ForCausalLM", "deepseek_v32", draw, index_head_dim=128, index_n_heads=64, index_topk=2048)
    return model | {"kv_lora_rank": 512, "q_lora_rank": 1536}


def gated_deltanet(draw: random.Random) -> Config:
    """Gated delta networks beside attention."""
    layers = draw.choice([4, 8, 12, 13, 24, 36])
    every = draw.choice([3, 4])
    heads, kv_heads = draw.choice([(16, 2), (16, 4), (8, 2)])
    return _base(
        "Qwen3NextForCausalLM",
        "qwen3_next",
        layers,
        2048,
        heads,
        kv_heads,
        head_dim=draw.choice([128, 256]),
        layer_types=[WHOLE if (each + 1) % every == 0 else "linear_attention" for each in range(layers)],
        linear_num_key_heads=16,
        linear_num_value_heads=draw.choice([16, 32]),
        linear_key_head_dim=128,
        linear_value_head_dim=128,
        linear_conv_kernel_dim=4,
        num_experts=8,
        num_experts_per_tok=2,
        decoder_sparse_step=1,
        moe_intermediate_size=512,
        shared_expert_intermediate_size=512,
        norm_topk_prob=True,
        mlp_only_layers=[],
        attention_bias=False,
        hidden_act="silu",
        partial_rotary_factor=0.25,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000_000.0, "partial_rotary_factor": 0.25},
    )


def kda(draw: random.Random) -> Config:
    """Kimi delta attention beside latent attention."""
    layers = draw.choice([4, 8, 12, 16, 27])
    whole = [each for each in range(1, layers + 1) if each % 4 == 0]
    return _base(
        "KimiLinearForCausalLM",
        "kimi_linear",
        layers,
        2304,
        32,
        32,
        head_dim=72,
        kv_lora_rank=512,
        q_lora_rank=None,
        qk_nope_head_dim=128,
        qk_rope_head_dim=64,
        v_head_dim=128,
        mla_use_nope=True,
        indexer_rope_interleave=True,
        linear_attn_config={
            "full_attn_layers": whole,
            "kda_layers": [each for each in range(1, layers + 1) if each not in whole],
            "head_dim": 128,
            "num_heads": 32,
            "short_conv_kernel_size": 4,
        },
        first_k_dense_replace=1,
        moe_layer_freq=1,
        num_experts=8,
        num_experts_per_token=2,
        num_shared_experts=1,
        moe_intermediate_size=1024,
        moe_renormalize=True,
        moe_router_activation_func="sigmoid",
        num_expert_group=1,
        topk_group=1,
        use_grouped_topk=True,
        routed_scaling_factor=2.446,
        hidden_act="silu",
        rope_theta=10_000.0,
    )


def mamba2_hybrid(draw: random.Random) -> Config:
    """Mamba-2 beside attention."""
    pattern = draw.choice(["M-M-M-M*-", "MEMEM*EMEMEM*E", "M*-", "MM-M*-M-", "M-M-M-M*-M-M-M-M*-M-M-"])
    return _base(
        "NemotronHForCausalLM",
        "nemotron_h",
        len(pattern),
        4096,
        32,
        draw.choice([2, 8]),
        head_dim=128,
        hybrid_override_pattern=pattern,
        mamba_num_heads=draw.choice([64, 128]),
        mamba_head_dim=64,
        ssm_state_size=128,
        n_groups=8,
        conv_kernel=4,
        chunk_size=128,
        expand=2,
        mamba_hidden_act="silu",
        mlp_hidden_act="relu2",
        n_routed_experts=8,
        num_experts_per_tok=2,
        moe_intermediate_size=1024,
        moe_shared_expert_intermediate_size=1024,
        n_shared_experts=1,
        n_group=1,
        topk_group=1,
        norm_topk_prob=True,
        routed_scaling_factor=1.0,
        mamba_ssm_cache_dtype=draw.choice(["float32", "bfloat16"]),
        use_bias=False,
        use_conv_bias=True,
        mamba_proj_bias=False,
        mlp_bias=False,
        attention_bias=False,
        layer_norm_epsilon=1e-5,
    )


def mamba1_hybrid(draw: random.Random) -> Config:
    """Mamba beside attention."""
    return _base(
        "JambaForCausalLM",
        "jamba",
        draw.choice([8, 16, 32]),
        draw.choice([2048, 4096]),
        32,
        8,
        attn_layer_offset=4,
        attn_layer_period=8,
        expert_layer_offset=1,
        expert_layer_period=2,
        num_experts=4,
        num_experts_per_tok=2,
        mamba_conv_bias=True,
        mamba_d_conv=4,
        mamba_d_state=16,
        mamba_dt_rank=256,
        mamba_expand=2,
        mamba_proj_bias=False,
        hidden_act="silu",
    )


def mamba1(draw: random.Random) -> Config:
    """Nothing but Mamba."""
    hidden = draw.choice([768, 2560, 4096])
    return {
        "architectures": ["MambaForCausalLM"],
        "model_type": "mamba",
        "torch_dtype": "bfloat16",
        "hidden_size": hidden,
        "num_hidden_layers": draw.choice([24, 48, 64]),
        "intermediate_size": 2 * hidden,
        "state_size": 16,
        "conv_kernel": 4,
        "expand": 2,
        "time_step_rank": hidden // 16,
        "vocab_size": 50_280,
        "use_bias": False,
        "use_conv_bias": True,
        "hidden_act": "silu",
        "layer_norm_epsilon": 1e-5,
        "residual_in_fp32": True,
        "tie_word_embeddings": True,
        "max_position_embeddings": 262_144,
    }


def short_conv(draw: random.Random) -> Config:
    """Short convolutions beside attention."""
    layers = draw.choice([10, 16, 24])
    hidden = draw.choice([1024, 2048])
    whole = sorted(draw.sample(range(layers), draw.choice([3, 6])))
    return _base(
        "Lfm2ForCausalLM",
        "lfm2",
        layers,
        hidden,
        hidden // 64,
        8,
        conv_L_cache=3,
        conv_dim=hidden,
        conv_dim_out=hidden,
        conv_bias=False,
        layer_types=[WHOLE if each in whole else "conv" for each in range(layers)],
        full_attn_idxs=whole,
        norm_eps=1e-5,
        block_multiple_of=256,
        block_ffn_dim_multiplier=1.0,
        block_auto_adjust_ff_dim=True,
        block_dim=hidden,
        block_ff_dim=4 * hidden,
        rope_theta=1_000_000.0,
    )


def whisper(draw: random.Random) -> Config:
    """A decoder that also keeps the encoder's tokens."""
    width, heads, layers = draw.choice([(384, 6, 4), (512, 8, 6), (1024, 16, 24), (1280, 20, 32)])
    return {
        "architectures": ["WhisperForConditionalGeneration"],
        "model_type": "whisper",
        "torch_dtype": "bfloat16",
        "d_model": width,
        "decoder_layers": draw.choice([layers, 4]),
        "encoder_layers": layers,
        "decoder_attention_heads": heads,
        "encoder_attention_heads": heads,
        "num_hidden_layers": layers,
        "decoder_ffn_dim": 4 * width,
        "encoder_ffn_dim": 4 * width,
        "num_mel_bins": 128,
        "max_source_positions": 1500,
        "max_target_positions": 448,
        "vocab_size": 51_866,
        "is_encoder_decoder": True,
        "scale_embedding": False,
        "activation_function": "gelu",
    }


def pooled_index(draw: random.Random) -> Config:
    """Latents with an indexer that pools its keys, beside Kimi delta attention."""
    layers, every = draw.randint(5, 46), draw.choice([2, 3, 4, 4])
    heads = draw.choice([16, 32, 64])
    types = ["linear_attention" if (each + 1) % every else "deepseek_sparse_attention" for each in range(layers)]
    text = _base(
        "Glm5NextForConditionalGeneration",
        "glm5_next_text",
        layers,
        4096,
        heads,
        heads,
        kv_lora_rank=512,
        q_lora_rank=1536,
        qk_nope_head_dim=256,
        qk_rope_head_dim=0,
        v_head_dim=256,
        index_head_dim=128,
        index_n_heads=32,
        index_topk=2048,
        index_kpool=draw.choice([2, 4, 4, 8, 16]),
        index_kpool_compress=True,
        mla_use_nope=True,
        indexer_rope_interleave=True,
        layer_types=types,
        indexer_types=["full"] * layers,
        linear_attn_config={
            "num_heads": heads,
            "head_dim": 128,
            "short_conv_kernel_size": 4,
            "gate_lower_bound": -5.0,
        },
        mlp_layer_types=["dense"] * layers,
        n_routed_experts=8,
        num_experts_per_tok=2,
        n_shared_experts=1,
        moe_intermediate_size=2048,
        mhc=True,
        hc_mult=4,
    )
    return {
        "architectures": text.pop("architectures"),
        "model_type": "glm5_next",
        "torch_dtype": "bfloat16",
        "text_config": text,
        "vision_config": {"model_type": "glm5_next_vision", "swiglu_limit": 10.0},
    }


RANDOM: dict[str, tuple[Callable[[random.Random], Config], int]] = {
    "full": (full, 14),
    "windows": (windows, 22),
    "gemma3": (gemma3, 4),
    "gpt-oss": (gpt_oss, 4),
    "chunks": (chunks, 5),
    "mimo": (mimo, 4),
    "gemma4": (gemma4, 6),
    "mla": (mla, 6),
    "indexed-mla": (indexed_mla, 4),
    "gated-deltanet": (gated_deltanet, 8),
    "kda": (kda, 4),
    "mamba2-hybrid": (mamba2_hybrid, 7),
    "mamba1-hybrid": (mamba1_hybrid, 3),
    "mamba1": (mamba1, 2),
    "short-conv": (short_conv, 4),
    "whisper": (whisper, 3),
    "pooled-index": (pooled_index, 6),
}
"""By kind: how one is drawn, and how many."""

STATES = ("pooled-index", "gated-deltanet", "kda", "mamba2-hybrid", "mamba1-hybrid", "mamba1", "short-conv")
UNLIKE_VALUES = ("mimo", "XiaomiMiMo")
CACHE_DTYPES = ("fp8", "fp8_per_token_head", "int8_per_token_head", "int4_per_token_head")


def random_models() -> dict[str, Config]:
    """The models that are drawn, by names of the kind and a number."""
    models = {}
    for kind, (make, count) in RANDOM.items():
        for number in range(1, count + 1):
            models[f"{kind}-{number}"] = make(random.Random(f"{SEED} {kind} {number}"))  # noqa: S311  # no secrets
    return models


def _settings(draw: random.Random, kind: str, longest: int) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    length = draw.choice([draw.randint(257, 6000), draw.randint(257, 6000), 8192, draw.randint(8000, 140_000)])
    settings["max_model_len"] = min(length, longest)

    def sometimes(share: float, name: str, values: Sequence[Any]) -> None:
        if draw.random() < share:
            settings[name] = draw.choice(values)

    sometimes(0.45, "tp", [2, 4, 8])
    sometimes(0.2, "pp", [2, 3, 4])
    sometimes(0.3, "max_num_batched_tokens", [2048, 4096, 5000, 16_384])
    sometimes(0.2, "disable_hybrid_kv_cache_manager", [True])
    sometimes(0.3 if kind in STATES else 0.1, "enable_prefix_caching", [False])
    sometimes(0.2, "num_speculative_tokens", [1, 2, 3, 5])
    # Scales of each token and head are not counted in pages whose values are shorter than keys: whether that runs is
    # not known.
    sometimes(0.25, "cache_dtype", CACHE_DTYPES[:1] if kind in UNLIKE_VALUES else CACHE_DTYPES)
    sometimes(0.12, "block_size", [32, 64, 128])
    # The planner plans states so too, and the workers refuse them (MambaBase.supports_dcp).
    share = {"mla": 0.7, "full": 0.4, **dict.fromkeys(STATES, 0.0)}.get(kind, 0.1)
    sometimes(share, "dcp", [2, 4] if kind == "mla" else [2])
    if "dcp" in settings:
        settings["tp"] = 8  # it shares out ranks that hold the same heads
    sometimes(0.1, "usage", ["offline"])
    return settings


def draw_cases(models: dict[str, Config], each: int = 3, seed: int = SEED) -> Iterator[Case]:
    """Settings for each model: the engine's defaults once, then drawn ones."""
    for name, config in models.items():
        draw = random.Random(f"{seed} cases {name}")  # noqa: S311  # no secrets
        text = config.get("text_config", config)
        longest = text.get("max_position_embeddings", text.get("max_target_positions", 8192))
        for number in range(each):
            plain = {"max_model_len": min(draw.choice([8192, 5000, 32_768]), longest)}
            settings = _settings(draw, kind_of(name), longest) if number else plain
            yield Case(name, settings, draw.randint(20 * 2**30, 200 * 2**30))
