"""Accelerators of which little more is known than their memory: a table, a line each (configs/gpu_tables).

`memory_mib` is the least that software told of one, where that is public; without it they have what they are sold with.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

from kvcalc.catalogue.shipped import CONFIGS
from kvcalc.errors import KvcalcError
from kvcalc.files import stamp
from kvcalc.gpu import Gpu
from kvcalc.units import MIB

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    Told: TypeAlias = Literal["runtime", "nvidia-smi"]

TABLE = CONFIGS / "gpu_tables" / "consumer.csv"
_GIB = 2**30
_LINKS = {"PCIe3 x16": 16, "PCIe4 x16": 32, "PCIe5 x16": 64}
"""One direction, in units of 10^9 bytes a second."""


def table() -> Mapping[str, Gpu]:
    """Every accelerator of the table, by name."""
    return _table(TABLE, stamp(TABLE))


@lru_cache(maxsize=2)
def _table(path: Path, _stamp: tuple[int, ...]) -> dict[str, Gpu]:
    import csv  # only where names are of the table, not of a file

    with path.open(encoding="utf-8", newline="") as file:
        return {row["name"]: _built(row) for row in csv.DictReader(file)}


def _built(row: Mapping[str, str]) -> Gpu:
    sizes = tuple(int(each) for each in row["label_gb"].split(";") if each)
    bandwidth = row["memory_bandwidth_gb_per_s"]
    sold = Gpu(
        name=row["name"],
        title=row["title"],
        aliases=tuple(filter(None, row["aliases"].split(";"))),
        vendor=row["vendor"],
        architecture=row["architecture"],
        label_gb=sizes[0] if sizes else None,
        sizes_gb=sizes if len(sizes) > 1 else (),
        devices=int(row["devices"] or 1),
        memory_bandwidth_gb_per_s=float(bandwidth) if bandwidth else None,
        host_link=row["host_link"] or None,
        host_link_gb_per_s=_LINKS.get(row["host_link"]),
        gpus_per_node=1 if row["host_link"] == "unified" else None,
        source=row["source"],
    )
    if row["memory_mib"]:
        return replace(
            sold,
            memory_bytes=int(row["memory_mib"]) * MIB,
            memory_from=cast("Told", row["memory_from"]),
            nvidia_smi_bytes=int(row["nvidia_smi_mib"]) * MIB if row["nvidia_smi_mib"] else None,
        )
    return of_size(sold, sizes[0]) if sizes else sold


def of_size(gpu: Gpu, size_gb: int) -> Gpu:
    """One with so much memory, of those that it is sold with.

    Raises:
        KvcalcError: it is not sold so.
    """
    if size_gb not in (gpu.sizes_gb or (gpu.label_gb,)):
        sizes = ", ".join(f"{gpu.name}-{each}gb" for each in gpu.sizes_gb) or gpu.name
        raise KvcalcError(f"gpu: {gpu.name} is not sold with {size_gb} GB; there is {sizes}")
    share = unified_share(gpu, size_gb)
    memory = size_gb * _GIB if share is None else size_gb * _GIB * share[0] // share[1]
    return replace(gpu, label_gb=size_gb, memory_bytes=memory, memory_from="vendor" if share is None else "unified")


def unified_share(gpu: Gpu, size_gb: int) -> tuple[int, int] | None:
    """What a GPU may use of memory that it shares with the processor, as a fraction; None of memory of its own.

    Apple: recommendedMaxWorkingSetSize as llama.cpp prints it: 10,922 MiB of 16 GB, 21,845 of 32 (two thirds); 27,648
    of 36, 49,152 of 64, 73,728 of 96 (three quarters): abetlen/llama-cpp-python#687, ollama/ollama#434,
    ggml-org/llama.cpp#1870 and #3213. Since some version of macOS it is more: 25,559 of 32, 28,753 of 36, 38,338 of 48
    (0.78), 53,084 of 64 (0.81), 475,136 of 512 (0.91). AMD: up to 96 GB of 128 (Variable Graphics Memory, AMD's page of
    Ryzen AI Max).
    """
    if gpu.vendor == "Apple":
        return (2, 3) if size_gb < 36 else (3, 4)  # noqa: PLR2004  # as printed
    if gpu.vendor == "AMD" and gpu.host_link == "unified":
        return (3, 4)
    return None
