"""Decode context parallelism: which models' tokens vLLM shares out among ranks, and what of them each rank keeps."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from kvcalc.engines.vllm.formats import DS_MLA, kept_format
from kvcalc.errors import KvcalcError
from kvcalc.mechanisms import Role

if TYPE_CHECKING:
    from kvcalc.engines.setup import Setup
    from kvcalc.engines.vllm.defaults import Version

DCP: Version = (0, 10, 2)
HOPPER = 9
SPARSE_SINCE = MappingProxyType({HOPPER: (0, 29), 10: (0, 28)})
"""The first version that shares out tokens with an indexer, by major compute capability: flashmla_sparse.py and
flashinfer_mla_sparse.py of vllm/v1/attention/backends/mla."""
IN_TURN = frozenset({Role.CACHE, Role.INDEX})
"""What of a token only one of the ranks keeps: an indexer's keys too, whose pages are told of as attention's are
(vllm/v1/attention/backends/mla/indexer.py, get_dcp_local_seq_lens)."""


def refuse_shared_tokens(setup: Setup, version: Version, *, hybrid_manager: bool) -> None:
    """Refuses decode context parallelism where this version does not serve the model so.

    Raises:
        KvcalcError: the version, the model, or how its cache is kept.
    """
    if version < DCP:
        raise KvcalcError("--dcp: vllm before 0.10.2 has no decode context parallelism")
    dcp = setup.deployment.dcp
    kinds = setup.model.layout.kinds
    promoted = not hybrid_manager and any(layer.span is None for layer in kinds if layer.attention.cached())
    for layer in kinds:
        attention = layer.attention
        rings = any(tensor.last is not None for tensor in attention.cached())
        if rings or (layer.span is not None and not promoted):
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
            _check_indexer(setup, version)
        heads = attention.heads
        if heads is not None and heads.num_kv_heads and heads.num_heads // heads.num_kv_heads % dcp:
            raise KvcalcError(
                f"--dcp: {dcp} does not divide the {heads.num_heads // heads.num_kv_heads} query heads of a KV head "
                "(vllm/config/model.py, verify_with_parallel_config)"
            )


def _check_indexer(setup: Setup, version: Version) -> None:
    """Sparse latents are shared out by backends that return what the ranks' parts are put together by."""
    name = ".".join(map(str, version))
    major = (setup.gpu.compute_capability or (0, 0))[0]
    since = SPARSE_SINCE.get(major)
    if since is None:
        raise KvcalcError(
            "--dcp: with an indexer kvcalc follows how vllm shares out tokens on cards of compute capability 9 and 10 "
            f"alone (vllm/v1/attention/backends/mla), and {setup.gpu.name} is none"
        )
    if version < since:
        raise KvcalcError(
            f"--dcp: vllm {name} does not share out tokens with an indexer on {setup.gpu.name}: its backend there does "
            f"so since {'.'.join(map(str, since))} (vllm/v1/attention/backends/mla, can_return_lse_for_decode)"
        )
    if major == HOPPER and kept_format(setup, version).name != DS_MLA:
        raise KvcalcError(
            f"--dcp: with an indexer vllm shares out tokens on {setup.gpu.name} only where latents are kept in fp8 "
            "(vllm/v1/attention/backends/mla/flashmla_sparse.py, DCP for FlashMLA sparse requires an fp8_ds_mla "
            "kv-cache); give --cache-dtype fp8"
        )
