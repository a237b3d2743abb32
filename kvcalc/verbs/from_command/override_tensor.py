"""What `--override-tensor PATTERN=CPU` moves: routed experts of layers, as `--n-cpu-moe` does, which is a pattern too.

A tensor lies where the first pattern says that is found in its name (src/llama-model-loader.cpp, std::regex_search).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError
from kvcalc.logs.launchers import OPTION

if TYPE_CHECKING:
    from kvcalc.model.model import Model

_MOST = 400
_SLOW = re.compile(r"\)[*+{]|(?:[*+{].*){4}")
"""Repeated groups, or many repetitions, which may take longer than anybody waits."""
_EXPERTS = ("ffn_gate_exps", "ffn_up_exps", "ffn_down_exps")
_OTHERS = (
    *("attn_norm", "attn_q", "attn_k", "attn_v", "attn_qkv", "attn_output", "attn_gate", "ffn_norm", "ffn_gate_inp"),
    *("ffn_gate", "ffn_up", "ffn_down", "ffn_gate_shexp", "ffn_up_shexp", "ffn_down_shexp", "ssm_in", "ssm_out"),
)
_OF_NO_LAYER = ("output.weight", "output_norm.weight")
_FOLLOWED = (
    "kvcalc follows patterns that put all routed experts of a layer on the CPU, as -ncmoe N does of the first N; put "
    "that there, or leave it out and give what it takes as --reserve NAME=SIZE"
)


def experts_on_host(text: str, model: Model, cards: int) -> str:
    """The first layers whose experts lie on the host, as `n-cpu-moe` counts them.

    Args:
        text: patterns with where they put a tensor, as in the line.
        model: whose tensors they name.
        cards: which hold its layers; on one it is the same which layers those are.

    Raises:
        KvcalcError: the patterns move other tensors, elsewhere, or not all experts of a layer.
    """
    patterns = [_pattern(each) for each in text[:_MOST].split(",")]
    if len(text) > _MOST:
        raise _refusal(text)

    def moved(name: str) -> bool:
        return any(pattern.search(name) for pattern in patterns)

    layers = range(model.num_layers)
    others = [*_OF_NO_LAYER, *(f"blk.{layer}.{name}.weight" for layer in layers for name in _OTHERS)]
    first = model.first_with_experts if model.is_mixture_of_experts else model.num_layers
    of_layers = [[moved(f"blk.{layer}.{name}.weight") for name in _EXPERTS] for layer in layers[first:]]
    if any(map(moved, others)) or any(any(each) and not all(each) for each in of_layers):
        raise _refusal(text)
    on_host = [all(each) for each in of_layers]
    if cards > 1 and on_host != sorted(on_host, reverse=True):
        raise _refusal(text)
    return str(first + sum(on_host) if any(on_host) else 0)


def _pattern(text: str) -> re.Pattern[str]:
    pattern, _, place = text.rpartition("=")
    if place.strip().upper() != "CPU" or _SLOW.search(pattern):
        raise _refusal(text)
    try:
        return re.compile(pattern)
    except re.error:
        raise _refusal(text) from None


def _refusal(text: str) -> KvcalcError:
    return KvcalcError(f"{OPTION}: -ot {text[:40]}: {_FOLLOWED}")
