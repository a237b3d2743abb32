"""The shapes of what a rank computes for each token, as the profiling run meets them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kvcalc.engines.gated import is_gated
from kvcalc.engines.merged_matrices import VOCABULARY_BLOCK
from kvcalc.formats.by_name import find_format
from kvcalc.mechanisms import GQA, KDA, MHA, MLA, MQA, GatedDeltaNet, Mamba2

if TYPE_CHECKING:
    from kvcalc.mechanisms import Mechanism
    from kvcalc.model.model import Model


class Width(NamedTuple):
    """Elements of a token that are alive at once, in words and in numbers."""

    elements: int
    words: str
    numbers: str


class Latent(NamedTuple):
    """Of multi-head latent attention on a rank, elements of a head.

    Attributes:
        context: that kv_b_proj makes of a token: a key's part without rotation, and a value.
        widest: of a query or of what attention gives.
        attention: of a query, what kv_b_proj gives, a key, a value padded to it, and what attention gives.
        rank: kv_lora_rank, of all heads.
    """

    heads: int
    context: int
    widest: int
    attention: int
    rank: int


PROJECTED = "projections of a state"


class Shapes(NamedTuple):
    """Of one rank.

    Attributes:
        vocab_size: padded as vLLM pads it.
        element: bytes of an element of the model's dtype.
        experts: of a token: elements of the experts' two workspaces, None without experts.
        passing: elements that a mixture of experts holds while it runs, beside the stream.
        layer: the widest layer without its experts.
        projected: elements of it that a layer with a state keeps while its experts run.
    """

    vocab_size: int
    hidden_size: int
    element: int
    top_k: int
    experts: Width | None
    passing: Width | None
    layer: Width
    latent: Latent | None
    projected: int = 0


def shapes_of(model: Model, tp: int, experts_tp: int, *, cutlass: bool = False) -> Shapes | None:
    """The shapes; None where the model's file lacks dims that they need.

    Args:
        model: the model.
        tp: ranks that share a layer.
        experts_tp: ranks that share an expert: 1 where each rank has whole ones.
        cutlass: whether vLLM's own CUTLASS kernels compute experts in nvfp4.
    """
    hidden, vocab = model.hidden_size, model.vocab_size
    if hidden is None or vocab is None:
        return None
    experts = passing = None
    gated = is_gated(model)
    if model.is_mixture_of_experts:
        width, top_k = model.moe_intermediate_size, model.num_experts_per_tok
        if width is None or top_k is None:
            return None
        width //= experts_tp
        if cutlass:
            experts, passing = _of_cutlass(width, hidden, gated=gated)
        else:
            experts, passing = _experts(width, hidden, gated=gated), _passing(width, hidden, gated=gated)
    dense = _dense_width(model, hidden, gated=gated)
    if dense is None:
        return None
    feed_forward = _feed_forward(dense // tp, hidden, gated=gated)
    candidates = [feed_forward]
    candidates += [found for layer in model.distinct() if (found := _mixer(layer.attention, feed_forward, hidden, tp))]
    latents = [layer.attention for layer in model.distinct() if isinstance(layer.attention, MLA)]
    latent = max(latents, key=lambda each: each.num_heads * (each.qk_nope_head_dim + each.v_head_dim), default=None)
    widest = max(candidates, key=lambda each: each.elements)
    return Shapes(
        vocab_size=-(-vocab // VOCABULARY_BLOCK) * VOCABULARY_BLOCK,
        hidden_size=hidden,
        element=find_format(model.dtype or "bf16", "dtype").block_bytes,
        top_k=model.num_experts_per_tok or 0,
        experts=experts,
        passing=passing,
        layer=widest,
        latent=_latent(latent, tp) if latent else None,
        projected=widest.elements - feed_forward.elements if widest.words.endswith(PROJECTED) else 0,
    )


def _latent(mechanism: MLA, tp: int) -> Latent:
    key = mechanism.qk_nope_head_dim + mechanism.qk_rope_head_dim
    context = mechanism.qk_nope_head_dim + mechanism.v_head_dim
    heads, widest = max(1, mechanism.num_heads // tp), max(key, mechanism.v_head_dim)
    return Latent(heads, context, widest, 4 * key + context, mechanism.kv_lora_rank)


def _dense_width(model: Model, hidden: int, *, gated: bool) -> int | None:
    """Of the widest feed-forward block that is not of experts: 0 where all are; None where it is not known.

    Models without a gate that do not say have 4 x hidden_size, as the classes of GPT-2, GPT-J, BLOOM, Falcon and MPT.
    """
    if not model.is_mixture_of_experts:
        return model.intermediate_size or (None if gated else 4 * hidden)
    shared = (model.num_shared_experts or 0) * (model.moe_intermediate_size or 0)
    return max(shared, (model.intermediate_size or 0) if model.first_k_dense else 0)


def _feed_forward(width: int, hidden: int, *, gated: bool) -> Width:
    """The gate, the projection up and their product; the stream before and after, and what the layer began with."""
    copies = 3 if gated else 1
    return Width(
        copies * width + 4 * hidden,
        f"{copies} x intermediate_size + 4 x hidden_size",
        f"{copies} x {width:,} + 4 x {hidden:,}",
    )


def _mixer(mechanism: Mechanism, feed_forward: Width, hidden: int, tp: int) -> Width | None:
    """What attention, or what stands in its place, holds of a token."""
    match mechanism:
        case MHA() | MQA() | GQA():
            heads, kv = mechanism.num_heads // tp, max(1, getattr(mechanism, "num_kv_heads", mechanism.num_heads) // tp)
            width = mechanism.head_dim
            return Width(
                3 * (heads + kv) * width + 2 * hidden,
                "3 x (num_heads + num_kv_heads) x head_dim + 2 x hidden_size",
                f"3 x ({heads} + {kv}) x {width} + 2 x {hidden:,}",
            )
        case GatedDeltaNet():
            keys = 2 * mechanism.num_k_heads * mechanism.k_head_dim // tp
            values = mechanism.num_v_heads * mechanism.v_head_dim // tp
            return _beside(feed_forward, keys + 3 * values)
        case KDA():
            return _beside(feed_forward, 7 * mechanism.num_heads * mechanism.head_dim // tp)
        case Mamba2():
            inner = mechanism.num_heads * mechanism.head_dim // tp
            groups = 2 * max(1, mechanism.num_groups // tp) * mechanism.state_size
            return _beside(feed_forward, 5 * inner + 2 * groups)
        case _:
            return None


def _beside(feed_forward: Width, width: int) -> Width:
    """A layer with a state: what is projected in, and what its kernel gives, stay while the feed-forward block runs.

    The gate is a view of the projection, and is used after the kernel, in the compiled piece that holds the
    feed-forward block too. The kernel itself is left out while memory is profiled (_forward_core of
    vllm/model_executor/layers/mamba/gdn_linear_attn.py returns early).
    """
    return Width(
        feed_forward.elements + width,
        f"{feed_forward.words} + {PROJECTED}",
        f"{feed_forward.numbers} + {width:,}",
    )


def _experts(width: int, hidden: int, *, gated: bool) -> Width:
    up = 2 * width if gated else width
    return Width(
        max(width, hidden) + max(up, hidden),
        f"max(I, hidden_size) + max({'2 x ' if gated else ''}I, hidden_size)",
        f"{max(width, hidden):,} + {max(up, hidden):,}",
    )


def _of_cutlass(width: int, hidden: int, *, gated: bool) -> tuple[Width, Width]:
    """Two workspaces, and beside them: rows brought into the experts' order and back, and then weighted.

    CutlassExpertsFp4 and run_cutlass_moe_fp4 of vllm/model_executor/layers/fused_moe/experts/cutlass_moe.py, whose
    workspaces are asked for by the columns of the gate and the projection up together.
    """
    up, words = (2 * width, "2 x I") if gated else (width, "I")
    kept = Width(
        max(2 * up, hidden) + up,
        f"max(2 x {words}, hidden_size) + {words}",
        f"{max(2 * up, hidden):,} + {up:,}",
    )
    return kept, Width(3 * hidden, "3 x hidden_size", f"3 x {hidden:,}")


def _passing(width: int, hidden: int, *, gated: bool) -> Width:
    up = 2 * width if gated else width
    return Width(
        max(up, hidden) + width,
        f"max({'2 x ' if gated else ''}I, hidden_size) + I",
        f"{max(up, hidden):,} + {width:,}",
    )
