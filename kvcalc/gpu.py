"""An accelerator, with its memory as software sees it."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction
from functools import cached_property
from typing import Annotated, ClassVar, Literal

from kvcalc.errors import KvcalcError
from kvcalc.fields import CHECKED, Limits, Name, Rate, Size, Text
from kvcalc.noun import Noun, noun
from kvcalc.units import MIB

DEFAULT_GPUS_PER_NODE = 8
"""Where the node's size is not known: the size of an HGX or OAM board."""

CUDA_CONTEXT_BYTES = 550 * MIB
"""One process on one NVIDIA GPU: 512 to 614 MiB as total minus free at start-up in vLLM logs of H100 (543), H200 (614)
and RTX 5090 class cards (512); 426 on an RTX 6000 Ada (unslothai/unsloth-zoo#1053)."""
NEARLY = Fraction(9, 10)
"""A share of an accelerator's memory that may be given instead: it is still that card, and others use some of it."""

Count = Annotated[int, Limits(ge=1, le=10**6)]


@noun(kw_only=True)
class Gpu(Noun):
    """One accelerator.

    Attributes:
        device_names: what its driver calls it, as `torch.cuda.get_device_name` says.
        multiprocessors: streaming multiprocessors of a device, as `torch.cuda.get_device_properties` counts them.
        label_gb: the size in the product's name; a label, never computed with.
        memory_bytes: total memory; None where no figure is known, so that the user must give one.
        memory_from: who reports it: `runtime` (torch or cudaMemGetInfo, the least seen), or `nvidia-smi`, which
            overstates by what the driver keeps; `vendor` where only what it is sold as is known; `unified` for the
            share that a GPU may use of the processor's memory; `user` for `--gpu-memory`.
        sizes_gb: those that it is sold with, the smallest first, where they are several.
        nvidia_smi_bytes: what nvidia-smi tells, where the runtime tells less and an engine's defaults look at it.
        devices: as which software sees it; with more than one, each has its share of every figure here.
        one_of: devices of the whole, where this is one of them.
        slice_of: the card, where this is a slice of one (a MIG instance, a partition).
        slices: that the card has of this kind at most.
        memory_bandwidth_gb_per_s: in units of 10^9 bytes.
        host_link_gb_per_s: one direction, as is interconnect_gb_per_s.
    """

    __pydantic_config__: ClassVar = CHECKED

    name: Name
    title: Text | None = None
    aliases: tuple[Text, ...] = ()
    device_names: tuple[Text, ...] = ()
    vendor: Text | None = None
    architecture: Text | None = None
    multiprocessors: Count | None = None
    label_gb: Count | None = None
    memory_bytes: Size | None = None
    sizes_gb: tuple[Count, ...] = ()
    memory_from: Literal["runtime", "nvidia-smi", "vendor", "unified", "user"] | None = None
    nvidia_smi_bytes: Size | None = None
    devices: Count = 1
    one_of: Count = 1
    slice_of: Name | None = None
    slices: Count | None = None
    memory_bandwidth_gb_per_s: Rate | None = None
    bf16_dense_tflops: Rate | None = None
    fp8_dense_tflops: Rate | None = None
    host_link: Text | None = None
    host_link_gb_per_s: Rate | None = None
    interconnect: Text | None = None
    interconnect_gb_per_s: Rate | None = None
    gpus_per_node: Count | None = None
    source: Text | None = None
    notes: Text | None = None

    def __repr__(self) -> str:
        """One line."""
        about = self.title or self.vendor
        return f"<{type(self).__name__} {self.name}{f': {about}' if about else ''}>"

    def __post_init__(self) -> None:
        if (self.memory_bytes is None) != (self.memory_from is None):
            raise ValueError("memory_bytes and memory_from come together")

    @cached_property
    def compute_capability(self) -> tuple[int, int] | None:
        """Of an NVIDIA GPU: (9, 0) of 'Hopper sm90'; None where the architecture does not say."""
        found = re.search(r"\bsm(\d+)(\d)\b", self.architecture or "")
        return None if found is None else (int(found[1]), int(found[2]))

    @property
    def is_measured(self) -> bool:
        """Whether software has told its memory."""
        return self.memory_from in {"runtime", "nvidia-smi"}

    @property
    def node_size(self) -> int:
        """GPUs that tensor parallelism may span: slices share no model."""
        return 1 if self.slice_of is not None else self.number_in_a_node

    @property
    def number_in_a_node(self) -> int:
        """How many are in one machine."""
        return self.gpus_per_node or DEFAULT_GPUS_PER_NODE

    @property
    def number_together(self) -> int | None:
        """How many make up one deployment; None of one that any number is taken of."""
        return None

    @property
    def each_card(self) -> tuple[Gpu, ...]:
        """The accelerators that this names: itself, unless it names several together."""
        return (self,)

    def of_stage(self, stage: int) -> Gpu:  # noqa: ARG002  # where cards are unlike
        """The accelerator of a pipeline stage."""
        return self

    def with_memory(self, memory_bytes: int) -> Gpu:
        """The same with so much memory: one of its devices, where that is no more than one has."""
        given = replace(self, memory_bytes=memory_bytes, memory_from="user")
        if not self.memory_bytes or not NEARLY * self.memory_bytes <= memory_bytes <= self.memory_bytes:
            given = replace(given, nvidia_smi_bytes=None)
        if self.devices == 1 or self.label_gb is None or memory_bytes * self.devices > self.label_gb * 2**30:
            return given
        return replace(
            given,
            devices=1,
            one_of=self.devices,
            gpus_per_node=self.node_size * self.devices,
            memory_bandwidth_gb_per_s=_share(self.memory_bandwidth_gb_per_s, self.devices),
            bf16_dense_tflops=_share(self.bf16_dense_tflops, self.devices),
            fp8_dense_tflops=_share(self.fp8_dense_tflops, self.devices),
            host_link_gb_per_s=_share(self.host_link_gb_per_s, self.devices),
            interconnect_gb_per_s=_share(self.interconnect_gb_per_s, self.devices),
        )

    def check_shared(self, ranks: int, what: str) -> None:
        """A slice of a card serves a model alone.

        CUDA gives a process one MIG instance at most, and MIG instances no peer-to-peer memory (NVIDIA MIG User Guide,
        "CUDA Device Enumeration" and "Application Considerations"; NVIDIA/nccl#1716). Of AMD's partitions no engine is
        known to be tried so.

        Args:
            ranks: of one replica, and those that it shares experts with.
            what: the option, for the message.

        Raises:
            KvcalcError: several ranks would share a model.
        """
        if self.slice_of is not None and ranks > 1:
            why = (
                "a process sees one MIG instance, and none reaches another's memory"
                if self.vendor == "NVIDIA"
                else "no engine is known to"
            )
            raise KvcalcError(
                f"{what}: {self.name} is a slice of a card, and slices share no model: {why}; each serves replicas of "
                f"its own (--dp N), or take the whole card (--gpu {self.slice_of})"
            )

    def operations_per_second(self, element_format: str) -> Fraction | None:
        """The most dense floating-point operations a second on elements of a format; None where no figure is known."""
        return self._rates.get(element_format)

    @cached_property
    def _rates(self) -> dict[str, Fraction]:
        rates = {"fp32": self.bf16_dense_tflops, "bf16": self.bf16_dense_tflops, "fp16": self.bf16_dense_tflops}
        rates |= dict.fromkeys(("fp8", "fp8_e5m2"), self.fp8_dense_tflops)
        return {name: Fraction(str(tera)) * 10**12 for name, tera in rates.items() if tera is not None}

    @cached_property
    def bandwidth(self) -> Fraction | None:
        """Of its memory, in bytes a second."""
        return _bytes_per_second(self.memory_bandwidth_gb_per_s)

    @cached_property
    def host_link_bandwidth(self) -> Fraction | None:
        """From host memory, in bytes a second."""
        return _bytes_per_second(self.host_link_gb_per_s)


