"""SGLang's pools on a rank: how many tokens and slots they have of so much memory, and what memory a load needs.

    full pool          tokens x bytes of a token in the layers that keep every token
    pool of windows    swa-full-tokens-ratio x tokens of the full pool, whatever the window is
    slots of states    mamba-full-memory-ratio: memory of states to memory of tokens

sglang/srt/model_executor/pool_configurator.py and sglang/srt/mem_cache/kv_cache_configurator.py (up to 0.5.10
sglang/srt/model_executor/model_runner.py and model_runner_kv_cache_mixin.py).
"""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor, lcm
from typing import NamedTuple


class Widths(NamedTuple):
    """Bytes on a rank.

    Attributes:
        full: of a token in all layers of the full pool.
        window: of a token in all layers of the pool of windows.
        state: of a slot in all layers with states.
        fixed: that are reserved whatever the tokens.
        beside: of a token in rows of the full pool that its padding page does not have.
        window_cap: tokens of the pool of windows that are among them, where it does not grow with the other.
    """

    full: int | Fraction
    window: int | Fraction = 0
    state: int = 0
    fixed: int = 0
    window_cap: int | None = None
    beside: int = 0

    @property
    def padding_row(self) -> int | Fraction:
        """Of a token of the page for padding."""
        return self.full + self.window - self.beside


