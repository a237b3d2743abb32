"""Which layers slide, by the file's list or by the rule that a family has where there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.importers.config_json.layer_lists import (
    FULL,
    SLIDING,
    listed_types,
    num_layers,
    stated_window,
    window_of_listed,
)
from kvcalc.importers.imported_layer import ImportedLayer
from kvcalc.importers.sourced import Sourced

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvcalc.importers.config import Config
    from kvcalc.importers.imported_layer import AttentionBlock

_EVERY = ("sliding_window_pattern", "global_attn_every_n_layers")
_WRITTEN = "_sliding_window_pattern"
"""What transformers' classes write of it and never read."""


def full(config: Config, block: AttentionBlock) -> list[ImportedLayer]:
    """Every layer attends to everything."""
    listed_types(config, {FULL})
    return [ImportedLayer((block,), unused_window=_switched_off(config))] * num_layers(config)


def _switched_off(config: Config) -> Sourced | None:
    """A window below the context that use_sliding_window switches off, where the class knows neither of the two."""
    window, context = (config.values.get(name) for name in ("sliding_window", "max_position_embeddings"))
    if config.values.get("use_sliding_window") is not False or type(window) is not int or window <= 0:
        return None
    if type(context) is int and window >= context:
        return None
    return Sourced(window, "sliding_window, beside use_sliding_window: false")


def full_as_marked(config: Config, block: AttentionBlock) -> list[ImportedLayer]:
    """MiniMax-M2: every layer is full, and so attn_type_list, where there is one, has 1 for each."""
    if config.get("attn_type_list") is not None and not all(config.marks("attn_type_list", num_layers(config))):
        raise config.refusal("attn_type_list has layers that are not full")
    return full(config, block)


def window_on_all(config: Config, block: AttentionBlock) -> list[ImportedLayer]:
    """Layers that layer_types lists slide; without it all do, if sliding_window is set and below the context."""
    types = listed_types(config, {FULL, SLIDING})
    if types is not None:
        return with_unused(config, [_typed(config, block, each) for each in types])
    stated, window = stated_window(config), _window(config)
    unreached = stated if window is None else None
    return [ImportedLayer((block,), window=window, unreached_window=unreached)] * num_layers(config)


def window_if_used(
    config: Config, block: AttentionBlock, rule: Callable[[Config], list[bool]] | None = None
) -> list[ImportedLayer]:
    """Where use_sliding_window is true, layers slide that layer_types or the class's rule names; else none does.

    Args:
        config: of the family.
        block: of every layer.
        rule: which layers slide without a list; from max_window_layers on where there is none.

    Raises:
        KvcalcError: layers are listed as sliding, and use_sliding_window is not true.
    """
    config.ignore("sliding_window", "max_window_layers")
    types = listed_types(config, {FULL, SLIDING})
    if not config.flag("use_sliding_window"):
        if types is not None and SLIDING in types:
            raise config.refusal(
                "layer_types has layers that slide, and use_sliding_window is not true, without which the class has "
                "no window",
                "--assume use_sliding_window=true lets them slide, --assume layer_types=null takes all as full",
            )
        return [ImportedLayer((block,))] * num_layers(config)
    if types is not None:
        return with_unused(config, [_typed(config, block, each) for each in types])
    window = stated_window(config)
    slides = (rule or _from_max_window_layers)(config)
    return with_unused(config, [ImportedLayer((block,), window=window if each else None) for each in slides])


def _from_max_window_layers(config: Config) -> list[bool]:
    first = config.count("max_window_layers", least=0).value
    return [index >= first for index in range(num_layers(config))]


def every_other_below(config: Config) -> list[bool]:
    """Qwen2-MoE: the first of each two layers slides, below max_window_layers."""
    last = config.count("max_window_layers", least=0).value
    return [index % 2 == 0 and index < last for index in range(num_layers(config))]


def without_rotation(config: Config) -> list[bool]:
    """SmolLM3: layers without rotary embedding slide, which no_rope_layers marks with 0; else every fourth."""
    layers = num_layers(config)
    if config.get("no_rope_layers") is not None:
        return [not each for each in config.marks("no_rope_layers", layers)]
    every = config.count("no_rope_layer_interval").value
    return [(index + 1) % every == 0 for index in range(layers)]


