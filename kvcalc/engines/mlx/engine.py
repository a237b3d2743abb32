"""The engine `mlx`."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from kvcalc.engines.base import Engine
from kvcalc.engines.mlx.kept import as_kept, kept_format
from kvcalc.engines.mlx.layout import MlxLayout
from kvcalc.engines.mlx.options import GIVEN_ELSEWHERE, OPTIONS, settings_of
from kvcalc.engines.mlx.rules import CACHE, RULES, VERSIONS
from kvcalc.engines.option import Option, Rule
from kvcalc.engines.setup import Setup
from kvcalc.errors import KvcalcError
from kvcalc.note import Note, note, register
from kvcalc.noun import noun

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from fractions import Fraction

register({"mlx-buffers": "buffers that MLX keeps for reuse between passes"})

MAKERS = ("Apple", "NVIDIA")
"""Of what MLX has a back end for: mlx/backend/metal and mlx/backend/cuda."""


@noun
class Mlx(Engine):
    """mlx_lm: mlx_lm.generate, mlx_lm.server, and what is built on it (LM Studio's MLX runtime)."""

    name: ClassVar[str] = "mlx"
    versions: ClassVar[tuple[str, ...]] = VERSIONS
    about: ClassVar[str] = (
        "Each sequence has caches of its own, which grow in steps of 256 tokens. A layer with a window keeps only that "
        "where its class makes a rotating cache, and every token where it makes none. All is in the format of "
        "computing unless kv-bits quantises it. A context is a prompt of all tokens but one, and that one."
    )
    formula: ClassVar[str] = (
        "layers x sequences x rows x bytes of a row; rows = tokens rounded up to step, of a rotating window "
        "min(window, tokens - 1 + step)"
    )
    source: ClassVar[str] = CACHE
    options: ClassVar[Mapping[str, Option]] = OPTIONS
    given_elsewhere: ClassVar[Mapping[str, str]] = GIVEN_ELSEWHERE
    rules: ClassVar[tuple[Rule, ...]] = RULES
    block_option: ClassVar[str | None] = "step"
    utilization: ClassVar[Fraction | None] = None
    spreads_by: ClassVar[frozenset[str]] = frozenset({"pp"})

    def settle(self, setup: Setup) -> MlxLayout:
        deployment, settings = setup.deployment, settings_of(self)
        if setup.gpu.vendor not in (None, *MAKERS):
            raise KvcalcError(
                f"--gpu: {setup.gpu.name}: MLX runs on chips of Apple and cards of NVIDIA only; --engine exact counts "
                "any"
            )
        if (option := self.size_refused(deployment)) is not None:
            raise KvcalcError(f"{option}: kvcalc counts mlx_lm with whole layers on each machine; give --pp")
        kept = setup._replace(model=as_kept(setup.model, settings))
        return MlxLayout(kept, settings, kept_format(kept, settings))

    def not_modelled(self) -> Iterator[Note]:
        yield note("mlx-buffers", "buffers that MLX keeps for reuse between passes, and what macOS needs of the memory")
