"""Writing an imported model as a kvcalc YAML file, with the reason beside each value as a comment."""

from __future__ import annotations

import json
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from kvcalc.importers.imported_layer import AttentionBlock, ImportedLayer
    from kvcalc.importers.sourced import Sourced
    from kvcalc.model.model import WeightPart

LONGEST_PERIOD = 16
"""Layers of a pattern that is looked for and written once, with how often it repeats."""


class Run(NamedTuple):
    """Equal layers that follow each other."""

    length: int
    layer: ImportedLayer


class Repeated(NamedTuple):
    """Runs of layers that come several times in a row."""

    times: int
    runs: tuple[Run, ...]


def yaml_text(
    comments: Iterable[str],
    fields: Iterable[tuple[str, Sourced]],
    weights: Sequence[WeightPart],
    layers: Sequence[ImportedLayer],
) -> str:
    """The text of a model file.

    Args:
        comments: lines at its top.
        fields: of the model except weights and layers, in order.
        weights: parts of the checkpoint, where they are known.
        layers: one for each layer of the model, in order.
    """
    return "\n".join([*comments, *_lines(fields, weights, layers), ""])


def _lines(
    fields: Iterable[tuple[str, Sourced]], weights: Sequence[WeightPart], layers: Sequence[ImportedLayer]
) -> Iterator[str]:
    for name, given in fields:
        yield _field(0, name, given)
    if weights:
        yield "weights:"
        by_dims = any(part.projections for part in weights)
        reason = "from the dims and the settings" if by_dims else "from the tensors' names and dtypes"
        yield from (f"{weight_line(part)}  # {part.size:,} bytes, {reason}" for part in weights)
    yield "layers:"
    for part in compressed(layers):
        if isinstance(part, Run):
            yield from _group(2, part)
        else:
            yield f"  - repeat: {part.times}"
            yield "    of:"
            for run in part.runs:
                yield from _group(6, run)


def compressed(layers: Sequence[ImportedLayer]) -> tuple[Run | Repeated, ...]:
    """The layers in order: patterns that come several times in a row, the shortest first, and runs of equal layers."""
    parts: list[Run | Repeated] = []
    start = 0
    while start < len(layers):
        period, times = _pattern(layers[start:])
        parts += [Repeated(times, _runs(layers[start : start + period]))] if times > 1 else _runs(layers[start:])[:1]
        start += period * times
    return tuple(parts)


def _pattern(layers: Sequence[ImportedLayer]) -> tuple[int, int]:
    """How long the shortest pattern is that repeats from the first layer on, and how often; else equal layers, once."""
    for period in range(2, LONGEST_PERIOD + 1):
        times = 0
        while layers[:period] == layers[times * period : (times + 1) * period]:
            times += 1
        if times > 1 and len(set(layers[:period])) > 1:
            return period, times
    return _runs(layers)[0].length, 1


def _runs(layers: Sequence[ImportedLayer]) -> tuple[Run, ...]:
    return tuple(Run(len(list(equal)), layer) for layer, equal in groupby(layers))


def _group(indent: int, run: Run) -> Iterator[str]:
    yield f"{' ' * indent}- count: {run.length}"
    inner = indent + 2
    yield f"{' ' * inner}attention:"
    alone = len(run.layer.blocks) == 1
    for block in run.layer.blocks:
        yield from _block(inner + 2, block) if alone else _block(inner + 4, block, bullet="- ")
    for name, given in (("window", run.layer.window), ("chunk", run.layer.chunk)):
        if given is not None:
            yield _field(inner, name, given)


def _block(indent: int, block: AttentionBlock, bullet: str = "") -> Iterator[str]:
    reason = f"  # {block.reason}" if block.reason else ""
    yield f"{' ' * (indent - len(bullet))}{bullet}kind: {block.kind}{reason}"
    for name, given in block.fields:
        yield _field(indent, name, given)


def weight_line(part: WeightPart) -> str:
    """A part of the weights as a line of a model file."""
    values: dict[str, Any] = {"part": part.part, "parameters": part.parameters, "format": part.format}
    values |= {"split": part.split, "place": part.place} | ({"scales": True} if part.scales else {})
    if part.weight_block_size is not None:
        values["weight_block_size"] = part.weight_block_size
    values |= ({"projections": True} if part.projections else {}) | ({"ngrams": True} if part.ngrams else {})
    values |= {} if part.used else {"used": False}
    shown = ", ".join(f"{name}: {json.dumps(value)}" for name, value in values.items())
    return f"  - {{{shown}}}"


def _field(indent: int, name: str, given: Sourced) -> str:
    # JSON's way to write a value is YAML's too, and quotes words that could be taken for numbers
    value = given.value
    shown = f"[{', '.join(value)}]" if isinstance(value, tuple) else json.dumps(value)
    return f"{' ' * indent}{name}: {shown}  # {given.reason}"
