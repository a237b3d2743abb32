"""The engine `vllm`."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, ClassVar

from kvcalc.engines.base import Engine, Option, Rule, Setup
from kvcalc.engines.vllm.defaults import UTILIZATION_92, VERSIONS, Version
from kvcalc.engines.vllm.layout import VllmLayout
from kvcalc.engines.vllm.options import OPTIONS
from kvcalc.engines.vllm.rules import RULES
from kvcalc.engines.vllm.settings import parse_version, settings_of
from kvcalc.errors import KvcalcError
from kvcalc.mechanisms import Role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.gpu import Gpu

DCP: Version = (0, 10, 2)


@dataclass(frozen=True)
class Vllm(Engine):
    """vLLM."""

    name: ClassVar[str] = "vllm"
    versions: ClassVar[tuple[str, ...]] = VERSIONS
    about: ClassVar[str] = (
        "Puts layers that keep alike into groups with one block table each, and gives every rank one pool of blocks, "
        "as many as the smallest rank has. A sequence takes whole blocks of every group, and a block takes as many "
        "bytes as the widest group needs. Layers with windows keep the tokens in flight and a block more."
    )
    formula: ClassVar[str] = "bytes of a block x (1 + sequences x sum over groups of ceil(tokens kept / block-size))"
    source: ClassVar[str] = "vLLM, vllm/v1/kv_cache_interface.py and vllm/v1/core/kv_cache_utils.py"
    options: ClassVar[Mapping[str, Option]] = OPTIONS
    rules: ClassVar[tuple[Rule, ...]] = RULES
    block_option: ClassVar[str | None] = "block-size"

    def default_utilization(self, gpu: Gpu) -> Fraction:  # noqa: ARG002  # the same on every card
        """gpu_memory_utilization of vllm/config/cache.py."""
        return Fraction(92 if parse_version(self.version or VERSIONS[-1]) >= UTILIZATION_92 else 90, 100)

    def settle(self, setup: Setup) -> VllmLayout:
        if setup.deployment.dcp > 1:
            _check_dcp(setup, parse_version(self.version or VERSIONS[-1]))
        return VllmLayout(setup, settings_of(self, setup))


def _check_dcp(setup: Setup, version: Version) -> None:
    """Refuses tokens shared out over ranks where this version does not serve that.

    Raises:
        KvcalcError: it does not.
    """
    if version < DCP:
        raise KvcalcError("--dcp: vllm before 0.10.2 has no decode context parallelism")
    dcp = setup.deployment.dcp
    for layer in setup.model.layout.kinds:
        attention = layer.attention
        if layer.span is not None:
            raise KvcalcError(
                "--dcp: vllm shares out no tokens of windows and chunks (vllm/v1/kv_cache_interface.py, "
                "SlidingWindowSpec: DCP not support sliding window)"
            )
        if any(tensor.rows is not None for tensor in attention.cached()):
            raise KvcalcError(
                "--dcp: vllm does not serve models with states so (vllm/model_executor/layers/mamba/abstract.py, "
                "MambaBase.supports_dcp)"
            )
        if any(tensor.role is Role.INDEX for tensor in attention.cached()):
            raise KvcalcError(
                "--dcp: vllm shares out an indexer's keys too, which kvcalc's formula keeps whole on every rank"
            )
        heads = attention.heads
        if heads is not None and heads.num_kv_heads and heads.num_heads // heads.num_kv_heads % dcp:
            raise KvcalcError(
                f"--dcp: {dcp} does not divide the {heads.num_heads // heads.num_kv_heads} query heads of a KV head "
                "(vllm/config/model.py, verify_with_parallel_config)"
            )
