"""Weights that stay in host memory: what the card has of them while it multiplies by them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines.llama_cpp.latent_experts import all_widths, width_of_inputs
from kvcalc.formats.file_types import shown
from kvcalc.formats.weights import find_weight_format, is_of_llama_cpp
from kvcalc.mechanisms import MLA
from kvcalc.model.in_file import EXPERTS_STAY

if TYPE_CHECKING:
    from kvcalc.engines.llama_cpp.layout import LlamaLayout
    from kvcalc.engines.setup import Setup
    from kvcalc.formats.element import ElementFormat
    from kvcalc.model.stages import Stage

LEAST_COPIED_FOR = 32
"""Tokens of a micro-batch from which on matrices are copied (ggml/src/ggml-cuda/ggml-cuda.cu).

With -b 16 a model whose experts are with the host has a compute buffer of 42 MiB (ggml-org/llama.cpp, issue 24175).
"""


_HEAVIEST = {"q2_k": "q3_k", "q3_k_m": "q5_k", "q3_k_l": "q5_k", "q4_k_s": "q5_k", "q4_k_m": "q6_k", "q5_k_m": "q6_k"}
"""What ffn_down is stored in of the first layers, by file type (src/llama-quant.cpp, llama_tensor_get_type)."""


def largest_on_host(layout: LlamaLayout, stage: Stage, tokens: int) -> int:
    """Bytes of the largest matrix of layers that the host keeps: ggml copies it to the first card for a micro-batch.

    The first that can compute it, whichever card the layer is on: ggml/src/ggml-backend.cpp,
    ggml_backend_sched_backend_id_from_cur, with op_offload; micro-batches of 32 tokens and more
    (ggml/src/ggml-cuda/ggml-cuda.cu, ggml_backend_cuda_device_offload_op). In graphs of b11549 with experts of two
    layers of eight on the host 4,712 MiB on the first of four cards, and 93.51 on the next; 1,302 and 202 MiB were
    printed of MiniMax-M2.1 on four RTX 3090 (stored file 43121383699). 0 where nothing stays there, or the model's dims
    are not known.
    """
    setup, placement = layout.setup, layout.placement
    model, hidden = setup.model, setup.model.hidden_size or 0
    found = 0
    if tokens < LEAST_COPIED_FOR or stage.number:
        return found
    if placement.first_layer:
        dense = not model.is_mixture_of_experts or model.first_with_experts > 0
        width = (model.intermediate_size or 0) if dense else 0
        heads = max((_query_width(layer.attention) for layer in model.layout.kinds), default=0)
        found = _bytes(setup, hidden * max(width, heads), "tp")
    if max(placement.first_layer, placement.first_experts) > model.first_with_experts and model.is_mixture_of_experts:
        found = max(found, _bytes(setup, all_widths(model) * width_of_inputs(model, hidden), "ep"))
    return found


def head_on_host(layout: LlamaLayout) -> int:
    """Bytes of the output head where the host keeps it: as the largest matrix, for logits of 32 tokens and more."""
    model = layout.setup.model
    if layout.placement.head or model.vocab_size is None or model.hidden_size is None:
        return 0
    place = "embedding" if model.tie_word_embeddings else "head"
    return _bytes(layout.setup, model.vocab_size * model.hidden_size, "tp", place)


def _query_width(attention: object) -> int:
    if isinstance(attention, MLA):
        return attention.num_heads * (attention.qk_nope_head_dim + attention.qk_rope_head_dim)
    return int(getattr(attention, "num_heads", 0)) * int(getattr(attention, "head_dim", 0))


def _bytes(setup: Setup, parameters: int, split: str, place: str = "layers") -> int:
    """Of a matrix of so many parameters, in the heaviest format of those asked for, or of the file's layers.

    Where all weights are given as a size, their share of it.
    """
    if setup.weights_bytes is not None and setup.model.parameters:
        return -(-setup.weights_bytes * parameters // setup.model.parameters)
    listed = [part for part in setup.model.weights if part.place == place and part.split == split]
    stay = split == "ep" and any(part.format == EXPERTS_STAY for part in listed)
    asked = setup.weight_format
    if listed and (asked is None or (stay and is_of_llama_cpp(asked))):
        most = max(part.parameters for part in listed)
        whole = {part.format for part in listed if part.parameters >= min(parameters, most)}
        return max(_size(find_weight_format(each, "format"), parameters) for each in whole)
    own = setup.model.weight_dtype or setup.model.dtype or "bf16"
    stored = setup.weight_format or find_weight_format(own, "weight_dtype")
    heaviest = _HEAVIEST.get(shown(stored)) if place == "layers" else None
    return _size(stored if heaviest is None else find_weight_format(heaviest, "weight_dtype"), parameters)


def _size(element_format: ElementFormat, parameters: int) -> int:
    size = 1
    for factor in element_format.parameters(parameters):
        size *= factor.value
    return size
