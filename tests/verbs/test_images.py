"""Tokens of images: as the processors of transformers give them, and what is refused."""

from __future__ import annotations

import ast
import importlib.util
import math
from pathlib import Path
from typing import Any

import pytest

import kvcalc
from kvcalc.scenario.images import RULES

SIZES = [(1024, 768), (28, 28), (1, 1), (30, 4000), (2000, 3000), (4096, 4096), (9999, 777), (1540, 1541), (64, 3000)]


def of_transformers(module: str, *names: str, **beside: Any) -> Any:
    """Functions of a file of transformers, by themselves: the files import PIL, which is not there."""
    package = importlib.util.find_spec("transformers")
    assert package is not None
    assert package.origin is not None
    tree = ast.parse((Path(package.origin).parent / "models" / module).read_text())
    found: list[Any] = [each for each in tree.body if isinstance(each, ast.FunctionDef) and each.name in names]
    for each in found:
        each.returns = None
        for argument in each.args.args:
            argument.annotation = None
    room: dict[str, Any] = {"math": math, **beside}
    exec(compile(ast.Module(found, []), module, "exec"), room)  # noqa: S102  # of a package that is installed
    return room[names[0]]


@pytest.mark.torch
@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_qwen_resizes_as_its_processor_does(family: str) -> None:
    smart_resize = of_transformers("qwen2_vl/image_processing_qwen2_vl.py", "smart_resize")
    rule: Any = RULES[family]
    for width, height in SIZES:
        resized = smart_resize(height, width, factor=rule.side, min_pixels=rule.least, max_pixels=rule.most)
        assert rule.tokens(width, height) == resized[0] * resized[1] // rule.side**2


@pytest.mark.torch
@pytest.mark.parametrize("family", ["pixtral", "mistral3"])
def test_pixtral_resizes_as_its_processor_does(family: str) -> None:
    """processing_pixtral.py: (columns + 1) x rows of what the image is resized to."""
    resize = of_transformers(
        "pixtral/image_processing_pixtral.py",
        "get_resize_output_image_size",
        "_num_image_tokens",
        get_image_size=lambda image, _: image,
    )
    rule: Any = RULES[family]
    for width, height in SIZES:
        rows, columns = (each // rule.side for each in resize((height, width), (rule.longest,) * 2, (rule.side,) * 2))
        assert rule.tokens(width, height) == (columns + 1) * rows


@pytest.mark.parametrize(
    ("model", "size", "each"),
    [
        ("qwen2.5-vl-7b", "1024x768", 37 * 27),
        ("qwen2-vl-7b", "8000x8000", 128 * 128),
        ("qwen3-vl-8b", "1024x768", 32 * 24),
        ("gemma-3-27b", "4000x3000", 256),
        ("mistral-small-3.1-24b-2503", "1540x1540", 55 * 56),
    ],
)
def test_images_are_tokens_of_the_context(model: str, size: str, each: int) -> None:
    """By hand: sides in whole tokens of 28 or 32 pixels; 12,845,056 pixels at most; a token more a row."""
    found = kvcalc.estimate(model, context=1000, images=3, image_size=size)
    assert found.workload.context == 1000 + 3 * each
    assert found.cache.bytes == kvcalc.estimate(model, context=1000 + 3 * each).cache.bytes
    mixed = kvcalc.estimate(model, mix="50%:100+10,50%:1000", images=3, image_size=size)
    assert [kind.input for kind in mixed.mix] == [1000 + 3 * each, 100 + 3 * each]


@pytest.mark.parametrize(
    ("model", "given", "message"),
    [
        ("llama-3-8b", {"images": 1, "image_size": "10x10"}, "llama-3-8b is not known .* within --context"),
        ("internvl3-8b", {"images": 1, "image_size": "10x10"}, "is not known"),
        ("gemma-3-27b", {"images": 1}, "go together"),
        ("gemma-3-27b", {"images": 1, "image_size": "10"}, "is not WIDTHxHEIGHT"),
        ("gemma-3-27b", {"images": 1, "image_size": "0x10"}, "is not WIDTHxHEIGHT"),
        ("qwen2-vl-7b", {"images": 1, "image_size": "1x500"}, "sides that differ 200 times"),
        ("qwen2-vl-7b", {"images": 1, "image_size": "100x100", "shared_prefix": 9000}, "more than the context"),
    ],
)
def test_what_is_no_image_is_refused(model: str, given: dict[str, Any], message: str) -> None:
    with pytest.raises(kvcalc.KvcalcError, match=message):
        kvcalc.estimate(model, **given)
