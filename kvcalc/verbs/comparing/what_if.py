"""What if the model had another attention mechanism: the same layers, heads and widths, another cache.

Layers without heads stay as they are, and so do windows and formats of single layers. Heads of an MLA model are as wide
as its values; the MLA of a model with heads has DeepSeek's proportions. Cross attention has as many KV heads as the
mechanism says, and no latent is known of it.
"""

from __future__ import annotations

from dataclasses import fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from kvcalc.mechanisms import GQA, MHA, MLA, MQA, Cross, MLAExpanded, Role
from kvcalc.model.layers import LayerGroup, Repeat, with_groups

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from kvcalc.mechanisms import Attention, Heads, Mechanism
    from kvcalc.model.layers import Layers
    from kvcalc.model.model import Model

LATENT_HEADS = 4
"""DeepSeek-V2's kv_lora_rank is 4 heads wide, and its rotary key half a head (arXiv 2405.04434, table 1)."""

USUAL_KV_HEADS = frozenset({2, 4, 8, 16, 32})


class Variant(NamedTuple):
    """A model with one mechanism.

    Attributes:
        name: of the row: mha, gqa-8, mqa, mla, mla_expanded, or the model's own where its layers differ.
        own: whether this is what the model keeps.
    """

    name: str
    model: Model
    own: bool


def variants(model: Model) -> list[Variant]:
    """The model under each mechanism: the most KV heads first, latents last.

    The model as it is stands among them, or before them where its layers have different mechanisms.
    """
    own = _attentions(model)
    found: list[Variant] = []
    for name, convert in _conversions(own):
        if all(convert(attention) == _plain(attention) for attention in own):
            found.append(Variant(name, model, own=True))
        else:
            found.append(Variant(name, _converted(model, convert), own=False))
    if not any(variant.own for variant in found):
        found.insert(0, Variant(model.name, model, own=True))
    return found


def as_mha(model: Model) -> Model | None:
    """The model with a key and a value for every query head; None where that is not known, or it has no heads."""
    attentions = _attentions(model)
    if _with_unknown_heads(attentions) or not any(attention.heads for attention in attentions):
        return None
    return _converted(model, _mha)


def with_unknown_heads(model: Model) -> list[str]:
    """Layers that keep tokens, of heads that their mechanism does not tell."""
    return _with_unknown_heads(_attentions(model))


def unchanged(model: Model) -> list[str]:
    """Layers that keep something and have no heads: states, which no mechanism of attention changes."""
    kept = (attention for attention in _attentions(model) if attention.cached() and attention.heads is None)
    return [*dict.fromkeys(attention.label for attention in kept)]


def _with_unknown_heads(attentions: Iterable[Mechanism]) -> list[str]:
    of_tokens = (each for each in attentions if any(_is_of_tokens(tensor.role) for tensor in each.cached()))
    return [*dict.fromkeys(attention.label for attention in of_tokens if attention.heads is None)]


def _is_of_tokens(role: Role) -> bool:
    return role in {Role.CACHE, Role.INDEX}


def odd_head_dims(model: Model) -> list[int]:
    """Widths of heads that have no half, and so no MLA in DeepSeek's proportions."""
    own = (attention for attention in _attentions(model) if isinstance(attention, MHA | MQA | GQA))
    return sorted({attention.head_dim for attention in own if attention.head_dim % 2})


def mechanism_of(model: Model) -> str:
    """The kinds of attention of the layers that keep something: 'gqa', 'mha + mla'."""
    attentions = _attentions(model)
    keeping = [attention for attention in attentions if attention.cached()] or attentions
    return " + ".join(dict.fromkeys(_plain(attention).kind for attention in keeping))


def _conversions(own: list[Attention]) -> Iterator[tuple[str, Callable[[Attention], Attention]]]:
    heads = [each for attention in own if (each := attention.heads)]
    if not heads or _with_unknown_heads(own):
        return
    counts = USUAL_KV_HEADS | {each.num_kv_heads for each in heads if each.num_kv_heads}
    yield "mha", _mha
    for count in sorted(counts, reverse=True):
        if all(1 < count < each.num_heads and each.num_heads % count == 0 for each in heads):
            yield f"gqa-{count}", partial(_gqa, count)
    yield "mqa", _mqa
    with_latent = [latent for attention in own if (latent := _latent(attention))]
    if with_latent and not any(isinstance(each, MHA | MQA | GQA) and each.head_dim % 2 for each in own):
        yield "mla", _mla
        yield "mla_expanded", _mla_expanded


def _plain(attention: Attention) -> Attention:
    """Grouped queries with as many KV heads as heads are mha, with one KV head mqa."""
    if isinstance(attention, GQA) and attention.num_kv_heads == attention.num_heads:
        return _mha(attention)
    return _mqa(attention) if isinstance(attention, GQA) and attention.num_kv_heads == 1 else attention


def _mha(attention: Attention) -> Attention:
    heads = attention.heads
    if heads is None:
        return attention
    if isinstance(attention, Cross):
        return replace(attention, num_kv_heads=heads.num_heads)
    return MHA(num_heads=heads.num_heads, **_widths(heads))


def _gqa(num_kv_heads: int, attention: Attention) -> Attention:
    heads = attention.heads
    if heads is None:
        return attention
    if isinstance(attention, Cross):
        return replace(attention, num_kv_heads=num_kv_heads)
    return GQA(num_heads=heads.num_heads, num_kv_heads=num_kv_heads, **_widths(heads))


def _mqa(attention: Attention) -> Attention:
    heads = attention.heads
    if heads is None:
        return attention
    if isinstance(attention, Cross):
        return replace(attention, num_kv_heads=1)
    return MQA(num_heads=heads.num_heads, **_widths(heads))


def _widths(heads: Heads) -> dict[str, Any]:
    """As mechanisms with heads take them."""
    return {"head_dim": heads.head_dim, "v_head_dim": heads.v_head_dim, "k_equals_v": heads.k_equals_v}


def _mla(attention: Attention) -> Attention:
    latent = _latent(attention)
    return attention if latent is None else MLA(**latent)


def _mla_expanded(attention: Attention) -> Attention:
    """Every head attends to every position: there is nothing for an indexer to choose from a latent."""
    latent = _latent(attention)
    if latent is None:
        return attention
    names = {each.name for each in fields(MLAExpanded)}
    return MLAExpanded(**{name: value for name, value in latent.items() if name in names})


def _latent(attention: Attention) -> dict[str, Any] | None:
    """The dims of its MLA: its own, or in DeepSeek's proportions."""
    if isinstance(attention, MLA | MLAExpanded):
        return {each.name: getattr(attention, each.name) for each in fields(attention) if each.name != "kind"}
    heads = attention.heads
    if heads is None or isinstance(attention, Cross):
        return None
    return {
        "num_heads": heads.num_heads,
        "kv_lora_rank": LATENT_HEADS * heads.head_dim,
        "qk_rope_head_dim": heads.head_dim // 2,
        "qk_nope_head_dim": heads.head_dim,
        "v_head_dim": heads.v_head_dim or heads.head_dim,
    }


def _attentions(model: Model) -> list[Attention]:
    return [attention for group in _groups(model.layers) for attention in group.attentions]


def _groups(parts: Iterable[Layers]) -> Iterator[LayerGroup]:
    for part in parts:
        if isinstance(part, Repeat):
            yield from _groups(part.of)
        else:
            yield part


def _converted(model: Model, convert: Callable[[Attention], Attention]) -> Model:
    return replace(model, layers=with_groups(model.layers, lambda group: group.with_attentions(convert)))
