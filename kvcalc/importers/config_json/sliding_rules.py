"""Families whose classes say by a layer's place whether it slides, where a file has no layer_types: one line each.

Source of each: transformers 5.24.0, models/<name>/configuration_<name>.py, __post_init__.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from kvcalc.importers.config_json.layer_lists import FULL, SLIDING, listed_types, num_layers, window_of_listed
from kvcalc.importers.config_json.window_rules import with_unused
from kvcalc.importers.imported_layer import ImportedLayer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kvcalc.importers.config import Config
    from kvcalc.importers.imported_layer import AttentionBlock

    Rule = Callable[[int, int], bool]

_FIRST_OF_FOUR: Rule = lambda index, _: index % 4 > 0  # noqa: E731  # a table of rules

RULES: Mapping[str, Rule] = MappingProxyType(
    {
        **dict.fromkeys(("cwm", "granite_swa", "granitemoe_swa"), _FIRST_OF_FOUR),
        "beam": lambda index, layers: (index + 1) % 6 > 0 and index < layers - 1,
        "flint": lambda index, layers: index > 1 and index % 4 != 1 and index < layers - 1,
        "kolibri1": lambda index, _: (index + 1) % 5 > 0,
        "muse_spark_text": lambda index, layers: (layers - 1 - index) % 4 > 0,
        **dict.fromkeys(("mellum", "cohere_compass_text"), lambda *_: False),
        "moshi": lambda *_: True,
    }
)
"""Whether a layer slides, of its index and the number of layers."""


def by_place(config: Config, block: AttentionBlock) -> list[ImportedLayer]:
    """layer_types, else the rule of the family's class."""
    rule, layers = RULES[config.model_type], num_layers(config)
    types = listed_types(config, {FULL, SLIDING})
    if types is None:
        types = [SLIDING if rule(index, layers) else FULL for index in range(layers)]
    return spread(config, block, types)


def spread(config: Config, block: AttentionBlock, types: list[str]) -> list[ImportedLayer]:
    """Layers of full and sliding attention, all with the same heads."""
    config.ignore("sliding_window")
    window = window_of_listed(config) if SLIDING in types else None
    return with_unused(config, [ImportedLayer((block,), window=window if each == SLIDING else None) for each in types])


def after_dense_layers(config: Config, block: AttentionBlock) -> list[ImportedLayer]:
    """Cohere's experts: the dense layers at the beginning have a period of their own."""
    types, layers = listed_types(config, {FULL, SLIDING}), num_layers(config)
    names = ("sliding_window_pattern", "prefix_dense_sliding_window_pattern")
    if types is not None:
        config.ignore(*names, "_sliding_window_pattern")
        return spread(config, block, types)
    every, before = (config.count(name).value for name in names)
    dense = config.optional_count("first_k_dense_replace", least=0)
    first = 0 if dense is None else min(dense.value, layers)
    places = [(index + 1) % before for index in range(first)]
    places += [(index + 1) % every for index in range(layers - first)]
    return spread(config, block, [SLIDING if each else FULL for each in places])


def half_windows(config: Config, block: AttentionBlock) -> list[ImportedLayer]:
    """ModernBERT as a decoder: local_attention is twice the window, unless the file states it; every third is full."""
    types = listed_types(config, {FULL, SLIDING})
    config.ignore("sliding_window", "global_attn_every_n_layers")
    if types is None:
        given = config.optional_count("global_attn_every_n_layers")
        every = 3 if given is None else given.value
        types = [SLIDING if index % every else FULL for index in range(num_layers(config))]
    window = config.optional_tokens("sliding_window")
    if window is None:
        twice = config.tokens("local_attention")
        window = twice.because("half of local_attention")._replace(value=twice.value // 2)
    config.ignore("local_attention")
    return [ImportedLayer((block,), window=window if each == SLIDING else None) for each in types]
