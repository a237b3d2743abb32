"""A model as transformers keeps it: windows a token shorter, latents expanded where its version does that."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from kvcalc.engines.transformers.rules import LATENT, LATENT_WITH_INDEX, STATES, STATIC_WIDTHS
from kvcalc.errors import KvcalcError
from kvcalc.mechanisms import GQA, MLA, RWKV, Lightning, Role
from kvcalc.mechanisms.mla_expanded import expanded
from kvcalc.model.layers import with_groups

if TYPE_CHECKING:
    from kvcalc.engines.transformers.rules import Version
    from kvcalc.mechanisms import Mechanism
    from kvcalc.model.layers import LayerGroup
    from kvcalc.model.model import Model


@lru_cache(maxsize=64)
def as_kept(model: Model, version: Version, *, static: bool) -> Model:
    """The model whose plain formulas are what the cache classes hold.

    Raises:
        KvcalcError: this version does not keep such layers, or not in such a cache.
    """
    for layer in model.layout.kinds:
        _refuse_unserved(layer.attention, version, static=static)

    def kept(group: LayerGroup) -> LayerGroup:
        own = group.with_attentions(lambda each: _attention(each, version))
        window, chunk = (length if static else _one_less(length) for length in (own.window, own.chunk))
        return replace(own, window=window, chunk=chunk, cache_dtype=None)

    parts = with_groups(model.layers, kept)
    return model if parts == model.layers else replace(model, layers=parts)


def _refuse_unserved(attention: Mechanism, version: Version, *, static: bool) -> None:
    roles = {tensor.role for tensor in attention.cached()}
    if roles & {Role.STATE, Role.CONV} and version < STATES:
        raise KvcalcError(
            f"--engine transformers: before 5.5.0 each model keeps states in a cache class of its own, which kvcalc "
            f"does not follow ({attention.label}); give transformers@5.5.0 or newer"
        )
    if isinstance(attention, RWKV):
        raise KvcalcError(
            "--engine transformers: its class of RWKV is of the fourth version, whose state is another; leave --engine "
            "out"
        )
    if isinstance(attention, Lightning) and static:
        raise KvcalcError(
            "--engine-option cache: transformers keeps lightning attention's states in MiniMaxCache, which is "
            "dynamic; leave cache=static out"
        )
    if isinstance(attention, MLA) and attention.index_head_dim is not None and version < LATENT_WITH_INDEX:
        raise KvcalcError(
            "--engine transformers: before 5.18.0 models with an indexer keep expanded heads beside its keys, which "
            "kvcalc does not count; give transformers@5.18.0 or newer"
        )
    if static and version < STATIC_WIDTHS and _unlike_widths(_attention(attention, version)):
        raise KvcalcError(
            "--engine-option cache: before 5.0.0 StaticCache needs keys and values of one width, and this model's "
            "differ; leave cache=static out, or give transformers@5.0.0 or newer"
        )


def _unlike_widths(attention: Mechanism) -> bool:
    return len({tensor.row_elements for tensor in attention.cached() if tensor.role is Role.CACHE}) > 1


def _attention(attention: Mechanism, version: Version) -> Mechanism:
    if isinstance(attention, MLA) and version < LATENT:
        return expanded(attention)
    if isinstance(attention, MLA) and attention.index_kpool is not None and attention.index_head_dim is not None:
        return replace(attention, index_head_dim=2 * attention.index_head_dim + 1, index_kpool=None)
    if isinstance(attention, GQA) and attention.index_kpool is not None:
        return replace(attention, index_kpool=None, index_topk=None)
    return attention


def averages(attention: Mechanism) -> bool:
    """Whether keys of an indexer, as kept here, are averaged over several tokens at each step."""
    return isinstance(attention, GQA) and attention.index_head_dim is not None and attention.index_block_size is None


def _one_less(length: int | None) -> int | None:
    """The last window - 1 tokens; [-window + 1 :] of a window of 1 is all of them."""
    return None if length is None or length == 1 else length - 1
