"""A layer as an importer has read it: its attention blocks and its window or chunk, each value with its reason."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from kvcalc.mechanisms import KINDS
from kvcalc.model.layers import LayerGroup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.importers.config import Config
    from kvcalc.importers.sourced import Sourced


class AttentionBlock(NamedTuple):
    """One attention: its kind, and its fields in order."""

    kind: str
    fields: tuple[tuple[str, Sourced], ...] = ()
    reason: str = ""

    @property
    def sizes(self) -> dict[str, int]:
        """Its whole numbers."""
        return {name: given.value for name, given in self.fields if isinstance(given.value, int)}

    @property
    def values(self) -> dict[str, Any]:
        """As a model file has them."""
        return {"kind": self.kind, **{name: given.value for name, given in self.fields}}


class ImportedLayer(NamedTuple):
    """One layer.

    Attributes:
        blocks: its attentions.
        window: sliding window, or None.
        chunk: length of chunks, or None.
        unreached_window: the window that the file has and no context is longer than, where it has one.
        unused_window: the window that the file has and no layer, where it has one.
    """

    blocks: tuple[AttentionBlock, ...]
    window: Sourced | None = None
    chunk: Sourced | None = None
    unreached_window: Sourced | None = None
    unused_window: Sourced | None = None

    def group(self, count: int) -> LayerGroup:
        """A group of `count` such layers, as a model has it.

        Raises:
            ValueError: values that contradict each other.
        """
        built: list[Any] = [KINDS[block.kind](**block.values) for block in self.blocks]
        return LayerGroup(
            count=count,
            attention=built[0] if len(built) == 1 else tuple(built),
            window=None if self.window is None else self.window.value,
            chunk=None if self.chunk is None else self.chunk.value,
        )


def block_of_heads(
    config: Config, heads: Sourced, kv_heads: Sourced, width: Sourced, v_width: Sourced | None = None
) -> AttentionBlock:
    """mha, mqa or gqa, by the number of KV heads.

    Raises:
        KvcalcError: KV heads do not divide query heads.
    """
    widths = [("head_dim", width)]
    if v_width is not None and v_width.value != width.value:
        widths.append(("v_head_dim", v_width))
    if kv_heads.value == heads.value:
        return AttentionBlock("mha", (("num_heads", heads), *widths), kv_heads.reason)
    if kv_heads.value == 1:
        return AttentionBlock("mqa", (("num_heads", heads), *widths), kv_heads.reason)
    if heads.value % kv_heads.value:
        raise config.refusal(
            f"{kv_heads.value} KV heads do not divide {heads.value} heads ({kv_heads.reason}; {heads.reason})"
        )
    return AttentionBlock("gqa", (("num_heads", heads), ("num_kv_heads", kv_heads), *widths))


def grouped(layers: Sequence[ImportedLayer]) -> tuple[LayerGroup, ...]:
    """Layers as a model has them, runs of equal ones together.

    Raises:
        ValueError: values that contradict each other.
    """
    return tuple(layer.group(len(list(run))) for layer, run in groupby(layers))
