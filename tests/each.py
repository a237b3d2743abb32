"""One test for many small cases: pytest's own work for a case takes longer than these do."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

Test = Callable[..., None]

MOST_NAMED = 20


def for_each(
    names: str | tuple[str, ...], cases: Iterable[Any] | Callable[[], Iterable[Any]]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """In place of `pytest.mark.parametrize`: every case is tried, and what fails first is raised, with all that failed.

    Args:
        names: of the parameters that a case gives.
        cases: a value, or a tuple of them where there are several names; or what gives them when the test begins.
    """
    taken = (names,) if isinstance(names, str) else names
    given = cases if callable(cases) else tuple(cases)

    def decorated(test: Test) -> Test:
        signature = inspect.signature(test)

        @wraps(test)
        def all_cases(**fixtures: Any) -> None:
            found = given() if callable(given) else given
            listed = [(case,) if isinstance(names, str) else tuple(case) for case in found]
            assert listed, "no case"
            failed: list[tuple[tuple[Any, ...], Exception]] = []
            for values in listed:
                try:
                    test(**dict(zip(taken, values, strict=True)), **fixtures)
                except Exception as error:  # noqa: BLE001  # raised below
                    failed.append((values, error))
            if failed:
                shown = "; ".join(", ".join(map(_short, values)) for values, _ in failed[:MOST_NAMED])
                first = failed[0][1]
                first.add_note(f"{len(failed)} of {len(listed)} cases fail: {shown}")
                raise first

        kept = [each for name, each in signature.parameters.items() if name not in taken]
        all_cases.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]  # which pytest reads
        return all_cases

    return decorated


def _short(value: object) -> str:
    text = value.__name__ if isinstance(value, type) else str(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
