"""Which spec each cache of a model has, on one tensor-parallel rank."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

from kvcalc.engines.vllm.backends import backend_of, exports_states, state_alignment
from kvcalc.engines.vllm.compressed import compressed_specs
from kvcalc.engines.vllm.groups import HYBRID_MANAGER, Group, Kept, Placed, groups_of
from kvcalc.engines.vllm.pooled import pooled_specs, pools
from kvcalc.engines.vllm.shared_entries import WHOLE_RECORDS, shared_specs, shares_entries
from kvcalc.engines.vllm.specs import ChunkedLocal, CrossAttention, FullAttention, SlidingWindow, Spec, State
from kvcalc.engines.vllm.turboquant import block_of_two_formats
from kvcalc.errors import KvcalcError
from kvcalc.mechanisms import Compressed, Mamba1, Mamba2, MLAExpanded, Role
from kvcalc.mechanisms.mha_mqa_gqa import KeysAndValues
from kvcalc.model.span import Chunk, Window

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.engines.content_counter import ContentCounter, TensorRows
    from kvcalc.engines.setup import Setup
    from kvcalc.engines.vllm.defaults import Version
    from kvcalc.engines.vllm.settings import Settings
    from kvcalc.gpu import Gpu
    from kvcalc.model.layers import Layer
    from kvcalc.model.model import Model
    from kvcalc.model.stages import Layout

CHUNKS_BY_MANAGER: Version = (0, 14)
"""VLLM_ALLOW_CHUNKED_LOCAL_ATTN_WITH_HYBRID_KV_CACHE of vllm/envs.py: off in 0.13, on in 0.14."""
STATES_IN_POOL: Version = (0, 10)
OWN_WIDTH_OF_VALUES: Version = (0, 14)
"""FullAttentionSpec.head_size_v; before, a page is 2 x block_size x heads x head_size."""
OWN_WIDTH_OF_VALUES_IN_WINDOWS: Version = (0, 20)
"""SlidingWindowSpec.head_size_v: not in 0.19, there in 0.20.2."""
MODELS_CONFIG = "vllm/model_executor/models/config.py, MambaModelConfig"


class Rank(NamedTuple):
    """A tensor-parallel rank of a server.

    Attributes:
        counter: counts in the formats that the engine keeps.
        block_size: tokens of a block, as given or as the attention backend has it.
        alignment: what the blocks of a model with states too are a multiple of where nobody says how long they are.
        granule: what they are a multiple of, however long.
        exports_states: whether a prefill keeps a block more, for the state of a prefix's end.
        draft: the same of what drafts tokens; None where nothing does.
    """

    model: Model
    tp: int
    counter: ContentCounter
    settings: Settings
    block_size: int
    alignment: int
    granule: int
    exports_states: bool
    gpu: Gpu
    draft: Rank | None = None

    def rows(self, layer: Layer) -> tuple[TensorRows, ...]:
        """What one layer keeps."""
        return self.counter.rows({layer: 1}, self.tp)


def rank_of(model: Model, tp: int, counter: ContentCounter, settings: Settings, gpu: Gpu) -> Rank:
    """A rank with the blocks that its card's attention backend takes.

    Raises:
        KvcalcError: blocks that it does not take.
    """
    backend = backend_of(settings.version, model, gpu, counter.cache_format)
    if backend.chosen is not None and (settings.block_size or 0) % backend.chosen:
        raise KvcalcError(
            f"--block-size: vllm has blocks of {backend.chosen} tokens for layers whose indexer chooses such blocks "
            "(vllm/models/minimax_m3/common/indexer.py, get_supported_kernel_block_sizes); leave --block-size out"
        )
    if backend.fixed and settings.block_size not in (None, backend.fixed):
        raise KvcalcError(
            f"--block-size: kvcalc follows vllm's blocks of {backend.fixed} tokens for DeepSeek-V4.1 on {gpu.name} "
            "(vllm/v1/attention/backends/mla/indexer.py, DeepseekV41IndexerBackend); leave --block-size out"
        )
    align = _shares_states(model, settings)
    alignment = state_alignment(backend, settings.block_size, model, gpu, prefixes=align)
    return Rank(
        model,
        tp,
        counter,
        settings,
        block_of_two_formats(settings.block_size or backend.block_size, model, counter.cache_format, settings.version),
        alignment,
        backend.granule,
        align and exports_states(settings.version, model, gpu),
        gpu,
    )


def with_draft(rank: Rank, draft: Setup, counter: ContentCounter) -> Rank:
    """A rank that holds what drafts tokens too.

    Args:
        rank: without it.
        draft: on its share of the ranks.
        counter: counts in the formats that it keeps.

    Raises:
        KvcalcError: it has states.
    """
    if any(tensor.rows is not None for tensor in draft.model.cached_tensors):
        raise KvcalcError(
            f"--draft: {draft.model.name} keeps states, and kvcalc does not follow how vllm puts those of a draft into "
            "groups; --engine exact counts them"
        )
    return rank._replace(draft=rank._replace(model=draft.model, tp=draft.deployment.tp, counter=counter))


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
    blocks = _blocks(rank)
    change = _promoted if _keeps_every_token(rank) else _as_it_is
    known = {layer.label: [Kept(layer, change(spec)) for spec in _specs(layer, rank, blocks)] for layer in kinds}
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
            for spec in _specs(cache, rank.draft, blocks)
        ]
    return tuple(layers)


class _Blocks(NamedTuple):
    """The blocks of a model.

    Attributes:
        size: tokens of one.
        state_page: bytes of a state's page, where it is padded to that of attention.
    """

    size: int
    state_page: int | None = None


def _blocks(rank: Rank) -> _Blocks:
    """As long as a state needs; states are padded to a page of attention.

    vllm/platforms/interface.py, _align_hybrid_block_size; before 0.20 in vllm/model_executor/models/config.py,
    HybridAttentionMambaModelConfig.
    """
    kept = [(layer, rank.rows(layer)) for layer in rank.model.layout.kinds]
    states = [_state(layer, rows, rank, None).content_page for layer, rows in kept if _is_state(rows)]
    tokens = [
        sum(row.row_bytes for row in rows if row.tensor.role is Role.CACHE)
        + _unused_row(layer, rows, rank.settings.version)
        for layer, rows in kept
        if rows and rows[0].constant_rows is None
    ]
    if not states or not tokens:
        return _Blocks(rank.block_size)
    of_a_token, alignment = tokens[0], rank.alignment
    needed = alignment * -(-max(states) // (alignment * of_a_token))
    size = max(rank.block_size, -(-needed // rank.granule) * rank.granule)
    return _Blocks(size, size * of_a_token)


def _is_state(rows: tuple[TensorRows, ...]) -> bool:
    return any(each.tensor.role in {Role.STATE, Role.CONV} and each.constant_rows is not None for each in rows)


def _shares_states(model: Model, settings: Settings) -> bool:
    """Whether a sequence keeps a second state, that of its last whole block (mamba_cache_mode align).

    Raises:
        KvcalcError: this version would keep a state of every block (mamba_cache_mode all).
    """
    kinds = [layer.attention for layer in model.layout.kinds]
    hybrid = {
        any(each.role is Role.STATE and each.rows is not None for each in kind.cached())
        for kind in kinds
        if kind.cached()
    }
    convolutions = any(each.role is Role.CONV for kind in kinds for each in kind.cached())
    if not settings.enable_prefix_caching or not (True in hybrid or convolutions):
        return False
    of_every_block = any(isinstance(kind, Mamba1 | Mamba2) for kind in kinds)
    if of_every_block and settings.version < (0, 26):
        raise KvcalcError(
            "--engine-option: enable-prefix-caching makes vllm before 0.26 keep a state for every block of this "
            f"model, by a chunk size that model files lack ({MODELS_CONFIG}); kvcalc does not follow that"
        )
    return settings.version >= (0, 15)


def _state(layer: Layer, rows: tuple[TensorRows, ...], rank: Rank, page: int | None) -> State:
    drafted = rank.settings.num_speculative_tokens
    align = _shares_states(rank.model, rank.settings)
    further = {
        "prefix caching": align + rank.exports_states,
        "drafted tokens": drafted,
    }
    return State(
        layer.label,
        rows,
        rank.block_size if align else 0,
        page,
        states=1 + sum(further.values()),
        why_several=f"states of {' and '.join(why for why, several in further.items() if several)}",
        speculative=0 if isinstance(layer.attention, Mamba1) else drafted,
    )


def _unused_row(layer: Layer, rows: tuple[TensorRows, ...], version: Version) -> int:
    """Bytes of a token's row that nothing fills: values as wide as keys, and kept beside equal keys."""
    attention = layer.attention
    if isinstance(attention, KeysAndValues) and attention.k_equals_v:
        return rows[0].row_bytes
    keys = sum(each.row_bytes for each in rows if each.tensor.name == "k")
    values = sum(each.row_bytes for each in rows if each.tensor.name == "v")
    since = OWN_WIDTH_OF_VALUES if layer.span is None else OWN_WIDTH_OF_VALUES_IN_WINDOWS
    pads = isinstance(attention, MLAExpanded) or version < since
    return max(0, keys - values) if pads and keys and values else 0


