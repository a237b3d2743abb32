"""Architectures that keep latents: alone, beside states, with a sparse indexer, or within a window."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.importers.gguf.layers import (
    HEADS,
    KV_HEADS,
    PATTERN,
    V_WIDTH,
    WIDTH,
    by_layer,
    marked,
    needed_window,
    num_layers,
    unused,
)
from kvcalc.importers.gguf.states import CONV_DTYPE
from kvcalc.importers.imported_layer import AttentionBlock, ImportedLayer
from kvcalc.importers.sourced import Sourced

if TYPE_CHECKING:
    from kvcalc.importers.config import Config

INDEXER = "attention.indexer"


def latent(config: Config) -> list[ImportedLayer]:
    """DeepSeek-V2 and later: with key_length_mla the latent is kept; files without it make llama.cpp expand heads."""
    heads, rank, rope = (
        config.count(HEADS),
        config.count("attention.kv_lora_rank"),
        config.count("rope.dimension_count"),
    )
    config.ignore(KV_HEADS, WIDTH, V_WIDTH)
    key, value = config.optional_count("attention.key_length_mla"), config.optional_count("attention.value_length_mla")
    kind, reason = "mla", ""
    if key is None or value is None:
        kind, reason = "mla_expanded", "no key_length_mla: llama.cpp keeps every head's key and value of such a file"
        key, value = config.count(WIDTH), config.count(V_WIDTH)
    block = AttentionBlock(kind, _latent_fields(config, heads, rank, rope, key, value), reason)
    rows = (1, rank.value + rope.value) if kind == "mla" else (heads.value, key.value)
    _refuse_other_rows(config, *rows)
    return [ImportedLayer((block,))] * num_layers(config)


def hybrid_latent(config: Config) -> list[ImportedLayer]:
    """Kimi-Linear, Ling 3.0, GLM-5.3-Flash: without KV heads layers keep a state, else a latent, as one head's key.

    Source: llama.cpp, src/models/kimi-linear.cpp, bailingmoe3.cpp; n_embd_r and n_embd_s of src/llama-hparams.cpp.
    """
    heads, width, kv_heads = config.count(HEADS), config.count("kda.head_dim"), by_layer(config, KV_HEADS)
    kda = AttentionBlock(
        "kda",
        (("num_heads", heads), ("head_dim", width), ("conv_kernel", config.count("ssm.conv_kernel")), CONV_DTYPE),
    )
    rank, rope = config.count("attention.kv_lora_rank"), config.count("rope.dimension_count", least=0)
    key, value = config.count("attention.key_length_mla"), config.count("attention.value_length_mla")
    config.ignore(WIDTH, V_WIDTH)
    _refuse_other_width(config, rank.value + rope.value)
    if kv_heads is None or set(kv_heads) - {0, 1}:
        raise config.refusal(f"{KV_HEADS} has not 0 or 1 for each layer")
    latent = AttentionBlock("mla", _latent_fields(config, heads, rank, rope, key, value))
    return [ImportedLayer((latent if each else kda,)) for each in kv_heads]


def _latent_fields(
    config: Config, heads: Sourced, rank: Sourced, rope: Sourced, key: Sourced, value: Sourced
) -> tuple[tuple[str, Sourced], ...]:
    """Those of a latent; a key's width has the rotated part in it."""
    if key.value <= rope.value:
        raise config.refusal(f"{key.reason} is {key.value}, and rope.dimension_count {rope.value}")
    fields = [
        ("num_heads", heads),
        ("kv_lora_rank", rank),
        ("qk_rope_head_dim", rope),
        ("qk_nope_head_dim", Sourced(key.value - rope.value, f"{key.reason} - {rope.reason}")),
        ("v_head_dim", value),
    ]
    query = config.optional_count("attention.q_lora_rank")
    if query is not None:
        fields.append(("q_lora_rank", query))
    return tuple(fields)


def _refuse_other_rows(config: Config, kv_heads: int, width: int) -> None:
    """llama.cpp keeps head_count_kv x key_length elements of a position: other keys must agree.

    Raises:
        KvcalcError: they differ.
    """
    found = config.optional_count(KV_HEADS)
    if found is not None and found.value != kv_heads:
        raise config.refusal(f"{KV_HEADS} is {found.value}, where the other keys make it {kv_heads}")
    _refuse_other_width(config, width)


def _refuse_other_width(config: Config, width: int) -> None:
    found = config.optional_count(WIDTH)
    if found is not None and found.value != width:
        raise config.refusal(f"{WIDTH} is {found.value}, where the other keys make it {width}")


