"""Towers for images while vLLM profiles memory: what they are given, what their layers hold, and what they give.

The run encodes as many images of the largest size as the encoder's budget has tokens for, and then computes a step of
the language model, during which the images and what came of them stay (vllm/v1/worker/gpu_model_runner.py, profile_run;
vllm/multimodal/encoder_budget.py, MultiModalBudget). Of the towers of Qwen-VL the shapes are known here; of others what
they give, and not what their layers hold.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.engines.vllm.model_types import PIXELS, PIXELS_OF_OTHERS
from kvcalc.term import Factor, Product

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvcalc.engines.setup import Setup
    from kvcalc.engines.vllm.settings import Settings

RUNNER = "vllm/v1/worker/gpu_model_runner.py, profile_run"
BUDGET = "vllm/multimodal/encoder_budget.py, MultiModalBudget"

LARGEST_IMAGE = 16_384
"""Tokens. max_pixels 12,845,056 / (28 x 28) of preprocessor_config.json of Qwen2-VL and Qwen2.5-VL, longest_edge
16,777,216 / (32 x 32) of Qwen3-VL and Qwen3.5; logs print 16,384 (0.19, 0.20, 0.22, 0.26)."""
PAIRS_OF_FRAMES = 7
"""Of the longest video of Qwen2-VL and Qwen2.5-VL, each pair as large as an image: _MAX_FRAMES_PER_VIDEO 14, and
temporal_patch_size 2, of vllm/model_executor/models/qwen2_vl.py (0.11 to 0.28; 16 frames up to 0.10.2). A log of 0.23.0
prints a budget of 114,688 tokens, for one video (stored file 55021192520)."""
LONG_AS_A_REQUEST = (0, 11)
"""The video that is profiled is cut to the longest request from 0.11.0 on, and to a step before (_get_mm_dummy_batch of
v1/worker/gpu_model_runner.py)."""
MERGED = 4
"""Patches of a token: spatial_merge_size 2."""
ROTATED_IN_BF16 = (0, 12)
"""apply_rotary_pos_emb_vision of models/qwen2_vl.py rotates in fp32 in 0.11.0, and not in 0.12.0."""
ROTATED_TOGETHER = (0, 11)
"""Queries and keys at once, not one after the other (Qwen2_5_VisionAttention of 0.11.0, and of 0.10.2)."""
ADDED_ANEW = (0, 22)
"""fused_add_rms_norm gives new tensors where nothing is compiled, as in a tower; not in 0.20.0, and in 0.22.0
(vllm/model_executor/layers/layernorm.py, RMSNorm.forward_cuda)."""
EXPANDED, EXPANDED_SINCE, EXPANDED_UNTIL = 153_600, (0, 11), (0, 13)
"""0.11.0 and 0.12.0 take a token of a video for 12.5, expect 12,288 x 12.5 of Qwen3-VL (get_max_video_tokens of
models/qwen3_vl.py), and copy what the tower gives into as many rows (profile_run); 0.13.0 does neither. Logs of 0.11.0
and 0.12.0 print a budget of 153,600 tokens."""


class Shape(NamedTuple):
    """Attention of a tower, in which its layers hold the most.

    Attributes:
        least: parameters of the smallest tower that has it.
        hidden_size: also num_heads x head_dim.
        head_dim: of which a rotary table has half, as cosines and as sines.
    """

    least: int
    hidden_size: int
    head_dim: int


class Tower(NamedTuple):
    """Of one architecture.

    Attributes:
        patch: elements of a patch: 3 channels x temporal_patch_size 2 x patch_size x patch_size.
        whole: elements of hidden_size that each rank holds: the stream, its norm, what attention gives, and in Qwen3-VL
            embeddings of places.
        levels: features that it gives of a token (deepstack), beside the embedding.
        shapes: the largest first.
        videos: whether a video may have more tokens than an image.
        gated: intermediate_size of a feed-forward block that is gated, and holds more than attention where its norm
            gives new tensors; 0: it holds less.
    """

    patch: int
    whole: int
    levels: int
    shapes: tuple[Shape, ...]
    videos: bool = False
    gated: int = 0


_OF_QWEN2 = Tower(1176, 3, 0, (Shape(0, 1280, 80),), videos=True)
_SHAPES = (Shape(437_000_000, 1152, 72), Shape(318_000_000, 1024, 64), Shape(0, 768, 64))
"""27, 24 and 12 layers: vision_config of Qwen3-VL-8B and larger ones, of 2B and 4B, and of Qwen3.5-0.8B."""
TOWERS: Mapping[str, Tower] = MappingProxyType(
    {
        "qwen2_vl": _OF_QWEN2,
        "qwen2_5_vl": _OF_QWEN2._replace(gated=3420),
        "qwen3_vl": Tower(1536, 4, 3, _SHAPES),
        "qwen3_vl_moe": Tower(1536, 4, 3, _SHAPES),
        "qwen3_5": Tower(1536, 4, 0, _SHAPES),
        "qwen3_5_moe": Tower(1536, 4, 0, _SHAPES),
    }
)
"""vllm/model_executor/models/qwen2_vl.py, qwen2_5_vl.py, qwen3_vl.py, by model_type."""

DIVIDED = 8
"""Elements of hidden_size that ranks share (Qwen2_5_VisionAttention.forward): queries, keys and values 3, queries and
keys made contiguous 2 and then rotated 2, and what the kernel gives 1."""
DIVIDED_IN_FP32 = {False: 11, True: 18}
"""The same while they are rotated in fp32, before what attention gives is there. One after the other: queries, keys and
values 3, each contiguous 3, one of them in fp32 2, rotated 2 and in bf16 again 1. Together: 6, side by side 2, in fp32
4, rotated 4, and in bf16 2."""


class Seen(NamedTuple):
    """What towers hold.

    Attributes:
        kept: while the language model computes.
        running: while they run; empty where their layers are not known.
    """

    kept: tuple[Product, ...]
    running: tuple[Product, ...] = ()


def seen_by(setup: Setup, settings: Settings, hidden_size: int, element: int) -> Seen:
    """What the towers of a model hold on a rank that has them.

    Args:
        setup: the model on its deployment.
        settings: what the server runs with.
        hidden_size: of the language model.
        element: bytes of the model's dtype.
    """
    tower = TOWERS.get(setup.model.model_type or "")
    step = Factor("max_num_batched_tokens", settings.max_num_batched_tokens, "token")
    width, size = Factor("hidden_size", hidden_size), Factor("element", element, "byte")
    if tower is None:
        each = PIXELS.get(setup.model.model_type or "", PIXELS_OF_OTHERS)
        pixels = (step, Factor("pixels_of_a_token", each, "element"), size)
        given = Product("images", pixels, f"{RUNNER}, batched_dummy_mm_inputs")
        return Seen((Product("embeddings of images", (step, width, size), RUNNER), given))
    largest = LARGEST_IMAGE * (pairs_of_frames(settings) if tower.videos else 1)
    items = max(1, min(settings.max_num_batched_tokens // largest, settings.max_num_seqs))
    tokens = Factor("tokens_of_the_largest_images", items * largest, "token")
    told = ("tokens x spatial_merge_size x spatial_merge_size", f"{tokens.value:,} x 2 x 2")
    patches = Factor("patches", tokens.value * MERGED, "patch", derived=told)
    images = Product("images", (patches, Factor("elements_of_a_patch", tower.patch, "element"), size), BUDGET)
    rows = tokens
    if tower.levels and EXPANDED_SINCE <= settings.version < EXPANDED_UNTIL:
        rows = Factor("tokens_expected_of_a_video", EXPANDED, "token")
    features = (Factor("features", 1 + tower.levels),) if tower.levels else ()
    embeddings = Product("embeddings of images", (rows, *features, width, size), RUNNER)
    parameters = setup.model.tower_parameters
    # of an unknown size the largest: rather too little memory for the cache than too much
    shape = next(each for each in tower.shapes if parameters is None or parameters >= each.least)
    elements = max(_of_layers(tower, shape, setup.deployment.tp, settings), key=lambda each: each.value)
    source = "vllm/model_executor/models/qwen2_5_vl.py, Qwen2_5_VisionBlock; qwen3_vl.py, Qwen3_VisionTransformer"
    return Seen((embeddings, images), (Product("a layer of the tower", (patches, elements, size), source), images))


def pairs_of_frames(settings: Settings) -> int:
    """Pairs of frames of the video that is profiled."""
    long = settings.version >= LONG_AS_A_REQUEST
    fits = settings.max_model_len if long else settings.max_num_batched_tokens
    return max(1, min(PAIRS_OF_FRAMES, fits // LARGEST_IMAGE))


def _of_layers(tower: Tower, shape: Shape, tp: int, settings: Settings) -> Iterator[Factor]:
    """Elements of a patch at each moment of a layer that may hold the most."""
    hidden, whole = shape.hidden_size, tower.whole
    moments = [(whole, DIVIDED * hidden, f"{DIVIDED} x hidden_size", f"{DIVIDED} x {hidden:,}")]
    if settings.version < ROTATED_IN_BF16:
        divided = DIVIDED_IN_FP32[settings.version >= ROTATED_TOGETHER]
        moments.append((whole - 1, divided * hidden, f"{divided} x hidden_size", f"{divided} x {hidden:,}"))
    if tower.gated:
        # the stream, what attention gives, their sum and its norm, and what the block gives
        held = 5 if settings.version >= ADDED_ANEW else 3
        moments.append((held, 3 * tower.gated, "3 x intermediate_size", f"3 x {tower.gated:,}"))
    for copies, divided, words, numbers in moments:
        yield Factor(
            "elements",
            copies * hidden + divided // tp + shape.head_dim,
            "element",
            derived=(
                f"{copies} x hidden_size + {words} / tp + head_dim",
                f"{copies} x {hidden:,} + {numbers} / {tp} + {shape.head_dim}",
            ),
        )
