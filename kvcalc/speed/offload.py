"""A share of the cache that is not where it is attended to: in pinned host memory, or on a CPU in a file.

What `--spill` of an estimate bounds, measured: before each step those bytes come over the link. A file is mapped, its
pages are dropped from memory before each step, and it has no name, so that nothing is left when the process ends.
"""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch

from kvcalc.errors import CannotRunError, KvcalcError
from kvcalc.speed.decode import Bench, filled
from kvcalc.speed.layer import kept_of, module_of, query_of
from kvcalc.speed.rates import Rate
from kvcalc.speed.result import Offloaded
from kvcalc.speed.storage import empty_cache, fill, stored_bytes
from kvcalc.units import GIB

if TYPE_CHECKING:
    from collections.abc import Callable
    from fractions import Fraction

    from torch import Tensor

    from kvcalc.scenario import Scenario
    from kvcalc.speed.case import Case
    from kvcalc.speed.paths import Path as FastPath
    from kvcalc.speed.result import Measured

MOST_FILE = 8 * GIB
"""The largest file that is written."""


class Away(NamedTuple):
    """Bytes that are not on the device.

    Attributes:
        where: what holds them.
        parts: the same bytes as the storages of a cache on the device, one for each.
        forget: drops what the system keeps of them in memory.
    """

    where: str
    parts: list[Tensor]
    forget: Callable[[], None]


def sequences_away(case: Case, share: Fraction) -> int:
    """Sequences whose caches are kept elsewhere: the nearest number, at least one, and not all.

    Raises:
        KvcalcError: there is only one sequence.
    """
    if case.sequences < 2:  # noqa: PLR2004  # one stays and one goes
        raise KvcalcError("--offload: moves whole sequences, and there is only one; next: --batch 2")
    return min(case.sequences - 1, max(1, round(case.sequences * share)))


def offloaded(bench: Bench, case: Case, path: FastPath, found: Measured, share: Fraction) -> Offloaded:
    """Attention of a step with so large a share elsewhere, beside its bound and beside all of it on the device.

    Raises:
        KvcalcError: there is only one sequence.
        CannotRunError: no space for the file, or times spread too far.
    """
    away = sequences_away(case, share)
    on, positions = bench.device.torch_device, found.positions
    module = module_of(case.mechanism, case.hidden_size, on, bench.dtype)
    staying = case._replace(scenario=_with_batch(case, case.sequences - away))
    data = filled(bench, staying, path, positions, 1, module)
    landing = empty_cache(path.storage, case.mechanism, away, positions, device=on, dtype=bench.dtype)
    fill(landing, torch.Generator(device=on).manual_seed(1))
    size = stored_bytes(landing)
    here, there = path.prepare(kept_of(module, data.rows[0])), path.prepare(kept_of(module, landing))
    first = [query_of(module, x_BTD, 0) for x_BTD in data.x]
    x_moved = torch.randn(away, 1, case.hidden_size, device=on).to(bench.dtype)
    moved = query_of(module, x_moved, 0)
    flat = _flat(landing)
    with ExitStack() as stack:
        held = _pinned(flat) if bench.device.kind == "cuda" else in_a_file(flat, size, stack)

        def fetch(_: int) -> None:
            for part, source in zip(flat, held.parts, strict=True):
                part.copy_(source, non_blocking=True)

        def step(turn: int) -> Tensor:
            fetch(turn)
            return torch.cat((here(first[turn % len(first)]), there(moved)))

        link = bench.watch.timed(f"{case.name}, reading {held.where}", fetch, held.forget)
        timed = bench.watch.timed(f"{case.name}, with a share of its cache away", step, held.forget)
        held.parts.clear()
    whole = found.attention
    link_rate = Rate(
        **link.times, how=f"copy of {size:,} bytes from {held.where}", per_s=size / link.median_s, work=size
    )
    stays = (whole.bytes - size) / bench.machine.read.per_s
    bound = max(stays, whole.flops / bench.machine.matrix.per_s, link.median_s)
    return Offloaded(
        **timed.times,
        mechanism=case.name,
        path=path.name,
        where=held.where,
        share=float(share),
        bytes=size,
        fall=timed.median_s / whole.median_s,
        link=link_rate,
        bound_s=bound,
        share_of_bound=bound / timed.median_s,
    )


def _with_batch(case: Case, batch: int) -> Scenario:
    return replace(case.scenario, workload=replace(case.scenario.workload, batch=batch))


def _flat(cache: dict[str, Tensor]) -> list[Tensor]:
    """The memory behind a cache's views, in its order."""
    storages = {rows.untyped_storage().data_ptr(): rows for rows in cache.values()}
    return [rows.as_strided((rows.untyped_storage().nbytes() // rows.itemsize,), (1,), 0) for rows in storages.values()]


def _pinned(flat: list[Tensor]) -> Away:
    parts = [torch.empty(len(part), dtype=part.dtype, pin_memory=True).copy_(part) for part in flat]
    return Away("pinned host memory", parts, lambda: None)


def in_a_file(flat: list[Tensor], size: int, stack: ExitStack) -> Away:
    """The same bytes in a file that has no name any more, mapped into memory."""
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if size > min(MOST_FILE, free // 2):
        raise CannotRunError(
            f"--offload: the share takes {size:,} bytes in a file; {MOST_FILE:,} is the most that is written, and half "
            f"of the {free:,} that are free in {folder}: a smaller share, --batch or --context"
        )
    file = stack.enter_context(tempfile.TemporaryFile(dir=folder))  # noqa: SIM115  # the stack closes it
    file.truncate(size)
    mapped = mmap.mmap(file.fileno(), size)
    stack.callback(_close, mapped)
    parts, offset = [], 0
    for part in flat:
        parts.append(torch.frombuffer(mapped, dtype=part.dtype, count=len(part), offset=offset).copy_(part))
        offset += part.nbytes
    mapped.flush()
    os.fsync(file.fileno())

    def forget() -> None:
        if hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    kind = _file_system(Path(folder))
    return Away(f"a mapped file on {kind}" if kind else "a mapped file", parts, forget)


def _close(mapped: mmap.mmap) -> None:
    with suppress(BufferError):  # a tensor still looks at it: it is unmapped with the last of them
        mapped.close()


def _file_system(folder: Path) -> str:
    """Its kind, such as ext4; empty where the system does not say. tmpfs is memory, and no disk is read."""
    best, kind = "", ""
    with suppress(OSError):
        resolved = str(folder.resolve())
        for line in Path("/proc/mounts").read_text(encoding="utf-8", errors="replace").splitlines():
            _, at, found = line.split()[:3]
            if (resolved == at or resolved.startswith(at.rstrip("/") + "/")) and len(at) >= len(best):
                best, kind = at, found
    return kind
