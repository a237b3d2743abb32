"""Machines that clouds rent out or NVIDIA sells, which people type for their GPUs: the accelerator of each kind."""

from __future__ import annotations

import re
from types import MappingProxyType

_AWS = {
    "g4dn": "t4",
    "g5": "a10g",
    "g6": "l4",
    "g6e": "l40s",
    "g7e": "rtxpro6000-bw",
    "gr6": "l4",
    "p3": "v100-16",
    "p3dn": "v100-32",
    "p4d": "a100-40-sxm",
    "p4de": "a100-80-sxm",
    "p5": "h100-sxm",
    "p5e": "h200-sxm",
    "p5en": "h200-sxm",
    "p6-b200": "b200",
    "p6-b300": "b300",
    "p6e-gb200": "gb200",
    "p6e-gb300": "gb300",
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
    "a4x-highgpu": "gb200",
    "a4x-maxgpu": "gb300",
    "g2-standard": "l4",
    "g4-standard": "rtxpro6000-bw",
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
    "nd128isr_ndr_gb200_v6": "gb200",
    "nd128isr_gb300_v6": "gb300",
    **dict.fromkeys((f"nc{cores}as_t4_v3" for cores in (4, 8, 16, 64)), "t4"),
    **dict.fromkeys((f"nc{cores}ads_a10_v4" for cores in (8, 16, 32)), "a10"),
    **dict.fromkeys(("nv36ads_a10_v5", "nv36adms_a10_v5", "nv72ads_a10_v5"), "a10"),
    **dict.fromkeys((f"nc{cores}s_v3" for cores in (6, 12, 24)), "v100-16-pcie"),
}
"""https://learn.microsoft.com/azure/virtual-machines/sizes, GPU accelerated; NV6 to NV18 have parts of an A10."""
_ORACLE = {
    "bm.gpu4": "a100-40-sxm",
    "bm.gpu.a100-v2": "a100-80-sxm",
    "bm.gpu.a10": "a10",
    "vm.gpu.a10": "a10",
    "bm.gpu.l40s": "l40s",
    "bm.gpu.h100": "h100-sxm",
    "bm.gpu.h200": "h200-sxm",
    "bm.gpu.b200": "b200",
    "bm.gpu.gb200": "gb200",
    "bm.gpu.mi300x": "mi300x",
}
"""https://docs.oracle.com/iaas/Content/Compute/References/computeshapes.htm: shape.number."""
_NVIDIA = {
    "h100": "h100-sxm",
    "h200": "h200-sxm",
    "b200": "b200",
    "b300": "b300",
}
"""https://docs.nvidia.com/dgx-systems: DGX and HGX of eight; those of A100 have 40 or 80 GB."""
MACHINES = MappingProxyType({**_AWS, **_GOOGLE, **_AZURE, **_ORACLE, **_NVIDIA})

_PATTERNS = (
    re.compile(r"(?:ml\.)?(?P<kind>[a-z]{1,4}\d[a-z]{0,3}(?:-g?b\d{3})?)\.(?:\d{0,3}x?large|metal)(?:-\w{1,12})?"),
    re.compile(r"(?:u-)?(?P<kind>p6e?-g?b\d{3})(?:x\d{2})?"),
    re.compile(r"(?P<kind>[ag]\dx?-[a-z]{4,9})(?:-\d{1,4}[a-z]?(?:-metal)?)?"),
    re.compile(r"(?:standard_)?(?P<kind>n[cdv]\d{1,3}\w{2,20})"),
    re.compile(r"(?P<kind>[bv]m\.gpu\d?(?:\.[\w-]{2,9})?)\.\d{1,2}"),
    re.compile(r"[dh]gx[- ]?(?P<kind>[hb]\d00)"),
)


def accelerator_of(text: str) -> str | None:
    """The accelerator of a machine that is typed so; None where it is no machine that is known."""
    asked = text.strip().lower()
    found = next((match for pattern in _PATTERNS if (match := pattern.fullmatch(asked))), None)
    return None if found is None else MACHINES.get(found["kind"])
