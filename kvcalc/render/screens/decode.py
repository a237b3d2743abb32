"""How the bound of decoding looks: a few lines, and the tree of what a step reads and computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.render.screens.tree import term_rows
from kvcalc.render.view import Column, Grid, Row, right

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.gpu import Gpu
    from kvcalc.verbs.bounds.decode import DecodeBound
    from kvcalc.verbs.bounds.drafted import Drafted

_EXACT = 100
"""From here on a figure is shown whole."""


def decode_lines(bound: DecodeBound) -> Iterator[str]:
    """What a person reads of it."""
    why = {"memory": "memory bandwidth", "compute": "compute", "host link": "the host link"}[bound.limited_by]
    stages = bound.deployment.pp
    slowest = f", in the slowest of {stages} stages" if stages > 1 else ""
    slowest += "" if bound.drafted is None else f"; {_made(bound.drafted)}"
    yield (
        f"decoding: at least {shown(bound.seconds_per_token * 1000)} ms a token, "
        f"at most {shown(bound.tokens_per_second_per_sequence)} tokens/s each, "
        f"{shown(bound.tokens_per_second)} in all (a bound, by {why}{slowest})"
    )


def _made(drafted: Drafted) -> str:
    most = "at most " if drafted.is_most else ""
    return f"{most}{shown(drafted.tokens_per_step)} tokens a step with {drafted.tokens:,} drafted"


def _drafting_row(drafted: Drafted) -> Row:
    formula = "passes of the draft x (weights read + cache read) / bandwidth, or its computing where that is longer"
    return seconds_row(
        "drafting seconds", drafted.seconds, formula, f"{drafted.passes:g} passes of {drafted.pass_bytes:,} bytes"
    )


def decode_tree(bound: DecodeBound) -> Grid:
    """What a step reads and computes, and how long that takes at least."""
    gpu = bound.gpu
    weights, cache, computed = bound.terms.parts
    rows = [
        *term_rows(weights, 0),
        *term_rows(cache, 0, "cache read"),
        *term_rows(computed, 0),
        seconds_row(
            "memory seconds",
            bound.memory_seconds,
            "(weights read + cache read) / bandwidth" + (" without what is spilled" if bound.spill else ""),
            f"at {gpu.memory_bandwidth_gb_per_s:,g} x 10^9 bytes a second",
        ),
        seconds_row("compute seconds", bound.compute_seconds, "operations / peak rate of their format", rates(gpu)),
    ]
    if bound.drafted is not None:
        rows.append(_drafting_row(bound.drafted))
    if bound.spill is not None:
        rows.append(
            seconds_row(
                "host link seconds",
                bound.spill.link_seconds,
                "bytes spilled / bandwidth of the host link",
                f"{bound.spill.spilled_bytes_per_rank:,} at {gpu.host_link_gb_per_s or 0:,g} x 10^9 bytes a second",
            )
        )
    return Grid((Column("decode step"), right("value"), Column("formula"), Column("in numbers")), tuple(rows))


def seconds_row(name: str, seconds: float, formula: str, numbers: str) -> Row:
    return Row((name, f"{seconds:.3g}", formula, numbers))


def rates(gpu: Gpu) -> str:
    of_formats = (("bf16", gpu.bf16_dense_tflops), ("fp8", gpu.fp8_dense_tflops))
    known = [f"{name} {rate:,g}" for name, rate in of_formats if rate is not None]
    return f"{', '.join(known)} x 10^12 a second" if known else "no rate is known"


def shown(figure: float) -> str:
    """Three digits, or all before the point."""
    return f"{figure:,.0f}" if figure >= _EXACT else f"{figure:,.3g}"
