"""What an import gives: a model, and the same as YAML with a comment beside every field."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.importers.config import Given
    from kvcalc.importers.plan import Block, LayerPlan
    from kvcalc.model.model import Model, WeightPart

LONGEST_REPEAT = 16


class Imported(NamedTuple):
    """A model read from another format.

    Attributes:
        fields: of the model but its layers, in order, each with its why.
        plans: of its layers, in order.
        notes: what else to know.
        origin: what it was read from.
    """

    model: Model
    fields: tuple[tuple[str, Given], ...]
    plans: tuple[LayerPlan, ...]
    notes: tuple[str, ...]
    origin: str

    @property
    def text(self) -> str:
        """The model as kvcalc YAML, a comment beside every field."""
        return "\n".join([f"# read from {self.origin}", *(f"# {note}" for note in self.notes), *self._lines(), ""])

    def at(self, origin: str, fields: tuple[tuple[str, Given], ...], notes: tuple[str, ...]) -> Imported:
        """The same with fields and notes that tell where it came from.

        Args:
            origin: what it was read from.
            fields: instead of its own.
            notes: before its own.
        """
        model = replace(self.model, **{name: given.value for name, given in fields})
        return self._replace(model=model, fields=fields, notes=(*notes, *self.notes), origin=origin)

    def _lines(self) -> Iterator[str]:
        for name, given in self.fields:
            yield _line(0, name, given.value, given.why)
        if self.model.weights:
            yield "weights:"
            yield from map(_weight_part, self.model.weights)
        yield "layers:"
        for part in _parts(list(self.plans)):
            if isinstance(part, tuple):
                times, inner = part
                yield f"  - repeat: {times}"
                yield "    of:"
                for count, plan in inner:
                    yield from _group(6, count, plan)
            else:
                yield from _group(2, part[0], part[1])


class _Run(list[Any]):
    """A number, and the plan that comes so often."""


def _parts(plans: list[LayerPlan]) -> list[Any]:
    """Runs of equal layers; or what repeats, how often, and runs of the rest."""
    for size in range(2, LONGEST_REPEAT + 1):
        times = 0
        while plans[:size] == plans[times * size : (times + 1) * size]:
            times += 1
        if times > 1 and len(set(plans[:size])) > 1:
            rest = [] if times * size == len(plans) else _runs(plans[times * size :])
            return [(times, _runs(plans[:size])), *rest]
    return list(_runs(plans))


def _runs(plans: list[LayerPlan]) -> list[_Run]:
    runs: list[_Run] = []
    for plan in plans:
        if runs and runs[-1][1] == plan:
            runs[-1][0] += 1
        else:
            runs.append(_Run([1, plan]))
    return runs


def _group(indent: int, count: int, plan: LayerPlan) -> Iterator[str]:
    yield f"{' ' * indent}- count: {count}"
    inner = indent + 2
    if len(plan.blocks) == 1:
        yield f"{' ' * inner}attention:"
        yield from _block(inner + 2, plan.blocks[0], first=" " * (inner + 2))
    else:
        yield f"{' ' * inner}attention:"
        for block in plan.blocks:
            yield from _block(inner + 4, block, first=f"{' ' * (inner + 2)}- ")
    for name, given in (("window", plan.window), ("chunk", plan.chunk)):
        if given is not None:
            yield _line(inner, name, given.value, given.why)


def _block(indent: int, block: Block, first: str) -> Iterator[str]:
    why = f"  # {block.why}" if block.why else ""
    yield f"{first}kind: {block.kind}{why}"
    for name, given in block.fields:
        yield _line(indent, name, given.value, given.why)


def _weight_part(part: WeightPart) -> str:
    values: dict[str, Any] = {"part": part.part, "parameters": part.parameters, "format": part.format}
    values |= {"split": part.split, "place": part.place} | ({"scales": True} if part.scales else {})
    if part.weight_block_size is not None:
        values["weight_block_size"] = part.weight_block_size
    shown = ", ".join(f"{name}: {json.dumps(value)}" for name, value in values.items())
    return f"  - {{{shown}}}  # {part.size:,} bytes, from the tensors' names and dtypes"


def _line(indent: int, name: str, value: Any, why: str) -> str:
    # JSON's way to write a value is YAML's too, and quotes words that could be taken for numbers
    shown = f"[{', '.join(value)}]" if isinstance(value, tuple) else json.dumps(value)
    return f"{' ' * indent}{name}: {shown}  # {why}"
