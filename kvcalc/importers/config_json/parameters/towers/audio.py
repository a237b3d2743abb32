"""Parameters of encoders for sound. Source: transformers 5.24.0, models/<name>/modeling_<name>.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.importers.config_json.parameters.towers.encoder import Blocks, linear, size

if TYPE_CHECKING:
    from kvcalc.importers.config import Config

_KERNEL = 3
_HALVINGS = 3
"""Of Qwen3-ASR's convolutions over the bins."""


def whisper(part: Config) -> int:
    """Two convolutions, positions, blocks without a bias of the keys, and a norm."""
    width = size(part, "d_model", "hidden_size")
    blocks = Blocks(
        size(part, "encoder_layers", "num_hidden_layers"),
        width,
        size(part, "encoder_ffn_dim", "intermediate_size"),
        attention_biases=3,
    )
    convolutions = linear(_KERNEL * size(part, "num_mel_bins"), width) + linear(_KERNEL * width, width)
    return convolutions + size(part, "max_source_positions") * width + blocks.parameters + 2 * width


def qwen3_asr(part: Config) -> int:
    """Three convolutions, each of which halves the bins, and what joins it to the text model."""
    width, channels = size(part, "d_model"), size(part, "downsample_hidden_size")
    blocks = Blocks(size(part, "encoder_layers"), width, size(part, "encoder_ffn_dim"))
    bins = size(part, "num_mel_bins")
    for _ in range(_HALVINGS):
        bins = (bins + 1) // 2
    convolutions = linear(_KERNEL**2, channels) + 2 * linear(channels * _KERNEL**2, channels)
    joined = linear(width, width) + linear(width, size(part, "output_dim"))
    return convolutions + channels * bins * width + blocks.parameters + 2 * width + joined


def gemma4(part: Config) -> int:
    """A conformer: two feed-forward blocks, attention with relative keys, and a convolution in each layer."""
    width, kernel = size(part, "hidden_size"), size(part, "conv_kernel_size")
    first, second = part.numbers("subsampling_conv_channels")
    blocks = 2 * (8 * width**2 + 2 * width)
    attention = 5 * width**2 + width // size(part, "num_attention_heads")
    convolution = 3 * width**2 + kernel * width + 2 * width
    layer = blocks + attention + convolution + 3 * width
    subsampled = first * _KERNEL**2 + first + second * first * _KERNEL**2 + second
    subsampled += first // 4 * second * width
    out = linear(width, size(part, "output_proj_dims"))
    return subsampled + size(part, "num_hidden_layers") * layer + out