TOGETHER = "+"
"""Between the names of cards that make up one deployment; a comma is between alternatives."""
MOST_TOGETHER = 16
"""Cards of one deployment: GGML_CUDA_MAX_DEVICES (ggml/include/ggml-cuda.h)."""


@noun(kw_only=True)
class UnlikeCards(Gpu):
    """The accelerators of one deployment, which need not be alike.

    Its own memory is that of the largest, which nothing on one of them is above.

    Attributes:
        cards: in the order of the stages.
    """

    cards: tuple[Gpu, ...] = ()

    @classmethod
    def of(cls, cards: tuple[Gpu, ...]) -> UnlikeCards:
        """Of so many cards.

        Raises:
            KvcalcError: they are too many, or of one no memory is known.
        """
        if len(cards) > MOST_TOGETHER:
            raise KvcalcError(f"--gpu: {len(cards):,} cards together are more than {MOST_TOGETHER}")
        for card in cards:
            card.check_shared(2, "--gpu")
        unknown = [card.name for card in cards if card.memory_bytes is None]
        if unknown:
            raise KvcalcError(
                f"--gpu: no measured memory is known for '{unknown[0]}', so it cannot stand beside others"
            )
        largest = max(cards, key=lambda card: card.memory_bytes or 0)
        return cls(
            name=TOGETHER.join(card.name for card in cards),
            vendor=largest.vendor,
            architecture=largest.architecture,
            memory_bytes=largest.memory_bytes,
            memory_from=largest.memory_from,
            gpus_per_node=len(cards),
            cards=cards,
        )

    @property
    def number_together(self) -> int | None:
        return len(self.cards)

    @property
    def each_card(self) -> tuple[Gpu, ...]:
        return self.cards

    def of_stage(self, stage: int) -> Gpu:
        return self.cards[stage]

    def with_memory(self, memory_bytes: int) -> Gpu:
        number = len(self.cards)
        raise KvcalcError(f"--gpu-memory: {memory_bytes:,} bytes are of one accelerator, and --gpu names {number}")


def _share(rate: float | None, devices: int) -> float | None:
    return None if rate is None else rate / devices


def _bytes_per_second(giga: float | None) -> Fraction | None:
    return None if giga is None else Fraction(str(giga)) * 10**9
