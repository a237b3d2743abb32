"""Keys that repeat under another name what a family has read."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from kvcalc.importers.config_json.named_kinds import kinds_repeated

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from kvcalc.importers.imported_layer import ImportedLayer

_SAME: Mapping[str, Collection[str]] = MappingProxyType(
    {
        "num_kv_heads": (
            *("num_key_value_heads", "num_kv_heads", "n_kv_heads", "kv_n_heads", "n_head_kv", "head_num_kv"),
            *("kv_heads", "num_query_groups", "n_query_groups", "multi_query_group_num", "num_attention_groups"),
            "num_kv_groups",
        ),
        "num_heads": ("num_heads", "n_head", "n_heads", "attention_heads", "decoder_attention_heads"),
        "head_dim": (
            "head_dim",
            "kv_channels",
            "attention_head_dim",
            "head_size",
            "d_head",
            "dim_head",
            "d_kv",
            "d_k",
            "d_v",
        ),
        "group": ("num_key_value_groups", "num_gqa_groups", "num_queries_per_kv"),
        "window": ("sliding_window_size", "attention_window", "attention_window_size", "window_size"),
        "layers": ("decoder_layers", "num_decoder_layers", "layer_num"),
    }
)
"""Spellings of one meaning: a file may carry them beside the one that its family reads, where they agree."""

_USUAL = {"num_kv_heads": "num_key_value_heads", "head_dim": "head_dim", "window": "sliding_window"}

SYNONYMS: Mapping[str, str] = MappingProxyType({name: key for field, key in _USUAL.items() for name in _SAME[field]})
"""Spellings, and the key that most families read."""


def repeated_keys(values: Mapping[str, Any], layers: Sequence[ImportedLayer]) -> set[str]:
    """Keys that repeat under another name what was read.

    Args:
        values: of the file.
        layers: the layers as they were read.
    """
    blocks: list[dict[str, Any]] = [{**block.sizes, "kind": block.kind} for layer in layers for block in layer.blocks]
    read: dict[str, set[Any]] = {
        "num_heads": {block["num_heads"] for block in blocks if "num_heads" in block},
        "num_kv_heads": {_kv_heads(block) for block in blocks if "num_heads" in block},
        "group": {block["num_heads"] // _kv_heads(block) for block in blocks if "num_heads" in block},
        "head_dim": {block["head_dim"] for block in blocks if "head_dim" in block},
        "window": {layer.window.value for layer in layers if layer.window is not None},
        "layers": {len(layers)},
    }
    alike = {field: next(iter(found)) for field, found in read.items() if len(found) == 1}
    sizes = {name for field, value in alike.items() for name in _SAME[field] if values.get(name) == value}
    return sizes | kinds_repeated(values, layers)


def _kv_heads(block: Mapping[str, Any]) -> int:
    return int(1 if block["kind"] == "mqa" else block.get("num_kv_heads", block["num_heads"]))
