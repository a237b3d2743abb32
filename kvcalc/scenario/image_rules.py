"""How many tokens an image is, for each kind of processor.

Tokens are those that the processor's `_get_num_multimodal_tokens` counts (transformers 5.24.0); Llama 4's has none, and
all that its processor writes for an image is counted.
"""

from __future__ import annotations

import math
import struct
from functools import lru_cache
from typing import NamedTuple

from kvcalc.errors import KvcalcError

STEEPEST = 200
"""Qwen's and GLM's processors refuse images whose sides differ more."""


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


class Frames(NamedTuple):
    """As a film of a few frames, whose pixels together are scaled into a range; no side is less than a token's.

    transformers/models/glm4v/image_processing_glm4v.py and glm46v/image_processing_glm46v.py, smart_resize.

    Attributes:
        side: pixels of a token's side: patch_size x merge_size.
        frames: that an image counts as (temporal_patch_size).
        least: pixels of all frames (shortest_edge of size).
        most: likewise (longest_edge).
    """

    side: int
    frames: int
    least: int
    most: int

    def tokens(self, width: int, height: int) -> int:
        side = self.side
        if min(width, height) < side:
            scale = max(side / height, side / width)
            width, height = int(width * scale), int(height * scale)
        if max(width, height) > STEEPEST * min(width, height):
            raise KvcalcError(f"--image-size: the model's processor refuses sides that differ {STEEPEST} times")
        rows, columns = round(height / side), round(width / side)
        pixels = self.frames * rows * columns * side**2
        if pixels > self.most:
            scale = math.sqrt(self.frames * height * width / self.most)
            rows, columns = (max(1, math.floor(each / scale / side)) for each in (height, width))
        elif pixels < self.least:
            scale = math.sqrt(self.least / (self.frames * height * width))
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


class SoftTokens(NamedTuple):
    """As large as a number of tokens allows, with the proportions of the image.

    transformers/models/gemma4/processing_gemma4.py, get_aspect_ratio_preserving_size.

    Attributes:
        side: pixels of a token's side: patch_size x pooling_kernel_size.
        most: tokens of an image (max_soft_tokens).
    """

    side: int
    most: int

    def tokens(self, width: int, height: int) -> int:
        scale = math.sqrt(self.most * self.side**2 / (height * width))
        rows, columns = (math.floor(scale * each / self.side) for each in (height, width))
        if not rows:
            rows, columns = 1, min(width // height, self.most)
        elif not columns:
            rows, columns = min(height // width, self.most), 1
        return rows * columns


class Padded(NamedTuple):
    """Scaled down to a number of patches, and padded to whole tokens.

    transformers/models/kimi_k25/image_processing_kimi_k25.py, navit_resize.

    Attributes:
        patch: pixels of a patch's side (patch_size).
        merge: patches of a token's side (merge_size).
        most: patches of an image (max_patches; in_patch_limit of the published file).
        longest: patches of a side (max_height of size; patch_limit_on_one_side).
    """

    patch: int
    merge: int
    most: int
    longest: int

    def tokens(self, width: int, height: int) -> int:
        patches = math.prod(max(1.0, each // self.patch) for each in (height, width))
        longest, side = self.longest * self.patch, self.patch * self.merge
        scale = min(1.0, math.sqrt(self.most / patches), longest / height, longest / width)
        sides = (min(max(1, int(each * scale)), longest) for each in (height, width))
        return math.prod(-(-each // side) for each in sides)


class Tiles(NamedTuple):
    """Cut into the grid of tiles whose proportions are nearest, with the whole image as one more; a token at both ends.

    transformers/models/internvl/processing_internvl.py, and get_optimal_tiled_canvas of
    got_ocr2/image_processing_got_ocr2.py.

    Attributes:
        side: pixels of a tile's side.
        most: tiles of a grid (max_patches; max_dynamic_patch of config.json).
        each: tokens of a tile (image_seq_length).
    """

    side: int
    most: int
    each: int

    def tokens(self, width: int, height: int) -> int:
        best, least = 1, math.inf
        for columns, rows in _grids(self.most):
            apart = abs(width / height - columns / rows)
            large = width * height > 0.5 * self.side**2 * columns * rows
            if apart < least or (apart == least and large):
                best, least = columns * rows, apart
        return 2 + self.each * (best + 1 if best > 1 else 1)


class Canvas(NamedTuple):
    """Cut into tiles of the canvas that it is scaled least for, with the whole image as one more.

    transformers/models/llama4/image_processing_llama4.py, get_best_fit, and processing_llama4.py, _prompt_split_image:
    a token ends each tile, and three more are the image's own.

    Attributes:
        side: pixels of a tile's side.
        most: tiles of a canvas (max_patches).
        each: tokens of a tile.
    """

    side: int
    most: int
    each: int

    def tokens(self, width: int, height: int) -> int:
        scales = [
            (min(_single(self.side * rows, height), _single(self.side * columns, width)), rows * columns)
            for columns, rows in _grids(self.most)
        ]
        up = [scale for scale, _ in scales if scale >= 1]
        chosen = min(up) if up else max(scale for scale, _ in scales)
        tiles = min(number for scale, number in scales if scale == chosen)
        return 3 + self.each + (tiles * (self.each + 1) if tiles > 1 else 0)


Rule = SmartResize | Frames | Rows | Fixed | SoftTokens | Padded | Tiles | Canvas


@lru_cache
def _grids(most: int) -> tuple[tuple[int, int], ...]:
    """Columns and rows of all grids of so many tiles, the smallest first, of equal ones the narrowest."""
    grids = [(columns, rows) for columns in range(1, most + 1) for rows in range(1, most // columns + 1)]
    return tuple(sorted(grids, key=math.prod))


def _single(numerator: int, denominator: int) -> float:
    """A quotient in single precision, as the processor compares them."""
    quotient: float = struct.unpack("f", struct.pack("f", numerator / denominator))[0]
    return quotient
