"""LoRA adapters: for each matrix of a layer that one changes, A (rank x inputs) and B (outputs x rank).

Ranks divide B of what they divide by outputs (q, k, v, gate, up) and A of what they divide by inputs (o, down); the
other of the two is whole on each: vLLM 0.33.0, vllm/lora/layers/column_parallel_linear.py and row_parallel_linear.py,
without fully_sharded_loras. Routed experts have matrices of their own, which ranks have as they have the experts: whole
experts where those are spread, else a part of each (fused_moe.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from kvcalc.deployment import heads_on_rank
from kvcalc.engines.gated import is_gated
from kvcalc.errors import KvcalcError, nearest_or_all
from kvcalc.formats.by_name import find_format
from kvcalc.mechanisms import GQA, MHA, MLA, MQA, NoAttention
from kvcalc.term import Factor, Product

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.deployment import Deployment
    from kvcalc.mechanisms import Mechanism
    from kvcalc.model.model import Model
    from kvcalc.model.stages import Stage

SOURCE = "Hu et al. 2021, https://arxiv.org/abs/2106.09685 section 4.1; ranks as vllm/lora/layers of vLLM 0.33.0"
ENDS = ("embed_tokens", "lm_head")
"""Tables of the vocabulary, which are no part of a layer."""
ROUTED = ("gate", "experts")
"""The router and the routed experts, which adapters change where that is asked for."""
_QUERIES_AND_GATES = frozenset(
    f"{family}{text}" for family in ("qwen3_next", "qwen3_5", "qwen3_5_moe", "qwen4_exp") for text in ("", "_text")
)
"""By model_type: q_proj makes a gate beside each query, as wide (transformers, modeling_qwen3_next.py,
Qwen3NextAttention, and those of Qwen3.5 and Qwen4)."""

Divided = Literal["outputs", "inputs", "whole"]


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


class Module(NamedTuple):
    """A matrix of a layer.

    Attributes:
        divided: by what ranks divide it; whole is on each of them.
        heads: that its outputs are of, where they are fewer than ranks may be.
        experts: that have one each, in a routed layer.
    """

    name: str
    inputs: int
    outputs: int
    divided: Divided
    heads: int | None = None
    experts: int | None = None

    def on_rank(self, deployment: Deployment) -> tuple[int, int]:
        """How many matrices are on a rank, and inputs of A and outputs of B of each."""
        if self.experts is None:
            return 1, self._width(deployment.tp)
        return -(-self.experts // deployment.ep), self._width(deployment.expert_ranks // deployment.ep)

    def _width(self, tp: int) -> int:
        if self.divided == "inputs":
            return -(-self.inputs // tp) + self.outputs
        if self.divided == "whole":
            return self.inputs + self.outputs
        if self.heads is not None:
            return self.inputs + self.outputs // self.heads * heads_on_rank(self.heads, tp)
        return self.inputs + -(-self.outputs // tp)


def modules_of(model: Model) -> tuple[str, ...]:
    """The names of what adapters may change, tables last.

    Raises:
        KvcalcError: the file lacks the dims, or what its layers have is not known.
    """
    names = (each.name.partition(".")[0] for layer in range(model.num_layers) for each in _of_layer(model, layer))
    return (*dict.fromkeys(names), *ENDS)


def check_modules(lora: Lora, model: Model) -> None:
    """Refuses names that the model does not have.

    Raises:
        KvcalcError: there is such a name.
    """
    known = modules_of(model)
    for name in lora.modules or ():
        if name not in known:
            raise KvcalcError(f"--lora-modules: {model.name} has no '{name[:40]}'{nearest_or_all(name, known)}")


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
        for module in _of_layer(model, layer):
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
    return Module(ENDS[0], words, hidden, "whole"), Module(ENDS[1], hidden, words, "whole")


def _of_layer(model: Model, number: int) -> Iterator[Module]:
    hidden = model.hidden_size
    if hidden is None:
        raise KvcalcError(f"--lora: the file of {model.name} has no hidden_size; --reserve lora=SIZE sets memory aside")
    caches = model.layout.layers[number]
    for cache in caches:
        yield from _of_attention(cache.attention, hidden, 2 if model.model_type in _QUERIES_AND_GATES else 1)
    if any(isinstance(layer.attention, NoAttention) for layer in model.layout.kinds):
        raise KvcalcError(
            f"--lora: the file of {model.name} does not tell which layers have feed-forward blocks; --reserve "
            "lora=SIZE sets memory aside"
        )
    dense = not model.is_mixture_of_experts or number < model.first_with_experts
    width = model.intermediate_size if dense else (model.num_shared_experts or 0) * (model.moe_intermediate_size or 0)
    if width is None:
        raise KvcalcError(
            f"--lora: the file of {model.name} has no intermediate_size; --reserve lora=SIZE sets memory aside"
        )
    if width:
        yield from _feed_forward(model, hidden, width)
    if not dense and model.num_experts and model.moe_intermediate_size:
        yield Module("gate", hidden, model.num_experts, "whole")
        for each in _feed_forward(model, hidden, model.moe_intermediate_size):
            yield each._replace(name=f"experts.{each.name}", experts=model.num_experts)


def _feed_forward(model: Model, hidden: int, width: int) -> Iterator[Module]:
    if is_gated(model):
        yield Module("gate_proj", hidden, width, "outputs")
    yield Module("up_proj", hidden, width, "outputs")
    yield Module("down_proj", width, hidden, "inputs")


def _of_attention(attention: Mechanism, hidden: int, queries: int) -> Iterator[Module]:
    match attention:
        case MLA():
            key, heads = attention.qk_nope_head_dim + attention.qk_rope_head_dim, attention.num_heads
            if attention.q_lora_rank is None:
                yield Module("q_proj", hidden, heads * key, "outputs")
            else:
                yield Module("q_a_proj", hidden, attention.q_lora_rank, "whole")
                yield Module("q_b_proj", attention.q_lora_rank, heads * key, "outputs")
            latent = attention.kv_lora_rank
            yield Module("kv_a_proj_with_mqa", hidden, latent + attention.qk_rope_head_dim, "whole")
            up = heads * (attention.qk_nope_head_dim + attention.v_head_dim)
            yield Module("kv_b_proj", latent, up, "outputs")
            yield Module("o_proj", heads * attention.v_head_dim, hidden, "inputs")
        case GQA() | MHA() | MQA():
            of = attention.heads
            keys, wide = of.num_kv_heads or of.num_heads, of.v_head_dim or of.head_dim
            yield Module("q_proj", hidden, queries * of.num_heads * of.head_dim, "outputs")
            yield Module("k_proj", hidden, keys * of.head_dim, "outputs", keys)
            yield Module("v_proj", hidden, keys * wide, "outputs", keys)
            yield Module("o_proj", of.num_heads * wide, hidden, "inputs")
        case _:
            return