def _specs(layer: Layer, rank: Rank, blocks: _Blocks) -> Iterator[Spec]:
    rows = rank.rows(layer)
    if isinstance(layer.attention, Compressed):
        yield from _of_entries(layer, rows, rank, blocks)
        return
    if pools(layer.attention):
        yield from pooled_specs(layer, rows, blocks.size, rank.settings.num_speculative_tokens, rank.gpu)
        return
    if _is_state(rows):
        state = _state(layer, rows, rank, blocks.state_page)
        yield replace(state, block_size=blocks.size) if state.block_size else state
        return
    if rows and rows[0].constant_rows is not None:
        yield _cross(layer, rows, rank, blocks)
        return
    shape = layer._replace(span=None).label
    for role in (Role.CACHE, Role.INDEX):
        mine = tuple(each for each in rows if each.tensor.role is role)
        if not mine:
            continue
        unused = _unused_row(layer, mine, rank.settings.version) if role is Role.CACHE else 0
        common = (f"{shape}, {role.value}", mine, blocks.size, None, unused)
        span, unreached = layer.span, rank.model.unreached_window
        match Window(unreached) if span is None and unreached is not None else span:
            case Window(tokens):
                yield SlidingWindow(*common, window=tokens)
            case Chunk(tokens):
                yield ChunkedLocal(*common, chunk=tokens)
            case _:
                yield FullAttention(*common)


