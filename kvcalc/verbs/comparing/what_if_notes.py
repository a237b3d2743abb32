"""What to know of a model under other mechanisms: which dims they have, and what their weights would be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.mechanisms import GQA, MHA, MLA, MQA, Cross, MLAExpanded, NoAttention
from kvcalc.note import Note, note
from kvcalc.verbs.comparing.what_if import odd_head_dims

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.model.model import Model
    from kvcalc.scenario import Scenario


def dims_notes(model: Model) -> Iterator[Note]:
    """Which dims the mechanisms have that the model does not."""
    attentions = [layer.attention for layer in model.distinct()]
    if any(isinstance(attention, MLA | MLAExpanded) for attention in attentions):
        yield note(
            "what-if-dims",
            "mha, gqa and mqa of layers with a latent have heads as wide as its values: head_dim = v_head_dim",
        )
    if any(isinstance(attention, MHA | MQA | GQA) for attention in attentions):
        if odd := odd_head_dims(model):
            told = ", ".join(map(str, odd))
            yield note(
                "mla-left-out",
                f"mla and mla_expanded are left out: their rotary key is half a head wide, and head_dim {told} is odd",
                head_dim=tuple(odd),
            )
        else:
            yield note(
                "what-if-dims",
                "mla and mla_expanded of layers with heads have DeepSeek's proportions: kv_lora_rank = 4 x head_dim, "
                "qk_rope_head_dim = head_dim / 2, qk_nope_head_dim = head_dim",
            )
    if any(isinstance(attention, Cross) for attention in attentions):
        yield note(
            "what-if-dims",
            "cross attention has as many KV heads as each mechanism says, and in mla and mla_expanded its own",
        )


def same_weights(scenario: Scenario) -> Note:
    """That all rows have the same weights, and how far that is from true where it can be said."""
    said = "every row has the model's own weights"
    if scenario.replacements.weights is not None:
        return note("same-weights", f"{said}, as given")
    mha, mqa = _parameters_beyond(scenario.model, "mha"), _parameters_beyond(scenario.model, "mqa")
    changes = []
    for name, beyond, words in (("mha", mha, "more"), ("mqa", mqa and -mqa, "fewer")):
        if beyond:
            share = 100 * beyond / (scenario.model.parameters or beyond)
            changes.append(f"{name} up to {beyond:,} {words} ({share:.1f} %)")
    if not changes:
        return note("same-weights", f"{said}; projections of keys and values would differ")
    text = f"{said}; parameters of projections would differ: {', '.join(changes)}"
    return note("same-weights", text, mha_parameters=mha, mqa_parameters=mqa)


def _parameters_beyond(model: Model, mechanism: str) -> int | None:
    """How many more parameters the projections of keys and values would have; None where that is not known.

    hidden_size x the width of what is projected, in every layer. Fewer where a model uses one projection for both.
    """
    if model.hidden_size is None or model.parameters is None:
        return None
    beyond = 0
    for layer, count in model.distinct().items():
        match layer.attention:
            case MHA() | MQA() | GQA() as attention:
                heads = attention.num_heads if mechanism == "mha" else 1
                width = attention.head_dim + (attention.v_head_dim or attention.head_dim)
                beyond += count * (heads * width - attention.elements_per_token)
            case NoAttention():
                pass
            case _:
                return None
    return beyond * model.hidden_size
