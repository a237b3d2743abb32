"""The matrices of a layer that predicts further tokens, from the model's dims."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kvcalc.mechanisms import GQA, MHA, MLA, MQA
from kvcalc.model.mtp_family import family_of

if TYPE_CHECKING:
    from kvcalc.mechanisms import Mechanism
    from kvcalc.model.layers import Layer
    from kvcalc.model.model import Model


class Matrix(NamedTuple):
    """Alike matrices of a layer."""

    rows: int
    columns: int
    number: int = 1

    @property
    def parameters(self) -> int:
        return self.rows * self.columns * self.number

    def scales(self, block: int) -> int:
        """One for each block x block, also where a matrix ends within it."""
        return -(-self.rows // block) * -(-self.columns // block) * self.number


class Block(NamedTuple):
    """The matrices of one of the layers.

    Attributes:
        divided: that tensor-parallel ranks divide.
        whole: that each rank holds whole: what makes latents, and an indexer's.
        left: those of them that quantised checkpoints leave in the model's dtype.
    """

    experts: tuple[Matrix, ...]
    divided: tuple[Matrix, ...]
    whole: tuple[Matrix, ...]
    left: tuple[Matrix, ...]


def block_of(model: Model, kept: Layer, hidden: int) -> Block | None:
    """The matrices of one of the layers; None where what it keeps does not tell them."""
    family, width = family_of(model), model.moe_intermediate_size or 0
    with_experts = model.is_mixture_of_experts and not family.dense
    experts = _feed_forward(hidden, width, model.num_experts or 0) if with_experts else ()
    feeding = (model.num_shared_experts or 0) * width if with_experts else model.intermediate_size or 0
    found = _attention(kept.attention, hidden, gated=family.gated)
    if found is None:
        return None
    inputs, output, whole = found
    dense = _feed_forward(hidden, feeding, 1) if feeding else ()
    if family.plain_outputs:
        return Block(experts, (*inputs, *dense), whole, (output,))
    return Block(experts, (*inputs, output, *dense), whole, ())


def _feed_forward(hidden: int, width: int, count: int) -> tuple[Matrix, ...]:
    """With a gate."""
    return Matrix(width, hidden, 2 * count), Matrix(hidden, width, count)


def _attention(
    attention: Mechanism, hidden: int, *, gated: bool
) -> tuple[tuple[Matrix, ...], Matrix, tuple[Matrix, ...]] | None:
    """What ranks divide, the output, and what each holds whole; None of another mechanism."""
    match attention:
        case MLA():
            heads, rank = attention.num_heads, attention.q_lora_rank
            queries = heads * (attention.qk_nope_head_dim + attention.qk_rope_head_dim)
            up = heads * (attention.qk_nope_head_dim + attention.v_head_dim)
            latent = Matrix(queries, rank or hidden), Matrix(up, attention.kv_lora_rank)
            narrow = attention.index_n_heads  # an indexer's weights of heads, which stay in the model's dtype
            whole = (Matrix(p.rows, p.columns) for p in attention.projections(hidden) if p.rows != narrow)
            return latent, Matrix(hidden, heads * attention.v_head_dim), tuple(whole)
        case GQA() | MHA() | MQA():
            of = attention.heads
            keys, wide = of.num_kv_heads or of.num_heads, of.v_head_dim or of.head_dim
            asked = of.num_heads * of.head_dim * (2 if gated else 1)
            inputs = Matrix(asked, hidden), Matrix(keys * of.head_dim, hidden), Matrix(keys * wide, hidden)
            return inputs, Matrix(hidden, of.num_heads * wide), ()
        case _:
            return None
