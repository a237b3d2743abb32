"""Every cache of a model on one tensor-parallel rank, in its place, with its spec and its group."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from kvcalc.engines.vllm.cache.groups import HYBRID_MANAGER, Group, groups_of
from kvcalc.engines.vllm.cache.layer_specs import blocks_of, is_state, specs_of
from kvcalc.engines.vllm.cache.lost_format import check_pages
from kvcalc.engines.vllm.cache.placed import Kept, Placed
from kvcalc.engines.vllm.cache.span_specs import ChunkedLocal, SlidingWindow
from kvcalc.engines.vllm.cache.specs import FullAttention, Spec
from kvcalc.errors import KvcalcError
from kvcalc.mechanisms import Compressed, Cross
from kvcalc.model.span import Chunk

if TYPE_CHECKING:
    from kvcalc.engines.vllm.cache.rank import Rank
    from kvcalc.engines.vllm.defaults import Version
    from kvcalc.model.stages import Layout

CHUNKS_BY_MANAGER: Version = (0, 14)
"""VLLM_ALLOW_CHUNKED_LOCAL_ATTN_WITH_HYBRID_KV_CACHE of vllm/envs.py: off in 0.13, on in 0.14."""
PROMOTED_ALIKE: Version = (0, 27)
"""Since then a window that is to keep every token takes the blocks of whole layers, whatever its own were
(_promote_local_kv_cache_specs of vllm/v1/core/kv_cache_utils.py: not in 0.26, there in 0.27.1)."""
STATES_IN_POOL: Version = (0, 10)
_KNOWN: WeakKeyDictionary[Layout, dict[object, tuple[Group, ...]]] = WeakKeyDictionary()
"""Groups of models, worked out once for all questions about them. They do not depend on pipeline stages."""
MOST_KNOWN = 256
"""Ranks of a model whose groups are kept."""


def groups_on(rank: Rank) -> tuple[Group, ...]:
    """The groups of a model on a rank."""
    model = rank.model
    known = _KNOWN.setdefault(model.layout, {})
    key = (
        rank.settings._replace(pp=1, max_model_len=0),
        rank.counter.cache_format,
        (rank.tp, rank.block_size, rank.alignment, rank.granule, rank.exports_states, rank.gpu.compute_capability),
        model.unreached_window,
        rank.draft and (rank.draft.model.layout, rank.draft.counter.cache_format, rank.draft.tp),
    )
    if key not in known:
        if len(known) >= MOST_KNOWN:
            known.clear()
        known[key] = groups_of(placed(rank), rank.settings.version)
    return known[key]


def placed(rank: Rank) -> tuple[Placed, ...]:
    """Every cache of the model with its spec, in the model's order."""
    kinds = rank.model.layout.kinds
    if rank.settings.version < STATES_IN_POOL and any(rows and rows[0].constant_rows for rows in map(rank.rows, kinds)):
        raise KvcalcError(
            "--engine: vllm before 0.10 keeps states and encoders' tokens apart (vllm/model_executor/models/"
            "mamba_cache.py, vllm/core/block_manager.py); kvcalc does not follow that"
        )
    blocks = blocks_of(rank)
    promotes = _keeps_every_token(rank)

    def change(spec: Spec) -> Spec:
        return _promoted(spec, rank, blocks.size) if promotes else spec

    told = {layer.label: list(specs_of(layer, rank, blocks)) for layer in kinds}
    every, kept_in = [spec for specs in told.values() for spec in specs], rank.counter.cache_format.default.name
    check_pages(every, kept_in, rank.settings.version, promoted=promotes)
    known = {layer.label: [Kept(layer, change(spec)) for spec in told[layer.label]] for layer in kinds}
    layers, number = [], 0
    for caches, equal in groupby(rank.model.layout.layers):
        keeps = [kept for cache in caches for kept in known[cache.label]]
        for _ in equal:
            layers += [Placed(number, kept) for kept in keeps]
            number += 1
    if rank.draft is not None:  # on the last stage (vllm/v1/worker/gpu_model_runner.py, drafter)
        drafts = (cache for caches in rank.draft.model.layout.layers for cache in caches)
        layers += [
            Placed(number - 1, Kept(cache, change(spec), drafts=True))
            for cache in drafts
            for spec in specs_of(cache, rank.draft, blocks)
        ]
    return tuple(layers)


def _keeps_every_token(rank: Rank) -> bool:
    """Whether layers with windows or chunks keep every token, beside layers that do so anyway.

    Raises:
        KvcalcError: there are states, for which vLLM needs its hybrid manager.
    """
    kinds, settings = [*rank.model.layout.kinds, *(rank.draft.model.layout.kinds if rank.draft else ())], rank.settings
    unreached = rank.model.unreached_window
    spans = [layer.span or unreached for layer in kinds if layer.attention.elements_per_token]
    if settings.version < HYBRID_MANAGER:
        return True
    slow_chunks = settings.version < CHUNKS_BY_MANAGER and any(isinstance(span, Chunk) for span in spans)
    if not (settings.disable_hybrid_kv_cache_manager or slow_chunks):
        return False
    if any(isinstance(layer.attention, Compressed) for layer in kinds):
        raise KvcalcError(
            "--engine-option: disable-hybrid-kv-cache-manager does not go with compressed attention in vllm "
            "(vllm/v1/core/kv_cache_planning.py, unify_hybrid_kv_cache_specs)"
        )
    if any(isinstance(layer.attention, Cross) for layer in kinds):
        raise KvcalcError(
            "--engine-option: disable-hybrid-kv-cache-manager does not go with cross attention in vllm "
            "(vllm/v1/core/kv_cache_utils.py, unify_hybrid_kv_cache_specs); leave it out"
        )
    if any(is_state(rank.rows(layer)) for layer in kinds) and spans:
        raise KvcalcError(
            "--engine-option: disable-hybrid-kv-cache-manager does not go with states in vllm "
            "(vllm/v1/core/kv_cache_utils.py, unify_hybrid_kv_cache_specs)"
        )
    return None in spans


def _promoted(spec: Spec, rank: Rank, block_size: int) -> Spec:
    """As a layer that keeps every token.

    Raises:
        KvcalcError: it would not be in one group with the others.
    """
    if not isinstance(spec, SlidingWindow | ChunkedLocal):
        return spec
    if spec.block_size != block_size and rank.settings.version < PROMOTED_ALIKE:
        raise KvcalcError(
            f"--block-size: {rank.block_size} does not go with disable-hybrid-kv-cache-manager in this version of "
            "vllm, whose windows begin with the smallest block of their backend (vllm/v1/core/kv_cache_utils.py, "
            "unify_hybrid_kv_cache_specs); leave --block-size out, or --engine vllm@0.33"
        )
    keeps = spec.window if isinstance(spec, SlidingWindow) else spec.chunk
    return FullAttention(spec.shape, spec.rows, block_size, spec.padded, spec.unused_row, keeps=keeps)
