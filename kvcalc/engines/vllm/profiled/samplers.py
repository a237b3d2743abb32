"""What a sampler of vLLM holds of each logit at its peak, by version and card: the profiling run meets it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from kvcalc.engines.vllm.settings import Settings
    from kvcalc.gpu import Gpu

TRITON_FROM = (0, 17)
"""vllm/v1/sample/ops/topk_topp_triton.py is not in 0.15, and is in 0.17."""
FLASHINFER_FROM = (0, 22)
"""VLLM_USE_FLASHINFER_SAMPLER of vllm/envs.py: None, which is off, up to 0.20.2, and True in 0.22."""
LEAST_ROWS_OF_TRITON = 8
TRITON_OF_ANY_ROWS = (0, 31)
"""apply_top_k_top_p sorts fewer than 8 rows up to 0.29."""

SORTED_SEGMENTS = 128
"""Rows from which CUDA's sort keeps less (aten/src/ATen/native/cuda/Sort.cu, launch_stable_sort_kernel)."""


class Sampler(NamedTuple):
    """What is held of a logit.

    Attributes:
        name: whose it is.
        bytes: of a logit: the logits themselves and every copy.
        words: of what these consist.
        source: where that is done.
        buffer: whether programs of the Triton kernel have a row of the vocabulary each, kept from then on.
    """

    name: str
    bytes: int
    words: str
    source: str
    buffer: bool = False


def sampler_of(settings: Settings, gpu: Gpu, element: int) -> Sampler:
    """The sampler of the profiling run.

    Args:
        settings: what the server runs with.
        gpu: the card.
        element: bytes of the model's dtype, which logits come in.
    """
    if settings.runner == "v2":
        return _of_runner_v2(settings, gpu, element)
    version, rows = settings.version, settings.sampled_rows
    source = "vllm/v1/sample/sampler.py and ops/topk_topp_sampler.py"
    if settings.runner == "v1":
        if _flashinfer_samples(settings, gpu):
            words = "logits, fp32, top k, softmax"
            return Sampler("FlashInfer", element + 12, words, source)
        if version >= TRITON_FROM and (rows >= LEAST_ROWS_OF_TRITON or version >= TRITON_OF_ANY_ROWS):
            return Sampler("Triton", element + 12, "logits, fp32, softmax, noise", source, buffer=True)
    return sorting(element, rows)


def sorting(element: int, rows: int) -> Sampler:
    """Logits, fp32 logits, sorted values (4 bytes) and indices (8), and what CUDA's sort works with.

    For one row, and for 128 and more: indices (8) and a second buffer of keys and values (12). Else the segment and
    index of each (8), twice, keys (4) and a second buffer (12). Measured with torch 2.11 on an H200: 38.0 bytes a logit
    for 1, 128, 129, 256 and 1,024 rows, 50.2 to 50.7 for 2 to 127, with 32,000 to 202,048 logits a row in bf16.
    """
    several = 1 < rows < SORTED_SEGMENTS
    working = "segments twice, keys, buffer" if several else "indices, buffer"
    return Sampler(
        "sorted",
        element + (48 if several else 36),
        f"logits, fp32, sorted values and indices, {working}",
        "vllm/v1/sample/ops/topk_topp_sampler.py, apply_top_k_top_p; PyTorch, aten/src/ATen/native/cuda/Sort.cu",
    )


def _of_runner_v2(settings: Settings, gpu: Gpu, element: int) -> Sampler:
    """The dummy run asks for no top k or top p, but from 0.33, which runs it once more with all that there is."""
    source = "vllm/v1/worker/gpu/model_runner.py, _dummy_sampler_run, and sample/sampler.py"
    if settings.version >= (0, 33):
        if _flashinfer_samples(settings, gpu):
            words = "logits, fp32, top k, softmax"
            return Sampler("FlashInfer", element + 12, words, source)
        return Sampler("Triton", element + 4, "logits, fp32", source, buffer=True)
    if settings.version >= (0, 28) or (0, 26) <= settings.version < (0, 27):
        return Sampler("plain", element, "logits", source)
    return Sampler("plain", element + 4, "logits, fp32", source)


def flashinfer_by_default(version: tuple[int, ...]) -> bool:
    """Whether FlashInfer samples where nobody says.

    0.11.0 takes its sampler where it is installed, as in vLLM's own image, which a log says; the wheel asks for it as
    an extra only (flashinfer-python of its metadata), and three logs of 0.11.0 say that it is not there.
    """
    return version >= FLASHINFER_FROM


def _flashinfer_samples(settings: Settings, gpu: Gpu) -> bool:
    version, asked = settings.version, settings.use_flashinfer_sampler
    taken = flashinfer_by_default(version) if asked is None else asked
    return taken and (version < FLASHINFER_FROM or _flashinfer_serves(version, gpu))


def _flashinfer_serves(version: tuple[int, ...], gpu: Gpu) -> bool:
    """flashinfer_sampler_supported, and FlashInferBackend of v1/attention/backends/flashinfer.py."""
    found, least = gpu.compute_capability, (8, 0) if version >= (0, 25) else (7, 5)
    return found is not None and least <= found <= (12, 1)
