"""Nouns behave as the frozen dataclasses that `dataclass` makes."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, field, fields, is_dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import pytest

from kvcalc.catalogue.shipped import MODELS, read_model
from kvcalc.model.layers import count_layers
from kvcalc.noun import Noun, noun


@noun
class Pair(Noun):
    """Two numbers."""

    first: int
    second: int = 2
    seen: list[int] = field(default_factory=list, compare=False)

    def __post_init__(self) -> None:
        if self.first > self.second:
            raise ValueError("first: is the smaller one")

    @cached_property
    def total(self) -> int:
        return self.first + self.second


@noun(kw_only=True)
class Named(Pair):
    """With a name."""

    name: str


def test_values_are_given_by_place_or_by_name() -> None:
    assert Pair(1) == Pair(1, 2) == Pair(first=1) == Pair(1, second=2, seen=[7])
    assert Pair(1) != Named(1, name="x") != Named(1, name="y")
    assert repr(Named(1, name="x")) == "Named(first=1, second=2, seen=[], name='x')"
    assert [each.name for each in fields(Named)] == ["first", "second", "seen", "name"]
    assert Named.__match_args__ == ("first", "second", "seen")
    assert Pair(1).seen is not Pair(1).seen


@pytest.mark.parametrize(
    ("values", "given", "message"),
    [
        ((), {}, "lacks first"),
        ((1, 2, [], 4), {}, "takes each of first, second, seen once"),
        ((1,), {"first": 1}, "takes each of first, second, seen once"),
        ((1,), {"third": 3}, "has no field third"),
    ],
)
def test_what_does_not_go_together_is_a_type_error(values: Any, given: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Pair(*values, **given)


def test_nothing_changes_and_checks_are_made_of_copies_too() -> None:
    pair = Pair(1)
    with pytest.raises(FrozenInstanceError):
        pair.first = 3  # type: ignore[misc]  # the mistake
    with pytest.raises(FrozenInstanceError):
        del pair.first
    with pytest.raises(ValueError, match="the smaller one"):
        replace(pair, first=3)


def test_what_was_worked_out_stays_out_of_copies_and_comparisons() -> None:
    pair = Pair(1)
    assert (pair.total, hash(pair)) == (3, hash(Pair(1)))
    again = pickle.loads(pickle.dumps(pair))  # noqa: S301  # made a moment ago
    for other in (copy.copy(pair), copy.deepcopy(pair), again, replace(pair)):
        assert other == pair
        assert {*vars(other)} == {"first", "second", "seen"}


@pytest.mark.parametrize("name", ["llama-3-8b", "gemma-3-27b", "falcon-h1-34b", "deepseek-v4-pro"])
def test_kinds_of_layers_are_those_of_the_layers_written_out(name: str) -> None:
    model = read_model(MODELS / f"{name}.yaml")
    assert [*model.distinct().items()] == [*count_layers(model.sequence()).items()] == [*model.layout.kinds.items()]


def test_a_dataclass_is_made_where_it_is_asked_for() -> None:
    @noun
    class First(Noun):
        kind: ClassVar[str] = "of the class"
        value: int = field(default=3, metadata={"told": 1})

    @noun
    class Second(First):
        other: int = 4

    class Third(Second):
        """Without the decorator, and without fields of its own."""

    assert repr(Third()) == "Third(value=3, other=4)"
    for kind, names in ((Second, ["value", "other"]), (First, ["value"]), (Third, ["value", "other"])):
        assert [each.name for each in fields(kind)] == names
        assert is_dataclass(kind)
    assert fields(Third)[0].metadata == {"told": 1}
    assert replace(Third(5), other=6) == Third(5, 6)
    assert not is_dataclass(Noun)
