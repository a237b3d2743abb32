"""Places of a layer, and of the output, that hold most of a compute buffer on some cards or for some applications.

Apart from those of attention and feed-forward blocks, which are in compute.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kvcalc.mechanisms import GQA, MHA, MLA, MQA, RWKV, GatedDeltaNet, Lightning, Mamba1, Mamba2, MLAExpanded, Role

if TYPE_CHECKING:
    from kvcalc.engines.llama_cpp.layout import LlamaLayout
    from kvcalc.engines.load import Load
    from kvcalc.mechanisms import Mechanism
    from kvcalc.model.layers import Layer
    from kvcalc.model.stages import Stage


class Point(NamedTuple):
    """What a layer holds at one place.

    Attributes:
        name: of the place, in the words of formulas.
        floats: numbers of f32 for each token of a micro-batch.
        bytes_beside: for the whole step.
    """

    name: str
    floats: int
    bytes_beside: int = 0


def wanted_logits(layout: LlamaLayout, stage: Stage, tokens: int, hidden: int) -> Point | None:
    """Where logits of more tokens than one of a slot are wanted: they lie beside the last hidden states."""
    wanted, model = layout.settings.n_outputs_max, layout.setup.model
    last = layout.placement.head and stage.layers.stop == model.num_layers
    if wanted is None or model.vocab_size is None or not last:
        return None
    logits = -(-model.vocab_size * min(wanted or tokens, tokens) // tokens)
    kept = layout.rules.logits_hidden
    return Point(f"(vocab_size x outputs / ubatch + {kept} x hidden_size)", logits + kept * hidden)


VULKAN = frozenset({"AMD", "Intel"})
"""Makers of cards that llama.cpp uses by Vulkan too."""


def reordered(attention: Mechanism, load: Load, hidden: int) -> Point:
    """Within a layer of gated delta rules as Vulkan's back end has it, which computes ahead what does not depend.

    ggml/src/ggml-vulkan/ggml-vulkan.cpp, ggml_vk_graph_optimize. Fitted to what b9849 printed of Qwen3.5-9B (392.44
    MiB) and Qwen3.6-27B (568.18 and 568.53) with micro-batches of 2,048: the end of the range.
    """
    if not isinstance(attention, GatedDeltaNet):
        return Point("", 0)
    values = attention.num_v_heads * attention.v_head_dim
    inputs = 2 * attention.num_k_heads * attention.k_head_dim + values
    kept = load.sequences * (attention.conv_kernel - 1) * inputs
    return Point("(gated delta rules)", 2 * inputs + 7 * values + hidden, 4 * kept)


_TIME_MIXING = {"rwkv5": 14, "rwkv6": 14}
"""Vectors of hidden_size that RWKV's time mixing holds, by model_type: 19 of RWKV-7 (src/models/rwkv7.cpp), in graphs
of b11549 of 768 to 4,096 wide with 1 and 4 slots, where its state lies beside them."""


def within_a_state(attention: Mechanism, load: Load, hidden: int, tokens: int, model_type: str | None = None) -> Point:
    """Within a layer with a state. Of gated delta rules the feed-forward block holds more, in every graph tried."""
    match attention:
        case Mamba2():
            inner = attention.num_heads * attention.head_dim
            groups = 2 * attention.num_groups * attention.state_size
            floats = 2 * hidden + (2 * inner + groups + attention.num_heads) + 2 * (inner + groups) + 2 * inner
            state = 4 * inner * attention.state_size
            return Point("(state-space block)", floats, max(0, load.sequences - 1) * state)
        case Mamba1():
            return Point("(state-space block)", 5 * attention.intermediate_size + 2 * hidden)
        case Lightning():  # what it computes within a micro-batch is square in the tokens of a sequence
            inner, square = (
                attention.num_heads * attention.head_dim,
                attention.num_heads * -(-tokens // max(1, load.sequences)),
            )
            return Point("(4 x hidden_size + heads x (5 x head_dim + 3 x tokens))", 4 * hidden + 5 * inner + 3 * square)
        case RWKV():
            vectors = _TIME_MIXING.get(model_type or "", 19)
            state = 4 * load.sequences * attention.head_dim * hidden
            return Point(f"{vectors} x hidden_size", vectors * hidden, state)
        case _:
            return Point("4 x hidden_size", 4 * hidden)


def grows(layer: Layer) -> bool:
    return any(tensor.role is Role.CACHE for tensor in layer.attention.cached())


def query_heads(attention: Mechanism) -> int:
    match attention:
        case MLA() | MHA() | GQA() | MQA() | MLAExpanded():
            return attention.num_heads
        case _:
            return 1


def has_gates(layout: LlamaLayout) -> bool:
    """Whether queries have gates, as in every model with gated delta rules (src/models/qwen3next.cpp, qwen35.cpp)."""
    return any(isinstance(layer.attention, GatedDeltaNet) for layer in layout.setup.model.layout.kinds)
