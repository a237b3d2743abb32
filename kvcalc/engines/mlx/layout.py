"""A model as mlx_lm lays it out: a cache of each layer for each sequence, which grows in steps."""

from __future__ import annotations

from itertools import groupby
from math import prod
from typing import TYPE_CHECKING

from kvcalc.engines.budget import Budget
from kvcalc.engines.content import contents
from kvcalc.engines.content_counter import Rate
from kvcalc.engines.load import Load
from kvcalc.engines.mlx.rules import CACHE
from kvcalc.engines.mlx.workspace import prompt_workspace
from kvcalc.engines.rank_load import RankLoad
from kvcalc.engines.settled import Settled
from kvcalc.mechanisms import Role
from kvcalc.note import Note, note, register
from kvcalc.term import Factor, Product, Sum

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.engines.budget import Temporary
    from kvcalc.engines.cache_format import CacheFormat
    from kvcalc.engines.content import Content
    from kvcalc.engines.mlx.options import Settings
    from kvcalc.engines.setup import Setup
    from kvcalc.model.layers import Layer
    from kvcalc.model.stages import Stage

register(
    {
        "mlx-window-classes": "mlx_lm keeps windows as a model's class does",
        "mlx-prefix-in-every-sequence": "mlx_lm keeps a prefix that sequences share once for each of them",
    }
)


class MlxLayout(Settled):
    """Each sequence's rows in whole steps.

    Args:
        setup: of the model as it is kept, not as it is published.
        settings: of mlx_lm.generate.
        kept_in: the formats of its tensors.
    """

    def __init__(self, setup: Setup, settings: Settings, kept_in: CacheFormat) -> None:
        super().__init__(setup)
        self.settings, self._format = settings, kept_in

    @property
    def block_tokens(self) -> int:
        return self.settings.step

    @property
    def cache_format(self) -> CacheFormat:
        return self._format

    def rank_load(self, stage: Stage, load: Load, *, read: bool = False) -> RankLoad:
        return super().rank_load(stage, load._replace(shared_prefix=0), read=read)

    def excess(self, stage: Stage, load: Load) -> Iterator[Product]:
        for sequences, context in load.alike:
            if sequences:
                which = f", {context:,} tokens of each" if load.mixed else ""
                yield from self._beyond(stage, Load(sequences, context), which)

    def _beyond(self, stage: Stage, load: Load, which: str) -> Iterator[Product]:
        """What sequences of one length have beyond the content."""
        for (label, names), same in groupby(contents(self.rank_load(stage, load)), key=_key):
            content = next(iter(same))
            if content.tensors[0].rows is not None:
                continue
            rows = self.settings.rows(content.layer.span, load.context)
            alike = (Factor("_and_".join(tensor.name for tensor in content.tensors), len(content.tensors)),)
            of_all = (
                *(alike if len(content.tensors) > 1 else ()),
                Factor("layers", content.layers, "layer"),
                Factor("sequences", load.sequences, "sequence"),
            )
            if unused := rows - content.rows[-1].value:
                spare = Factor("further_rows", unused, "row")
                yield Product(f"{label}: {names}, rounding up to steps{which}", (*of_all, spare, *content.row), CACHE)
            if content.tensors[0].role is Role.INDEX and rows:
                kept = Factor("rows", rows, "row")
                where = "mlx_lm, models/deepseek_v32.py, Indexer"
                yield Product(f"{label}: {names}, kept as values too{which}", (*of_all, kept, *content.row), where)
        if self.settings.kv_bits is not None:
            yield from self._before_quantising(stage, load, which)

    def _before_quantising(self, stage: Stage, load: Load, which: str) -> Iterator[Product]:
        """What was held in the format of computing at its most, beyond what is held quantised."""
        tokens = min(load.context, self.settings.quantized_kv_start)
        computing = self._format._replace(default=self._format.computing)
        for layer, count in stage.kinds.items():
            computed, quantised = (
                _row_bytes(layer, kept_in) * self.settings.rows(None, rows)
                for kept_in, rows in ((computing, tokens), (self._format, load.context))
            )
            if computed > quantised:
                factors = (
                    Factor("layers", count, "layer"),
                    Factor("sequences", load.sequences, "sequence"),
                    Factor("beyond_quantised", computed - quantised, "byte"),
                )
                where = "mlx_lm/generate.py, maybe_quantize_kv_cache"
                yield Product(f"{layer.label}: as computed, until quantized-kv-start{which}", factors, where)

    def rate(self, stage: Stage, load: Load) -> Rate:
        a_token = growing = own = state = 0
        for each in self._content_rows(stage):
            if each.constant_rows is not None:
                state += each.row_bytes * each.constant_rows
                continue
            row, span = each.row_bytes * (2 if each.tensor.role is Role.INDEX else 1), each.layer.span
            a_token += row
            growing += row if span is None or span.tokens > load.context else 0
            own += row * (load.context if span is None else span.kept(load.context))
        return Rate(a_token, growing, state, state + own, 0)

    def budget(self, stage: Stage, weights_bytes: int) -> Budget:  # noqa: ARG002  # the interface's
        """What the GPU may hold: nothing is set aside at the start."""
        return Budget(self.setup.gpu.memory_bytes, overhead=Sum("overhead", ()))

    def temporary(self, stage: Stage, load: Load) -> Temporary | None:
        return prompt_workspace(self, self.settings, stage, load)

    def notes(self, load: Load) -> Iterator[Note]:
        if load.shared_prefix:
            yield note(
                "mlx-prefix-in-every-sequence",
                f"sequences share no rows: the {load.shared_prefix:,} tokens of the prefix are kept by each",
                shared_prefix=load.shared_prefix,
            )
        model = self.setup.model
        if model.model_type is None and any(layer.span is not None for layer in model.layout.kinds):
            yield note(
                "mlx-window-classes",
                "the model's file does not say its model_type, whose class decides what windows keep: no more than "
                "the window is counted, as of gemma-3 and gpt-oss (--engine-option rotating=0 counts every token)",
            )


def _row_bytes(layer: Layer, kept_in: CacheFormat) -> int:
    return sum(
        prod(factor.value for factor in content.row) * len(content.tensors)
        for content in contents(RankLoad({layer: 1}, 1, 1, 1, kept_in))
        if content.tensors[0].rows is None
    )


def _key(content: Content) -> tuple[str, str]:
    return content.layer.label, "+".join(tensor.name for tensor in content.tensors)
