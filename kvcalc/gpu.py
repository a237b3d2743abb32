"""An accelerator, with its memory as software sees it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from kvcalc.strict import Strict, Text
from kvcalc.units import MAX_SIZE

DEFAULT_GPUS_PER_NODE = 8
"""Where the node's size is not known: the size of an HGX or OAM board."""

Rate = Annotated[float, Field(gt=0, le=10**9, strict=False)]


class Gpu(Strict):
    """One accelerator.

    Attributes:
        label_gb: the size in the product's name; a label, never computed with.
        memory_bytes: total memory; None where no figure is known, so that the user must give one.
        memory_from: who reports it: `runtime` (torch or cudaMemGetInfo, the least seen), or `nvidia-smi`, which
            overstates by what the driver keeps; `user` for `--gpu-memory`.
        memory_bandwidth_gb_per_s: in units of 10^9 bytes.
        host_link_gb_per_s: one direction, as is interconnect_gb_per_s.
    """

    name: Annotated[str, Field(min_length=1, max_length=100)]
    title: Text | None = None
    aliases: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    vendor: Text | None = None
    architecture: Text | None = None
    label_gb: Annotated[int, Field(ge=1, le=10**6)] | None = None
    memory_bytes: Annotated[int, Field(ge=1, le=MAX_SIZE)] | None = None
    memory_from: Literal["runtime", "nvidia-smi", "user"] | None = None
    memory_bandwidth_gb_per_s: Rate | None = None
    bf16_dense_tflops: Rate | None = None
    fp8_dense_tflops: Rate | None = None
    host_link: Text | None = None
    host_link_gb_per_s: Rate | None = None
    interconnect: Text | None = None
    interconnect_gb_per_s: Rate | None = None
    gpus_per_node: Annotated[int, Field(ge=1, le=10**6)] | None = None
    source: Text | None = None
    notes: Text | None = None

    @model_validator(mode="after")
    def _memory_says_where_from(self) -> Self:
        if (self.memory_bytes is None) != (self.memory_from is None):
            raise ValueError("memory_bytes and memory_from come together")
        return self

    @property
    def node_size(self) -> int:
        """GPUs that tensor parallelism may span."""
        return self.gpus_per_node or DEFAULT_GPUS_PER_NODE
