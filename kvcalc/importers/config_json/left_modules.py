"""Modules of single layers that a quantiser was told to leave as they were: their names, and how much they hold.

So do Unsloth's dynamic files (llm_int8_skip_modules: model.layers.3.mlp) and ModelOpt's (exclude_modules:
model.layers.0.self_attn*). Names are of Llama's modules; they are counted where these are all that the layers have.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.mechanisms import GQA, MHA, MQA
from kvcalc.model.apart import told_apart
from kvcalc.model.model import WeightPart
from kvcalc.model.quantised import plain_format

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kvcalc.mechanisms import Mechanism
    from kvcalc.model.model import Model

_NAME = re.compile(
    r"(?:model\.|language_model\.)*layers\.(\d{1,5}|\*)\.(?:(self_attn)(?:\.([qkvo])_proj)?|(mlp)(?:\.(gate|up|down)_proj)?)\*?"
)
_MATRICES = {"self_attn": ("q", "k", "v", "o"), "mlp": ("gate", "up", "down")}


class LeftModule(NamedTuple):
    """Matrices of a layer.

    Attributes:
        layer: its number; None: of each layer.
        matrices: q, k, v and o of attention; gate, up and down of the feed-forward block.
    """

    layer: int | None
    matrices: tuple[str, ...]


def left_module(name: object) -> LeftModule | None:
    """The module of that name; None where it names something else."""
    found = _NAME.fullmatch(name) if isinstance(name, str) else None
    if found is None:
        return None
    number, attention, of_attention, block, of_block = found.groups()
    one = of_attention or of_block
    matrices = (one,) if one else _MATRICES[attention or block]
    return LeftModule(None if number == "*" else int(number), matrices)


def parts_with(
    model: Model, parts: tuple[WeightPart, ...], stored: str, left: Iterable[LeftModule]
) -> tuple[WeightPart, ...] | None:
    """A checkpoint's parts with those modules in the model's dtype; None where it is not known how much they hold.

    Args:
        model: with its parameters.
        parts: with all matrices of layers in the format.
        stored: the format's name.
        left: the modules.
    """
    wanted = tuple(left)
    if not wanted:
        return parts
    counted = _parameters(model, wanted)
    home = next((part for part in parts if (part.split, part.place, part.format) == ("tp", "layers", stored)), None)
    if counted is None or home is None or counted >= home.parameters:
        return None
    beside = WeightPart(part="matrices left as they were", parameters=counted, format=plain_format(model))
    rest = replace(home, parameters=home.parameters - counted)
    return tuple(each for part in parts for each in ((rest, beside) if part is home else (part,)))


def _parameters(model: Model, left: tuple[LeftModule, ...]) -> int | None:
    """Of the modules, each once; None where layers hold other matrices than these."""
    hidden, width, apart = model.hidden_size, model.intermediate_size, told_apart(model)
    layers = [_matrices(caches[0].attention, hidden or 0, width or 0) for caches in model.layout.layers]
    whole = sum(sum(each.values()) for each in layers if each is not None)
    if apart is None or model.is_mixture_of_experts or None in layers or whole != apart.matrices:
        return None
    if any(module.layer is not None and module.layer >= len(layers) for module in left):
        return None
    chosen = {
        (number, name)
        for module in left
        for number in (range(len(layers)) if module.layer is None else (module.layer,))
        for name in module.matrices
    }
    return sum((layers[number] or {})[name] for number, name in chosen)


def _matrices(mechanism: Mechanism, hidden: int, width: int) -> Mapping[str, int] | None:
    if not isinstance(mechanism, MHA | MQA | GQA) or mechanism.k_equals_v:
        return None
    keys = mechanism.heads.num_kv_heads or 0
    values = mechanism.head_dim if mechanism.v_head_dim is None else mechanism.v_head_dim
    attention = {
        "q": hidden * mechanism.num_heads * mechanism.head_dim,
        "k": hidden * keys * mechanism.head_dim,
        "v": hidden * keys * values,
        "o": hidden * mechanism.num_heads * values,
    }
    return {**attention, **dict.fromkeys(_MATRICES["mlp"], hidden * width)}
