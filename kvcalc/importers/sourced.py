"""A value of an imported model, and where it comes from."""

from __future__ import annotations

from typing import Any, NamedTuple


class Sourced(NamedTuple):
    """A value, and the reason for it: the key of the file, or what was done where the file has none.

    The reason is the comment beside the value in the YAML that an import writes.
    """

    value: Any
    reason: str

    def because(self, reason: str) -> Sourced:
        """The same value for another reason."""
        return Sourced(self.value, reason)
