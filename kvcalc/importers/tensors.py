"""The tensors of a checkpoint, added up as the headers of its files are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kvcalc.errors import KvcalcError
from kvcalc.importers.tensor_roles import layer_of, names_draft, role_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvcalc.importers.tensor_roles import Role

MAX_TENSORS = 1_000_000
"""Of a checkpoint: 896 experts in 93 layers, quantised, have 750,000."""

WITHOUT_FILES = "name config.json itself, and give --weights SIZE"
"""What a user can do where a checkpoint's files hold nothing."""


class StoredTensor(NamedTuple):
    """A tensor of a checkpoint.

    Attributes:
        name: its own.
        format: of its elements, as kvcalc names it.
        elements: how many are stored, which where weights are packed is fewer than parameters.
        size: bytes.
        beside: of those, bytes that are not of its elements: a scale of each row.
    """

    name: str
    format: str
    elements: int
    size: int
    beside: int = 0


class AddedUp:
    """The tensors of a checkpoint's files, added up as they are read: there may be a million of them.

    Those of one role, layer and format are one, under the name of the first.
    """

    def __init__(self, shown: str) -> None:
        self._shown = shown
        self._sums: dict[tuple[Role, int | None, bool, str], StoredTensor] = {}
        self._names: set[int] = set()

    def add(self, tensors: Iterable[StoredTensor]) -> None:
        """Those of one more file.

        Raises:
            KvcalcError: a tensor is there twice, or there are more than any model has.
        """
        for tensor in tensors:
            name = hash(tensor.name)  # a million names themselves would take 150 MB
            if name in self._names:
                raise KvcalcError(f"{self._shown}: tensor '{tensor.name[:60]}' is there twice")
            if len(self._names) == MAX_TENSORS:
                raise KvcalcError(f"{self._shown}: more than {MAX_TENSORS:,} tensors")
            self._names.add(name)
            key = role_of(tensor.name), layer_of(tensor.name), names_draft(tensor.name), tensor.format
            before = self._sums.get(key)
            if before is not None:
                tensor = before._replace(  # noqa: PLW2901  # the sum so far
                    elements=before.elements + tensor.elements, size=before.size + tensor.size
                )
            self._sums[key] = tensor

    @property
    def tensors(self) -> tuple[StoredTensor, ...]:
        """The sums.

        Raises:
            KvcalcError: the files hold nothing.
        """
        if not self._sums:
            raise KvcalcError(f"{self._shown}: its *.safetensors files hold no tensors; {WITHOUT_FILES}")
        return tuple(self._sums.values())
