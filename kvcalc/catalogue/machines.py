"""Machines that clouds rent out or NVIDIA sells, which people type for their GPUs: the accelerators of each kind."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import NamedTuple

_AWS = {
    "g4ad": "radeon-pro-v520",
    "g4dn": "t4",
    "g5": "a10g",
    "g5g": "t4g",
    "g6": "l4",
    "g6e": "l40s",
    "g7e": "rtxpro6000-bw",
    "gr6": "l4",
    "p2": "k80",
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
    "dl1": "gaudi1",
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
    "ct4p-hightpu": "tpu-v4",
    "ct5lp-hightpu": "tpu-v5e",
    "ct5p-hightpu": "tpu-v5p",
    "ct6e-standard": "tpu-v6e",
    "tpu7x-standard": "tpu-v7x",
}
"""https://cloud.google.com/compute/docs/gpus and https://cloud.google.com/tpu/docs: series-kind-size."""
_TPU_CHIPS = {"v5litepod": "tpu-v5e", "v5e": "tpu-v5e", "v6e": "tpu-v6e"}
_TPU_CORES = {"v3": "tpu-v3", "v4": "tpu-v4", "v5p": "tpu-v5p"}
"""Accelerator types of Cloud TPU: the number after them is of chips, or of TensorCores, of which a chip has two."""
_AZURE = {
    "nd40rs_v2": "v100-32",
    "nd96": "a100-40-sxm a100-80-sxm h100-sxm h200-sxm mi300x",
    "nd96asr_v4": "a100-40-sxm",
    "nd96amsr_a100_v4": "a100-80-sxm",
    "nd96isr_h100_v5": "h100-sxm",
    "nd96isr_h200_v5": "h200-sxm",
    "nd96isr_mi300x_v5": "mi300x",
    "nd_a100_v4": "a100-40-sxm",
    "ndm_a100_v4": "a100-80-sxm",
    "nd_h100_v5": "h100-sxm",
    "nd_h200_v5": "h200-sxm",
    "nd_mi300x_v5": "mi300x",
    "nc_a100_v4": "a100-80-pcie",
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
_HUGGING_FACE = {
    "t4-small": "t4",
    "t4-medium": "t4",
    "l4x1": "l4",
    "l40sx1": "l40s",
    "a10g-small": "a10g",
    "a10g-large": "a10g",
    "a10g-largex2": "a10g",
    "a10g-largex4": "a10g",
    "a100-large": "a100-80-sxm",
}
"""https://huggingface.co/docs/hub/spaces-gpus: hardware of Spaces and Jobs."""
_NVIDIA = {
    "1": "v100-16 v100-32",
    "2": "v100-32",
    "a100": "a100-40-sxm a100-80-sxm",
    "h100": "h100-sxm",
    "h200": "h200-sxm",
    "b200": "b200",
    "b300": "b300",
    "station": "v100-32 a100-40-sxm a100-80-sxm gb300",
}
"""https://docs.nvidia.com/dgx-systems: DGX of eight and HGX of four or eight, with 40 or 80 GB in those of A100."""
MACHINES = MappingProxyType(
    {**_AWS, **_GOOGLE, **_AZURE, **_ORACLE, **_HUGGING_FACE, **_NVIDIA, **_TPU_CHIPS, **_TPU_CORES}
)

_TENS = {"12xlarge": 4, "24xlarge": 4, "48xlarge": 8}
_NUMBERS = {
    "g4dn": {"12xlarge": 4, "metal": 8},
    "g5": _TENS,
    "g6": _TENS,
    "g6e": _TENS,
    "g7e": {"12xlarge": 2, "24xlarge": 4, "48xlarge": 8},
    "p3": {"8xlarge": 4, "16xlarge": 8},
    "p3dn": {"24xlarge": 8},
    "p4d": {"24xlarge": 8},
    "p4de": {"24xlarge": 8},
    "p5": {"48xlarge": 8},
    "p5e": {"48xlarge": 8},
    "p5en": {"48xlarge": 8},
    "p6-b200": {"48xlarge": 8},
    "p6-b300": {"48xlarge": 8},
    "trn1": {"32xlarge": 16},
    "trn2": {"48xlarge": 16},
    "inf2": {"24xlarge": 6, "48xlarge": 12},
    "g2-standard": {"24": 2, "48": 4, "96": 8},
}
"""How many a machine of such a size has, where it is not one."""

_PATTERNS = (
    re.compile(
        r"(?:ml\.)?(?P<kind>[a-z]{1,4}\d[a-z]{0,3}(?:-g?b\d{3})?)\.(?P<size>\d{0,3}x?large|metal)(?:-\w{1,12})?"
    ),
    re.compile(r"(?:u-)?(?P<kind>p6e?-g?b\d{3})(?:x\d{2})?"),
    re.compile(r"(?P<kind>(?:[ag]\dx?|ct\d[a-z]{1,2}|tpu7x)-[a-z]{4,9})-(?P<number>\d{1,3})[gt](?:-metal)?"),
    re.compile(r"(?P<kind>[ag]\dx?-[a-z]{4,9})(?:-(?P<size>\d{1,4}))?"),
    re.compile(r"(?:tpu[- ]?)?(?P<kind>v5litepod|v5e|v6e)-(?P<number>\d{1,4})"),
    re.compile(r"(?:tpu[- ]?)?(?P<kind>v[34]|v5p)-(?P<cores>\d{1,4})"),
    re.compile(r"(?:standard_)?(?P<kind>n[cdv]\w?\d{0,3}\w{0,20})"),
    re.compile(r"(?P<kind>[bv]m\.gpu\d?(?:\.[\w-]{2,9})?)\.(?P<number>\d{1,2})"),
    re.compile(r"(?P<kind>(?:t4|a10g|a100)-(?:small|medium|large(?:x[24])?)|l40?s?x1)"),
    re.compile(r"(?:dgx[- ]?(?P<kind>[hba]\d00|station|[12])|hgx[- ]?(?P<board>[hba]\d00))"),
)


class Machine(NamedTuple):
    """The accelerators of a kind of machine.

    Attributes:
        cards: more than one where the name does not say which.
        number: that it has; None where the name does not say.
    """

    cards: tuple[str, ...]
    number: int | None


def machine_of(text: str) -> Machine | None:
    """The machine that is typed so; None of what is none that is known."""
    asked = text.strip().lower()
    for form in dict.fromkeys((asked, asked.replace(" ", "_"))):
        for match in filter(None, (pattern.fullmatch(form) for pattern in _PATTERNS)):
            said = match.groupdict()
            cards = MACHINES.get(said["kind"] or said.get("board") or "")
            if cards is not None:
                return Machine(tuple(cards.split()), _number(said))
    return None


def _number(said: dict[str, str | None]) -> int | None:
    kind, size = said["kind"] or "", said.get("size")
    if said.get("cores"):
        return max(1, int(str(said["cores"])) // 2)
    if said.get("number"):
        return int(str(said["number"]))
    if size is not None and kind in _NUMBERS:
        return _NUMBERS[kind].get(size, 1)
    return None
