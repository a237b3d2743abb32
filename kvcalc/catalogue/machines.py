"""Machines that clouds rent out or NVIDIA sells, which people type for their GPUs: the accelerator of each kind."""

from __future__ import annotations

import re
from types import MappingProxyType

_AWS = {
    "g4dn": "t4",
    "g5": "a10g",
    "g6": "l4",
    "g6e": "l40s",
    "p3": "v100-16",
    "p3dn": "v100-32",
    "p4d": "a100-40-sxm",
    "p4de": "a100-80-sxm",
    "p5": "h100-sxm",
    "p5e": "h200-sxm",
    "p5en": "h200-sxm",
    "p6-b200": "b200",
    "p6-b300": "b300",
    "inf2": "inf2",
    "trn1": "trn1",
    "trn1n": "trn1",
    "trn2": "trn2",
}
"""https://aws.amazon.com/ec2/instance-types, accelerated computing: family.size."""
_GOOGLE = {
    "a2-highgpu": "a100-40-sxm",
    "a2-megagpu": "a100-40-sxm",
    "a2-ultragpu": "a100-80-sxm",
    "a3-highgpu": "h100-sxm",
    "a3-megagpu": "h100-sxm",
    "a3-edgegpu": "h100-sxm",
    "a3-ultragpu": "h200-sxm",
    "a4-highgpu": "b200",
    "g2-standard": "l4",
}
"""https://cloud.google.com/compute/docs/gpus: series-kind-size."""
_AZURE = {
    "nd96asr_v4": "a100-40-sxm",
    "nd96amsr_a100_v4": "a100-80-sxm",
    "nd96isr_h100_v5": "h100-sxm",
    "nd96isr_h200_v5": "h200-sxm",
    "nd96isr_mi300x_v5": "mi300x",
    "nc24ads_a100_v4": "a100-80-pcie",
    "nc48ads_a100_v4": "a100-80-pcie",
    "nc96ads_a100_v4": "a100-80-pcie",
    "nc40ads_h100_v5": "h100-nvl",
    "nc80adis_h100_v5": "h100-nvl",
}
"""https://learn.microsoft.com/azure/virtual-machines/sizes, GPU accelerated."""
_NVIDIA = {
    "h100": "h100-sxm",
    "h200": "h200-sxm",
    "b200": "b200",
    "b300": "b300",
}
"""https://docs.nvidia.com/dgx-systems: DGX and HGX of eight; those of A100 have 40 or 80 GB."""
MACHINES = MappingProxyType({**_AWS, **_GOOGLE, **_AZURE, **_NVIDIA})

_PATTERNS = (
    re.compile(r"(?:ml\.)?(?P<kind>[a-z]{1,4}\d[a-z]{0,3}(?:-b\d{3})?)\.(?:\d{0,3}x?large|metal)(?:-\w{1,12})?"),
    re.compile(r"(?P<kind>[ag]\d-[a-z]{4,9})-\d{1,4}[a-z]?"),
    re.compile(r"(?:standard_)?(?P<kind>n[cd]\d{1,3}\w{2,16})"),
    re.compile(r"[dh]gx[- ]?(?P<kind>[hb]\d00)"),
)


def accelerator_of(text: str) -> str | None:
    """The accelerator of a machine that is typed so; None where it is no machine that is known."""
    asked = text.strip().lower()
    found = next((match for pattern in _PATTERNS if (match := pattern.fullmatch(asked))), None)
    return None if found is None else MACHINES.get(found["kind"])
