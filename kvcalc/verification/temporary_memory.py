"""Temporary memory, measured: the peak of one forward pass through a layer of the model's dims and its output head."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from kvcalc.memory.temporary import temporary
from kvcalc.reference import build
from kvcalc.reference.base import allocated
from kvcalc.reference.mha_mqa_gqa import HeadAttention
from kvcalc.reference.mla import MultiHeadLatentAttention
from kvcalc.verification.result import Measurement
from kvcalc.verification.shapes import compute_dtype

if TYPE_CHECKING:
    from kvcalc.model.model import Model
    from kvcalc.verification.devices import Cuda
    from kvcalc.verification.scope import Scope

CHUNK_TOKENS = 8192
"""Tokens that one forward pass takes: what vLLM's API server schedules on GPUs of 70 GiB and more
(vllm/engine/arg_utils.py, max_num_batched_tokens)."""


def temporary_memory(scope: Scope, gpu: Cuda) -> Measurement:
    """What activations take on a GPU, beside what `estimate` counts for them."""
    model = scope.scenario.model
    figure = temporary(model, None)
    peak, about = None, "the model's file lacks hidden_size, vocab_size or the width of its feed-forward network"
    layer = one_layer(model, scope.deployment.tp)
    if layer is not None:
        try:
            peak, about = _peak(layer, model, gpu), "the most that torch allocated beside weights in one forward pass"
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
def _peak(layer: OneLayer, model: Model, gpu: Cuda) -> int:
    layer = allocated(layer.to(compute_dtype(model)), gpu.torch_device)
    for weight in layer.parameters():
        weight.data.normal_(0, weight.shape[-1] ** -0.5)
    x_TD = torch.randn(CHUNK_TOKENS, layer.hidden_size, dtype=compute_dtype(model), device=gpu.torch_device)
    layer(x_TD[:1])  # workspaces of matrix libraries are not activations
    gpu.synchronize()
    before = torch.cuda.memory_allocated(gpu.torch_device)
    torch.cuda.reset_peak_memory_stats(gpu.torch_device)
    layer(x_TD)
    gpu.synchronize()
    return torch.cuda.max_memory_allocated(gpu.torch_device) - before + x_TD.numel() * x_TD.element_size()


class OneLayer(nn.Module):
    """A decoder layer and the output head on one tensor-parallel rank.

    A mixture of experts is computed as one feed-forward network as wide as a token's active experts together: its
    activations have as many elements. Letters of shapes are in kvcalc/reference/base.py.

    Attributes:
        heads: query heads, KV heads, width of a key, width of a value.
    """

    def __init__(self, hidden_size: int, heads: tuple[int, int, int, int], inner: int, vocabulary: int) -> None:
        super().__init__()
        self.hidden_size, self.heads = hidden_size, heads
        num_heads, num_kv_heads, key, value = heads
        self.norm = nn.RMSNorm(hidden_size)
        self.q = nn.Linear(hidden_size, num_heads * key, bias=False)
        self.k = nn.Linear(hidden_size, num_kv_heads * key, bias=False)
        self.v = nn.Linear(hidden_size, num_kv_heads * value, bias=False)
        self.o = nn.Linear(num_heads * value, hidden_size, bias=False)
        self.gate_up = nn.Linear(hidden_size, 2 * inner, bias=False)
        self.down = nn.Linear(inner, hidden_size, bias=False)
        self.head = nn.Linear(hidden_size, vocabulary, bias=False)

    def forward(self, x_TD: Tensor) -> Tensor:
        """Logits (T, vocabulary) of T tokens of one sequence."""
        num_heads, num_kv_heads, key, value = self.heads
        tokens, normal_TD = x_TD.shape[0], self.norm(x_TD)
        q_1HTK = self.q(normal_TD).view(1, tokens, num_heads, key).transpose(1, 2)
        k_1GTK = self.k(normal_TD).view(1, tokens, num_kv_heads, key).transpose(1, 2)
        v_1GTV = self.v(normal_TD).view(1, tokens, num_kv_heads, value).transpose(1, 2)
        o_1HTV = functional.scaled_dot_product_attention(
            q_1HTK, k_1GTK, v_1GTV, is_causal=True, enable_gqa=num_heads != num_kv_heads
        )
        x_TD = x_TD + self.o(o_1HTV.transpose(1, 2).reshape(tokens, -1))
        gate, up = self.gate_up(self.norm(x_TD)).chunk(2, dim=-1)
        x_TD = x_TD + self.down(functional.silu(gate) * up)
        return self.head(self.norm(x_TD))  # type: ignore[no-any-return]  # torch: Any


def one_layer(model: Model, tp: int) -> OneLayer | None:
    """The first layer with attention, on the meta device; None where the model's file lacks the dims for it."""
    inner = _inner_width(model)
    if model.hidden_size is None or model.vocab_size is None or inner is None:
        return None
    for layer in model.distinct():
        heads = _heads(build(layer.attention, 1, None).shard(0, tp))
        if heads is not None:
            with torch.device("meta"):
                return OneLayer(model.hidden_size, heads, -(-inner // tp), -(-model.vocab_size // tp))
    return None


def _heads(module: nn.Module) -> tuple[int, int, int, int] | None:
    """Query heads, KV heads, width of a key, width of a value, as attention computes with them."""
    match module:
        case HeadAttention():
            return module.num_heads, module.num_kv_heads, module.head_dim, module.v_head_dim
        case MultiHeadLatentAttention():
            return module.num_heads, module.num_heads, module.nope + module.rope, module.v_head_dim
        case _:
            return None


def _inner_width(model: Model) -> int | None:
    if model.is_mixture_of_experts:
        if model.moe_intermediate_size is None or model.num_experts_per_tok is None:
            return None
        return model.moe_intermediate_size * (model.num_experts_per_tok + (model.num_shared_experts or 0))
    return model.intermediate_size
