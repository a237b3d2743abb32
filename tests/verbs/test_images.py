"""Tokens of images: as the processors of transformers give them, and what is refused."""

from __future__ import annotations

import ast
import importlib.util
import math
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import kvcalc
from kvcalc.scenario.images import RULES
from kvcalc.scenario.sounds import RULES as SOUNDS

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
        each.decorator_list = []
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
@pytest.mark.parametrize("module", ["glm4v/image_processing_glm4v.py", "glm46v/image_processing_glm46v.py"])
def test_glm_resizes_as_its_processor_does(module: str) -> None:
    smart_resize = of_transformers(module, "smart_resize")
    rule: Any = RULES["glm4v"]
    for width, height in [*SIZES, (27, 27), (20, 2000), (6000, 70), (57, 56), (3103, 1552)]:
        edges = {"min_pixels": rule.least, "max_pixels": rule.most}
        high, wide = smart_resize(2, height, width, factor=rule.side, **edges)
        assert rule.tokens(width, height) == high * wide // rule.side**2


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


@pytest.mark.torch
def test_gemma_4_and_kimi_resize_as_their_processors_do() -> None:
    keep: Any = of_transformers("gemma4/processing_gemma4.py", "get_aspect_ratio_preserving_size")
    navit: Any = of_transformers("kimi_k25/image_processing_kimi_k25.py", "navit_resize")
    for width, height in SIZES:
        rows, columns = (each // 48 for each in keep(height, width, 16, 280 * 9, 3))
        assert RULES["gemma4"].tokens(width, height) == rows * columns
        _, (high, wide) = navit(height, width, 14, 2, 16_384, 512)
        assert RULES["kimi_k25"].tokens(width, height) == high * wide // 28**2


@pytest.mark.torch
def test_internvl_and_llama_4_cut_tiles_as_their_processors_do() -> None:
    import torch  # as its test is marked

    module = "got_ocr2/image_processing_got_ocr2.py"
    canvas: Any = of_transformers(module, "get_optimal_tiled_canvas", "get_all_supported_aspect_ratios")
    beside = {"torch": torch, "defaultdict": defaultdict}
    module = "llama4/image_processing_llama4.py"
    supported: Any = of_transformers(module, "find_supported_resolutions", "get_factors", **beside)
    fit: Any = of_transformers(module, "get_best_fit", **beside)
    canvases = torch.tensor(supported(16, SimpleNamespace(height=336, width=336)))
    for width, height in [*SIZES, (448, 448), (900, 900), (896, 448), (672, 336), (337, 336), (1344, 1008)]:
        grid = math.prod(canvas((height, width), (448, 448), 1, 12))
        assert RULES["internvl"].tokens(width, height) == 2 + 256 * (grid + 1 if grid > 1 else 1)
        tiles = math.prod(int(side) // 336 for side in fit((height, width), canvases))
        # as _prompt_split_image writes it: start, tiles that end with a separator, the image's own token, a tile, end
        assert RULES["llama4"].tokens(width, height) == 1 + (145 * tiles if tiles > 1 else 0) + 1 + 144 + 1


@pytest.mark.torch
@pytest.mark.parametrize("family", ["qwen2_audio", "qwen2_5_omni", "qwen3_omni_moe"])
def test_sound_is_as_many_tokens_as_the_feature_extractor_leaves_frames(family: str) -> None:
    module = f"{family}/processing_{family}.py"
    told = SimpleNamespace(seconds={"qwen2_audio": 30, "qwen2_5_omni": 300}.get(family))
    lengths: Any = (
        (lambda frames: (((frames - 1) // 2 + 1) - 2) // 2 + 1)  # replace_audio_token's num_audio_tokens
        if family == "qwen2_audio"
        else of_transformers(module, "_get_feat_extract_output_lengths")
    )
    for samples in (201, 399, 400, 15_999, 16_000, 479_999, 480_000, 480_001, 1_234_567, 5_000_000):
        frames = samples // 160 if told.seconds is None else min(-(-samples // 160), 100 * told.seconds)
        assert SOUNDS[family].tokens(samples) == lengths(frames)


@pytest.mark.parametrize(
    ("family", "samples", "tokens"),
    [
        ("voxtral", 1, 376),  # mistral_common 1.13.1, AudioEncoder.pad and num_audio_tokens: 12.5 a second, 30 s
        ("voxtral", 480_001, 751),
        ("gemma3n", 99, 188),
        ("gemma4", 100, 0),  # Gemma4Processor._compute_audio_num_tokens
        ("gemma4", 16_000, 25),
        ("gemma4", 331_234, 518),
        ("gemma4", 480_001, 750),
        ("gemma4_unified", 641, 2),
    ],
)
def test_sound_of_other_families(family: str, samples: int, tokens: int) -> None:
    """As the classes computed them."""
    assert SOUNDS[family].tokens(samples) == tokens


def test_sound_is_tokens_of_the_context() -> None:
    found = kvcalc.estimate("qwen2.5-omni-7b", context=1000, audio="30.005", images=1, image_size=(1024, 768))
    assert found.workload.context == 1000 + 750 + 37 * 27
    for given in ("0", "-1", "1e3", "1/3", "nan", "\u0663", "9" * 31, "1.2.3", "1000001"):
        with pytest.raises(kvcalc.KvcalcError, match="is not a number of seconds"):
            kvcalc.estimate("qwen2.5-omni-7b", audio=given)
    for model in ("llama-3-8b", "gemma-4-26b-a4b"):  # the latter's file says that it takes text and images
        with pytest.raises(kvcalc.KvcalcError, match="is not known"):
            kvcalc.estimate(model, audio=3)


def test_models_and_mechanisms_are_compared_with_images_and_mixes() -> None:
    """Rows hold what an estimate of each alone holds; models that make other tokens of an image are not compared."""
    images: Any = {"images": 2, "image_size": "1024x768", "mix": "50%:1000+100,50%:8000", "batch": 7}
    alone = kvcalc.estimate("qwen2.5-vl-7b", **images)
    rows = {row.name: row for row in kvcalc.compare("qwen2.5-vl-7b", **images).rows}
    own = rows["gqa-4"]
    assert (own.cache_bytes, own.cache_peak_bytes) == (alone.cache.bytes, alone.cache.peak_bytes)
    # 2 x 28 layers x 4 heads x 128 x 2 bytes a token; 4 requests of 9,998 and 3 of 2,998 + 100 tokens, 50 on average
    assert own.cache_peak_bytes == 57_344 * (4 * 9_998 + 3 * 3_098)
    assert own.cache_bytes == 57_344 * (4 * 9_998 + 3 * 3_048)
    assert rows["mha"].cache_bytes == 7 * own.cache_bytes
    both = kvcalc.compare(["qwen2.5-vl-7b", "qwen2-vl-7b"], images=1, image_size="1024x768")
    assert both.workload.context == 8192 + 999
    with pytest.raises(kvcalc.KvcalcError, match="different numbers of tokens"):
        kvcalc.compare(["qwen2.5-vl-7b", "gemma-3-27b"], images=1, image_size="1024x768")


@pytest.mark.parametrize(
    ("model", "size", "each"),
    [
        ("qwen3.5-9b", "1024x768", 32 * 24),
        ("internvl3-8b", "1024x768", 2 + 256 * 13),
        ("llama-4-scout-17b-16e", "1024x768", 3 + 144 + 145 * 12),
        ("gemma-4-31b", "1024x768", 19 * 14),
        ("kimi-k2.6", "1024x768", 37 * 28),
        ("qwen2.5-vl-7b", "1024x768", 37 * 27),
        ("qwen2-vl-7b", "8000x8000", 128 * 128),
        ("qwen3-vl-8b", "1024x768", 32 * 24),
        ("glm-4.1v-9b-thinking", "1024x768", 37 * 27),
        ("glm-4.6v-flash", "4000x4000", 78 * 78),  # two frames of 28 x 78 squared are 9,539,712 pixels
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
        ("lfm2.5-vl-1.6b", {"images": 1, "image_size": "10x10"}, "is not known"),
        ("glm-4.1v-9b-thinking", {"images": 1, "image_size": "10x9999"}, "sides that differ 200 times"),
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
