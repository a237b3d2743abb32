"""Parameters of a draft model that reads its target's hidden states."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.importers.config_json.heads import HIDDEN
from kvcalc.importers.config_json.parameters.anatomy import Anatomy
from kvcalc.importers.config_json.parameters.attention import attention_parameters
from kvcalc.importers.config_json.parameters.feed_forward import feed_forward_parameters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.importers.config import Config
    from kvcalc.importers.config_json.architectures import Eagle3
    from kvcalc.importers.imported_layer import ImportedLayer

_LAYER = Anatomy(norms=3)


def draft_parameters(config: Config, layers: Sequence[ImportedLayer], draft: Eagle3) -> int | None:
    """Those of EAGLE-3's layer and output head; None where it has another shape.

    Queries, keys and values are made of the embedding beside the hidden state, and so of twice hidden_size. The
    embedding is the target's, and not counted. Source: vLLM, vllm/model_executor/models/llama_eagle3.py.
    """
    blocks = [block for layer in layers for block in layer.blocks]
    if len(blocks) != 1 or blocks[0].kind not in {"mha", "mqa", "gqa"} or config.get(*HIDDEN) is None:
        return None
    sizes, hidden = blocks[0].sizes, int(config.count(*HIDDEN).value)
    attention = attention_parameters(config, _LAYER, layers[0])
    feed_forward = feed_forward_parameters(config, _LAYER, 1)
    if attention is None or feed_forward is None:
        return None
    kv_heads = {"mha": sizes["num_heads"], "mqa": 1}.get(blocks[0].kind) or sizes["num_kv_heads"]
    beside = hidden * sizes["head_dim"] * (sizes["num_heads"] + 2 * kv_heads)
    read = draft.hidden_states * draft.target_hidden
    joined = read * (hidden + draft.norms)
    norms = (_LAYER.norms + _LAYER.final_norm) * hidden
    return attention + beside + feed_forward.parameters + joined + norms + draft.words * hidden
