"""Tokens that an image takes in the context, by the published rule of a model's processor.

They are those that stand for the image itself, as the processor's `_get_num_multimodal_tokens` gives them (transformers
5.24.0); tokens that a chat template puts around them are not counted.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.errors import KvcalcError
from kvcalc.note import Note, note

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.model.model import Model

MOST_PIXELS = 10**5
"""Of a side."""
STEEPEST = 200
"""Qwen's processors refuse images whose sides differ more."""


class SmartResize(NamedTuple):
    """Sides are rounded to whole tokens, and the image is scaled into a range of pixels.

    transformers/models/qwen2_vl/image_processing_qwen2_vl.py, smart_resize; settings of preprocessor_config.json.

    Attributes:
        side: pixels of a token's side: patch_size x merge_size.
        least: pixels of an image (min_pixels, or shortest_edge of size).
        most: likewise (max_pixels, or longest_edge).
    """

    side: int
    least: int
    most: int

    def tokens(self, width: int, height: int) -> int:
        if max(width, height) > STEEPEST * min(width, height):
            raise KvcalcError(f"--image-size: the model's processor refuses sides that differ {STEEPEST} times")
        side = self.side
        rows, columns = round(height / side), round(width / side)
        if rows * columns * side**2 > self.most:
            scale = math.sqrt(height * width / self.most)
            rows, columns = (max(1, math.floor(each / scale / side)) for each in (height, width))
        elif rows * columns * side**2 < self.least:
            scale = math.sqrt(self.least / (height * width))
            rows, columns = (math.ceil(each * scale / side) for each in (height, width))
        return rows * columns


class Rows(NamedTuple):
    """An image no larger than a square, in rows of tokens, each with one more that ends it.

    transformers/models/pixtral/processing_pixtral.py and image_processing_pixtral.py, get_resize_output_image_size.

    Attributes:
        side: pixels of a token's side: patch_size x spatial_merge_size.
        longest: pixels of the image's longer side (longest_edge).
    """

    side: int
    longest: int

    def tokens(self, width: int, height: int) -> int:
        ratio = max(height / self.longest, width / self.longest)
        if ratio > 1:
            height, width = math.floor(height / ratio), math.floor(width / ratio)
        if not (width and height):
            raise KvcalcError("--image-size: one side is nothing once the image is scaled down; give another size")
        rows, columns = (-(-each // self.side) for each in (height, width))
        return (columns + 1) * rows


class Fixed(NamedTuple):
    """As many for any image: it is scaled to one size.

    transformers/models/gemma3/processing_gemma3.py, image_seq_length; without pan and scan, which is off by default.
    """

    each: int

    def tokens(self, width: int, height: int) -> int:  # noqa: ARG002  # as of every rule
        return self.each


RULES: Mapping[str, SmartResize | Rows | Fixed] = {
    "qwen2_vl": SmartResize(28, 3136, 12_845_056),
    "qwen2_5_vl": SmartResize(28, 3136, 12_845_056),
    "qwen3_vl": SmartResize(32, 65_536, 16_777_216),
    "qwen3_vl_moe": SmartResize(32, 65_536, 16_777_216),
    "gemma3": Fixed(256),
    "pixtral": Rows(16, 1024),
    "mistral3": Rows(28, 1540),
}
"""By model_type of config.json; settings as in preprocessor_config.json of Qwen/Qwen2-VL-7B-Instruct,
Qwen/Qwen2.5-VL-7B-Instruct, Qwen/Qwen3-VL-8B-Instruct, google/gemma-3-27b-it (processor_config.json),
mistral-community/pixtral-12b and mistralai/Mistral-Small-3.1-24B-Instruct-2503."""

_SIZE = re.compile(r"([0-9]{1,6})[xX×]([0-9]{1,6})")  # noqa: RUF001  # a sign that people type


def image_size(value: object, what: str) -> tuple[int, int]:
    """'1024x768' -> width and height."""
    match = _SIZE.fullmatch(str(value).strip())
    sides = tuple(map(int, match.groups())) if match else ()
    if not sides or not all(1 <= side <= MOST_PIXELS for side in sides):
        raise KvcalcError(f"{what}: '{value!s:.60}' is not WIDTHxHEIGHT in pixels (for example 1024x768)")
    return sides[0], sides[1]


def image_tokens(model: Model, given: Mapping[str, object]) -> tuple[int, tuple[Note, ...]]:
    """Tokens of the images of a request, and what to know of them.

    Raises:
        KvcalcError: the model's rule is not known, or one of --images and --image-size is missing.
    """
    number, size = given["images"], given["image_size"]
    if number is None and size is None:
        return 0, ()
    if not isinstance(number, int) or not isinstance(size, tuple):
        raise KvcalcError("--images and --image-size go together: --images 2 --image-size 1024x768")
    rule = RULES.get(model.model_type or "")
    if rule is None:
        raise KvcalcError(
            f"--images: how many tokens an image takes in {model.name} is not known to kvcalc "
            f"(known: {', '.join(RULES)}); give them within --context or --input"
        )
    each = rule.tokens(*size)
    told = note(
        "image-tokens",
        f"{number:,} x {each:,} tokens are added for images of {size[0]:,} x {size[1]:,} pixels, with the published "
        f"settings of {model.model_type}'s processor; without tokens of the chat template",
        images=number,
        tokens_each=each,
    )
    return number * each, (told,)
