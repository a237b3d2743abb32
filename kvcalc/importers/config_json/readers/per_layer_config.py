"""per_layer_config: what differs in single layers, as transformers writes it from 5.15 on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.importers.imported_layer import AttentionBlock, block_of_heads

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.importers.config import Config
    from kvcalc.importers.sourced import Sourced

KEY = "per_layer_config"


def overrides(config: Config, layers: int) -> Mapping[int, Config] | None:
    """The keys of single layers, by the layer's index; None where the file has no such key.

    Raises:
        KvcalcError: no mapping of a layer's index to a mapping, or layers that are not there.
    """
    if KEY not in config.values and KEY not in config.assumed:
        config.ignore(KEY)
        return None
    if KEY in config.assumed and config.assumed[KEY] is None:
        config.ignore(KEY)
        return None
    settings = config.part(KEY, optional=True)
    found: dict[int, Config] = {}
    indices = {str(index): index for index in range(layers)}
    for name in settings.values:
        index = indices.get(name.lstrip("0") or "0")
        if index is None or index in found:
            raise config.refusal(f"{KEY} has '{name[:40]}', which is none of {layers} layers")
        own = settings.part(name)
        if own.get("skip") is not None and own.values["skip"] != []:
            raise config.refusal(f"{KEY} skips parts of layer {index}, which is not understood", config.without(KEY))
        found[index] = own
    return found


def block_at(config: Config, own: Config | None, heads: Sourced, kv_heads: Sourced, width: Sourced) -> AttentionBlock:
    """A layer's block, of its own heads and width where it has them.

    Raises:
        KvcalcError: KV heads do not divide query heads.
    """
    names = {"num_attention_heads": heads, "num_key_value_heads": kv_heads, "head_dim": width}
    if own is None:
        return block_of_heads(config, heads, kv_heads, width)
    for name, common in names.items():
        stated = own.optional_count(name)
        names[name] = common if stated is None else stated.because(f"{KEY}: {name}")
    return block_of_heads(config, *names.values())
