"""One mechanism's decode step: every path that is at hand, and the whole layer with the fastest of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from kvcalc.errors import CannotRunError
from kvcalc.speed.feed_forward import normed, rest_of_layer
from kvcalc.speed.layer import error_of, is_right, kept_of, layer_step, module_of, query_of
from kvcalc.speed.paths import Facts, paths_of
from kvcalc.speed.rates import Machine
from kvcalc.speed.result import Measured, Part, Tried
from kvcalc.speed.storage import empty_cache, fill, stored_bytes
from kvcalc.speed.timing import summed_up

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from kvcalc.speed.case import Case
    from kvcalc.speed.feed_forward import FeedForward
    from kvcalc.speed.layer import Module
    from kvcalc.speed.paths import Path, Query
    from kvcalc.speed.rates import Timed
    from kvcalc.speed.timing import Stopwatch
    from kvcalc.verification.devices import Device

STOP = 4.0
"""A path whose first run takes so many times the best median is not run again."""

QUERIES = 4
"""Different queries that take turns."""


class Bench(NamedTuple):
    """Where and how everything is measured.

    Attributes:
        device: where.
        dtype: of caches and of computing.
        watch: takes the time.
        machine: its bandwidth and its rate.
        compiling: whether torch.compile is tried.
    """

    device: Device
    dtype: torch.dtype
    watch: Stopwatch
    machine: Machine
    compiling: bool = False

    def copies(self, cache_bytes: int, times: int) -> int:
        """Caches that take turns, so that each lies outside of the processor's caches when its turn comes."""
        return max(1, -(-times * self.machine.processor_cache_bytes // cache_bytes))

    def part(self, timed: Timed, size: int, operations: int) -> Part:
        """Figures of a step that reads and computes so much."""
        median, read, matrix = timed.median_s, self.machine.read, self.machine.matrix
        memory, compute = size / read.per_s, operations / matrix.per_s
        bound = max(memory, compute)
        return Part(
            **timed.times,
            bytes=size,
            flops=operations,
            bytes_per_s=size / median,
            flops_per_s=operations / median,
            share_of_bandwidth=memory / median,
            share_of_flops=compute / median,
            bound_s=bound,
            limited_by="compute" if compute > memory else "memory",
            share_of_bound=bound / median,
        )


class Filled(NamedTuple):
    """Caches of one layer in one order, and queries: what a path is timed on."""

    module: Module
    rows: list[dict[str, Tensor]]
    x: list[Tensor]

    def attention(self, path: Path) -> Callable[[int], Tensor]:
        """A step of attention alone, of one turn after another."""
        kept = kept_of(self.module, self.rows[0])
        prepared = [path.prepare(kept._replace(rows=rows)) for rows in self.rows]
        queries: list[Query] = [query_of(self.module, x_BTD, 0) for x_BTD in self.x]
        return lambda turn: prepared[turn % len(prepared)](queries[turn % len(queries)])

    def with_projections(self, path: Path) -> Callable[[int, Tensor], Tensor]:
        """A step of attention with its projections on an input (B, 1, D), likewise."""
        kept = kept_of(self.module, self.rows[0])
        prepared = [(path.prepare(kept._replace(rows=rows)), rows) for rows in self.rows]
        last = next(iter(self.rows[0].values())).shape[1] - 1

        def run(turn: int, x_BTD: Tensor) -> Tensor:
            attend, rows = prepared[turn % len(prepared)]
            return layer_step(self.module, attend, rows, x_BTD, last)

        return run

    def input(self, turn: int) -> Tensor:
        """An input (B, 1, D) of one turn after another."""
        return self.x[turn % len(self.x)]


def filled(bench: Bench, case: Case, path: Path, positions: int, copies: int, module: Module) -> Filled:
    """Caches of random rows."""
    on = bench.device.torch_device
    generator = torch.Generator(device=on)
    generator.seed()
    rows = []
    for _ in range(copies):
        rows.append(empty_cache(path.storage, case.mechanism, case.sequences, positions, device=on, dtype=bench.dtype))
        fill(rows[-1], generator)
    x = [
        torch.randn(case.sequences, 1, case.hidden_size, device=on, generator=generator).to(bench.dtype)
        for _ in range(QUERIES)
    ]
    return Filled(module, rows, x)


def decode(bench: Bench, case: Case, times_larger: int, networks: list[FeedForward]) -> tuple[Measured, Path]:
    """A mechanism's figures, without its speed-up, and the path that is the fastest.

    Args:
        bench: where and how.
        case: what.
        times_larger: of the processor's caches, that the caches together must be.
        networks: feed-forward networks that take turns; none where they are not measured.

    Raises:
        CannotRunError: no path works here, or times spread too far.
    """
    context = case.scenario.workload.context
    size, positions = case.cache_bytes(context), case.positions(context)
    copies = bench.copies(size, times_larger)
    module = module_of(case.mechanism, case.hidden_size, bench.device.torch_device, bench.dtype)
    facts = Facts(bench.device.kind, bench.dtype, case.mechanism, positions, bench.compiling)
    tried: list[Tried] = []
    best: tuple[Path, Timed] | None = None
    for path in paths_of(case.mechanism):
        one = _try(bench, case, path, facts, best and best[1].median_s, (size, positions, copies), module)
        tried.append(one)
        bench.device.release()
        if one.state == "slower" and one.attention is not None:
            best = min(best or (path, one.attention), (path, one.attention), key=lambda each: each[1].median_s)
    if best is None:
        told = "; ".join(f"{each.name}: {each.why}" for each in tried)
        raise CannotRunError(f"{case.name}: no path works here ({told})")
    path, timed = best
    data = filled(bench, case, path, positions, copies, module)
    attend = data.with_projections(path)
    projected = bench.watch.timed(f"{case.name}, with projections", lambda turn: attend(turn, data.input(turn)))
    weights = sum(weight.numel() for weight in module.parameters() if weight.dim() > 1)
    cost = (size + weights * bench.dtype.itemsize, case.operations(context) + 2 * weights * case.sequences)
    whole = None
    if networks:

        def layer(turn: int) -> Tensor:
            x_BTD = data.input(turn)
            return rest_of_layer(x_BTD, attend(turn, normed(x_BTD)), networks[turn % len(networks)])

        timed_whole = bench.watch.timed(f"{case.name}, the whole layer", layer)
        more = networks[0].network
        read = cost[0] + more.parameters(case.sequences) * bench.dtype.itemsize
        whole = bench.part(timed_whole, read, cost[1] + 2 * more.multiply_adds(case.sequences))
    chosen = tuple(_chosen(each) if each.name == path.name else each for each in tried)
    found = Measured(
        mechanism=case.name,
        own=case.own,
        path=path.name,
        batch=case.sequences,
        context=context,
        attention=bench.part(timed, size, case.operations(context)),
        speedup_over_mha=None,
        claim=None,
        holds=None,
        layer=case.layer.label,
        layers=case.layers,
        positions=positions,
        copies=copies,
        with_projections=bench.part(projected, *cost),
        whole_layer=whole,
        paths=chosen,
    )
    return found, path


def _chosen(tried: Tried) -> Tried:
    return Tried(tried.name, tried.call, "chosen", "", tried.error, tried.attention)


def _try(
    bench: Bench,
    case: Case,
    path: Path,
    facts: Facts,
    best: float | None,
    sizes: tuple[int, int, int],
    module: Module,
) -> Tried:
    """A path, proven and timed. 'slower' stands for timed: which is chosen is seen at the end."""

    def told(state: str, why: str = "", error: float | None = None, attention: Timed | None = None) -> Tried:
        return Tried(path.name, path.call, state, why, error, attention)

    if (why := path.why_not(facts)) is not None:
        return told("not here", why)
    size, positions, copies = sizes
    error = None
    try:
        error = error_of(path, case.mechanism, bench.device.torch_device, bench.dtype)
        if not is_right(error, path, bench.dtype):
            return told("wrong", f"off the textbook module by {error:.1e} of the largest output", error)
        data = filled(bench, case, path, positions, copies, module)
        _refuse_another_size(case, stored_bytes(data.rows[0]), size)
        run = data.attention(path)
        first = bench.watch.once(run)
        if best is not None and first > STOP * best and (second := bench.watch.once(run, 1)) > STOP * best:
            return told("stopped", "", error, summed_up([second]))
    except CannotRunError:
        raise
    except (RuntimeError, ImportError, AssertionError, AttributeError, TypeError, ValueError) as failure:
        return told("failed", f"{type(failure).__name__}: {failure}".splitlines()[0][:200], error)
    return told("slower", "", error, bench.watch.timed(f"{case.name}, {path.name}", run))


def _refuse_another_size(case: Case, stored: int, counted: int) -> None:
    if stored != counted:
        raise CannotRunError(f"{case.name}: a cache of {stored:,} bytes was stored, and kvcalc counts {counted:,}")
