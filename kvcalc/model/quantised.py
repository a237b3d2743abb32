"""A model's weights in another format, as published checkpoints have them.

Checkpoints in fp8, int4, nvfp4 and the like have the matrices of their layers in it, with the scales of their groups,
and leave embedding, output head, routers, norms, biases and towers in the model's dtype: transformers and vLLM quantise
linear layers alone, and the recipes of llm-compressor, AutoAWQ, AutoGPTQ and ModelOpt ignore lm_head and routers.
llama.cpp's and MLX's formats, and plain numbers, are of all weights, MLX's without norms and biases; llama.cpp's files
have no towers (towers.py). What published checkpoints of some classes leave otherwise is in recipes.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvcalc.formats.weights import find_weight_format, is_for_layers_alone, is_of_llama_cpp, is_of_mlx, is_plain
from kvcalc.model.apart import told_apart
from kvcalc.model.model import WeightPart
from kvcalc.model.recipes import AS_STORED, ATTENTION, PLAIN, left_by, recipe_of
from kvcalc.model.towers import TITLE, without_towers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.formats.element import ElementFormat
    from kvcalc.model.apart import Apart
    from kvcalc.model.model import Model

BESIDE = "norms and biases"
NGRAMS = "tables of n-grams"
ROUTERS = "routers"
STREAMS = "mixing of residual streams"
LATENTS = "projections to latents"
OTHERS = "other matrices of layers"


def parts_in(model: Model, asked: ElementFormat) -> tuple[WeightPart, ...] | None:
    """The parts of a model's weights, stored in a format; None where the parts are not told apart.

    Scales are part of the format, so those of the checkpoint that the model's file describes are left out. So are
    towers of a format of llama.cpp, whose files have them apart.
    """
    parts = _parts_in(model, asked)
    if not parts or not is_of_llama_cpp(asked):
        return parts
    from kvcalc.model.in_file import in_file

    return tuple(in_file(model, without_towers(parts), asked.name))


def _parts_in(model: Model, asked: ElementFormat) -> tuple[WeightPart, ...] | None:
    recipe = recipe_of(model, asked.name)
    if recipe is not None and recipe.beside_experts == AS_STORED and model.weights:
        return tuple(_stored(part, asked.name) if part.split == "ep" else part for part in model.weights)
    if model.weights:
        stay = _that_stay(model.weights, asked)
        parts = tuple(part if part in stay else _stored(part, asked.name) for part in model.weights if not part.scales)
        published_so = len(stay) + sum(part.scales for part in model.weights) < len(model.weights)
        return _as_published(model, asked, parts) if published_so else parts
    apart = told_apart(model)
    if apart is None:
        return None
    own = plain_format(model)
    left = own if is_for_layers_alone(asked) else asked.name
    parts = tuple(_parts(apart, asked.name, left, own if is_of_mlx(asked) else left))
    return _as_published(model, asked, parts)


def _as_published(model: Model, asked: ElementFormat, parts: tuple[WeightPart, ...]) -> tuple[WeightPart, ...]:
    """The parts as a recipe of published checkpoints has them."""
    recipe = recipe_of(model, asked.name)
    home = max(
        (part for part in parts if (part.split, part.place, part.format) == ("tp", "layers", asked.name)),
        key=lambda part: part.parameters,
        default=None,
    )
    if recipe is None or home is None:
        return parts
    plain = plain_format(model)
    beside = plain if recipe.latents == PLAIN else recipe.latents
    if beside is not None:
        copied = [part for part in parts if (part.split, part.place, part.format) == ("stage", "layers", asked.name)]
        taken = [*copied, home] if recipe.beside_experts else copied
        parts = tuple(replace(part, format=beside) if part in taken else part for part in parts)
    if recipe.beside_experts:
        return parts
    left = tuple(left_by(recipe, model))
    rest = home.parameters - sum(each.parameters for each in left)
    if rest < 0:
        return parts
    apart = tuple(
        WeightPart(
            part=each.name,
            parameters=each.parameters,
            format=plain if each.stored == PLAIN else each.stored,
            projections=each.name == ATTENTION,
        )
        for each in left
    )
    has_projections = home.projections and not any(part.projections for part in apart)
    others = (replace(home, part=OTHERS, parameters=rest, projections=has_projections),) if rest else ()
    found = [each for part in parts for each in ((*apart, *others) if part is home else (part,))]
    head = asked.name if recipe.head else None
    return tuple(replace(part, format=head) if head and part.place == "head" else part for part in found)


def plain_format(model: Model) -> str:
    """What a checkpoint leaves its tables in: the format that the file states where that is plain, else the dtype."""
    stated = model.weight_dtype
    if stated is not None and is_plain(find_weight_format(stated, "weight_dtype")):
        return stated
    return model.dtype or "bf16"


def _parts(apart: Apart, stored: str, left: str, norms: str) -> Iterator[WeightPart]:
    yield WeightPart(part="embedding", parameters=apart.table, format=left, place="embedding")
    if apart.ngrams:
        yield WeightPart(part=NGRAMS, parameters=apart.ngrams, format=left, place="embedding", ngrams=True)
    if apart.towers:
        yield WeightPart(part=TITLE, parameters=apart.towers, format=left, place="embedding")
    if apart.head:
        yield WeightPart(part="output head", parameters=apart.head, format=left, place="head")
    if apart.experts:
        yield WeightPart(part="routed experts", parameters=apart.experts, format=stored, split="ep")
        yield WeightPart(part=ROUTERS, parameters=apart.routers, format=left, split="stage")
    if apart.beside:
        yield WeightPart(part=BESIDE, parameters=apart.beside, format=norms, split="stage")
    if apart.streams:
        yield WeightPart(part=STREAMS, parameters=apart.streams, format=left, split="stage")
    if apart.latents:
        yield WeightPart(part=LATENTS, parameters=apart.latents, format=stored, split="stage")
    yield WeightPart(part="layers", parameters=apart.matrices, format=stored, projections=True)


def _that_stay(parts: tuple[WeightPart, ...], asked: ElementFormat) -> tuple[WeightPart, ...]:
    """The listed parts that stay as they are in the asked format.

    Where the list is of a quantised checkpoint, what that left in plain numbers; else all but what divides of layers.
    """
    plain = tuple(part for part in parts if not part.scales and is_plain(find_weight_format(part.format, "format")))
    if not is_for_layers_alone(asked):
        return tuple(part for part in plain if part.part == BESIDE) if is_of_mlx(asked) else ()
    if len(plain) < sum(not part.scales for part in parts):
        return plain
    return tuple(part for part in plain if part.place != "layers" or part.split in {"stage", "all"})


def _stored(part: WeightPart, stored: str) -> WeightPart:
    return replace(part, format=stored, weight_block_size=None)
