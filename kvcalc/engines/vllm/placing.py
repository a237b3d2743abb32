"""Which spec each cache of a model has, on one tensor-parallel rank."""

from __future__ import annotations

from math import lcm
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.engines.vllm.groups import Placed
from kvcalc.engines.vllm.specs import ChunkedLocal, CrossAttention, FullAttention, SlidingWindow, Spec, State
from kvcalc.errors import KvcalcError
from kvcalc.mechanisms import Role
from kvcalc.model.span import Chunk, Window

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvcalc.engines.content import ContentCounter, TensorRows
    from kvcalc.engines.vllm.settings import Settings
    from kvcalc.model.layers import Layer
    from kvcalc.model.model import Model


class Blocks(NamedTuple):
    """The blocks of a model.

    Attributes:
        size: tokens of one.
        state_page: bytes of a state's page, where it is padded to that of attention.
    """

    size: int
    state_page: int | None = None


def placed(model: Model, tp: int, counter: ContentCounter, settings: Settings, block_size: int) -> Iterator[Placed]:
    """Every cache of the model with its spec, in the model's order."""
    kinds = list(model.layout.kinds)
    rows = {layer: counter.rows({layer: 1}, tp) for layer in kinds}
    blocks = _aligned(rows, settings, block_size)
    known: dict[str, tuple[Layer, tuple[Spec, ...]]] = {}
    for layer in kinds:
        known[layer.label] = layer, tuple(_specs(layer, rows[layer], settings, blocks, hybrid=_is_hybrid(kinds)))
    for number, caches in enumerate(model.layout.layers):
        for cache in caches:
            layer, specs = known[cache.label]
            yield from (Placed(number, layer, spec) for spec in specs)


def _is_hybrid(kinds: list[Layer]) -> bool:
    keeps_states = [any(each.role is Role.STATE for each in layer.attention.cached()) for layer in kinds]
    return any(keeps_states) and not all(keeps_states)


def _aligned(rows: Mapping[Layer, tuple[TensorRows, ...]], settings: Settings, block_size: int) -> Blocks:
    """Blocks as long as a state needs, and states padded to a page of attention.

    vllm/platforms/interface.py, _align_hybrid_block_size; before 0.19 in vllm/model_executor/models/config.py,
    HybridAttentionMambaModelConfig.
    """
    states = [_state(each, settings).content_page for each in rows.values() if _is_state(each)]
    tokens = [sum(row.row_bytes for row in each) for each in rows.values() if each and each[0].constant_rows is None]
    if not states or not tokens:
        return Blocks(block_size)
    alignment, a_token = lcm(block_size, 16), tokens[0]
    size = max(block_size, alignment * -(-max(states) // (alignment * a_token)))
    return Blocks(size, size * a_token)


def _is_state(rows: tuple[TensorRows, ...]) -> bool:
    return any(each.tensor.role in {Role.STATE, Role.CONV} for each in rows)


def _state(rows: tuple[TensorRows, ...], settings: Settings) -> State:
    return State("", rows, 0, speculative=settings.num_speculative_tokens)


def _specs(
    layer: Layer, rows: tuple[TensorRows, ...], settings: Settings, blocks: Blocks, *, hybrid: bool
) -> Iterator[Spec]:
    shape = layer._replace(span=None).label
    if _is_state(rows):
        page, drafted = blocks.state_page, settings.num_speculative_tokens
        align = hybrid and settings.enable_prefix_caching
        yield State(
            shape,
            rows,
            blocks.size if align else 0,
            page,
            states=1 + align + drafted,
            why_several="states of prefix caching and of drafted tokens"
            if align and drafted
            else "state of prefix caching"
            if align
            else "states of drafted tokens",
            speculative=drafted,
        )
        return
    if rows and rows[0].constant_rows is not None:
        encoder_tokens = settings.max_num_batched_tokens
        if encoder_tokens < rows[0].constant_rows:
            raise KvcalcError(
                f"--engine-option: max-num-batched-tokens is {encoder_tokens:,} for vllm, and the encoder has "
                f"{rows[0].constant_rows:,} tokens"
            )
        yield CrossAttention(shape, rows, blocks.size, encoder_tokens=encoder_tokens)
        return
    for role in (Role.CACHE, Role.INDEX):
        mine = tuple(each for each in rows if each.tensor.role is role)
        if not mine:
            continue
        match layer.span:
            case Window(tokens):
                yield SlidingWindow(f"{shape}, {role.value}", mine, blocks.size, window=tokens)
            case Chunk(tokens):
                yield ChunkedLocal(f"{shape}, {role.value}", mine, blocks.size, chunk=tokens)
            case _:
                yield FullAttention(f"{shape}, {role.value}", mine, blocks.size)
