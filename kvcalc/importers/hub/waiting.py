"""Waiting for others no longer than a limit: work in threads that the process does not wait for when it ends."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")
Item = TypeVar("Item")


def within(seconds: float, work: Callable[[], T]) -> T:
    """What some work gives.

    Raises:
        TimeoutError: it takes longer; it goes on, and nobody waits for it.
        Exception: what the work raises.
    """
    done: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue()

    def run() -> None:
        try:
            done.put((work(), None))
        except BaseException as error:  # noqa: BLE001  # raised where it is waited for
            done.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        found, error = done.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError from None
    if error is not None:
        raise error
    answer: T = found
    return answer


def together(workers: int, items: Sequence[Item], work: Callable[[Item], T]) -> list[T]:
    """What some work gives for each item, several at a time; the first failure ends it.

    Raises:
        Exception: what the work raises.
    """
    left: queue.SimpleQueue[int] = queue.SimpleQueue()
    for index in range(len(items)):
        left.put(index)
    done: queue.Queue[tuple[int, Any, BaseException | None]] = queue.Queue()

    def run() -> None:
        while True:
            try:
                index = left.get_nowait()
            except queue.Empty:
                return
            try:
                done.put((index, work(items[index]), None))
            except BaseException as error:  # noqa: BLE001  # raised where it is waited for
                done.put((index, None, error))
                return

    for _ in range(min(workers, len(items))):
        threading.Thread(target=run, daemon=True).start()
    found: dict[int, T] = {}
    while len(found) < len(items):
        index, answer, error = done.get()
        if error is not None:
            raise error
        found[index] = answer
    return [found[index] for index in range(len(items))]
