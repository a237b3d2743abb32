"""Which specs each layer of a model has on a rank."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.engines.vllm.cache.backends import DEFAULT_BLOCK_SIZE
from kvcalc.engines.vllm.cache.compressed import compressed_specs
from kvcalc.engines.vllm.cache.pooled import pooled_specs, pools
from kvcalc.engines.vllm.cache.rank import shares_states
from kvcalc.engines.vllm.cache.shared_entries import WHOLE_RECORDS, shared_specs, shares_entries
from kvcalc.engines.vllm.cache.span_specs import ChunkedLocal, SlidingWindow
from kvcalc.engines.vllm.cache.specs import CrossAttention, FullAttention, Spec
from kvcalc.engines.vllm.cache.state_spec import State
from kvcalc.errors import KvcalcError
from kvcalc.mechanisms import KDA, Compressed, Mamba1, MLAExpanded, Role
from kvcalc.mechanisms.mha_mqa_gqa import KeysAndValues
from kvcalc.model.span import Chunk, Window

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.engines.content_counter import TensorRows
    from kvcalc.engines.vllm.cache.rank import Rank
    from kvcalc.engines.vllm.defaults import Version
    from kvcalc.model.layers import Layer

OWN_BLOCKS_OF_WINDOWS: tuple[Version, Version] = ((0, 25), (0, 30))
"""From the first, layers with windows begin with the smallest block of their backend, whatever --block-size is; from
the second with the model's again (_largest_kernel_block_within of vllm/model_executor/layers/attention/attention.py:
not in 0.23, there in 0.25.1; another in 0.29 than in 0.30)."""
OWN_WIDTH_OF_VALUES: Version = (0, 14)
"""FullAttentionSpec.head_size_v; before, a page is 2 x block_size x heads x head_size."""
OWN_WIDTH_OF_VALUES_IN_WINDOWS: Version = (0, 20)
"""SlidingWindowSpec.head_size_v: not in 0.19, there in 0.20.2."""

KDA_KEEPS_DRAFTED: Version = (0, 27)
"""num_spec of kda_state_shape: not in 0.26, there in 0.27.1."""


class Blocks(NamedTuple):
    """The blocks of a model.

    Attributes:
        size: tokens of one.
        state_page: bytes of a state's page, where it is padded to that of attention.
    """

    size: int
    state_page: int | None = None


def blocks_of(rank: Rank) -> Blocks:
    """As long as a state needs; states are padded to a page of attention.

    vllm/platforms/interface.py, _align_hybrid_block_size; before 0.20 in vllm/model_executor/models/config.py,
    HybridAttentionMambaModelConfig.
    """
    kept = [(layer, rank.rows(layer)) for layer in rank.model.layout.kinds]
    states = [_state(layer, rows, rank, None).content_page for layer, rows in kept if is_state(rows)]
    tokens = [
        sum(row.row_bytes for row in rows if row.tensor.role is Role.CACHE)
        + _unused_row(layer, rows, rank.settings.version)
        for layer, rows in kept
        if rows and rows[0].constant_rows is None
    ]
    if not states or not tokens:
        return Blocks(rank.block_size)
    of_a_token, alignment = tokens[0], rank.alignment
    needed = alignment * -(-max(states) // (alignment * of_a_token))
    size = max(rank.block_size, -(-needed // rank.granule) * rank.granule)
    return Blocks(size, size * of_a_token)


def specs_of(layer: Layer, rank: Rank, blocks: Blocks) -> Iterator[Spec]:
    rows = rank.rows(layer)
    if isinstance(layer.attention, Compressed):
        yield from _of_entries(layer, rows, rank, blocks)
        return
    if pools(layer.attention):
        yield from pooled_specs(layer, rows, blocks.size, rank.settings.num_speculative_tokens, rank.gpu)
        return
    if is_state(rows):
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
                spec = SlidingWindow(*common, window=tokens, retained=rank.settings.retained_tokens)
                yield replace(spec, block_size=_window_block(blocks, rank))
            case Chunk(tokens):
                yield ChunkedLocal(*common, chunk=tokens)
            case _:
                yield FullAttention(*common)


def _window_block(blocks: Blocks, rank: Rank) -> int:
    """Tokens of a window's block before pages are made equal."""
    smallest, primary = OWN_BLOCKS_OF_WINDOWS
    return DEFAULT_BLOCK_SIZE if smallest <= rank.settings.version < primary else blocks.size


def is_state(rows: tuple[TensorRows, ...]) -> bool:
    return any(each.tensor.role in {Role.STATE, Role.CONV} and each.constant_rows is not None for each in rows)


def _state(layer: Layer, rows: tuple[TensorRows, ...], rank: Rank, page: int | None) -> State:
    drafted = rank.settings.num_speculative_tokens
    align = shares_states(rank.model, rank.settings)
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
        speculative=drafted if _keeps_drafted_inputs(layer, rank.settings.version) else 0,
    )


def _keeps_drafted_inputs(layer: Layer, version: Version) -> bool:
    """Whether a convolution keeps inputs of drafted tokens too (vllm/model_executor/layers/mamba/mamba_utils.py)."""
    if isinstance(layer.attention, KDA):
        return version >= KDA_KEEPS_DRAFTED
    return not isinstance(layer.attention, Mamba1)


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


def _of_entries(layer: Layer, rows: tuple[TensorRows, ...], rank: Rank, blocks: Blocks) -> Iterator[Spec]:
    if not shares_entries(rank.model):
        return compressed_specs(layer, rows, blocks.size)
    settings = rank.settings
    whole = settings.version >= WHOLE_RECORDS
    return shared_specs(
        layer, rows, blocks.size, rank.counter.cache_format, settings.num_speculative_tokens, stride=whole
    )


def _cross(layer: Layer, rows: tuple[TensorRows, ...], rank: Rank, blocks: Blocks) -> CrossAttention:
    encoder_tokens = rank.settings.max_num_batched_tokens
    needed = rows[0].constant_rows or 0
    if encoder_tokens < needed:
        raise KvcalcError(
            f"--engine-option: max-num-batched-tokens is {encoder_tokens:,} for vllm, and the encoder has {needed:,} "
            "tokens, more than a step may encode (vllm/config/scheduler.py, max_num_encoder_input_tokens)"
        )
    return CrossAttention(layer.label, rows, blocks.size, encoder_tokens=encoder_tokens)
