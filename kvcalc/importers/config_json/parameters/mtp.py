"""Parameters of the layers of a model's own file that predict further tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.importers.config_json.experts import sparse_layers
from kvcalc.importers.config_json.heads import HIDDEN
from kvcalc.importers.config_json.parameters.anatomies import anatomy_of
from kvcalc.importers.config_json.parameters.attention import attention_parameters
from kvcalc.importers.config_json.parameters.feed_forward import feed_forward_parameters
from kvcalc.importers.config_json.parameters.ngrams import streams_of_drafts
from kvcalc.model.mtp_family import FAMILIES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kvcalc.importers.config import Config
    from kvcalc.importers.imported_layer import ImportedLayer

NORMS = 3
"""Of the embedding, of the hidden state, and of the output."""


def mtp_parameters(config: Config, layers: Sequence[ImportedLayer], number: int) -> int | None:
    """Those of so many layers, without copies of the tables and routing biases; None where they are not counted.

    Each is a layer like the last that keeps every token, with a matrix that joins embedding and hidden state, 2 x
    hidden_size wide: DeepSeek-V3, section 2.2.

    Raises:
        KvcalcError: a size is none.
    """
    anatomy, family = anatomy_of(config), FAMILIES.get(config.model_type)
    full = [each for each in reversed(layers) if _keeps_every_token(each)]
    indexed = (each for each in full if any("index_head_dim" in block.sizes for block in each.blocks))
    last = next(indexed, full[0] if full else None)
    if anatomy is None or last is None or config.get(*HIDDEN) is None or (family is not None and not family.like_last):
        return None
    with_experts = sum(sparse_layers(config) or ())
    attention = attention_parameters(config, anatomy, last)
    blocks = feed_forward_parameters(config, anatomy, with_experts or 1)
    if attention is None or blocks is None:
        return None
    hidden = int(config.count(*HIDDEN).value)
    one = attention + blocks.parameters // (with_experts or 1) + (anatomy.norms + NORMS) * hidden
    more = _MORE.get(config.model_type)
    return number * (one + 2 * hidden * hidden + (0 if more is None else more(config)))


def _keeps_every_token(layer: ImportedLayer) -> bool:
    return layer.window is None and layer.chunk is None and any(each.kind in _GROW for each in layer.blocks)


_MORE: Mapping[str, Callable[[Config], int]] = {"qwen4_exp_text": streams_of_drafts}
"""Families whose layers hold something beside."""

_GROW = {"mha", "mqa", "gqa", "mla"}
