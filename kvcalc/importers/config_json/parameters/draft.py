"""Parameters of a draft model that reads its target's hidden states."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.importers.config_json.heads import HIDDEN
from kvcalc.importers.config_json.parameters.anatomy import ALWAYS, BIAS, Anatomy
from kvcalc.importers.config_json.parameters.attention import attention_parameters
from kvcalc.importers.config_json.parameters.feed_forward import feed_forward_parameters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.importers.config import Config
    from kvcalc.importers.config_json.architectures import Eagle3
    from kvcalc.importers.imported_layer import ImportedLayer

_LAYER = Anatomy(norms=3, qkv_bias=BIAS, out_bias=BIAS)
_OF_QWEN3 = Anatomy(norms=3, qkv_bias=BIAS, if_qk_norm=ALWAYS, qk_norm="head")


def draft_parameters(config: Config, layers: Sequence[ImportedLayer], draft: Eagle3) -> int | None:
    """Those of EAGLE-3's layers and output head; None where it has another shape.

    Queries, keys and values of the first layer are made of the embedding beside the hidden state, and so of twice
    hidden_size. The embedding is the target's, and not counted. Sources: vLLM, llama_eagle3.py and qwen3_eagle3.py of
    vllm/model_executor/models.
    """
    blocks = [block for layer in layers for block in layer.blocks]
    alike = len({(block.kind, *sorted(block.sizes.items())) for block in blocks}) == 1 and len(blocks) == len(layers)
    if not alike or blocks[0].kind not in {"mha", "mqa", "gqa"} or config.get(*HIDDEN) is None:
        return None
    sizes, hidden = blocks[0].sizes, int(config.count(*HIDDEN).value)
    layer = _OF_QWEN3 if draft.qk_norm else _LAYER
    attention = attention_parameters(config, layer, layers[0])
    feed_forward = feed_forward_parameters(config, layer, len(layers))
    if attention is None or feed_forward is None:
        return None
    kv_heads = {"mha": sizes["num_heads"], "mqa": 1}.get(blocks[0].kind) or sizes["num_kv_heads"]
    beside = hidden * sizes["head_dim"] * (sizes["num_heads"] + 2 * kv_heads)
    read = draft.hidden_states * draft.target_hidden
    joined = read * (hidden + draft.norms + draft.parallel)
    norms = (len(layers) * layer.norms + layer.final_norm) * hidden
    return len(layers) * attention + beside + feed_forward.parameters + joined + norms + draft.words * hidden
