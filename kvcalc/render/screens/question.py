"""What a screen answers: which model, which workload, which accelerator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.render.view import Column, Grid, Row
from kvcalc.units import format_size

if TYPE_CHECKING:
    from kvcalc.verbs.question import Question

MOST_KINDS_SHOWN = 3
"""Kinds of layers that the first line tells apart."""


def question_grid(question: Question, unit: str, *, accelerator: bool = True) -> Grid:
    """What is asked.

    Args:
        question: what.
        unit: of sizes.
        accelerator: whether to show it, where it plays a part.
    """
    rows = [Row((question.model, shape(question), f"engine {question.engine}"))]
    gpu = question.accelerator
    if accelerator and gpu is not None:
        usable, memory = (format_size(size, unit) for size in (gpu.usable_bytes, gpu.memory_bytes))
        share = f"{usable} of {memory} {unit} usable ({gpu.utilization:g})"
        rows.append(Row((gpu.gpu, share, "")))
    return Grid((Column(), Column(), Column()), tuple(rows))


def shape(question: Question) -> str:
    """'gqa 64/8 x 128, 80 layers, bf16'."""
    kinds = question.kinds
    layers = "; ".join(f"{number} x {label}" for label, number in kinds)
    if len(kinds) == 1 and kinds[0][1] == question.layers:
        layers = f"{kinds[0][0]}, {count(question.layers, 'layer')}"
    elif len(kinds) > MOST_KINDS_SHOWN:
        layers = f"{' + '.join(question.mechanisms)}, {count(question.layers, 'layer')}"
    kept_in, compute = question.cache_dtype, question.dtype
    return f"{layers}, {compute if kept_in == compute else f'{compute}, cache {kept_in}'}"


def workload(question: Question) -> str:
    """'32 sequences x 8,192 tokens'; '20 requests of 2,548 to 131,072 tokens'."""
    shared = f", {question.shared_prefix:,} of them shared" if question.shared_prefix else ""
    if shared and question.prefix_groups > 1:
        shared += f" in {question.prefix_groups:,} groups"
    if question.mix:
        return f"{count(question.batch, 'request')} {lengths(question)}{shared}"
    return f"{count(question.batch, 'sequence')} x {count(question.context, 'token')}{shared}"


def sequences(question: Question, number: int | None = None) -> str:
    """'sequences of 8,192 tokens', 'requests of this mix'; with a number before it '1 sequence of 8,192 tokens'."""
    noun = "request" if question.mix else "sequence"
    plural = noun if number == 1 else f"{noun}s"
    return f"{plural} of this mix" if question.mix else f"{plural} of {count(question.context, 'token')}"


def lengths(question: Question) -> str:
    """'of 2,548 to 131,072 tokens'."""
    if question.shortest == question.context:
        return f"of {count(question.context, 'token')}"
    return f"of {question.shortest:,} to {question.context:,} tokens"


def count(number: int, noun: str) -> str:
    """'1 layer', '80 layers'."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
