"""How the time of a decode step and of a prompt grows with the tokens."""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING

import torch

from kvcalc.errors import CannotRunError
from kvcalc.speed.decode import filled
from kvcalc.speed.layer import TOLERANCES, module_of
from kvcalc.speed.prefill import PREFILL_PATHS, prefill_error, random_prompt
from kvcalc.speed.result import Growth, Point

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.speed.case import Case
    from kvcalc.speed.decode import Bench
    from kvcalc.speed.paths import Path
    from kvcalc.speed.prefill import PrefillPath, Prompt
    from kvcalc.speed.result import Measured, Part


DECODE_SHARES = (4, 2)
"""Of the context that was asked for: a quarter and a half are measured beside it."""

PREFILL_TOKENS = {"cpu": (512, 1024, 2048), "cuda": (2048, 4096, 8192)}
"""Of one prompt, up to the context that was asked for."""


def decode_growth(bench: Bench, case: Case, path: Path, found: Measured, times_larger: int) -> Growth:
    """Of a step with the fastest path, at a quarter and a half of the context and at all of it."""
    context = case.scenario.workload.context
    module = module_of(case.mechanism, case.hidden_size, bench.device.torch_device, bench.dtype)
    points = []
    for share in DECODE_SHARES:
        tokens = context // share
        positions = case.positions(tokens)
        if positions < 1 or tokens * share != context or positions == found.positions:
            continue
        size = case.cache_bytes(tokens)
        data = filled(bench, case, path, positions, bench.copies(size, times_larger), module)
        timed = bench.watch.timed(f"{case.name}, {tokens:,} tokens", data.attention(path))
        del data
        part = bench.part(timed, size, case.operations(tokens))
        points.append(_point(tokens, part))
    points.append(_point(context, found.attention))
    return Growth(case.name, "decode", path.name, exponent(points), None, tuple(points))


def _point(tokens: int, part: Part) -> Point:
    return Point(**part.times, tokens=tokens, flops=part.flops, share_of_flops=part.share_of_flops)


def prefill_growth(bench: Bench, case: Case) -> Growth | None:
    """Of one prompt's attention, causal; None of layers with a span, whose masks no path here has.

    Raises:
        CannotRunError: no path is right, or times spread too far.
    """
    if case.layer.span is not None:
        return None
    device = bench.device.torch_device
    lengths = [each for each in PREFILL_TOKENS[bench.device.kind] if each <= case.scenario.workload.context]
    lengths = lengths or [case.scenario.workload.context]
    errors = {path: prefill_error(path, case.mechanism, device) for path in PREFILL_PATHS}
    right = [path for path, error in errors.items() if error <= TOLERANCES[torch.float64]]
    if not right:
        raise CannotRunError(f"{case.name}: no path of prefill agrees with the textbook module")
    prompts = [random_prompt(case.mechanism, lengths[0], device, bench.dtype) for _ in range(2)]
    path = min(right, key=lambda each: _probed(bench, each, prompts))
    points = []
    for tokens in lengths:
        prompts = [random_prompt(case.mechanism, tokens, device, bench.dtype) for _ in range(2)]
        timed = bench.watch.timed(
            f"{case.name}, a prompt of {tokens:,} tokens",
            lambda turn, prompts=prompts: path.call(prompts[turn % 2]),  # type: ignore[misc]  # its default
        )
        operations = case.prefill_operations(tokens)
        share = operations / bench.machine.matrix.per_s / timed.median_s
        points.append(Point(**timed.times, tokens=tokens, flops=operations, share_of_flops=share))
    return Growth(case.name, "prefill", path.name, exponent(points), errors[path], tuple(points))


def _probed(bench: Bench, path: PrefillPath, prompts: Sequence[Prompt]) -> float:
    """The least of three runs, after one that does not count."""

    def run(turn: int) -> object:
        return path.call(prompts[turn % len(prompts)])

    run(0)
    return min(bench.watch.once(run, turn) for turn in range(3))


def exponent(points: Sequence[Point]) -> float | None:
    """The slope of log(seconds) over log(tokens), by least squares; None of fewer than two."""
    if len(points) < 2:  # noqa: PLR2004  # one point has no slope
        return None
    x = [log(point.tokens) for point in points]
    y = [log(point.median_s) for point in points]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    spread = sum((each - mean_x) ** 2 for each in x)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / spread
