"""LoRA adapters: for each matrix of a layer that one changes, A (rank x inputs) and B (outputs x rank).

Ranks divide B of what they divide by outputs (q, k, v, gate, up) and A of what they divide by inputs (o, down); the
other of the two is whole on each: vLLM 0.33.0, vllm/lora/layers/column_parallel_linear.py and row_parallel_linear.py,
without fully_sharded_loras. Routed experts have matrices of their own, which ranks have as they have the experts: whole
experts where those are spread, else a part of each (fused_moe.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kvcalc.engines.linear_modules import Module, Outputs, modules_of_layer
from kvcalc.engines.module_names import GATE_UP, QKV
from kvcalc.errors import KvcalcError, nearest_or_all
from kvcalc.formats.by_name import find_format
from kvcalc.term import Factor, Product

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.deployment import Deployment
    from kvcalc.model.model import Model
    from kvcalc.model.stages import Stage

SOURCE = "Hu et al. 2021, https://arxiv.org/abs/2106.09685 section 4.1; ranks as vllm/lora/layers of vLLM 0.33.0"
ENDS = ("embed_tokens", "lm_head")
"""Tables of the vocabulary, which are no part of a layer."""
JOINED = {"qkv_proj": QKV, "gate_up_proj": GATE_UP}
"""What engines join, and name so: packed_modules_mapping of vLLM's classes, sglang/srt/lora/utils.py."""
ROUTED = ("gate", "experts")
"""The router and the routed experts, which adapters change where that is asked for."""


class Lora(NamedTuple):
    """Adapters that are held at the same time.

    Attributes:
        rank: of each.
        slots: how many; None: as many as the engine has where nobody says.
        modules: that they change, by the names of Hugging Face's modules; None: all of attention and feed-forward
            that every token passes.
    """

    rank: int
    slots: int | None = None
    modules: tuple[str, ...] | None = None


def modules_of(model: Model) -> tuple[str, ...]:
    """The names of what adapters may change, tables last.

    Raises:
        KvcalcError: the file lacks the dims, or what its layers have is not known.
    """
    names = (
        each.name.partition(".")[0] for layer in range(model.num_layers) for each in modules_of_layer(model, layer)
    )
    return (*dict.fromkeys(names), *ENDS)


def with_known_modules(lora: Lora, model: Model) -> Lora:
    """The same with the names of the model's class: engines have names for several of Llama's.

    Raises:
        KvcalcError: the model has none of such a name.
    """
    if lora.modules is None:
        modules_of(model)  # refuses what is not known
        return lora
    known = modules_of(model)
    found: list[str] = []
    for name in lora.modules:
        parts = (name,) if name in known else JOINED.get(name, ())
        if not parts or not {*parts} <= {*known}:
            raise KvcalcError(f"--lora-modules: {model.name} has no '{name[:40]}'{nearest_or_all(name, known)}")
        found += parts
    return lora._replace(modules=tuple(dict.fromkeys(found)))


def _wanted(module: Module, lora: Lora) -> bool:
    name = module.name.partition(".")[0]
    return name not in ROUTED + ENDS if lora.modules is None else name in lora.modules


def lora_rows(
    lora: Lora, model: Model, deployment: Deployment, stage: Stage, *, first: bool, last: bool
) -> Iterator[Product]:
    """What one rank of a stage has of adapters, for each module a row."""
    element = find_format(model.dtype or "bf16", "dtype").block_bytes
    found: dict[Module, int] = {}
    for layer in stage.layers:
        for module in modules_of_layer(model, layer):
            found[module] = found.get(module, 0) + 1
    table = first or (last and model.tie_word_embeddings)  # there it is the head's too
    for module, here in zip(_ends(model), (table, last), strict=True):
        if here:
            found[module] = 1
    for module, layers in found.items():
        if _wanted(module, lora):
            matrices, width = module.on_rank(deployment)
            yield Product(
                f"lora, {module.name}",
                (
                    Factor("adapters", lora.slots or 1, "adapter"),
                    Factor("layers", layers, "layer"),
                    *((Factor("experts", matrices, "expert"),) if module.experts else ()),
                    Factor("rank", lora.rank),
                    Factor("inputs_and_outputs", width),
                    Factor("bytes", element, "byte"),
                ),
                SOURCE,
            )


def _ends(model: Model) -> tuple[Module, Module]:
    words, hidden = model.vocab_size or 0, model.hidden_size or 0
    embedding = Module(ENDS[0], words, (Outputs(hidden),), "whole")
    return embedding, Module(ENDS[1], hidden, (Outputs(words),), "whole")
