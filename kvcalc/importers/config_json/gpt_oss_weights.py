"""gpt-oss's checkpoints: the matrices of its experts in mxfp4, and the rest, their biases among it, in the dtype.

Source: config.json of openai/gpt-oss-120b (modules_to_not_convert), and transformers 5.24.0, models/gpt_oss.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.importers.config_json.quantisation import OF_EXPERTS
from kvcalc.model.model import WeightPart

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.model.model import Model

_LEFT = {"self_attn", "router", "embed_tokens", "lm_head"}
_KEYS = {"quant_method", "modules_to_not_convert", "dequantize", "use_kernels"}


def is_of_gpt_oss(settings: Mapping[str, Any], model_type: str) -> bool:
    """Whether settings of quantisation are those of its checkpoints.

    Args:
        settings: of the file.
        model_type: of the text model.
    """
    named = settings.get("modules_to_not_convert")
    left = {str(name).rpartition(".")[2] for name in named} if isinstance(named, list) else set()
    of_its_own = model_type == "gpt_oss" and settings.get("quant_method") == OF_EXPERTS
    return of_its_own and left == _LEFT and settings.keys() <= _KEYS and not settings.get("dequantize")


def gpt_oss_parts(model: Model) -> tuple[WeightPart, ...] | None:
    """The parts of such a checkpoint; None where the dims do not tell them.

    Args:
        model: with its parameters, and without weights.
    """
    hidden, width, experts, vocab = model.hidden_size, model.moe_intermediate_size, model.num_experts, model.vocab_size
    if not (hidden and width and experts and vocab and model.parameters) or model.tie_word_embeddings is None:
        return None
    plain, layers, table = model.dtype or "bf16", model.num_layers, vocab * hidden
    matrices = 3 * hidden * width * experts * layers
    copied = layers * experts * (hidden + 1) + (2 * layers + 1) * hidden + layers * hidden
    heads = 1 if model.tie_word_embeddings else 2
    rest = model.parameters - matrices - copied - heads * table
    if rest <= 0:
        return None
    parts = [
        WeightPart(part="experts", parameters=matrices, format="mxfp4", split="ep"),
        WeightPart(part="embedding", parameters=table, format=plain, place="embedding"),
        WeightPart(part="output head", parameters=table, format=plain, place="head"),
        WeightPart(part="attention, biases of experts", parameters=rest, format=plain, projections=True),
        WeightPart(part="routers, norms and the bias of outputs", parameters=copied, format=plain, split="stage"),
    ]
    return tuple(part for part in parts if heads > 1 or part.place != "head")