def _of_entries(layer: Layer, rows: tuple[TensorRows, ...], rank: Rank, blocks: _Blocks) -> Iterator[Spec]:
    if not shares_entries(rank.model):
        return compressed_specs(layer, rows, blocks.size)
    settings = rank.settings
    whole = settings.version >= WHOLE_RECORDS
    return shared_specs(
        layer, rows, blocks.size, rank.counter.cache_format, settings.num_speculative_tokens, stride=whole
    )


def _cross(layer: Layer, rows: tuple[TensorRows, ...], rank: Rank, blocks: _Blocks) -> CrossAttention:
    encoder_tokens = rank.settings.max_num_batched_tokens
    needed = rows[0].constant_rows or 0
    if encoder_tokens < needed:
        raise KvcalcError(
            f"--engine-option: max-num-batched-tokens is {encoder_tokens:,} for vllm, and the encoder has {needed:,} "
            "tokens, more than a step may encode (vllm/config/scheduler.py, max_num_encoder_input_tokens)"
        )
    return CrossAttention(layer.label, rows, blocks.size, encoder_tokens=encoder_tokens)


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
    if any(_is_state(rank.rows(layer)) for layer in kinds) and spans:
        raise KvcalcError(
            "--engine-option: disable-hybrid-kv-cache-manager does not go with states in vllm "
            "(vllm/v1/core/kv_cache_utils.py, unify_hybrid_kv_cache_specs)"
        )
    return None in spans


def _as_it_is(spec: Spec) -> Spec:
    return spec


def _promoted(spec: Spec) -> Spec:
    match spec:
        case SlidingWindow(window=tokens) | ChunkedLocal(chunk=tokens):
            return FullAttention(spec.shape, spec.rows, spec.block_size, spec.padded, spec.unused_row, keeps=tokens)
    return spec
