"""The card itself: its memory beside the catalogue's figure, what a context takes, and temporary memory at a peak."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import torch

from kvcalc.catalogue import shipped_gpus
from kvcalc.memory.overhead import CUDA_CONTEXT_BYTES
from kvcalc.memory.temporary import temporary
from kvcalc.units import MIB
from kvcalc.verification.result import Measurement
from kvcalc.verification.shapes import compute_dtype
from kvcalc.verification.temporary_memory import OneLayer, one_layer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvcalc.model.model import Model
    from kvcalc.verification.devices import Cuda
    from kvcalc.verification.scope import Case

CHUNK_TOKENS = 8192
"""Tokens that one forward pass takes: what vLLM's API server schedules on cards of 70 GiB and more
(vllm/engine/arg_utils.py, max_num_batched_tokens)."""


def used_by_card() -> dict[str, int]:
    """Bytes in use on each GPU, by its UUID, as nvidia-smi says; nothing where there is no nvidia-smi."""
    command = ["nvidia-smi", "--query-gpu=uuid,memory.used", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)  # noqa: S603  # ours
        pairs = [line.split(",") for line in answer.stdout.splitlines() if line.strip()]
        return {uuid.strip(): int(mebibytes) * MIB for uuid, mebibytes in pairs}
    except (OSError, subprocess.SubprocessError, ValueError):
        return {}


def card_measurements(case: Case, card: Cuda, used_before: Mapping[str, int]) -> Iterator[Measurement]:
    """What the card says of itself, with caches freed."""
    yield _memory(card)
    uuid = f"GPU-{getattr(torch.cuda.get_device_properties(card.torch_device), 'uuid', None)}"
    now = used_by_card().get(uuid)
    if now is not None and uuid in used_before:
        held = torch.cuda.memory_reserved(card.torch_device)
        yield Measurement(
            "cuda context",
            card.name,
            CUDA_CONTEXT_BYTES,
            max(0, now - used_before[uuid] - held),
            "bytes",
            "growth of nvidia-smi's memory.used since before CUDA started, less what torch's allocator holds; "
            "expected is "
            "what estimate leaves for it beside usable memory",
        )
    yield _temporary(case, card)


def _memory(card: Cuda) -> Measurement:
    known = [gpu for gpu in shipped_gpus() if card.name in gpu.device_names]
    gpu = known[0] if known else None
    about = f"the catalogue's {gpu.name}, from {gpu.memory_from}" if gpu else "not in the catalogue by this name"
    expected = gpu.memory_bytes if gpu else None
    if expected is not None:
        about += f"; {abs(card.total_bytes - expected):,} bytes {_more_or_less(card.total_bytes - expected)}"
    return Measurement("card memory", card.name, expected, card.total_bytes, "bytes", about)


def _more_or_less(difference: int) -> str:
    return "more than it says" if difference > 0 else "less than it says" if difference < 0 else "apart"


def _temporary(case: Case, card: Cuda) -> Measurement:
    model = case.scenario.model
    figure = temporary(model, None)
    peak, about = None, "the model's file lacks hidden_size, vocab_size or the width of its feed-forward network"
    layer = one_layer(model, case.deployment.tp)
    if layer is not None:
        try:
            peak, about = _peak(layer, model, card), "the most that torch allocated beside weights in one forward pass"
        except torch.OutOfMemoryError:
            about = "not measured: the GPU has too little memory for it"
    return Measurement(
        "temporary memory",
        f"one layer and the logits, {CHUNK_TOKENS:,} tokens",
        figure.term.bytes,
        peak,
        "bytes",
        f"{about}; estimate counts {figure.low:,} bytes to {figure.high:,} bytes",
    )


@torch.inference_mode()
def _peak(layer: OneLayer, model: Model, card: Cuda) -> int:
    layer = layer.to(compute_dtype(model)).to_empty(device=card.torch_device)
    for weight in layer.parameters():
        weight.data.normal_(0, weight.shape[-1] ** -0.5)
    x_TD = torch.randn(CHUNK_TOKENS, layer.hidden_size, dtype=compute_dtype(model), device=card.torch_device)
    layer(x_TD[:1])  # workspaces of matrix libraries are not activations
    card.synchronize()
    before = torch.cuda.memory_allocated(card.torch_device)
    torch.cuda.reset_peak_memory_stats(card.torch_device)
    layer(x_TD)
    card.synchronize()
    return torch.cuda.max_memory_allocated(card.torch_device) - before + x_TD.numel() * x_TD.element_size()
