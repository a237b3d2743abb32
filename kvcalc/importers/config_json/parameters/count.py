"""A model's parameters: embedding, layers, output head."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kvcalc.importers.config_json.architectures import Classifier, DFlash, Eagle3, NotCounted
from kvcalc.importers.config_json.heads import HIDDEN
from kvcalc.importers.config_json.model_fields import MAX_VOCABULARY, VOCABULARY
from kvcalc.importers.config_json.parameters.anatomies import anatomy_of
from kvcalc.importers.config_json.parameters.attention import attention_parameters, holds
from kvcalc.importers.config_json.parameters.compressed import (
    averaged_connections,
    hyper_connections,
    ngram_tables,
    streams_and_ngrams,
)
from kvcalc.importers.config_json.parameters.draft import draft_parameters
from kvcalc.importers.config_json.parameters.feed_forward import feed_forward_parameters, longcat_feed_forward
from kvcalc.importers.config_json.parameters.gemma import gemma3n_more, gemma4_feed_forward, gemma4_more
from kvcalc.importers.config_json.parameters.nemotron import nemotron_h_feed_forward, nemotron_nas_feed_forward
from kvcalc.importers.config_json.parameters.ngrams import hashed_tables, mixed_streams, mixed_streams_and_ngrams
from kvcalc.units import MAX_CONTEXT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kvcalc.importers.config import Config
    from kvcalc.importers.config_json.architectures import Above, OutputHead
    from kvcalc.importers.config_json.parameters.anatomy import Anatomy
    from kvcalc.importers.config_json.parameters.feed_forward import FeedForward
    from kvcalc.importers.imported_layer import ImportedLayer


class Counted(NamedTuple):
    """Parameters of a model.

    Attributes:
        parameters: all.
        active: those that a token passes through, with the embedding, the output head and towers.
        towers: of all, those of encoders for images and sound.
    """

    parameters: int
    active: int
    towers: int = 0

    def with_towers(self, towers: int) -> Counted:
        """The same model with towers."""
        return Counted(self.parameters + towers, self.active + towers, towers)


def count_parameters(config: Config, layers: Sequence[ImportedLayer], above: Above, *, tied: bool) -> Counted | None:
    """The parameters, exactly; None where the family or the class has no count, or the file lacks a size.

    Args:
        config: of the text model.
        layers: of its layers.
        above: what the class has on top of them.
        tied: whether the output head is the embedding.

    Raises:
        KvcalcError: a size is none.
    """
    if isinstance(above, Eagle3):
        return _whole(draft_parameters(config, layers, above))
    anatomy = anatomy_of(config)
    if anatomy is None or isinstance(above, NotCounted):
        return None
    sizes = (HIDDEN, VOCABULARY, *([anatomy.positions] if anatomy.positions else []))
    if any(config.get(*names) is None for names in sizes) or not _counted_here(config, anatomy):
        return None
    own = _FEED_FORWARDS.get(config.model_type)
    feed_forward = own(config, anatomy, layers) if own else feed_forward_parameters(config, anatomy, len(layers))
    attentions = [attention_parameters(config, anatomy, layer) for layer in layers]
    if feed_forward is None or any(each is None for each in attentions):
        return None
    hidden = config.count(*HIDDEN).value
    norms = anatomy.norms * len(layers) + anatomy.final_norm + anatomy.embedding_norm
    total = sum(each or 0 for each in attentions) + feed_forward.parameters
    more = _MORE.get(config.model_type)
    total += 0 if more is None else more(config, anatomy, layers)
    total += norms * hidden * (2 if anatomy.norm_bias else 1) + _ends(config, anatomy, above, tied=tied)
    return Counted(total, total - feed_forward.idle - ngram_parameters(config))


def ngram_parameters(config: Config) -> int:
    """Tables of n-grams beside the embedding: a token passes through a few rows, which do not count as active.

    Raises:
        KvcalcError: a size is none.
    """
    tables = _TABLES_OF_NGRAMS.get(config.model_type)
    return 0 if tables is None else tables(config)


def position_parameters(config: Config) -> int:
    """A table of learned positions, whose rows are looked up.

    Raises:
        KvcalcError: a size is none.
    """
    anatomy = anatomy_of(config)
    if anatomy is None or not anatomy.positions:
        return 0
    rows = config.count(*anatomy.positions, most=MAX_CONTEXT).value + anatomy.more_positions
    return int(rows * config.count(*HIDDEN).value)


def stream_parameters(config: Config, layers: int) -> int:
    """What mixes residual streams, which ranks do not divide.

    Raises:
        KvcalcError: a size is none.
    """
    mixing = _STREAMS.get(config.model_type)
    return 0 if mixing is None else mixing(config, layers)


_FEED_FORWARDS: Mapping[str, Callable[[Config, Anatomy, Sequence[ImportedLayer]], FeedForward | None]] = {
    "nemotron_h": nemotron_h_feed_forward,
    "nemotron-nas": nemotron_nas_feed_forward,
    "gemma4_text": gemma4_feed_forward,
    "gemma4_unified_text": gemma4_feed_forward,
    "longcat_flash": longcat_feed_forward,
}
"""Families whose blocks differ from layer to layer, or stand beside experts."""

_MORE: Mapping[str, Callable[[Config, Anatomy, Sequence[ImportedLayer]], int]] = {
    "deepseek_v4": lambda config, _, layers: hyper_connections(config, len(layers)),
    "deepseek_v41_text": streams_and_ngrams,
    "glm5_next_text": lambda config, _, layers: averaged_connections(config, len(layers)),
    "qwen4_exp_text": mixed_streams_and_ngrams,
    "gemma3n_text": gemma3n_more,
    "gemma4_text": gemma4_more,
    "gemma4_unified_text": gemma4_more,
}
"""Families with parts that no other has."""

_STREAMS: Mapping[str, Callable[[Config, int], int]] = {
    "deepseek_v4": hyper_connections,
    "deepseek_v41_text": averaged_connections,
    "glm5_next_text": averaged_connections,
    "qwen4_exp_text": mixed_streams,
}
"""Of those parts, what mixes residual streams."""

_TABLES_OF_NGRAMS: Mapping[str, Callable[[Config], int]] = {
    "deepseek_v41_text": ngram_tables,
    "qwen4_exp_text": hashed_tables,
}
"""Of those parts, tables of n-grams."""


_ACTIVATIONS = ("hidden_act", "hidden_activation", "activation_function", "activation")
_LEARNED = ("xielu", "prelu")
"""Activations with parameters of their own (transformers 5.24.0, activations.py)."""


def _counted_here(config: Config, anatomy: Anatomy) -> bool:
    """Whether the file has nothing that changes the parameters in a way which is not counted."""
    for key, values in anatomy.only_if:
        part, _, name = key.rpartition(".")
        found = config.part(part, optional=True).get(name) if part else config.get(name)
        if found is not None and found.value not in values:
            return False
    if not anatomy.activation and any(
        found is not None and found.value in _LEARNED for found in map(config.get, _ACTIVATIONS)
    ):
        return False
    narrow = config.get("word_embed_proj_dim")  # OPT-350m's embedding is narrower than its layers
    fewer = config.get("output_vocab_size")  # Apertus 1.5's output head may lack the last words
    words = config.count(*VOCABULARY, most=MAX_VOCABULARY).value
    return (narrow is None or narrow.value == config.count(*HIDDEN).value) and (fewer is None or fewer.value == words)


def _whole(parameters: int | None) -> Counted | None:
    return None if parameters is None else Counted(parameters, parameters)


def _ends(config: Config, anatomy: Anatomy, above: OutputHead | Classifier | DFlash, *, tied: bool) -> int:
    """Embedding, learned positions, and what is on top of the layers."""
    if isinstance(above, DFlash):  # the matrix that joins hidden states and a norm; the tables are the target's
        own = int(config.count(*HIDDEN).value)
        return above.hidden_states * above.target_hidden * own + own
    hidden, words = config.count(*HIDDEN).value, config.count(*VOCABULARY, most=MAX_VOCABULARY).value
    positions = position_parameters(config)
    if isinstance(above, Classifier):
        inner = above.inner * (hidden * hidden + hidden)
        return int((words + above.labels) * hidden + positions + inner + (above.labels if above.bias else 0))
    rows = words if tied else 2 * words
    return int(rows * hidden + positions + (words if holds(config, anatomy.head_bias) else 0))
