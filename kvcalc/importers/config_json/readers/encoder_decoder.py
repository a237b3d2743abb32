"""Decoders that attend to an encoder: each layer keeps its own tokens, and the encoder's for cross attention.

How long the encoder's output is depends on the input. What is counted is the longest that the file tells of;
`--assume encoder_context=N` is another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.importers.config_json.defaults import class_defaults
from kvcalc.importers.config_json.heads import HEADS, all_heads, head_dim_of
from kvcalc.importers.config_json.layer_lists import num_layers
from kvcalc.importers.imported_layer import AttentionBlock, ImportedLayer, block_of_heads
from kvcalc.importers.sourced import Sourced

if TYPE_CHECKING:
    from kvcalc.importers.config import Config

NO_CACHE = "--assume is_decoder=true reads it as a decoder"
ENCODER_CONTEXT = "encoder_context"
_OF_ENCODER = (
    "encoder_attention_heads",
    "encoder_layers",
    "encoder_layerdrop",
    "num_encoder_layers",
    "num_encoder_attention_heads",
    "is_encoder_decoder",
    "add_cross_attention",
    "is_decoder",
    "num_layers",
    "global_block_size",
    "local_radius",
    "encoder_sparse_step",
    "num_sparse_encoder_layers",
    "num_sparse_decoder_layers",
    "decoder_sparse_step",
    "num_global_tokens",
    "attention_window",
    "conv_channels",
    "num_conv_layers",
    "conv_kernel_sizes",
)
_TRAINED = "the 512 tokens of T5's training"
_LONGEST = ("max_source_positions", "max_encoder_position_embeddings", "n_positions", "max_position_embeddings")
T5_CONTEXT = 512
"""Tokens that T5 was trained on (arXiv 1910.10683, section 3.1.2); its positions are relative, and have no end."""


def cross_layers(config: Config, block: AttentionBlock) -> list[ImportedLayer]:
    """Every layer keeps both."""
    config.ignore(*_OF_ENCODER, "num_layers", "decoder_start_token_id")
    fields = dict(block.fields)
    heads = fields["num_heads"]
    cross = AttentionBlock(
        "cross",
        (
            ("num_heads", heads),
            ("num_kv_heads", fields.get("num_kv_heads", heads)),
            ("head_dim", fields["head_dim"]),
            ("encoder_context", encoder_context(config)),
        ),
    )
    return [ImportedLayer((block, cross))] * num_layers(config)


def encoder_context(config: Config) -> Sourced:
    """The longest output of the encoder that the file tells of: its positions, or an image's patches and one more."""
    stated = config.optional_tokens(ENCODER_CONTEXT)
    beside = next((key for key in ("encoder", "text_encoder") if isinstance(config.outer.get(key), dict)), None)
    if stated is not None:
        return stated
    if beside is None:
        positions = config.optional_tokens(*_LONGEST) or _of_class(config)
        return _convolved(config, positions) if config.model_type == "speech_to_text" else positions
    config.ignore(*_LONGEST)
    encoder = config.around(beside)
    patch = encoder.get("patch_size")
    if patch is None:
        positions = encoder.optional_tokens(*_LONGEST) or Sourced(T5_CONTEXT, _TRAINED)
        return positions.because(f"{beside}: {positions.reason}")
    across = encoder.count("image_size").value // encoder.count("patch_size").value
    if encoder.get("window_size") is not None:
        return config.tokens(ENCODER_CONTEXT)
    return Sourced(across**2 + 1, f"{beside}: (image_size / patch_size)^2 + 1")


def _convolved(config: Config, frames: Sourced) -> Sourced:
    """What is left of a recording's frames after convolutions, each of which takes every other one.

    Source: transformers 5.24.0, models/speech_to_text/modeling_speech_to_text.py, _get_feat_extract_output_lengths.
    """
    left, times = frames.value, config.optional_count("num_conv_layers", most=_MOST_CONVOLUTIONS)
    for _ in range(_CONVOLUTIONS if times is None else times.value):
        left = (left - 1) // 2 + 1
    return Sourced(left, f"{frames.reason}, halved by each of num_conv_layers")


_CONVOLUTIONS, _MOST_CONVOLUTIONS = 2, 100
"""Of the class, and the most."""


def _of_class(config: Config) -> Sourced:
    """Positions of the class, which a file that is not nested leaves out where they are its default; T5 has none."""
    stated = class_defaults(config.model_type, nested=True)
    found = next((stated[name] for name in _LONGEST if name in stated), None)
    if found is None:
        return Sourced(T5_CONTEXT, f"no n_positions: {_TRAINED}")
    return Sourced(found, f"no max_position_embeddings: {config.model_type}'s default")


def bert(config: Config) -> list[ImportedLayer]:
    """BERT and its kin: an encoder, which is_decoder makes a decoder, and add_cross_attention one with an encoder.

    Raises:
        KvcalcError: is_decoder is not true.
    """
    if not config.flag("is_decoder"):
        raise config.refusal("an encoder, which keeps no cache; is_decoder makes it a decoder", NO_CACHE)
    config.ignore(*_OF_ENCODER, "attention_type", "num_random_blocks")
    block = all_heads(config)
    crosses = config.flag("add_cross_attention")
    return cross_layers(config, block) if crosses else [ImportedLayer((block,))] * num_layers(config)


def bart(config: Config) -> list[ImportedLayer]:
    """BART and its kin, Whisper: as many KV heads as heads."""
    config.ignore("num_key_value_heads")
    if config.model_type == "bigbird_pegasus":
        config.ignore("attention_type")  # of its encoder; the decoder attends to all of its tokens
    return cross_layers(config, all_heads(config))


def t5(config: Config) -> list[ImportedLayer]:
    """T5 and its kin: heads are d_kv wide; without num_decoder_layers the decoder is as deep as the encoder."""
    heads = config.count(*HEADS)
    return cross_layers(config, block_of_heads(config, heads, heads, head_dim_of(config, heads)))
