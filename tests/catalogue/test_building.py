"""What is built without pydantic is what pydantic would build, and what it would refuse is refused."""

from __future__ import annotations

import copy
import json
import random
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import TypeAdapter, ValidationError

import kvcalc
from kvcalc.catalogue.building import Refused, built
from kvcalc.catalogue.shipped import GPUS, MODELS
from kvcalc.catalogue.yaml_reader import read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.noun import Noun

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 3, 2.5, 1.0, 10**6, 10**30, "", "x", "bf16", "tp", "a\n", "\u202e", "x" * 2001,
    [], ["x"], [1], {}, {"kind": "gqa"}, {"count": 1}, [{"repeat": 2, "of": []}],
)  # fmt: skip
"""What a value may be put in the place of."""

NAMES = [
    "deepseek-v3",
    "deepseek-v4-pro",
    "gemma-3-27b",
    "qwen3-next-80b-a3b",
    "falcon-h1-34b",
    "lfm2-1.2b",
]


def places(values: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where there is something to change."""
    yield here
    inner = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for key, value in inner:
        yield from places(value, (*here, key))


def changed(values: Any, place: tuple[Any, ...], chance: random.Random) -> Any:
    """The values with one of them gone, in another's place, or with a key that is unknown."""
    if not place:
        return chance.choice(ODD)
    found = copy.deepcopy(values)
    holder = found
    for key in place[:-1]:
        holder = holder[key]
    what = chance.random()
    if what < 0.2:
        del holder[place[-1]]
    elif what < 0.3 and isinstance(holder, dict):
        holder["windw"] = holder[place[-1]]
    else:
        holder[place[-1]] = chance.choice(ODD)
    return found


def by_pydantic(adapter: TypeAdapter[Any], values: Any) -> Any:
    try:
        return adapter.validate_json(json.dumps(values))
    except ValidationError:
        return Refused


def by_kvcalc(noun: type[Noun], values: Any) -> Any:
    try:
        return built(noun, values)
    except Refused:
        return Refused


@pytest.mark.parametrize(
    ("noun", "files"),
    [(kvcalc.Model, [MODELS / f"{name}.yaml" for name in NAMES]), (kvcalc.Gpu, [GPUS / "h100-sxm.yaml"])],
    ids=["models", "accelerators"],
)
def test_both_take_and_refuse_the_same(noun: Any, files: list[Any]) -> None:
    adapter, chance, refused = TypeAdapter(noun), random.Random(7), 0  # noqa: S311  # repeatable
    for path in files:
        values = read_yaml(path).root
        for place in places(values):
            for _ in range(4):
                odd = changed(values, place, chance)
                expected = by_pydantic(adapter, odd)
                assert by_kvcalc(noun, odd) == expected, (path.stem, place, odd)
                refused += expected is Refused
    assert refused > 50
