"""Slices of a card as their vendors publish them: MIG instances of NVIDIA's, partitions of AMD's ('h100-sxm:1g.10gb').

NVIDIA: profiles and how many there are of each, MIG User Guide, "Supported MIG Profiles", and NVIDIA/mig-parted
deployments/systemd/config-default.yaml. Memory and multiprocessors: `nvidia-smi mig -lgip`, of several listings the
least (the guide itself; NVIDIA/gpu-operator#900, #1303 and #1351; NVIDIA/mig-parted#120, #139 and #227;
bigstack-oss/cubecos#312); empty where none was found. Bandwidth: "a GPU memory slice is roughly one eighth of the total
GPU memory resources, including both capacity and bandwidth" (the guide, "Concepts"), of A30 and RTX PRO 6000 a quarter,
of RTX PRO 5000 and 4500 a half.

AMD: MI300X GPU Partitioning Overview; each partition has its memory domain's size over the partitions that share it
(amdgpu_amdkfd_xcp_memory_size, drivers/gpu/drm/amd/amdgpu/amdgpu_amdkfd.c). A share of bandwidth is not published.
"""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

from kvcalc.catalogue.shipped import CONFIGS
from kvcalc.errors import KvcalcError
from kvcalc.files import stamp
from kvcalc.named_tuple import NamedTuple
from kvcalc.units import MIB

if TYPE_CHECKING:
    from pathlib import Path

    from kvcalc.gpu import Gpu

TABLE = CONFIGS / "gpu_tables" / "slices.csv"

SEPARATOR = ":"
"""Between a card and its slice."""

_SOURCES = {
    "NVIDIA": "NVIDIA MIG User Guide; nvidia-smi mig -lgip in public listings (kvcalc/catalogue/gpu_slices.py)",
    "AMD": "AMD Instinct MI300X GPU Partitioning Overview; amdgpu_amdkfd_xcp_memory_size of the kernel's driver",
}
_MEDIA = r"\+(?:me\.all|me|gfx)(?![a-z0-9])"
_SPELLED = r"\s+mig\s+(?=\d+g\.)"


class _Row(NamedTuple):
    """One kind of slice.

    Attributes:
        number: that a card has of it at most.
        memory: MiB, a share of the card's, or nothing.
        bandwidth: a share of the card's, or nothing.
        multiprocessors: or nothing.
    """

    number: int
    memory: str
    bandwidth: str
    multiprocessors: str


def without_media(text: str) -> str:
    """A name as a driver has it ('... MIG 1g.10gb'), and one with media engines ('1g.10gb+me'), as they are listed."""
    if "mig" in text.lower():  # else nothing is compiled: most names are of whole cards
        text = re.sub(_SPELLED, SEPARATOR, text, flags=re.IGNORECASE)
    return re.sub(_MEDIA, "", text, flags=re.IGNORECASE) if "+" in text else text


def slice_names(card: str) -> tuple[str, ...]:
    """The slices of a card, by its own name."""
    return tuple(f"{card}{SEPARATOR}{name}" for name in _table(TABLE, stamp(TABLE)).get(card, {}))


def slice_of(card: Gpu, name: str) -> Gpu:
    """A slice as an accelerator of its own.

    Raises:
        KvcalcError: the card has no such slice; those that it has are named.
    """
    rows = _table(TABLE, stamp(TABLE)).get(card.name, {})
    row = rows.get(name.strip().lower().removeprefix("mig-").removeprefix("mig "))
    if row is None:
        known = f"known are {', '.join(rows)}" if rows else "none is known of it"
        raise KvcalcError(f"gpu: {card.name} has no slice '{name.strip()[:40]}'; {known}")
    memory = _memory_bytes(card, row)
    processors = int(row.multiprocessors) if row.multiprocessors else None
    rate = _rate_share(card, row, processors)
    return replace(
        card,
        name=f"{card.name}{SEPARATOR}{next(key for key, each in rows.items() if each is row)}",
        title=None,
        aliases=(),
        device_names=(),
        slice_of=card.name,
        slices=row.number,
        multiprocessors=processors,
        label_gb=None,
        sizes_gb=(),
        memory_bytes=memory,
        memory_from=None if memory is None else "nvidia-smi" if card.vendor == "NVIDIA" else card.memory_from,
        nvidia_smi_bytes=None,
        memory_bandwidth_gb_per_s=_times(card.memory_bandwidth_gb_per_s, row.bandwidth),
        bf16_dense_tflops=_times(card.bf16_dense_tflops, rate),
        fp8_dense_tflops=_times(card.fp8_dense_tflops, rate),
        host_link_gb_per_s=None,
        interconnect=None,
        interconnect_gb_per_s=None,
        gpus_per_node=row.number * card.node_size,
        source=_SOURCES[card.vendor or ""],
        notes=None,
    )


def _memory_bytes(card: Gpu, row: _Row) -> int | None:
    """No more than the card has."""
    if not row.memory or card.memory_bytes is None:
        return None
    if "/" in row.memory:
        return card.memory_bytes * Fraction(row.memory).numerator // Fraction(row.memory).denominator
    return min(int(row.memory) * MIB, card.memory_bytes)


def _rate_share(card: Gpu, row: _Row, processors: int | None) -> str:
    """Of the card's rates: by multiprocessors, or of AMD's by dies, as its memory."""
    if processors is None:
        return row.memory if "/" in row.memory else ""
    return f"{processors}/{card.multiprocessors}" if card.multiprocessors else ""


def _times(rate: float | None, share: str) -> float | None:
    return None if rate is None or not share else float(Fraction(str(rate)) * Fraction(share))


@lru_cache(maxsize=2)
def _table(path: Path, _stamp: tuple[int, ...]) -> dict[str, dict[str, _Row]]:
    """Card -> slice -> what is known of it."""
    found: dict[str, dict[str, _Row]] = {}
    import csv  # only where slices are asked for

    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            known = _Row(int(row["count"]), row["memory"], row["bandwidth"], row["multiprocessors"])
            for card in row["cards"].split():
                found.setdefault(card, {})[row["slice"]] = known
    return found
