"""What a file of the catalogue says, re-added from its text by this file's own arithmetic, and the table of facts."""

from __future__ import annotations

from typing import Any, NamedTuple

import yaml


class Facts(NamedTuple):
    """What a table of facts says of a model, added up from its file."""

    num_layers: int
    hidden_size: int
    vocab_size: int
    parameters: int | None
    max_context: int | None
    elements_per_token_full: int
    elements_per_token_sliding: int
    num_kv_layers_full: int
    num_kv_layers_sliding: int
    index_elements_per_token: int
    conv_elements_per_sequence: int
    state_elements_per_sequence: int
    encoder_elements_per_sequence: int
    windows: frozenset[int]
    chunks: frozenset[int]


def elements(attention: dict[str, Any]) -> int:
    """Elements a token adds to one layer's cache, without an indexer's."""
    match attention["kind"]:
        case "mla":
            return int(attention["kv_lora_rank"] + attention["qk_rope_head_dim"])
        case "mha":
            kv_heads = attention["num_heads"]
        case "gqa":
            kv_heads = attention["num_kv_heads"]
        case "mqa":
            kv_heads = 1
        case "compressed":
            return 0  # tests/catalogue/test_parts.py
        case kind:
            assert kind in {"shared", "none", "cross", *STATES}
            return 0
    return int(kv_heads * (attention["head_dim"] + attention.get("v_head_dim", attention["head_dim"])))


STATES = {"gated_deltanet", "kda", "mamba1", "mamba2", "short_conv", "lightning", "rwkv"}


def state_elements(a: dict[str, Any]) -> tuple[int, int]:
    """Elements that a sequence keeps in one layer: of convolutions' inputs, and of the recurrent state."""
    channels, state = 0, 0
    match a["kind"]:
        case "gated_deltanet":
            keys, values = a["num_k_heads"] * a["k_head_dim"], a["num_v_heads"] * a["v_head_dim"]
            channels, state = 2 * keys + values, values * a["k_head_dim"]
        case "kda":
            channels, state = 3 * a["num_heads"] * a["head_dim"], a["num_heads"] * a["head_dim"] ** 2
        case "mamba1":
            channels, state = a["intermediate_size"], a["intermediate_size"] * a["state_size"]
        case "mamba2":
            inner = a["num_heads"] * a["head_dim"]
            channels, state = inner + 2 * a["num_groups"] * a["state_size"], inner * a["state_size"]
        case "short_conv":
            channels = a["hidden_size"]
        case "rwkv":
            return a["hidden_size"] * a.get("token_shifts", 2), a["num_heads"] * a["head_dim"] ** 2
        case "lightning":
            state = a["num_heads"] * a["head_dim"] ** 2
    return channels * (a.get("conv_kernel", 1) - 1), state


def encoder_elements(a: dict[str, Any]) -> int:
    return int(2 * a["encoder_context"] * a["num_kv_heads"] * a["head_dim"]) if a["kind"] == "cross" else 0


def written_out(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every layer, first to last."""
    layers: list[dict[str, Any]] = []
    for part in parts:
        layers += written_out(part["of"]) * part["repeat"] if "repeat" in part else [part] * part["count"]
    return layers


def side_by_side(layer: dict[str, Any]) -> list[dict[str, Any]]:
    """A layer's attention blocks, each as a layer of its own."""
    blocks = layer["attention"]
    return [{**layer, "attention": block} for block in (blocks if isinstance(blocks, list) else [blocks])]


def facts_of(text: str) -> Facts:
    raw = written(text)
    layers = written_out(raw["layers"])
    blocks = [block for layer in layers for block in side_by_side(layer)]
    keeping = [block for block in blocks if elements(block["attention"])]
    full = [block for block in keeping if not block.keys() & {"window", "chunk"}]
    limited = [block for block in keeping if block.keys() & {"window", "chunk"}]
    return Facts(
        num_layers=len(layers),
        hidden_size=raw["hidden_size"],
        vocab_size=raw["vocab_size"],
        parameters=raw.get("parameters"),
        max_context=raw.get("max_context"),
        elements_per_token_full=sum(elements(block["attention"]) for block in full),
        elements_per_token_sliding=sum(elements(block["attention"]) for block in limited),
        num_kv_layers_full=len(full),
        num_kv_layers_sliding=len(limited),
        index_elements_per_token=sum(block["attention"].get("index_head_dim", 0) for block in blocks),
        conv_elements_per_sequence=sum(state_elements(block["attention"])[0] for block in blocks),
        state_elements_per_sequence=sum(state_elements(block["attention"])[1] for block in blocks),
        encoder_elements_per_sequence=sum(encoder_elements(block["attention"]) for block in blocks),
        windows=frozenset(block["window"] for block in limited if "window" in block),
        chunks=frozenset(block["chunk"] for block in limited if "chunk" in block),
    )


def facts_of_row(row: dict[str, str]) -> Facts:
    def known(name: str) -> int | None:
        return int(row[name]) if row[name] else None

    described: dict[str, Any] = {name: known(name) for name in Facts._fields if name not in {"windows", "chunks"}}
    for name, column in (("windows", "sliding_window"), ("chunks", "chunk")):
        length = known(column)
        described[name] = frozenset(() if length is None else (length,))
    return Facts(**described)


def written(text: str) -> dict[str, Any]:
    """What PyYAML reads, over libyaml where it was built with it: ten times as fast."""
    found: dict[str, Any] = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506  # both are safe
    return found
