"""Indexers that pool their keys (Qwen3.8-Flash-Next, GLM-5.3-Flash) in llama.cpp b11549: rows, and compute buffers.

src/llama-memory-hybrid-idx.cpp keeps a row for each cell of the context, in K's type, and no ring of what the next key
is made of: a token's key and the pooled key side by side; of a latent's indexer its gate as well (kpool_row of
src/llama-hparams.h: key | pooled, key | gate | pooled).
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

from kvcalc.engines.budget import Temporary
from kvcalc.errors import KvcalcError
from kvcalc.mechanisms import GQA, MLA
from kvcalc.model.layers import with_groups
from kvcalc.term import Factor, Product

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.engines.llama_cpp.points import Point
    from kvcalc.engines.setup import Setup
    from kvcalc.mechanisms import Mechanism
    from kvcalc.model.layers import LayerGroup
    from kvcalc.model.model import Model

BUILD = "b11549"
"""The one whose own sizes were compared; builds before it kept other rows."""
ROWS = {"gqa": 2, "mla": 3}
"""How many vectors of index_head_dim a row has."""
_SOURCE = f"fitted to graphs of llama.cpp {BUILD}, kvcalc/engines/llama_cpp/pooled.py"


def pools_keys(model: Model) -> bool:
    """Whether a model has such an indexer."""
    return any(getattr(layer.attention, "index_kpool", None) is not None for layer in model.layout.kinds)


def check_pooled(setup: Setup, build: str) -> None:
    """Refuses builds that keep other rows, or none.

    Raises:
        KvcalcError: another build.
    """
    if not pools_keys(setup.model):
        return
    if build != BUILD:
        raise KvcalcError(
            f"--engine: kvcalc follows how llama.cpp keeps pooled keys in {BUILD}; --engine llama-cpp@{BUILD}"
        )


def laid_out(setup: Setup) -> Setup:
    """The same, whose indexers keep a row for each token; in the context of layers that draft too."""
    draft = setup.draft
    if draft is not None:
        draft = draft._replace(model=with_rows_of_tokens(draft.model))
    return setup._replace(model=with_rows_of_tokens(setup.model), draft=draft)


def with_rows_of_tokens(model: Model) -> Model:
    """The same, whose indexers keep a row for each token."""
    return replace(model, layers=with_groups(model.layers, _of_tokens))


def _of_tokens(group: LayerGroup) -> LayerGroup:
    found = tuple(_row(each) for each in group.attentions)
    return replace(group, attention=found if isinstance(group.attention, tuple) else found[0])


def _row(attention: Mechanism) -> Mechanism:
    match attention:
        case GQA(index_kpool=int(), index_head_dim=int() as width):
            return replace(attention, index_head_dim=ROWS["gqa"] * width, index_kpool=None, index_topk=None)
        case MLA(index_kpool=int(), index_head_dim=int() as width):
            return replace(attention, index_head_dim=ROWS["mla"] * width, index_kpool=None)
        case _:
            return attention


_OF_HEADS, _OF_LATENTS = Fraction(7), Fraction(2264, 100)
"""Bytes of a token and cell: masks, scores and what is chosen. Of heads 5.6 to 7.9 in graphs of 4,096 to 1,048,576
cells with micro-batches of 512 to 2,048; of latents 22.64 and 1/32 for each dim of a key."""
_STREAMS_OF_HEADS, _STREAMS_OF_LATENTS = 7, 15
"""Vectors of hidden_size for what mixes residual streams, beside the most that a layer holds."""
_BAND = Fraction(1, 10)
"""How far off the graphs tried were at most, 1/14, and a little more."""


def buffer_of_pooled(model: Model, points: Sequence[Point], tokens: int, cells: int, hidden: int) -> Temporary:
    """The compute buffer of a card: a range, since what it is fitted to is two models with some dims varied."""
    latent = next((each for each in (layer.attention for layer in model.layout.kinds) if isinstance(each, MLA)), None)
    held = max(4 * tokens * point.floats + point.bytes_beside for point in points)
    if latent is None:
        size = int(tokens * (_OF_HEADS * cells + 4 * _STREAMS_OF_HEADS * hidden)) + held
        words = f"ubatch x (7 x cells + 4 x {_STREAMS_OF_HEADS} x hidden_size) + the most that a layer holds"
    else:
        fed = max((4 * tokens * point.floats for point in points if point.name != "attention"), default=0)
        wide = _OF_LATENTS + Fraction(latent.index_head_dim or 0, 32 * ROWS["mla"])
        few = tokens * (2 * cells + 4 * _STREAMS_OF_LATENTS * hidden) + held
        size = max(few, int(tokens * wide * cells) + fed)
        words = "ubatch x (22.64 + index_head_dim / 32) x cells + feed-forward block, or what its attention holds"
    term = Product("temporary", (Factor("compute_buffer", size, "byte", (words, f"{size:,}")),), _SOURCE)
    return Temporary(term, int(size * (1 - _BAND)), int(size * (1 + _BAND)))