def _rope(config: Config) -> Sourced:
    return config.count("rope.dimension_count")


def _mla(config: Config, suffix: str = "") -> AttentionBlock:
    """The latent of a layer, from keys that end in `_swa` where it slides."""
    names = (f"attention.{name}{suffix}" for name in ("kv_lora_rank", "key_length_mla", "value_length_mla"))
    rank, key, value = (config.count(name) for name in names)
    unused(config, KV_HEADS, WIDTH, V_WIDTH)
    return AttentionBlock(
        "mla", _latent_fields(config, _heads(config, sliding=bool(suffix)), rank, _rope(config), key, value)
    )


def _heads(config: Config, *, sliding: bool) -> Sourced:
    """Of a layer of one kind, where the file lists them for each layer."""
    found = config.need(HEADS)
    if not isinstance(found.value, list):
        return config.count(HEADS)
    counts = by_layer(config, HEADS) or [0]
    slides = _slides(config)
    own = {count for count, mark in zip(counts, slides, strict=True) if mark == sliding}
    if len(own) != 1:
        raise config.refusal(f"{HEADS} differs among layers of one kind")
    return Sourced(own.pop(), HEADS)


def _slides(config: Config) -> list[bool]:
    found = config.get(PATTERN)
    if found is None or not isinstance(found.value, list):
        return [False] * num_layers(config)
    return marked(config, PATTERN, found.value)


def _blocks(config: Config) -> dict[bool, AttentionBlock]:
    """With an indexer of its own, and with the choice of an earlier layer's."""
    plain = _mla(config)
    names = {"index_head_dim": "key_length", "index_n_heads": "head_count", "index_topk": "top_k"}
    index = tuple((field, config.count(f"{INDEXER}.{name}")) for field, name in names.items())
    return {
        True: plain._replace(fields=(*plain.fields, *index)),
        False: plain._replace(fields=(*plain.fields, index[2])),
    }


def _owns(config: Config, otherwise: list[bool]) -> list[bool]:
    """Whether each layer has an indexer: as the file lists them, else by the architecture's rule."""
    found = config.get(f"{INDEXER}.types")
    if found is None:
        return otherwise
    listed = found.value if isinstance(found.value, list) else [found.value] * num_layers(config)
    return marked(config, f"{INDEXER}.types", listed)


def indexed(config: Config) -> list[ImportedLayer]:
    """DeepSeek-V3.2: every layer has an indexer (src/models/deepseek32.cpp)."""
    return [ImportedLayer((_blocks(config)[True],))] * num_layers(config)


LONG_CONTEXT = 1_048_576
"""Of GLM-5.2, whose indexers are shared; GLM-5 and 5.1 have shorter ones."""


def glm_dsa(config: Config) -> list[ImportedLayer]:
    """GLM-5: from 5.2 on, the first two and then every fourth layer have an indexer (src/models/glm-dsa.cpp)."""
    layers, longest = num_layers(config), config.optional_count("context_length", most=10**12)
    every = longest is None or longest.value < LONG_CONTEXT
    owns = _owns(config, [every or index < 2 or (index - 2) % 4 == 0 for index in range(layers)])  # noqa: PLR2004  # first
    blocks = _blocks(config)
    return [ImportedLayer((blocks[each],)) for each in owns]


def hy_v4(config: Config) -> list[ImportedLayer]:
    """Hunyuan V4: without indexer.top_k there are no indexers (src/models/hy-v4.cpp)."""
    if config.get(f"{INDEXER}.top_k") is None:
        unused(config, f"{INDEXER}.types", f"{INDEXER}.key_length", f"{INDEXER}.head_count")
        return [ImportedLayer((_mla(config),))] * num_layers(config)
    blocks = _blocks(config)
    config.need(f"{INDEXER}.types")
    return [ImportedLayer((blocks[each],)) for each in _owns(config, [])]


def sliding_latent(config: Config) -> list[ImportedLayer]:
    """Dots.note: sliding layers keep a latent of another width, without an indexer (src/models/dots3note.cpp)."""
    config.need(PATTERN)
    config.need(f"{INDEXER}.types")
    blocks, own, window = _blocks(config), _mla(config, "_swa"), needed_window(config)
    pairs = zip(_slides(config), _owns(config, []), strict=True)
    return [
        ImportedLayer((own,), window=window) if slides else ImportedLayer((blocks[owns],)) for slides, owns in pairs
    ]
