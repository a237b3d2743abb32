"""Tokens that an image takes in the context, by the published rule of a model's processor.

They are those that stand for the image itself, as the processor's `_get_num_multimodal_tokens` gives them (transformers
5.24.0); tokens that a chat template puts around them are not counted.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError
from kvcalc.note import Note, note
from kvcalc.scenario.image_rules import Canvas, Fixed, Frames, Padded, Rows, Rule, SmartResize, SoftTokens, Tiles

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.model.model import Model

MOST_PIXELS = 10**5
"""Of a side."""

QWEN = SmartResize(28, 3136, 12_845_056)
QWEN_3 = SmartResize(32, 65_536, 16_777_216)
GLM = Frames(28, 2, 12_544, 9_633_792)
RULES: Mapping[str, Rule] = {
    "qwen2_vl": QWEN,
    "qwen2_5_vl": QWEN,
    "qwen2_5_omni": QWEN,
    "qwen3_vl": QWEN_3,
    "qwen3_vl_moe": QWEN_3,
    "qwen3_5": QWEN_3,
    "qwen3_5_moe": QWEN_3,
    "qwen3_omni_moe": SmartResize(32, 3136, 12_845_056),
    "glm4v": GLM,
    "glm4v_moe": GLM,
    "gemma3": Fixed(256),
    "gemma3n": Fixed(256),
    "gemma4": SoftTokens(48, 280),
    "gemma4_unified": SoftTokens(48, 280),
    "pixtral": Rows(16, 1024),
    "mistral3": Rows(28, 1540),
    "internvl": Tiles(448, 12, 256),
    "internvl_chat": Tiles(448, 12, 256),
    "llama4": Canvas(336, 16, 144),
    "kimi_k25": Padded(14, 2, 16_384, 512),
}
"""By model_type of config.json; settings as in preprocessor_config.json of Qwen/Qwen2-VL-7B-Instruct,
Qwen/Qwen2.5-VL-7B-Instruct, Qwen/Qwen2.5-Omni-7B, Qwen/Qwen3-VL-8B-Instruct, Qwen/Qwen3.5-27B,
Qwen/Qwen3-Omni-30B-A3B-Instruct, zai-org/GLM-4.6V-Flash,
google/gemma-3-27b-it (processor_config.json), google/gemma-4-31B-it (likewise),
mistral-community/pixtral-12b, mistralai/Mistral-Small-3.1-24B-Instruct-2503, OpenGVLab/InternVL3_5-8B-HF,
meta-llama/Llama-4-Scout-17B-16E-Instruct and moonshotai/Kimi-K2.5."""

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