class Copies(NamedTuple):
    """States of tokens that are drafted and not yet accepted: a copy for each of every sequence that runs.

    Attributes:
        tokens: that a step checks of a sequence: those drafted and one of the model's own.
        requests: that run at the same time, at most.
        slots: of states that one of these needs.
    """

    tokens: int
    requests: int
    slots: int

    def of(self, slots: int) -> int:
        """How many there are beside so many slots, without those of padding."""
        return min(self.requests, slots // self.slots) * self.tokens


class Need(NamedTuple):
    """What a load takes of the pools, or what they have."""

    tokens: int
    window_tokens: int = 0
    slots: int = 0


class Pools(NamedTuple):
    """The pools of a rank, and the rules of sizing them.

    Attributes:
        page: tokens of a page; every buffer has one page more, for padding, that is not charged to the budget.
        window_ratio: swa-full-tokens-ratio.
        state_ratio: mamba-full-memory-ratio.
        slots: of states, where they are stated and do not follow from the memory.
        padding_slot_charged: whether the slot that states have for padding is taken from the budget.
        most_tokens: max-total-tokens.
        by_token: whether the budget is first divided into tokens of all layers alike, as before 0.5.11.
        copies: of states, where tokens are drafted.
    """

    widths: Widths
    page: int = 1
    window_ratio: Fraction = Fraction(4, 5)
    state_ratio: Fraction = Fraction(9, 10)
    slots: int | None = None
    padding_slot_charged: bool = True
    most_tokens: int | None = None
    by_token: bool = False
    copies: Copies | None = None

    @property
    def cell(self) -> Fraction:
        """Bytes for each token of the full pool, with what the pool of windows has for it."""
        if not self.widths.full:
            return Fraction(self.widths.window)
        return Fraction(self.widths.full) + (0 if self.window_fixed else self.window_ratio * self.widths.window)

    @property
    def window_fixed(self) -> bool:
        """Whether the pool of windows has as many tokens whatever the other has."""
        return self.widths.window_cap is not None

    @property
    def uncharged(self) -> int:
        """Bytes that are reserved beside the budget: a page of padding in every buffer, and a slot of states."""
        page = ceil(self.page * self.widths.padding_row)
        return page + (0 if self.padding_slot_charged else self.widths.state)

    @property
    def block_tokens(self) -> int:
        """Tokens after which what a sequence takes has grown by whole bytes and pages."""
        of_states = self.state_ratio.denominator if self.widths.state and self.slots is None else 1
        if not (self.widths.full and self.widths.window) or self.window_fixed:
            return lcm(self.page, of_states)
        return lcm(self.page, of_states, self.window_ratio.numerator * self.window_ratio.denominator)

    def sizes(self, memory: int) -> Need:
        """What the pools have of so many bytes of the budget."""
        slots, left = self._slots(memory - self.widths.fixed)
        if self.by_token and self.widths.window:
            alike = int(self.widths.full + self.widths.window)
            left = left // alike * alike
        tokens = self._aligned(max(0, floor(left / self.cell)) if self.cell else 0)
        if self.most_tokens is None or self.most_tokens >= tokens:
            return Need(tokens, self._window_tokens(tokens), slots)
        tokens = self._aligned(self.most_tokens)
        return Need(tokens, min(self._window_tokens(tokens), self.most_tokens), slots)

    def taken(self, memory: int) -> int:
        """What the pools take of so many bytes: all but what max-total-tokens leaves."""
        most, sizes = self._replace(most_tokens=None).sizes(memory), self.sizes(memory)
        left = (most.tokens - sizes.tokens) * self.widths.full
        return memory - floor(left + (most.window_tokens - sizes.window_tokens) * self.widths.window)

    def memory(self, need: Need) -> int:
        """The least bytes of the budget from which on the pools are never smaller than that."""
        tokens = self.tokens_for(need)
        of_tokens = tokens * self.cell
        if self.by_token and self.widths.window:
            alike = self.widths.full + self.widths.window
            of_tokens = Fraction(ceil(of_tokens / alike) * alike)
        if not self.widths.state:
            return ceil(of_tokens) + self.widths.fixed
        if self.slots is not None:
            return ceil(of_tokens) + self.state_bytes(max(self.slots, need.slots))
        each, padding = self._shared_slot
        states = (need.slots * each + padding) * (1 + self.state_ratio) / self.state_ratio
        return max(ceil(states), ceil(self._beside_states(of_tokens)))

    @property
    def _shared_slot(self) -> tuple[Fraction, int]:
        """What a slot takes of the states' share with its part of copies, and what padding does."""
        drafted, padding = self.copies, int(self.padding_slot_charged)
        if drafted is None:
            return Fraction(self.widths.state), padding * self.widths.state
        each = self.widths.state * (1 + Fraction(drafted.tokens, drafted.slots))
        return each, padding * self.widths.state * (1 + drafted.tokens)

    def _beside_states(self, of_tokens: Fraction) -> Fraction:
        """The budget that leaves so much for tokens, however many whole slots its share for states has.

        Copies are there for no more requests than may run: with them there is more left than the share says.
        """
        by_share = of_tokens * (1 + self.state_ratio)
        if self.copies is None:
            return by_share
        (each, padding), state = self._shared_slot, self.widths.state
        beside = int(self.padding_slot_charged) * (1 + self.copies.tokens) * state
        beside += self.copies.requests * self.copies.tokens * state
        share = self.state_ratio / (1 + self.state_ratio)
        return min(by_share, (of_tokens + beside - padding * state / each) / (1 - share * state / each))

    def state_bytes(self, slots: int) -> int:
        """Bytes of so many slots, with those of padding and with copies."""
        padding = int(self.padding_slot_charged)
        taken = slots + padding
        if self.copies is not None:
            taken += self.copies.of(slots) + padding * self.copies.tokens
        return taken * self.widths.state

    def tokens_for(self, need: Need) -> int:
        """Tokens of the full pool, so that the pool of windows has enough too. Without a full pool, of the other."""
        if not self.widths.full:
            return self._up(max(need.window_tokens, need.tokens if not self.widths.window else 0))
        if not self.widths.window or self.window_fixed:
            return self._up(need.tokens)
        return max(self._up(need.tokens), self._up(ceil(self._up(need.window_tokens) / self.window_ratio)))

    def _slots(self, memory: int) -> tuple[int, int]:
        """Slots of states, and the bytes that are left for tokens."""
        if not self.widths.state:
            return 0, memory
        if self.slots is not None:
            slots = self.slots
        else:
            share, (each, padding) = max(0, memory) * self.state_ratio / (1 + self.state_ratio), self._shared_slot
            slots = max(0, floor((share - padding) / each))
        return slots, memory - self.state_bytes(slots)

    def _window_tokens(self, tokens: int) -> int:
        if not self.widths.window:
            return 0
        if self.widths.window_cap is not None:
            return self.widths.window_cap
        return self._aligned(floor(tokens * self.window_ratio)) if self.widths.full else tokens

    def _aligned(self, tokens: int) -> int:
        return tokens // self.page * self.page

    def _up(self, tokens: int) -> int:
        return -(-tokens // self.page) * self.page