def window_on_all_if_used(config: Config, block: AttentionBlock) -> list[ImportedLayer]:
    """Every layer slides where use_sliding_window is true."""
    listed_types(config, {FULL})
    config.ignore("sliding_window", "max_window_layers")
    window = stated_window(config) if config.flag("use_sliding_window") else None
    return [ImportedLayer((block,), window=window)] * num_layers(config)


def window_from(config: Config, block: AttentionBlock) -> list[ImportedLayer]:
    """Layers from max_window_layers on slide, where sliding_window is set; unless listed."""
    types = listed_types(config, {FULL, SLIDING})
    config.ignore("sliding_window")
    window = stated_window(config) if types is None else None
    if types is not None or window is None:
        return with_unused(config, [_typed(config, block, each) for each in types or [FULL] * num_layers(config)])
    slides = [window if each else None for each in _from_max_window_layers(config)]
    return with_unused(config, [ImportedLayer((block,), window=each) for each in slides])


def pattern(config: Config, block: AttentionBlock) -> list[ImportedLayer]:
    """layer_types, else all but every n-th layer slide: by sliding_window_pattern, or the family's key for it."""
    config.ignore(*_EVERY)
    every = config.get(*_EVERY)
    if config.values.get("layer_types") or (every is not None and config.values.get(_WRITTEN) == every.value):
        config.ignore(_WRITTEN)  # one that differs stays unread
    if every is not None and config.values.get("layer_switch") == every.value:  # one that differs stays unread
        config.ignore("layer_switch")
    return _listed_or(_by_pattern, config, block)


def alternating(config: Config, block: AttentionBlock, every: int) -> list[ImportedLayer]:
    """layer_types, else all but every n-th layer slide."""
    return _listed_or(lambda config: _every_nth(config, every), config, block)


def alternating_from_the_last(config: Config, block: AttentionBlock, every: int) -> list[ImportedLayer]:
    """layer_types, else all but every n-th layer slide, counted from the last, which is full."""
    return _listed_or(lambda config: _every_nth_from_the_last(config, every), config, block)


def _listed_or(rule: Callable[[Config], list[str]], config: Config, block: AttentionBlock) -> list[ImportedLayer]:
    types = listed_types(config, {FULL, SLIDING})
    if types is None and stated_window(config) is None:
        return [ImportedLayer((block,))] * num_layers(config)
    config.ignore("sliding_window")
    return with_unused(config, [_typed(config, block, each) for each in types or rule(config)])


def _every_nth(config: Config, every: int) -> list[str]:
    return [SLIDING if (index + 1) % every else FULL for index in range(num_layers(config))]


def _every_nth_from_the_last(config: Config, every: int) -> list[str]:
    layers = num_layers(config)
    return [SLIDING if (layers - 1 - index) % every else FULL for index in range(layers)]


def _by_pattern(config: Config) -> list[str]:
    given = config.need(*_EVERY).value
    if not isinstance(given, str):
        return _every_nth(config, config.count(*_EVERY).value)
    if not given or set(given) - {"L", "G"}:
        raise config.refusal(f"sliding_window_pattern is '{given[:40]}', not letters L and G")
    layers = num_layers(config)
    return [FULL if mark == "G" else SLIDING for mark in (given * layers)[:layers]]


def with_unused(config: Config, layers: list[ImportedLayer]) -> list[ImportedLayer]:
    """The layers, which have the file's window beside them where none of them slides."""
    window = stated_window(config)
    if window is None or any(layer.window is not None for layer in layers):
        return layers
    return [layer._replace(unused_window=window) for layer in layers]


def _typed(config: Config, block: AttentionBlock, layer_type: str) -> ImportedLayer:
    if layer_type == FULL:
        return ImportedLayer((block,))
    return ImportedLayer((block,), window=window_of_listed(config))


def _window(config: Config) -> Sourced | None:
    """None where there is none, or where no context is as long."""
    window, longest = stated_window(config), config.optional_tokens("max_position_embeddings")
    if window is None or (longest is not None and window.value >= longest.value):
        return None
    return window
