"""What layers ask of vLLM's planner that keep states of one size."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from kvcalc.engines.vllm.cache.specs import INTERFACE, Piece, Request, Spec
from kvcalc.mechanisms import Role
from kvcalc.noun import noun

if TYPE_CHECKING:
    from collections.abc import Iterator


@noun
class State(Spec):
    """A state, or several: MambaSpec. A page holds one.

    Attributes:
        states: of a sequence.
        why_several: whose the further ones are.
        speculative: tokens drafted a step: so many inputs more does each convolution keep.
    """

    family: ClassVar[str] = "states"

    states: int = 1
    why_several: str = ""
    speculative: int = 0

    @property
    def state_bytes(self) -> int:
        """Of one state by the formula."""
        return sum(each.row_bytes * (each.constant_rows or 0) for each in self.rows)

    @property
    def speculative_bytes(self) -> int:
        """What the convolutions of one state keep for drafted tokens."""
        return self.speculative * sum(each.row_bytes for each in self.rows if each.tensor.role is Role.CONV)

    @property
    def content_page(self) -> int:
        return self.state_bytes + self.speculative_bytes

    @property
    def uniform(self) -> tuple[object, ...]:
        return self.family, self.block_size, self.page, self.states

    def blocks(self, request: Request) -> int:  # noqa: ARG002  # of Spec
        return self.states

    def grows(self, request: Request) -> bool:  # noqa: ARG002  # of Spec
        return False

    def pieces(self, request: Request) -> Iterator[Piece]:  # noqa: ARG002  # of Spec
        source = f"{INTERFACE}, MambaSpec.max_memory_usage_bytes"
        yield Piece(self.why_several, self.states - 1, "state", self.state_bytes, source)
        yield Piece(
            "inputs of drafted tokens",
            self.states,
            "state",
            self.speculative_bytes,
            "vllm/model_executor/layers/mamba/mamba_utils.py, MambaStateShapeCalculator",
        )
