"""The linear modules of a model's layers: inputs, outputs, and what ranks divide."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from kvcalc.deployment import heads_on_rank
from kvcalc.engines.gated import is_gated
from kvcalc.engines.module_names import SHARED, names_of
from kvcalc.errors import KvcalcError
from kvcalc.mechanisms import GQA, MHA, MLA, MQA, Cross, NoAttention, Shared
from kvcalc.named_tuple import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.deployment import Deployment
    from kvcalc.mechanisms import Mechanism
    from kvcalc.model.model import Model

ASIDE = "--reserve lora=SIZE sets memory aside"
_QUERIES_AND_GATES = frozenset(
    f"{family}{text}" for family in ("qwen3_next", "qwen3_5", "qwen3_5_moe", "qwen4_exp") for text in ("", "_text")
)
"""By model_type: q_proj makes a gate beside each query, as wide (transformers, modeling_qwen3_next.py,
Qwen3NextAttention, and those of Qwen3.5 and Qwen4)."""

Divided = Literal["outputs", "inputs", "whole"]


class Outputs(NamedTuple):
    """A part of what a matrix makes.

    Attributes:
        width: of all of it.
        heads: that it is of, where they are fewer than ranks may be.
    """

    width: int
    heads: int | None = None

    def on_rank(self, tp: int) -> int:
        return -(-self.width // tp) if self.heads is None else self.width // self.heads * heads_on_rank(self.heads, tp)


class Module(NamedTuple):
    """A matrix of a layer.

    Attributes:
        outputs: one after another: of queries, keys and values where they are one matrix.
        divided: by what ranks divide it; whole is on each of them.
        experts: that have one each, in a routed layer.
    """

    name: str
    inputs: int
    outputs: tuple[Outputs, ...]
    divided: Divided
    experts: int | None = None

    def on_rank(self, deployment: Deployment) -> tuple[int, int]:
        """How many matrices are on a rank, and inputs of A and outputs of B of each."""
        if self.experts is None:
            return 1, self._width(deployment.tp)
        return -(-self.experts // deployment.ep), self._width(deployment.expert_ranks // deployment.ep)

    def _width(self, tp: int) -> int:
        if self.divided == "outputs":
            return self.inputs + sum(each.on_rank(tp) for each in self.outputs)
        made = sum(each.width for each in self.outputs)
        return made + (-(-self.inputs // tp) if self.divided == "inputs" else self.inputs)


def _module(
    name: str, inputs: int, outputs: int, divided: Divided, heads: int | None = None, experts: int | None = None
) -> Module:
    return Module(name, inputs, (Outputs(outputs, heads),), divided, experts)


def modules_of_layer(model: Model, number: int) -> Iterator[Module]:
    """Of one layer, as its class names them.

    Raises:
        KvcalcError: the file lacks the dims, or what its layers have is not known.
    """
    names = names_of(model)
    if names is None:
        raise KvcalcError(
            f"--lora: kvcalc does not know which linear modules the layers of {model.name} have in the class of "
            f"'{model.model_type}'; {ASIDE}"
        )
    found: dict[str, Module] = {}
    for each in _of_layer(model, number):
        routed, _, name = each.name.rpartition(".")
        own = each.name if routed else names.of(name)
        before = found.pop(own, None)
        if before is None:
            found[own] = each._replace(name=own)
        elif own in names.own and before.inputs == each.inputs and before.divided == each.divided != "inputs":
            found[own] = before._replace(outputs=(*before.outputs, *each.outputs))
        else:  # two matrices of one name, as GPT-2's c_proj
            yield before
            found[own] = each._replace(name=own)
    yield from found.values()


def _of_layer(model: Model, number: int) -> Iterator[Module]:
    hidden = model.hidden_size
    if hidden is None:
        raise KvcalcError(f"--lora: the file of {model.name} has no hidden_size; {ASIDE}")
    caches = model.layout.layers[number]
    for cache in caches:
        yield from _of_attention(cache.attention, hidden, 2 if model.model_type in _QUERIES_AND_GATES else 1)
    _refuse_unknown(model)
    if any(isinstance(layer.attention, NoAttention) for layer in model.layout.kinds):
        raise KvcalcError(
            f"--lora: the file of {model.name} does not tell which layers have feed-forward blocks; {ASIDE}"
        )
    dense = not model.is_mixture_of_experts or number < model.first_with_experts
    width = model.intermediate_size if dense else (model.num_shared_experts or 0) * (model.moe_intermediate_size or 0)
    if width is None:
        raise KvcalcError(f"--lora: the file of {model.name} has no intermediate_size; {ASIDE}")
    if width:
        yield from _feed_forward(model, hidden, width)
    if not dense and model.num_experts and model.moe_intermediate_size:
        yield _module("gate", hidden, model.num_experts, "whole")
        for each in _feed_forward(model, hidden, model.moe_intermediate_size):
            yield each._replace(name=f"experts.{each.name}", experts=model.num_experts)


def _refuse_unknown(model: Model) -> None:
    """Refuses layers whose queries, or whose shared experts, are not told."""
    if any(isinstance(layer.attention, Shared | Cross) for layer in model.layout.kinds):
        raise KvcalcError(
            f"--lora: {model.name} has layers that attend to what they do not keep, whose matrices its file does not "
            f"tell; {ASIDE}"
        )
    if model.is_mixture_of_experts and model.model_type in SHARED and model.num_shared_experts is None:
        raise KvcalcError(
            f"--lora: the file of {model.name} does not tell how wide its shared expert is (num_shared_experts x "
            f"moe_intermediate_size); {ASIDE}"
        )


def _feed_forward(model: Model, hidden: int, width: int) -> Iterator[Module]:
    if is_gated(model):
        yield _module("gate_proj", hidden, width, "outputs")
    yield _module("up_proj", hidden, width, "outputs")
    yield _module("down_proj", width, hidden, "inputs")


def _of_attention(attention: Mechanism, hidden: int, queries: int) -> Iterator[Module]:
    match attention:
        case MLA():
            key, heads = attention.qk_nope_head_dim + attention.qk_rope_head_dim, attention.num_heads
            if attention.q_lora_rank is None:
                yield _module("q_proj", hidden, heads * key, "outputs")
            else:
                yield _module("q_a_proj", hidden, attention.q_lora_rank, "whole")
                yield _module("q_b_proj", attention.q_lora_rank, heads * key, "outputs")
            latent = attention.kv_lora_rank
            yield _module("kv_a_proj_with_mqa", hidden, latent + attention.qk_rope_head_dim, "whole")
            up = heads * (attention.qk_nope_head_dim + attention.v_head_dim)
            yield _module("kv_b_proj", latent, up, "outputs")
            yield _module("o_proj", heads * attention.v_head_dim, hidden, "inputs")
        case GQA() | MHA() | MQA():
            of = attention.heads
            keys, wide = of.num_kv_heads or of.num_heads, of.v_head_dim or of.head_dim
            yield _module("q_proj", hidden, queries * of.num_heads * of.head_dim, "outputs")
            yield _module("k_proj", hidden, keys * of.head_dim, "outputs", keys)
            yield _module("v_proj", hidden, keys * wide, "outputs", keys)
            yield _module("o_proj", of.num_heads * wide, hidden, "inputs")
        case _:
            return
