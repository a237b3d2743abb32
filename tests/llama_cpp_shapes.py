"""Shapes of models twice over: as metadata of a GGUF file, which llama.cpp plans for, and as models of kvcalc."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import kvcalc
from kvcalc.mechanisms import GQA, MHA, MLA, MQA, GatedDeltaNet, Mamba1, Mamba2, Mechanism, ShortConv
from kvcalc.model.layers import LayerGroup, Repeat


class Shape(NamedTuple):
    """One shape.

    Attributes:
        arch: of GGUF.
        vocab: tokens.
        metadata: keys of GGUF without the architecture.
        model: the same.
    """

    arch: str
    vocab: int
    metadata: dict[str, Any]
    model: kvcalc.Model


def heads(num_heads: int, num_kv_heads: int, head_dim: int) -> Mechanism:
    """Attention of so many heads."""
    if num_kv_heads == num_heads:
        return MHA(num_heads=num_heads, head_dim=head_dim)
    if num_kv_heads == 1:
        return MQA(num_heads=num_heads, head_dim=head_dim)
    return GQA(num_heads=num_heads, num_kv_heads=num_kv_heads, head_dim=head_dim)


def _metadata(layers: int, hidden: int, ff: int, h: int, kv: int, d: int, **more: Any) -> dict[str, Any]:
    return {
        "block_count": layers,
        "context_length": 1 << 20,
        "embedding_length": hidden,
        "feed_forward_length": ff,
        "attention.head_count": h,
        "attention.head_count_kv": kv,
        "attention.key_length": d,
        "attention.value_length": d,
        "rope.dimension_count": d,
        "attention.layer_norm_rms_epsilon": 1e-6,
        **{name.replace("__", "."): value for name, value in more.items()},
    }


def _group(count: int, attention: Mechanism, **more: int) -> LayerGroup:
    return LayerGroup(count=count, attention=attention, **more)  # type: ignore[arg-type]  # as given


def dense(
    arch: str, hidden: int, ff: int, h: int, kv: int, d: int, *, layers: int = 3, vocab: int = 128256, window: int = 0
) -> Shape:
    """Gated feed-forward blocks; with a window, as gemma3 has them: five layers of six."""
    attention = heads(h, kv, d)
    metadata = _metadata(layers, hidden, ff, h, kv, d)
    of = (_group(layers, attention),)
    if window:
        metadata["attention.sliding_window"] = window
        of = (Repeat(repeat=layers // 6, of=(_group(5, attention, window=window), _group(1, attention))),)  # type: ignore[assignment]  # longer
    model = kvcalc.Model(name=arch, dtype="bf16", hidden_size=hidden, intermediate_size=ff, vocab_size=vocab, layers=of)
    return Shape(arch, vocab, metadata, model)


def experts(
    arch: str,
    hidden: int,
    h: int,
    kv: int,
    d: int,
    *,
    number: int,
    used: int,
    width: int,
    first_dense: int = 0,
    ff: int = 0,
    layers: int = 3,
    vocab: int = 151936,
    **more: Any,
) -> Shape:
    """Layers of experts."""
    metadata = _metadata(layers, hidden, ff or width, h, kv, d, **more)
    metadata |= {"expert_count": number, "expert_used_count": used, "expert_feed_forward_length": width}
    if first_dense:
        metadata["leading_dense_block_count"] = first_dense
    model = kvcalc.Model(
        name=arch,
        dtype="bf16",
        hidden_size=hidden,
        intermediate_size=ff or None,
        num_experts=number,
        num_experts_per_tok=used,
        moe_intermediate_size=width,
        first_k_dense=first_dense or None,
        vocab_size=vocab,
        layers=(_group(layers, heads(h, kv, d)),),
    )
    return Shape(arch, vocab, metadata, model)


def _with(shape: Shape, *layers: Any, **metadata: Any) -> Shape:
    model = replace(shape.model, layers=tuple(layers)) if layers else shape.model
    named = {name.replace("__", "."): value for name, value in metadata.items()}
    return shape._replace(metadata={**shape.metadata, **named}, model=model)


def _delta(shape: Shape, values: int, attention: Mechanism) -> Shape:
    """As Qwen3.5 has them: three layers of gated delta rules, one of attention."""
    state = GatedDeltaNet(num_k_heads=16, num_v_heads=values, k_head_dim=128, v_head_dim=128, conv_kernel=4)
    return _with(
        shape,
        Repeat(repeat=2, of=(_group(3, state), _group(1, attention))),
        ssm__conv_kernel=4,
        ssm__state_size=128,
        ssm__group_count=16,
        ssm__time_step_rank=values,
        ssm__inner_size=128 * values,
        full_attention_interval=4,
        rope__dimension_sections=[11, 11, 10, 0],
        expert_shared_feed_forward_length=512,
    )


def latent(hidden: int, h: int, ff: int, used: int, width: int, q_rank: int, layers: int = 4) -> Shape:
    """As DeepSeek-V3 has it."""
    found = experts(
        "deepseek2",
        hidden,
        h,
        1,
        576,
        number=64,
        used=used,
        width=width,
        first_dense=2,
        ff=ff,
        layers=layers,
        vocab=129280,
        expert_shared_count=1,
        expert_weights_scale=2.5,
        expert_weights_norm=True,
        expert_gating_func=2,
    )
    attention = MLA(num_heads=h, kv_lora_rank=512, qk_rope_head_dim=64, qk_nope_head_dim=128, v_head_dim=128)
    return _with(
        found,
        _group(layers, attention),
        attention__q_lora_rank=q_rank,
        attention__kv_lora_rank=512,
        attention__value_length=512,
        attention__key_length_mla=192,
        attention__value_length_mla=128,
        rope__dimension_count=64,
    )


def _states(arch: str, mechanism: Mechanism, **metadata: Any) -> Shape:
    shape = dense(arch, 4096, 1, 1, 1, 64, vocab=50288)
    named = {"attention__head_count": 0, "attention__head_count_kv": 0, "feed_forward_length": 0, **metadata}
    return _with(shape, _group(3, mechanism), **named)


_MAMBA2 = Mamba2(num_heads=128, head_dim=64, state_size=128, num_groups=8, conv_kernel=4)

SHAPES: dict[str, Shape] = {
    "llama-2-7b": dense("llama", 4096, 11008, 32, 32, 128, vocab=32000),
    "llama-3-8b": dense("llama", 4096, 14336, 32, 8, 128),
    "llama-3-70b": dense("llama", 8192, 28672, 64, 8, 128),
    "qwen3-8b": dense("qwen3", 4096, 12288, 32, 8, 128, vocab=151936),
    "qwen2.5-7b": dense("qwen2", 3584, 18944, 28, 4, 128, vocab=152064),
    "phi3-mini": dense("phi3", 3072, 8192, 32, 32, 96, vocab=32064),
    "gemma-3-27b": dense("gemma3", 5376, 21504, 32, 16, 128, layers=12, vocab=262208, window=1024),
    "gemma-3-270m": dense("gemma3", 640, 2048, 4, 1, 256, layers=12, vocab=262144, window=512),
    "qwen3-30b-a3b": experts("qwen3moe", 2048, 32, 4, 128, number=128, used=8, width=768),
    "qwen3-235b-a22b": experts("qwen3moe", 4096, 64, 4, 128, number=128, used=8, width=1536),
    "minimax-m2": experts(
        "minimax-m2", 3072, 48, 8, 128, number=256, used=8, width=1536, vocab=200064, expert_gating_func=2
    ),
    "glm-4.5-air": experts(
        "glm4moe",
        4096,
        96,
        8,
        128,
        number=128,
        used=8,
        width=1408,
        first_dense=1,
        ff=10944,
        layers=4,
        expert_shared_count=1,
        expert_weights_scale=1.0,
        expert_weights_norm=True,
        expert_gating_func=2,
    ),
    "deepseek-v3": latent(7168, 128, 18432, 8, 2048, 1536),
    "glm-5 heads": latent(6144, 64, 12288, 8, 2048, 2048),
    "qwen3.6-27b": _delta(dense("qwen35", 5120, 17408, 24, 4, 256, layers=8, vocab=248320), 48, heads(24, 4, 256)),
    "qwen3.5-9b": _delta(dense("qwen35", 4096, 12288, 16, 4, 256, layers=8, vocab=248320), 32, heads(16, 4, 256)),
    "qwen3.5-35b-a3b": _delta(
        experts("qwen35moe", 2048, 16, 2, 256, number=256, used=8, width=512, layers=8), 32, heads(16, 2, 256)
    ),
    "lfm2-1.2b": _with(
        dense("lfm2", 2048, 8192, 32, 8, 64, layers=6, vocab=65536),
        Repeat(repeat=2, of=(_group(2, ShortConv(hidden_size=2048, conv_kernel=3)), _group(1, heads(32, 8, 64)))),
        attention__head_count_kv=[0, 0, 8, 0, 0, 8],
        shortconv__l_cache=3,
    ),
    "mamba2": _states(
        "mamba2",
        _MAMBA2,
        ssm__conv_kernel=4,
        ssm__state_size=128,
        ssm__group_count=8,
        ssm__time_step_rank=128,
        ssm__inner_size=8192,
    ),
    "falcon-mamba": _states(
        "mamba",
        Mamba1(intermediate_size=8192, state_size=16, conv_kernel=4),
        ssm__conv_kernel=4,
        ssm__state_size=16,
        ssm__time_step_rank=256,
        ssm__inner_size=8192,
        ssm__dt_b_c_rms=True,
    ),
}


class Run(NamedTuple):
    """A context of a shape: tokens of each slot, and what it is started with."""

    context: int
    slots: int = 1
    ubatch: int = 512
    k: str = "f16"
    v: str = "f16"
    flash: str = "auto"
    unified: bool = False
    swa_full: bool = False

    @property
    def name(self) -> str:
        """All of it in a word."""
        flags = f"{',unified' if self.unified else ''}{',swa-full' if self.swa_full else ''}"
        return f"{self.slots}x{self.context},ub{self.ubatch},{self.k}/{self.v},fa {self.flash}{flags}"


RUNS = (
    Run(8192),
    Run(131072),
    Run(200192, k="q8_0", v="q8_0"),
    Run(32768, k="bf16", v="bf16"),
    Run(32768, k="q8_0", v="q4_0"),
    Run(8192, ubatch=1024),
    Run(256),
    Run(8192, slots=4),
    Run(8192, slots=4, unified=True),
    Run(16384, flash="off"),
    Run(16384, swa_full=True),
)

CLASS_RUNS = (
    Run(8192),
    Run(65536),
    Run(32768, ubatch=2048),
    Run(32768, k="q8_0", v="q8_0"),
    Run(32768, k="bf16", v="bf16"),
    Run(16384, slots=4),
    Run(8192, slots=16),
)
"""What shapes with the dims of published models are tried with (tests/data/llama_cpp/classes.json)."""


class Fitted(NamedTuple):
    """What llama.cpp chose itself for a model in f16 on one card (common/fit.cpp), leaving 1 GiB of it free.

    Attributes:
        name: of the shape.
        gib: of the card.
        kept_in: the cache.
        n_gpu_layers: as it chose them.
        n_cpu_moe: layers whose experts, or some of them, are on the host; None where whole layers are.
    """

    name: str
    gib: int
    context: int
    kept_in: str
    n_gpu_layers: int
    n_cpu_moe: int | None = None


FITTED = (
    Fitted("llama-3-8b", 8, 8192, "f16", 14),
    Fitted("llama-3-8b", 8, 32768, "f16", 11),
    Fitted("llama-3-8b", 12, 8192, "f16", 23),
    Fitted("llama-3-8b", 12, 65536, "q8_0", 18),
    Fitted("llama-3-8b", 16, 32768, "f16", 26),
    Fitted("llama-3-8b", 16, 65536, "q8_0", 26),
    Fitted("llama-3-70b", 24, 8192, "f16", 13),
    Fitted("llama-3-70b", 48, 32768, "q8_0", 27),
    Fitted("qwen3-30b-a3b", 8, 8192, "f16", 49, 45),
    Fitted("qwen3-30b-a3b", 12, 8192, "f16", 49, 42),
    Fitted("qwen3-30b-a3b", 12, 65536, "f16", 49, 47),
    Fitted("qwen3-30b-a3b", 24, 65536, "f16", 49, 36),
)
"""b11549, by tests/live/llama_cpp_fit.py."""
_LAYERS = {"llama-3-8b": 32, "llama-3-70b": 80, "qwen3-30b-a3b": 48}


def fitted_model(name: str) -> Shape:
    """The shape with all its layers, and its parameters."""
    shape, layers = SHAPES[name], _LAYERS[name]
    keys = shape.metadata
    hidden, width = keys["embedding_length"], keys["attention.key_length"]
    of_queries, kv = keys["attention.head_count"], keys["attention.head_count_kv"]
    experts_of = keys.get("expert_count", 0)
    blocks = 3 * hidden * (experts_of * keys.get("expert_feed_forward_length", 0) or keys["feed_forward_length"])
    norms = 2 * hidden + (2 * width if experts_of else 0)
    layer = blocks + experts_of * hidden + norms + 2 * hidden * width * (of_queries + kv)
    parameters = 2 * shape.vocab * hidden + hidden + layers * layer
    found = _with(shape, _group(layers, heads(of_queries, kv, width)), block_count=layers)
    return found._replace(model=replace(found.model, parameters=parameters, tie_word_embeddings=False))


def kvcalc_fits(fitted: Fitted) -> kvcalc.Capacity:
    """The same question put to kvcalc."""
    return kvcalc.capacity(
        fitted_model(fitted.name).model,
        engine="llama-cpp",
        gpu="h100",
        gpu_memory=f"{fitted.gib}GiB",
        context=fitted.context,
        cache_dtype=fitted.kept_in,
        weight_dtype="fp16",
        pp=1,
    )
