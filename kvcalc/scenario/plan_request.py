"""What a plan is asked for: a workload in one of three ways, accelerators by name, and what may be used."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kvcalc.catalogue import find_gpu, shipped_gpus
from kvcalc.deployment import MAX_RANKS
from kvcalc.errors import KvcalcError
from kvcalc.gpu import Gpu
from kvcalc.note import Note, note
from kvcalc.scenario.make import asked_gpu
from kvcalc.scenario.numbers import count_of, positive
from kvcalc.units import MAX_BATCH, MAX_CONTEXT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from fractions import Fraction


ALL_GPUS = "all"
MAX_LIMIT = 1000
"""Deployments in an answer."""


class Limits(NamedTuple):
    """What a plan may use.

    Attributes:
        max_gpus: at most so many, spares among them.
        spare: replicas beyond those that hold the batch.
        keep: so many deployments of each accelerator.
        tp: the only tensor-parallel size; None for all that are legal within a node.
        pp: the only number of pipeline stages; None for all that are worth trying.
    """

    max_gpus: int
    spare: int = 0
    keep: int = 10
    tp: int | None = None
    pp: int | None = None


class Sizing(NamedTuple):
    """How many sequences are to be held at the same time, and how that number came about."""

    batch: int
    note: Note | None


class Accelerators(NamedTuple):
    """Those to choose from, and what was left out."""

    gpus: tuple[Gpu, ...]
    note: Note | None


def sizing(
    context: int,
    batch: int | str | None,
    tokens: int | str | None,
    rps: float | str | Fraction | None,
    latency: float | str | Fraction | None,
) -> Sizing:
    """The batch: given, or tokens / context, or requests a second x seconds (Little's law), rounded up.

    Raises:
        KvcalcError: two ways at once, or half of one.
    """
    ways = {"--batch": batch, "--tokens": tokens, "--rps": rps}
    given = [name for name, value in ways.items() if value is not None]
    if len(given) > 1:
        raise KvcalcError(f"{given[1]}: says how many sequences are held, as {given[0]} does; give one of them")
    if (rps is None) != (latency is None):
        name, other = ("--rps", "--latency") if latency is None else ("--latency", "--rps")
        raise KvcalcError(f"{name}: goes with {other}: requests a second x seconds each takes are held at a time")
    if tokens is not None:
        total = count_of(tokens, "--tokens", MAX_CONTEXT)
        held = _within(-(-total // context), "--tokens")
        sequences = "1 sequence" if held == 1 else f"{held:,} sequences"
        text = f"{total:,} tokens are {sequences} of at most {context:,}"
        return Sizing(held, note("batch-from-tokens", text, tokens=total, batch=held))
    if rps is not None and latency is not None:
        rate, seconds = positive(rps, "--rps"), positive(latency, "--latency")
        held = _within(-(-rate * seconds // 1), "--rps")
        sequences = "1 sequence is" if held == 1 else f"{held:,} sequences are"
        told = note(
            "batch-from-rate",
            f"{float(rate):,g} requests a second x {float(seconds):,g} s each: {sequences} held at a time "
            "(Little's law)",
            requests_per_second=float(rate),
            seconds=float(seconds),
            batch=held,
        )
        return Sizing(held, told)
    return Sizing(count_of(1 if batch is None else batch, "--batch", MAX_BATCH), None)


def _within(batch: int, what: str) -> int:
    if batch > MAX_BATCH:
        raise KvcalcError(f"{what}: {batch:,} sequences at a time are beyond the limit of {MAX_BATCH:,}")
    return batch


def accelerators(names: Sequence[Gpu | str], memory: int | str | None, node_size: int | str | None) -> Accelerators:
    """The accelerators of those names, each of which may be a list with commas, or 'all'.

    Raises:
        KvcalcError: an unknown name, none at all, or one whose memory is not known.
    """
    wanted = [part for name in names for part in ([name] if isinstance(name, Gpu) else name.split(","))]
    gpus: list[Gpu] = []
    left_out = None
    for each in wanted:
        if isinstance(each, Gpu):
            gpus.append(each)
        elif each.strip().lower() == ALL_GPUS:
            every = list(shipped_gpus())
            measured = [gpu for gpu in every if gpu.memory_bytes is not None]
            number = len(every) - len(measured)
            text = f"{number} accelerators are left out: no measured memory is known for them"
            left_out = note("gpus-left-out", text, number=number)
            gpus += measured
        else:
            gpus.append(find_gpu(each.strip()))
    by_name = {gpu.name: gpu for gpu in gpus}
    if not by_name:
        raise KvcalcError("--gpu: names no accelerator")
    if memory is not None and len(by_name) != 1:
        raise KvcalcError("--gpu-memory: is of one accelerator, and several are given")
    return Accelerators(tuple(asked_gpu(gpu, memory, node_size) for gpu in by_name.values()), left_out)


def priced(prices: Mapping[str, float | str | Fraction], gpus: Sequence[Gpu]) -> dict[str, Fraction]:
    """Accelerator -> USD an hour.

    Raises:
        KvcalcError: an accelerator that does not exist, that is not asked for, or that has two prices.
    """
    known: dict[str, Fraction] = {}
    for name, price in prices.items():
        own = [gpu.name for gpu in gpus if gpu.name == name.lower() or name.lower() in gpu.aliases]
        if not own:
            raise KvcalcError(f"--price: {_existing(name)} is not among the accelerators of --gpu")
        if own[0] in known:
            raise KvcalcError(f"--price: {own[0]} has two prices")
        known[own[0]] = positive(price, f"--price {name[:60]}")
    return known


def _existing(name: str) -> str:
    """The name of an accelerator that a price is given for, if there is such a one."""
    try:
        return find_gpu(name).name
    except KvcalcError as error:
        raise KvcalcError(f"--price: {str(error).removeprefix('gpu: ')}") from error


def limits(
    max_gpus: int | str, spare: int | str, limit: int | str, tp: int | str | None, pp: int | str | None
) -> Limits:
    """What a plan may use."""
    return Limits(
        max_gpus=count_of(max_gpus, "--max-gpus", MAX_RANKS),
        spare=count_of(spare, "--spare", MAX_RANKS, least=0),
        keep=count_of(limit, "--limit", MAX_LIMIT),
        tp=None if tp is None else count_of(tp, "--tp", MAX_RANKS),
        pp=None if pp is None else count_of(pp, "--pp", MAX_RANKS),
    )
