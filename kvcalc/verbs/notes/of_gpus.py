"""What to know of accelerators: whose figure their memory is, and what a process takes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.gpu import CUDA_CONTEXT_BYTES
from kvcalc.note import Note, note

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.gpu import Gpu
    from kvcalc.scenario import Scenario


def gpu_notes(*scenarios: Scenario) -> Iterator[Note]:
    """What to know of the memory of these scenarios' accelerators."""
    gpus = {scenario.gpu.name: scenario for scenario in scenarios}
    cards = dict.fromkeys(card for scenario in gpus.values() for card in scenario.gpu.each_card)
    overstated = [card.name for card in cards if card.memory_from == "nvidia-smi"]
    if overstated:
        yield note(
            "gpu-memory-from-nvidia-smi",
            f"memory of {', '.join(overstated)} is nvidia-smi's figure, which overstates by what the driver keeps "
            "(0.4 to 2.9 % on cards where both are known); --gpu-memory SIZE gives your own",
            gpus=tuple(overstated),
        )
    for card in cards:
        yield from _as_sold(card)
    for card in cards:
        yield from _slice_note(card)
    for scenario in gpus.values():
        yield from _devices_note(scenario.gpu)
        yield from _context_note(scenario)


def _as_sold(gpu: Gpu) -> Iterator[Note]:
    """Whose figure its memory is, where no software has told it; and which of its sizes is used."""
    if gpu.memory_from == "vendor":
        seen = "programs see 1 to 7 % less on cards where both are known"
        if gpu.host_link == "unified":  # vLLM's start-up errors in public files
            seen = "the processor has its share of it, and programs on an AGX Thor were told 122.8 of 128 GiB"
        yield note(
            "gpu-memory-as-sold",
            f"memory of {gpu.name} is what it is sold with, {gpu.label_gb} GiB; {seen}; --gpu-memory SIZE gives your "
            "own",
            gpu=gpu.name,
        )
    if gpu.memory_from == "unified":
        what = (
            "Apple's limit of a GPU's working set, as llama.cpp prints it, and newer versions of macOS allow 4 to 20 % "
            "more; --gpu-memory SIZE gives your own (recommendedMaxWorkingSetSize, sysctl iogpu.wired_limit_mb)"
        )
        firmware = (
            "what the processor's firmware gives to the GPU at most; Linux lends more (ttm.pages_limit of its "
            "kernel); --gpu-memory SIZE gives your own"
        )
        what = what if gpu.vendor == "Apple" else firmware
        yield note(
            "gpu-unified-memory",
            f"of {gpu.label_gb} GB that {gpu.name} shares with the processor, the GPU has {gpu.memory_bytes:,} bytes: "
            f"{what}",
            gpu=gpu.name,
            memory_bytes=gpu.memory_bytes,
        )
    if gpu.sizes_gb and gpu.memory_from != "user":
        sizes = ", ".join(f"{gpu.name}-{size}gb" for size in gpu.sizes_gb)
        yield note(
            "gpu-smallest-size",
            f"{gpu.name} is sold with several sizes of memory: the smallest is used, {gpu.label_gb} GB; name one of "
            f"{sizes}",
            gpu=gpu.name,
            label_gb=gpu.label_gb,
        )


def _slice_note(gpu: Gpu) -> Iterator[Note]:
    """That it is a share of a card, and whose share its bandwidth is."""
    if gpu.slice_of is None:
        return
    rate = "no share of the bandwidth is published, so there is no bound of decoding"
    if gpu.memory_bandwidth_gb_per_s is not None:
        rate = f"its bandwidth is at most {gpu.memory_bandwidth_gb_per_s:,g} x 10^9 bytes a second, the share of memory"
    yield note(
        "gpu-slice",
        f"{gpu.name} is a slice of {gpu.slice_of}, which has at most {gpu.slices}; here a GPU is one slice, and slices "
        f"share no model; {rate}",
        gpu=gpu.name,
        slice_of=gpu.slice_of,
        slices=gpu.slices,
    )


def _devices_note(gpu: Gpu) -> Iterator[Note]:
    """That a program sees more of them than there are packages."""
    if gpu.devices > 1:
        yield note(
            "gpu-of-several-devices",
            f"{gpu.name} is {gpu.devices} devices to software, each with 1/{gpu.devices} of its memory, bandwidth and "
            f"rates; here one GPU is all of it, so a program runs {gpu.devices} ranks where kvcalc counts one",
            gpu=gpu.name,
            devices=gpu.devices,
        )
    if gpu.one_of > 1:
        yield note(
            "gpu-is-one-device",
            f"--gpu-memory is no more than one of {gpu.name}'s {gpu.one_of} devices has: one GPU here is one device, "
            f"with 1/{gpu.one_of} of its bandwidth and rates",
            gpu=gpu.name,
            devices=gpu.one_of,
        )


def _context_note(scenario: Scenario) -> Iterator[Note]:
    """Whether a process's own context fits beside what may be used."""
    gpu = scenario.gpu
    left = scenario.memory_bytes - scenario.usable_bytes
    if scenario.engine.utilization is None:  # such an engine leaves a margin of its own
        return
    if gpu.memory_from not in {"user", "unified"} and left < CUDA_CONTEXT_BYTES:
        utilization = float(scenario.utilization)
        yield note(
            "process-context-squeezed",
            f"utilization {utilization:g} leaves {left:,} bytes, less than the {CUDA_CONTEXT_BYTES:,} bytes that a "
            "process's own context takes",
            utilization=utilization,
            left_bytes=left,
            context_bytes=CUDA_CONTEXT_BYTES,
        )
