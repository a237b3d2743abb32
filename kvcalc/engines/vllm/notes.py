"""What to know of how vLLM lays out a model: its settings, types of models, and memory that is not counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines.option_values import AUTO
from kvcalc.engines.vllm.cache.turboquant import reserved_bytes
from kvcalc.engines.vllm.model_types import type_notes
from kvcalc.engines.vllm.profiled.budget import budget_notes
from kvcalc.engines.vllm.traits import traits_of
from kvcalc.formats.turboquant import TURBOQUANT
from kvcalc.formats.weights import find_weight_format, is_of_bitsandbytes, is_of_llama_cpp
from kvcalc.mechanisms import Compressed
from kvcalc.note import Note, note, register
from kvcalc.units import format_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.engines.vllm.layout import VllmLayout

BITSANDBYTES_GONE = (0, 28)
"""vllm/model_executor/layers/quantization/bitsandbytes.py: there in 0.19, not in 0.29 (https://github.com/vllm-project/
vllm/pull/43529, in 0.28.0)."""
GGUF_GONE = (0, 24)
"""https://github.com/vllm-project/vllm/pull/39612: the pages of 0.24 are the first that name the plugin, and 0.29's
registry has no gguf."""
DEPRECATED = ("fbgemm_fp8", "fp_quant")
"""vllm/model_executor/layers/quantization/__init__.py, DEPRECATED_QUANTIZATION_METHODS, in 0.19 to 0.33."""
DEPRECATED_SINCE = (0, 19)

register(
    {
        "draft-not-counted": "tokens are drafted by a model that is not counted",
        "compressed-attention-memory": "what compressed attention takes beside its cache is not counted",
        "bitsandbytes-plugin": "vLLM loads weights of bitsandbytes with a plugin alone",
        "gguf-plugin": "vLLM loads weights of llama.cpp's files with a plugin alone",
        "deprecated-quantisation": "vLLM loads weights of that method where it is told to",
        "turboquant-memory": "what TurboQuant's kernels take beside the memory that is measured is not counted",
    }
)


def notes(layout: VllmLayout) -> Iterator[Note]:
    """What was taken by default, what is unlike the model's file, and what is not counted."""
    yield from layout.settings.notes(layout.setup.gpu)
    yield from budget_notes(layout.setup, layout.settings, layout.stages[-1])
    yield from type_notes(
        layout.setup.model, layout.settings.version, traits_of(layout.setup.model, layout.setup.weight_format)
    )
    if any(isinstance(layer.attention, Compressed) for layer in layout.setup.model.layout.kinds):
        yield note(
            "compressed-attention-memory",
            "what compressed attention and its indexers take in a step beside the cache is not counted, so the "
            "memory for the cache is less than it says: give --cache-memory as the server prints it",
        )
    yield from _notes_on_weights(layout)
    if layout.cache_format.name in TURBOQUANT:
        yield _turboquant_note(layout)
    drafted = layout.settings.num_speculative_tokens
    if drafted and layout.setup.draft is None and layout.settings.speculative_method == AUTO:
        yield note(
            "draft-not-counted",
            f"num-speculative-tokens {drafted:,}: the model's file has no layers that draft, and what a draft "
            "model keeps and weighs is not counted",
            num_speculative_tokens=drafted,
        )


def _notes_on_weights(layout: VllmLayout) -> Iterator[Note]:
    """What their format or method needs beside vLLM as it is installed."""
    version, asked, model = layout.settings.version, layout.setup.weight_format, layout.setup.model
    names = [part.format for part in model.weights] if asked is None else [asked.name]
    method = model.quant_method if asked is None else None
    if version >= BITSANDBYTES_GONE and (method == "bitsandbytes" or any(map(is_of_bitsandbytes, names))):
        yield note(
            "bitsandbytes-plugin",
            "weights of bitsandbytes: vllm since 0.28 loads them with vllm-bnb-plugin alone "
            "(https://github.com/vllm-project/vllm/pull/43529)",
        )
    if version >= GGUF_GONE and any(is_of_llama_cpp(find_weight_format(each, "format")) for each in names):
        yield note(
            "gguf-plugin",
            "weights of llama.cpp's files: vllm since 0.24 loads them with vllm-gguf-plugin alone "
            "(https://github.com/vllm-project/vllm/pull/39612)",
        )
    if version >= DEPRECATED_SINCE and method in DEPRECATED:
        yield note(
            "deprecated-quantisation",
            f"weights of {method}: vllm loads them with --allow-deprecated-quantization alone (vllm/config/model.py)",
            method=method,
        )


def _turboquant_note(layout: VllmLayout) -> Note:
    """vllm/v1/worker/gpu_worker.py, determine_available_memory: the profiled step runs no attention."""
    reserved = reserved_bytes(layout.setup, layout.settings, layout.block_tokens)
    if reserved is None:
        return note(
            "turboquant-memory",
            "TurboQuant's kernels take memory as they first run, after that for the cache is measured, which is "
            "not counted: leave some free by a smaller --utilization",
        )
    return note(
        "turboquant-memory",
        f"TurboQuant's kernels reserve {format_size(reserved, 'MiB')} MiB on each GPU once the memory for the "
        "cache is measured (vllm/v1/attention/backends/turboquant_attn.py, _reserve_workspace), which is not "
        "counted: --utilization must leave as much free",
        reserved_bytes=reserved,
    )
