"""Parameters of encoders for images and sound: blocks, embeddings of patches, and what joins them to the text model."""

from __future__ import annotations

from typing import NamedTuple

from kvcalc.importers.config import Config
from kvcalc.importers.config_json.defaults import class_defaults
from kvcalc.importers.config_json.spellings import respelled

WIDTHS, LAYERS = ("hidden_size", "embed_dim", "d_model"), ("num_hidden_layers", "depth", "encoder_layers")
"""Keys of which a file has one where it describes an encoder at all."""

ATTENTION = 4
"""Square matrices of attention: to queries, keys and values, and back."""


class Blocks(NamedTuple):
    """Layers of an encoder: attention whose heads are as wide together as the layer, and a feed-forward block.

    Attributes:
        layers: how many.
        width: of a hidden state.
        inner: of the feed-forward block.
        gated: three matrices in that block, not two.
        attention_biases: vectors beside attention's four matrices.
        inner_bias: whether the block's matrices have biases.
        vectors: of norms with their biases, and of scales.
    """

    layers: int
    width: int
    inner: int
    gated: bool = False
    attention_biases: int = ATTENTION
    inner_bias: bool = True
    vectors: int = 4

    @property
    def parameters(self) -> int:
        """Of all layers."""
        ups = 2 if self.gated else 1
        attention = ATTENTION * self.width**2 + self.attention_biases * self.width
        block = ups * linear(self.width, self.inner, bias=self.inner_bias)
        block += linear(self.inner, self.width, bias=self.inner_bias)
        return self.layers * (attention + block + self.vectors * self.width)


def linear(inputs: int, outputs: int, *, bias: bool = True) -> int:
    """A matrix, and a bias unless it has none."""
    return outputs * (inputs + bias)


def mlp(inputs: int, outputs: int, *, bias: bool = True) -> int:
    """Two matrices: to the width of the text model, and within it."""
    return linear(inputs, outputs, bias=bias) + linear(outputs, outputs, bias=bias)


def merger(inputs: int, outputs: int) -> int:
    """Two matrices: within what is merged, and to the width of the text model."""
    return linear(inputs, inputs) + linear(inputs, outputs)


def size(part: Config, *names: str) -> int:
    """A size, which must be there unless the class has a default.

    Raises:
        KvcalcError: it is none.
    """
    return int(part.count(*names).value)


def side(part: Config, name: str) -> int:
    """A length of an image or a patch, which may be a list of two that are equal.

    Raises:
        KvcalcError: it is something else.
    """
    found = part.optional_uniform(name)
    if found is None:
        raise part.refusal(f"{name} is no length")
    return int(found.value)


def patches(part: Config) -> int:
    """Of an image."""
    return (side(part, "image_size") // side(part, "patch_size")) ** 2


def patch_embedding(part: Config, width: int, *, bias: bool = True, times: int = 1) -> int:
    """The matrix from a patch's pixels, of so many frames."""
    channels = size(part, "num_channels", "in_channels", "in_chans")
    return linear(channels * times * side(part, "patch_size") ** 2, width, bias=bias)


def tower(config: Config, key: str, model_type: str, least: int) -> Config | None:
    """A part of the file with the defaults of its class; None where the file states none of its sizes.

    Args:
        config: of the text model.
        key: of the part.
        model_type: of the class that reads it.
        least: so many keys of the part show that its class's sizes are meant, where it states none.
    """
    stated = config.outer.get(key)
    values = respelled(stated, model_type) if isinstance(stated, dict) else {}
    defaults = class_defaults(model_type, nested=True)
    if len(values) < least and not any(values.get(name) is not None for name in (*WIDTHS, *LAYERS)):
        return None
    return Config(values, defaults, config.shown, f"{config.model_type}: {key}", place=key)
