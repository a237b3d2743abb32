"""Whether a model's feed-forward blocks have a projection that gates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.mechanisms import GQA, MHA, MQA

if TYPE_CHECKING:
    from kvcalc.model.model import Model

UNGATED = frozenset(
    {
        "arcee",
        "bloom",
        "codeshell",
        "falcon",
        "gpt2",
        "gpt_bigcode",
        "gpt_neox",
        "gptj",
        "jais2",
        "mpt",
        "nemotron",
        "nemotron_h",
        "opt",
        "phi",
        "phi-msft",
        "rwkv5",
        "rwkv6",
        "rwkv7",
        "starcoder2",
    }
)
"""Feed-forward blocks with one projection up and none that gates it."""


def is_gated(model: Model) -> bool:
    """Whether feed-forward blocks have a projection that gates: three matrices, not two.

    Of a dense model with one kind of heads, by which of the two its parameters add up to; else by its class.
    """
    hidden, width, vocab = model.hidden_size, model.intermediate_size, model.vocab_size
    kinds = {layer.attention for layer in model.distinct()}
    heads = next(iter(kinds)) if len(kinds) == 1 else None
    told = model.parameters and not (model.is_mixture_of_experts or model.has_towers or model.weights)
    if not (told and hidden and width and vocab and isinstance(heads, MHA | MQA | GQA)):
        return model.model_type not in UNGATED
    tables = vocab * hidden * (1 if model.tie_word_embeddings else 2)
    attention = 2 * (heads.num_heads + heads.cached()[0].num_heads) * heads.head_dim * hidden
    beside = (model.parameters or 0) - tables - model.num_layers * attention
    block = model.num_layers * hidden * width
    if not block < beside < 4 * block:
        return model.model_type not in UNGATED  # parameters of something else
    return abs(beside - 3 * block) < abs(beside - 2 * block)
