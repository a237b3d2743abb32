"""Which card each layer lies on (src/llama-model.cpp, load_tensors, get_layer_buft_list).

The shares are added up and divided by their sum: s_0 < s_1 < ... = 1. Of n layers from the first that lies on a card,
with the output head as one more, layer i is on the first card whose s is above i / (n + 1).
"""

from __future__ import annotations

from bisect import bisect_right
from fractions import Fraction
from itertools import accumulate
from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError

if TYPE_CHECKING:
    from collections.abc import Sequence


def shared_out(layers: int, first: int, shares: Sequence[Fraction]) -> tuple[int, ...]:
    """How many layers each card has; those that the host keeps count with the first card.

    Args:
        layers: of the model.
        first: the first one that lies on a card.
        shares: of the cards, above 0.

    Raises:
        KvcalcError: a card has none.
    """
    total, on_cards = sum(shares, Fraction(0)), layers - first + 1
    ends = [share / total for share in accumulate(shares)]
    cards = [bisect_right(ends, Fraction(layer, on_cards)) for layer in range(on_cards - 1)]
    lengths = [cards.count(card) for card in range(len(shares))]
    if not all(lengths):
        raise KvcalcError(
            f"--pp: llama.cpp shares {layers - first} layers and the output head out over {len(shares)} cards, and one "
            "has no layer; leave that card out"
        )
    return (first + lengths[0], *lengths[1:])
