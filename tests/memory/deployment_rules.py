"""Which deployments are legal and which heads a rank holds, restated; and random models to try them on."""

from __future__ import annotations

from fuzzing import examples
from hypothesis import strategies as st

import kvcalc
from kvcalc.mechanisms import GQA, MHA, MLA, MQA, Attention, MLAExpanded, NoAttention, Shared
from kvcalc.model.layers import LayerGroup

laws = examples(150)


def latent(num_heads: int) -> MLA:
    return MLA(num_heads=num_heads, kv_lora_rank=8, qk_rope_head_dim=4, qk_nope_head_dim=2, v_head_dim=2)


# What is legal, restated: heads, tokens and experts are dealt out to ranks, and whoever gets another amount is illegal.


def held_heads(attention: Attention) -> int:
    """Heads of what a layer keeps; a latent, like the one head of MQA, is whole on every rank."""
    match attention:
        case MHA(num_heads=heads) | MLAExpanded(num_heads=heads) | GQA(num_kv_heads=heads):
            return heads
    return 1


def tps_by_hand(model: kvcalc.Model) -> set[int]:
    kinds = [layer.attention for layer in model.distinct()]
    queries = [heads for kind in kinds if (heads := getattr(kind, "num_heads", None)) is not None]
    if not queries:
        return {1}
    kept = [held_heads(layer.attentions[0]) for layer in written_out(model)]
    return {
        tp
        for tp in range(1, max(queries) + 1)
        if all(heads % tp == 0 for heads in queries) and all(heads % tp == 0 or tp % heads == 0 for heads in kept)
    }


def written_out(model: kvcalc.Model) -> list[LayerGroup]:
    """The layers that keep something."""
    groups = [group for group in model.layers if isinstance(group, LayerGroup)]
    return [group for group in groups if not isinstance(group.attention, Shared | NoAttention)]


def dcps_by_hand(model: kvcalc.Model, tp: int) -> set[int]:
    """Each head's ranks can be put into groups of dcp that share its tokens."""
    legal = set(range(1, tp + 1))
    full = [held_heads(layer.attentions[0]) for layer in written_out(model) if layer.window is None]
    for heads in full:
        holders = [[rank for rank in range(tp) if head in heads_of_rank(rank, heads, tp)] for head in range(heads)]
        legal &= {dcp for dcp in range(1, tp + 1) if all(len(ranks) % dcp == 0 for ranks in holders)}
    return legal if full else {1}


def heads_of_rank(rank: int, heads: int, tp: int) -> range:
    if tp > heads:
        return range(rank * heads // tp, rank * heads // tp + 1)
    return range(rank * (heads // tp), (rank + 1) * (heads // tp))


def eps_by_hand(model: kvcalc.Model, ranks: int) -> set[int]:
    """As many ranks for each part of the experts, and an expert for each part."""
    experts = model.num_experts or 1
    return {ep for ep in range(1, ranks + 1) if ranks % ep == 0 and ep <= experts}


HEADS = st.sampled_from([1, 2, 3, 4, 6, 8, 12, 24])


@st.composite
def attentions(draw: st.DrawFn) -> Attention:
    heads = draw(HEADS)
    kv_heads = draw(st.sampled_from([n for n in range(1, heads + 1) if heads % n == 0]))
    kinds: list[Attention] = [
        MHA(num_heads=heads, head_dim=3),
        MQA(num_heads=heads, head_dim=3),
        GQA(num_heads=heads, num_kv_heads=kv_heads, head_dim=3),
        latent(heads),
        MLAExpanded(num_heads=heads, kv_lora_rank=8, qk_rope_head_dim=4, qk_nope_head_dim=2, v_head_dim=2),
        Shared(),
        NoAttention(),
    ]
    return draw(st.sampled_from(kinds))


@st.composite
def models(draw: st.DrawFn) -> kvcalc.Model:
    kinds = draw(st.lists(attentions(), min_size=1, max_size=4))
    windows = [None if isinstance(kind, Shared | NoAttention) else draw(st.sampled_from([None, 5])) for kind in kinds]
    return kvcalc.Model(
        name="random",
        num_experts=draw(st.sampled_from([None, 1, 2, 5, 8, 10])),
        layers=tuple(LayerGroup(count=1, attention=kind, window=w) for kind, w in zip(kinds, windows, strict=True)),
    )
