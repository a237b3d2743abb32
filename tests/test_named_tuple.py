"""kvcalc's named tuples behave as those of typing."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING, get_type_hints
from typing import NamedTuple as TypingsNamedTuple

import pytest

from kvcalc.named_tuple import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


class Pair(NamedTuple):
    """Two numbers."""

    first: int
    second: int = 2

    @property
    def total(self) -> int:
        return self.first + self.second


class Named(Pair):
    """A subclass without fields of its own."""


class Typings(TypingsNamedTuple):
    first: int
    second: int = 2


def test_values_by_place_and_by_name() -> None:
    assert Pair(1) == Pair(first=1) == Pair(1, second=2) == Pair(second=2, first=1) == (1, 2)
    assert Pair(3, 4)._asdict() == {"first": 3, "second": 4}
    assert (Pair(3, 4).second, Pair(3, 4).total, Named(3).total) == (4, 7, 5)
    assert repr(Pair(1)) == "Pair(first=1, second=2)"


def test_what_is_told_of_the_class() -> None:
    for name in ("_fields", "_field_defaults", "__match_args__"):
        assert getattr(Pair, name) == getattr(Named, name) == getattr(Typings, name)
    assert get_type_hints(Pair) == get_type_hints(Typings)
    assert not hasattr(Pair(1), "__dict__")
    assert hash(Pair(1)) == hash(Typings(1))


@pytest.mark.parametrize("kind", [Pair, Named, Typings])
@pytest.mark.parametrize(("values", "given"), [((), {}), ((1, 2, 3), {}), ((1,), {"first": 1}), ((1,), {"third": 1})])
def test_wrong_values_are_refused(kind: Callable[..., object], values: tuple[int, ...], given: dict[str, int]) -> None:
    with pytest.raises(TypeError):
        kind(*values, **given)


def test_the_later_are_as_the_first() -> None:
    class Often(NamedTuple):
        first: int
        second: int = 2

    class Named(Often):
        """Without fields of its own."""

    for _ in range(3):
        assert Often(1) == Often(second=2, first=1) == (1, 2)
        assert (type(Often(1)), type(Named(1))) == (Often, Named)
        for values, given in (((), {}), ((1, 2, 3), {}), ((1,), {"first": 1}), ((1,), {"third": 1})):
            with pytest.raises(TypeError):
                Often(*values, **given)


def test_copies_and_changes() -> None:
    for pair in (Pair(1, 5), Named(1, 5)):
        copies = copy.copy(pair), copy.deepcopy(pair), pickle.loads(pickle.dumps(pair)), type(pair)._make([1, 5])  # noqa: S301  # our own
        assert all((each, type(each)) == (pair, type(pair)) for each in copies)
    assert Pair(1, 5)._replace(first=3) == (3, 5)
    with pytest.raises(TypeError):
        Pair(1)._replace(third=5)  # type: ignore[call-arg]  # what is refused
    with pytest.raises(AttributeError):
        Pair(1).first = 2  # type: ignore[misc]  # what is refused
