"""A model as TensorRT-LLM lays it out: one pool of blocks on every rank, all of as many as the fullest rank has."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from kvcalc.engines.budget import Pool
from kvcalc.engines.content_counter import ContentCounter, Rate, rows_bytes
from kvcalc.engines.load import Load
from kvcalc.engines.settled import Settled
from kvcalc.engines.tensorrt_llm.budget import budget_of
from kvcalc.engines.tensorrt_llm.rules import DRAFTS, MANAGER
from kvcalc.note import Note, note, register
from kvcalc.term import Factor, Product

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from fractions import Fraction

    from kvcalc.engines.budget import Budget
    from kvcalc.engines.setup import Setup
    from kvcalc.model.stages import Stage


MATRIX = "docs/source/features/quantization.md, Hardware Support Matrix"
KEPT_ON: Mapping[str, tuple[str, Callable[[tuple[int, int]], bool]]] = {
    "nvfp4": ("on Blackwell's sm100 and sm103", lambda capability: capability in {(10, 0), (10, 3)}),
    "fp8": ("from Ada's sm89 on", lambda capability: capability >= (8, 9)),
}
"""Formats of a cache by the cards that have kernels for them: fp8 in the matrix of 1.1, nvfp4 in that of 1.2."""

register({"format-not-on-card": "the engine does not keep a cache in that format on such a card"})


def pp_lengths(layers: int, pp: int) -> tuple[int, ...]:
    """Layers of each stage: the first (layers mod pp) are one layer longer."""
    size, longer = divmod(layers, pp)
    return tuple(size + (stage < longer) for stage in range(pp))


class TensorrtLayout(Settled):
    """Every layer keeps every token, in blocks."""

    def __init__(self, setup: Setup, block: int, share: Fraction, drafted: int = 0) -> None:
        super().__init__(setup)
        self._block, self._share, self._drafted = block, share, drafted

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        return self.setup.model.layout.split(pp_lengths(self.setup.model.num_layers, self.setup.deployment.pp))

    @property
    def block_tokens(self) -> int:
        return self._block

    def notes(self, load: Load) -> Iterator[Note]:  # noqa: ARG002  # the interface's
        """A format for which the card has no kernels; none where its compute capability is not known."""
        name, known = self.setup.cache_format.default.name, self.setup.gpu.compute_capability
        if known is None or name not in KEPT_ON:
            return
        where, is_there = KEPT_ON[name]
        if not is_there(known):
            told = f"tensorrt-llm keeps a cache in {name} {where}, which {self.setup.gpu.name} is not ({MATRIX})"
            yield note("format-not-on-card", told, format=name, gpu=self.setup.gpu.name)

    def _row(self, stage: Stage) -> int:
        """Bytes of a token in all layers of a rank."""
        drafting = self._row_of_draft if stage.layers.stop == self.setup.model.num_layers else 0
        return sum(each.row_bytes for each in self._content_rows(stage)) + drafting

    @cached_property
    def _row_of_draft(self) -> int:
        """In those of a draft; the model's own layers have a cache for each token that is drafted (DRAFTS)."""
        draft = self.setup.draft
        if draft is None:
            return 0
        rows = ContentCounter(draft.cache_format).rows(draft.model.layout.kinds, draft.deployment.tp)
        row = sum(each.row_bytes for each in rows)
        return row * self._drafted // draft.model.num_layers if draft.own_layers else row

    def _blocks(self, load: Load) -> tuple[int, int]:
        """Blocks that each sequence takes, and those that all share."""
        whole, shared = -(-load.context // self._block), load.shared_prefix // self._block
        return whole - shared, shared

    def _tokens(self, load: Load) -> int:
        """Of all blocks that are taken."""
        own = shared = 0
        for sequences, context in load.alike:
            blocks, shared = self._blocks(load._replace(context=context))
            own += sequences * blocks
        return (own + shared * load.prefixes_kept) * self._block

    def held_bytes(self, stage: Stage, load: Load) -> int:
        return self._tokens(load) * self._row(stage)

    def beside_bytes(self, stage: Stage, whole: Load, tokens: int) -> int:
        if not whole.sequences:
            return self.held_bytes(stage, Load(1, tokens))
        own, _ = self._blocks(Load(1, tokens, min(whole.shared_prefix, tokens)))
        return own * self._block * self._row(stage)

    def excess(self, stage: Stage, load: Load) -> Iterator[Product]:
        tokens = self._tokens(load)
        if self._row_of_draft and stage.layers.stop == self.setup.model.num_layers:
            drafts = Factor("tokens", tokens, "token"), Factor("row", self._row_of_draft, "byte")
            yield Product("draft, in blocks beside the model's", drafts, DRAFTS)
        for each in self._content_rows(stage):
            unused = tokens - rows_bytes((each,), self.rank_load(stage, load)) // each.row_bytes
            if unused > 0:
                name = "rounding to blocks" if each.layer.span is None else "tokens outside the window"
                factors = (Factor("unused_tokens", unused, "token unused"), Factor("row", each.row_bytes, "byte"))
                yield Product(f"{each.layer.label}: {each.tensor.name}, {name}", factors, MANAGER)

    def rate(self, stage: Stage, load: Load) -> Rate:
        own, shared = self._blocks(load)
        row = self._row(stage)
        block = self._block * row
        return Rate(row, row, 0, own * block, shared * block)

    def budget(self, stage: Stage, weights_bytes: int) -> Budget:  # noqa: ARG002  # the interface's
        return budget_of(self.setup, self._share, weights_bytes)

    def pool(self, memory: Sequence[int], load: Load) -> Pool | None:
        rows = [self._row(stage) for stage in self.stages]
        found = [max(0, each) // row for each, row in zip(memory, rows, strict=True) if row]
        if not found:
            return None
        blocks = -(-min(found) // self._block)
        tokens = blocks * self._block
        concurrency = tokens / load.context if load.context else 0.0
        return Pool(blocks, self._block, tokens, float(f"{concurrency:.2f}"))
