"""Places of a layer, and of the output, that hold most of a compute buffer on some cards or for some applications.

Apart from those of attention and feed-forward blocks, which are in compute.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kvcalc.mechanisms import (
    GQA,
    KDA,
    MHA,
    MLA,
    MQA,
    RWKV,
    GatedDeltaNet,
    Lightning,
    Mamba1,
    Mamba2,
    MLAExpanded,
    Role,
)

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


LOGITS_OF_ALL = frozenset({"cogvlm"})
"""Classes that compute logits of every token, as src/models/cogvlm.cpp takes out none; its masks are gone by then."""


def wanted_logits(layout: LlamaLayout, stage: Stage, tokens: int, hidden: int) -> Point | None:
    """Where logits of more tokens than one of a slot are wanted: they lie beside the last hidden states."""
    wanted, model = layout.settings.n_outputs_max, layout.setup.model
    every = model.model_type in LOGITS_OF_ALL
    wanted = 0 if every else wanted
    last = layout.placement.head and stage.layers.stop == model.num_layers
    if wanted is None or model.vocab_size is None or not last:
        return None
    logits = -(-model.vocab_size * min(wanted or tokens, tokens) // tokens)
    kept = 1 if every else layout.rules.logits_hidden
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
    """Within a layer with a state, which a step has beside its tokens: once as it was, and once as it will be.

    Terms of states are fitted to graphs of 1 to 32 slots with the dims of Mamba-2 2.7B, Codestral Mamba, MiniMax-01,
    Kimi-Linear and Qwen3.5 from 0.8B to 27B: within 2 % at 16 slots and more, up to 13 % too large at some fewer.
    """
    slots = load.sequences
    match attention:
        case GatedDeltaNet() | KDA():
            return _within_a_delta_rule(attention, slots, hidden)
        case Mamba2():
            inner = attention.num_heads * attention.head_dim
            groups = 2 * attention.num_groups * attention.state_size
            floats = 2 * hidden + (2 * inner + groups + attention.num_heads) + 2 * (inner + groups) + 2 * inner
            state, inputs = 4 * inner * attention.state_size, 4 * (attention.conv_kernel - 1) * (inner + groups)
            twice = slots * state > 4 * tokens * (inner + 2 * groups)
            times = 1 + twice if slots > 1 else int(attention.num_groups == 1)
            return Point("(state-space block)", floats, slots * (times * state + inputs))
        case Mamba1():
            return Point("(state-space block)", 5 * attention.intermediate_size + 2 * hidden)
        case Lightning():  # what it computes within a micro-batch is square in the tokens of a sequence
            inner, square = (
                attention.num_heads * attention.head_dim,
                attention.num_heads * -(-tokens // max(1, slots)),
            )
            states = 8 * slots * inner * attention.head_dim  # each twice, and one square less beside them
            times, states = (2, states) if states > 4 * tokens * square else (3, 0)
            name = f"(4 x hidden_size + heads x (5 x head_dim + {times} x tokens))"
            return Point(name, 4 * hidden + 5 * inner + times * square, states)
        case RWKV():
            vectors = _TIME_MIXING.get(model_type or "", 19)
            state = 4 * slots * attention.head_dim * hidden
            return Point(f"{vectors} x hidden_size", vectors * hidden, state)
        case _:
            return Point("4 x hidden_size", 4 * hidden)


def _within_a_delta_rule(attention: GatedDeltaNet | KDA, slots: int, hidden: int) -> Point:
    if isinstance(attention, KDA):
        inner = attention.num_heads * attention.head_dim
        of_slot = 8 * inner * attention.head_dim + 12 * (attention.conv_kernel - 1) * inner
        return Point("(6 x heads x head_dim + 4 x hidden_size)", 6 * inner + 4 * hidden, slots * of_slot)
    values = attention.num_v_heads * attention.v_head_dim
    inputs = 2 * attention.num_k_heads * attention.k_head_dim + values
    state = 4 * values * attention.k_head_dim
    of_slots = slots * (2 * state + 4 * (attention.conv_kernel - 1) * inputs) if slots > 1 else state
    kept = 4 if slots > 1 else 2
    name = f"(2 x inputs of convolutions + values + {kept} x hidden_size)"
    return Point(name, 2 * inputs + values + kept * hidden, of_slots)


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
