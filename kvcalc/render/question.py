"""The first lines of a screen: which model, which workload, which accelerator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.render.view import Column, Grid, Row
from kvcalc.scenario import compute_format
from kvcalc.units import format_size

if TYPE_CHECKING:
    from kvcalc.scenario import Scenario

MOST_KINDS_SHOWN = 3
"""Kinds of layers that the first line tells apart."""


def question(scenario: Scenario, unit: str, *, accelerator: bool = True) -> Grid:
    """What is asked.

    Args:
        scenario: the question.
        unit: of sizes.
        accelerator: False where it plays no part.
    """
    rows = [Row((scenario.model.name, shape(scenario), workload(scenario)))]
    if accelerator:
        usable, memory = (format_size(size, unit) for size in (scenario.usable_bytes, scenario.memory_bytes))
        share = f"{usable} of {memory} {unit} usable ({float(scenario.utilization):g})"
        rows.append(Row((scenario.gpu.name, share, f"engine {scenario.engine.name}")))
    return Grid((Column(), Column(), Column()), tuple(rows))


def shape(scenario: Scenario) -> str:
    """'gqa 64/8 x 128, 80 layers, bf16'."""
    model = scenario.model
    kinds = model.distinct()
    layers = "; ".join(f"{number} x {layer.label}" for layer, number in kinds.items())
    if [*kinds.values()] == [model.num_layers]:
        layers = f"{next(iter(kinds)).label}, {count(model.num_layers, 'layer')}"
    elif len(kinds) > MOST_KINDS_SHOWN:
        mechanisms = dict.fromkeys(layer.attention.kind for layer in kinds)
        layers = f"{' + '.join(mechanisms)}, {count(model.num_layers, 'layer')}"
    kept_in, compute = scenario.cache_format.name, compute_format(model).name
    return f"{layers}, {compute if kept_in == compute else f'{compute}, cache {kept_in}'}"


def workload(scenario: Scenario) -> str:
    """'32 sequences x 8,192 tokens'."""
    asked = scenario.workload
    shared = f", {scenario.shared_prefix:,} of them shared" if scenario.shared_prefix else ""
    return f"{count(asked.batch, 'sequence')} x {count(asked.context, 'token')}{shared}"


def count(number: int, noun: str) -> str:
    """'1 layer', '80 layers'."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
