"""An engine for tests, in one file: blocks, a budget of its own, options, and deployments that it refuses.

Blocks of 16 tokens (`block-size`). Sequences share whole blocks of a prefix only, each with a last one of its own. One
block is held back. States are kept twice. 80 % of the accelerator's memory is used (`memory-fraction`); every rank
takes 64 MiB, and 4 MiB of activations for each of its shares of 8. The last stages are the longer ones. No tokens are
split over ranks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from functools import cached_property
from itertools import groupby
from types import MappingProxyType
from typing import Any, ClassVar

from kvcalc.engines import Budget, Engine, Load, Option, Pool, Settled, Setup, Temporary, contents
from kvcalc.errors import KvcalcError
from kvcalc.model.stages import Stage
from kvcalc.noun import noun
from kvcalc.term import Factor, Product, Sum
from kvcalc.units import parse_count, parse_fraction

MIB = 2**20
SOURCE = "this test"


def _count(text: str, what: str) -> int:
    return parse_count(text, what, 1024)


class ToyLayout(Settled):
    """Each sequence has whole blocks."""

    def __init__(self, setup: Setup, block_size: int, fraction: Fraction) -> None:
        super().__init__(setup)
        self.block_size, self._fraction = block_size, fraction

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        layout, pp = self.setup.model.layout, self.setup.deployment.pp
        size, longer = divmod(len(layout.layers), pp)
        return layout.split(tuple(size + (stage >= pp - longer) for stage in range(pp)))

    @property
    def block_tokens(self) -> int:
        return self.block_size

    def excess(self, stage: Stage, load: Load) -> Iterator[Product]:
        if size_of_one := self._block_bytes(stage):
            yield Product(f"null block of stage {stage.number}", (Factor("block", size_of_one, "byte"),), SOURCE)
        size = self.block_size
        for (layer, names), same in groupby(contents(self.rank_load(stage, load)), key=_key):
            parts = list(same)
            content = parts[-1]
            alike = Factor("tensors", len(content.tensors), "tensor")
            layers = Factor("layers", content.layers, "layer")
            if content.tensors[0].rows is not None:
                copy = Factor("second_copy", math.prod(row.value for row in content.rows), "row")
                yield Product(f"{layer}: {names}, second copy", (alike, layers, copy, *content.row), SOURCE)
                continue
            shared = sum(part.rows[-1].value for part in parts if part.shared)
            own = sum(part.rows[-1].value for part in parts if not part.shared)
            whole = shared // size * size
            own_blocks = max(-(-(shared - whole + own) // size), whole > 0)
            reserved = whole + load.sequences * own_blocks * size
            if unused := reserved - shared - load.sequences * own:
                tokens = Factor("unused_tokens", unused, "token unused")
                yield Product(f"{layer}: {names}, rounding to blocks", (alike, layers, tokens, *content.row), SOURCE)

    def _block_bytes(self, stage: Stage) -> int:
        return self.block_size * self.rate(stage, Load(1, 0)).bytes_per_token

    def budget(self, stage: Stage, weights_bytes: int) -> Budget:  # noqa: ARG002  # the interface's
        memory = self.setup.gpu.memory_bytes
        assert memory is not None
        size = 4 * MIB * max(1, 8 // self.setup.deployment.tp)
        factors = (Factor("mib_of_a_share", size, "byte"),)
        buffers = Product("toy buffers", (Factor("given", 64 * MIB, "byte"),), SOURCE)
        return Budget(
            usable=memory * self._fraction.numerator // self._fraction.denominator,
            temporary=Temporary(Product("temporary", factors, SOURCE), size, size),
            overhead=Sum("overhead", (buffers,)),
        )

    def pool(self, memory: Sequence[int], load: Load) -> Pool | None:
        sizes = [(self._block_bytes(stage), each) for stage, each in zip(self.stages, memory, strict=True)]
        blocks = min((each // size for size, each in sizes if size), default=None)
        if blocks is None:
            return None
        blocks = max(0, blocks)
        needed = -(-load.context // self.block_size)
        return Pool(blocks, self.block_size, blocks * self.block_size, math.floor(100 * blocks / needed) / 100)


def _key(content: Any) -> tuple[str, str]:
    return content.layer.label, "+".join(tensor.name for tensor in content.tensors)


@noun
class Toy(Engine):
    """Blocks."""

    name: ClassVar[str] = "toy"
    versions: ClassVar[tuple[str, ...]] = ("0.9", "1.0")
    about: ClassVar[str] = "Gives every sequence whole blocks, and keeps states twice."
    formula: ClassVar[str] = "blocks x block-size x bytes of a token"
    source: ClassVar[str] = SOURCE
    options: ClassVar[Mapping[str, Option]] = MappingProxyType(
        {
            "block-size": Option(_count, "16", "Tokens of a block."),
            "memory-fraction": Option(parse_fraction, "0.8", "Share of the accelerator's memory."),
        }
    )
    block_option: ClassVar[str | None] = "block-size"
    utilization: ClassVar[Fraction | None] = None

    def settle(self, setup: Setup) -> ToyLayout:
        if setup.deployment.dcp > 1:
            raise KvcalcError("--dcp: engine toy splits no tokens over ranks")
        return ToyLayout(setup, self.option("block-size"), self.option("memory-fraction"))
