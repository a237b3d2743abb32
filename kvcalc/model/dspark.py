"""DeepSeek's layers that draft a block of tokens at once (DSpark), as a model of their own.

Three layers with a window alone lie in the checkpoint beside the model's own. They read hidden states of three of its
layers, joined by one matrix; a table and a head of low rank (Markov) say how a drafted token moves the next, and a row
how sure it is. Embedding and output head are the model's.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from kvcalc.errors import KvcalcError
from kvcalc.mechanisms import Compressed
from kvcalc.model.layers import LayerGroup
from kvcalc.model.model import Model, WeightPart
from kvcalc.model.mtp_matrices import Matrix
from kvcalc.model.mtp_weights import RESIDUAL_STREAMS

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = "vLLM 0.33.0, vllm/models/deepseek_v4/nvidia/dspark.py and deepseek_v41/nvidia/dspark.py"
LAYERS = 3
"""n_mtp_layers, which the files lack, else 3 (num_dspark_layers); of V4.1 its num_nextn_predict_layers, 3."""
TARGETS = 3
"""Layers that are read: dspark_target_layer_ids of DeepSeek-V4.1-Flash; of V4-Flash 40, 41 and 42."""
MARKOV_RANK = 256
"""dspark_markov_rank of both."""
OF_NGRAMS = "n-grams"
"""In the name of a part that layers which draft have nothing of."""


class _Family(NamedTuple):
    """How the layers of a model_type differ.

    Attributes:
        experts: of a layer; None: as many as the model's layers have (dspark_n_routed_experts).
        collapses: whether residual streams are joined by weights of their own (hc_head).
    """

    experts: int | None
    collapses: bool


FAMILIES = {"deepseek_v4": _Family(None, collapses=True), "deepseek_v41": _Family(128, collapses=False)}


def dspark_model(model: Model) -> Model:
    """The layers that draft.

    Raises:
        KvcalcError: the model has none.
    """
    family = FAMILIES.get(model.model_type or "")
    kinds = [layer.attention for layer in model.layout.kinds]
    attention = next((each for each in kinds if isinstance(each, Compressed)), None)
    if family is None or attention is None:
        raise KvcalcError(
            f"--engine-option: speculative-method dspark: kvcalc follows the layers that DeepSeek-V4's and V4.1's "
            f"checkpoints have for it, and {model.name} is neither; --draft MODEL takes a model of its own"
        )
    alone: dict[str, Any] = dict.fromkeys(
        ("compress_ratio", "index_head_dim", "index_n_heads", "index_topk", "state_dtype")
    )
    windowed = replace(attention, shared_entries=False, overlap=False, index_of_entries=False, **alone)
    parts = tuple(_weights(model, windowed, family))
    return Model(
        name=f"{model.name} dspark",
        source=SOURCE,
        model_type=model.model_type,
        hidden_size=model.hidden_size,
        num_experts=family.experts or model.num_experts,
        num_experts_per_tok=model.num_experts_per_tok,
        dtype=model.dtype,
        parameters=sum(part.parameters for part in parts if not part.scales) or None,
        weights=parts,
        layers=(LayerGroup(count=LAYERS, attention=windowed),),
    )


def _weights(model: Model, attention: Compressed, family: _Family) -> Iterator[WeightPart]:
    """As the model's layers have them, without what makes entries, and what reads, joins and judges."""
    hidden, words, queries = model.hidden_size or 0, model.vocab_size or 0, attention.q_lora_rank or 0
    of_layers = [part for part in model.weights if part.place == "layers" and OF_NGRAMS not in part.part]
    whole = next((part for part in of_layers if part.split == "stage" and part.weight_block_size), None)
    if not hidden or not words or whole is None or whole.weight_block_size is None:
        return
    block, experts = whole.weight_block_size, family.experts or model.num_experts or 0
    form = next((part.format for part in of_layers if part.scales and part.split == "stage"), whole.format)
    for part in of_layers:
        if part.scales or part.split not in {"ep", "tp"}:
            continue
        parameters = part.parameters * LAYERS // model.num_layers
        if part.split == "ep":
            parameters = parameters * experts // (model.num_experts or 1)
        yield replace(part, parameters=parameters)
        if part.weight_block_size:
            scales = parameters // part.weight_block_size**2
            yield WeightPart(part=f"scales of {part.part}", parameters=scales, format=form, scales=True)
    entry = attention.head_dim
    latents = Matrix(queries, hidden, LAYERS), Matrix(entry, hidden, LAYERS), Matrix(LAYERS * entry, hidden)
    read = Matrix(hidden, TARGETS * hidden)
    matrices = (*latents, read)
    yield replace(whole, part="latents and hidden states read", parameters=sum(each.parameters for each in matrices))
    scales = sum(each.scales(block) for each in matrices)
    yield WeightPart(part="scales of them", parameters=scales, format=form, split="stage", scales=True)
    plain = LAYERS * (experts * hidden + 2 * hidden + queries + entry) + 2 * hidden + 2 * words * MARKOV_RANK
    yield WeightPart(
        part="Markov head, routers and norms", parameters=plain, format=model.dtype or "bf16", split="stage"
    )
    streams = RESIDUAL_STREAMS
    mixing = LAYERS * 2 * ((2 + streams) * streams * (streams * hidden + 1) + 3) + hidden + MARKOV_RANK
    if family.collapses:
        mixing += streams * (streams * hidden + 1) + 1
    yield WeightPart(part="residual streams and confidence", parameters=mixing, format="fp32", split="stage")
