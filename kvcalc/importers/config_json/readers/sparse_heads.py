"""Heads of keys and values with a sparse indexer: MiniMax-M3, whose layers choose whole blocks of tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.importers.config_json.heads import usual_heads
from kvcalc.importers.config_json.layer_lists import FULL, listed_types, num_layers
from kvcalc.importers.imported_layer import AttentionBlock, ImportedLayer

if TYPE_CHECKING:
    from kvcalc.importers.config import Config

SPARSE = "minimax_m3_sparse"

_KEYS = {
    "index_head_dim": "sparse_index_dim",
    "index_n_heads": "sparse_num_index_heads",
    "index_block_size": "sparse_block_size",
    "index_topk_blocks": "sparse_topk_blocks",
}
"""As transformers writes them, and as the published file has them within sparse_attention_config."""


def minimax_m3(config: Config) -> list[ImportedLayer]:
    """sparse_attention_config has a 1 for each layer with an indexer, or layer_types lists them as transformers does.

    Raises:
        KvcalcError: an indexer that keeps values too, or one beside nobody knows how many KV heads.
    """
    heads, layers = usual_heads(config), num_layers(config)
    types = listed_types(config, {FULL, SPARSE})
    part = config.part("sparse_attention_config", optional=True)
    if types is None and part.get("sparse_attention_freq") is not None:
        types = [SPARSE if mark else FULL for mark in part.marks("sparse_attention_freq", layers)]
    types = types or [FULL] * layers
    config.ignore(*_KEYS, "index_local_blocks")
    if SPARSE not in types:
        return [ImportedLayer((heads,))] * layers
    if part.get("sparse_disable_index_value") is not None:
        disabled = part.marks("sparse_disable_index_value", layers)
        if any(kind == SPARSE and not mark for kind, mark in zip(types, disabled, strict=True)):
            raise config.refusal("sparse_disable_index_value has layers whose indexer keeps values, as no engine does")
    part.ignore("sparse_init_block", "sparse_local_block", "sparse_score_type", "use_sparse_attention")
    index = [(name, part.optional_count(key) or config.count(name)) for name, key in _KEYS.items()]
    groups = [("num_kv_heads", config.count("num_key_value_heads"))]  # an indexer is known beside grouped heads alone
    own = [field for field in heads.fields if field[0] != "num_kv_heads"]
    sparse = AttentionBlock("gqa", (*own, *groups, *index), heads.reason)
    return [ImportedLayer((sparse if kind == SPARSE else heads,)) for kind in types]
