"""A second engine for tests, unlike the first: it reserves all tokens of all sequences together, in cells of 256.

No tensor parallelism, no attention data-parallelism, no decode context parallelism. All of the memory is usable, of
which it leaves 16 MiB free by its own rule. What it holds is no sum of content and excess. Its overhead grows with each
GPU of the deployment.
"""

from __future__ import annotations

from fractions import Fraction
from typing import ClassVar

from kvcalc.engines import Budget, Engine, Load, Settled, Setup, Temporary
from kvcalc.errors import KvcalcError
from kvcalc.model.stages import Stage
from kvcalc.noun import noun
from kvcalc.term import Factor, Product, Sum

CELLS = 256
MIB = 2**20
SOURCE = "this test"


class SlotsLayout(Settled):
    """Cells of all sequences side by side."""

    @property
    def block_tokens(self) -> int:
        return CELLS

    def held(self, stage: Stage, load: Load) -> Sum:
        content = super().held(stage, load)
        cells = -(-load.sequences * load.context // CELLS) * CELLS
        row = self.rate(stage, Load(1, 0)).bytes_per_token
        whole = Product("cells", (Factor("cells", cells, "cell"), Factor("row", row, "byte")), SOURCE)
        states = self.rate(stage, Load(1, 0)).state_bytes_per_sequence * load.sequences
        if whole.bytes + states < content.bytes:  # a prefix of its own for each, windows or not
            return content
        parts = (whole, Product("states", (Factor("states", states, "byte"),), SOURCE))
        return Sum("cache", tuple(part for part in parts if part.bytes))

    def held_bytes(self, stage: Stage, load: Load) -> int:
        return self.held(stage, load).bytes

    def budget(self, stage: Stage, weights_bytes: int) -> Budget:  # noqa: ARG002  # the interface's
        size = 2 * MIB
        buffers = Product("buffers", (Factor("of_a_gpu", MIB, "byte"), Factor("gpus", self._gpus, "GPU")), SOURCE)
        return Budget(
            usable=self.setup.gpu.memory_bytes,
            temporary=Temporary(Product("temporary", (Factor("buffer", size, "byte"),), SOURCE), size, size),
            overhead=Sum("overhead", (buffers,)),
            left_free=Product("left free", (Factor("left_free", 16 * MIB, "byte"),), SOURCE),
        )

    @property
    def _gpus(self) -> int:
        return self.setup.deployment.gpus


@noun
class Slots(Engine):
    """Cells."""

    name: ClassVar[str] = "slots"
    versions: ClassVar[tuple[str, ...]] = ("b1",)
    about: ClassVar[str] = "Reserves all tokens of all sequences together."
    formula: ClassVar[str] = "ceil(sequences x context / 256) x 256 x bytes of a token"
    source: ClassVar[str] = SOURCE
    utilization: ClassVar[Fraction | None] = None

    def settle(self, setup: Setup) -> SlotsLayout:
        deployment = setup.deployment
        for name, given in (("tp", deployment.tp > 1), ("dcp", deployment.dcp > 1)):
            if given:
                raise KvcalcError(f"--{name}: engine slots puts whole layers on a GPU; give --pp")
        if deployment.dp_attention:
            raise KvcalcError("--dp-attention: engine slots has none")
        return SlotsLayout(setup)
