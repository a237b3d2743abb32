"""Compressed attention in vLLM: formats, blocks and pages of entries, of indexers' keys, and of what waits in fp32."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvcalc.engines.vllm.cache.padded import PACKED
from kvcalc.engines.vllm.cache.shared_entries import shared_format, shares_entries
from kvcalc.engines.vllm.cache.span_specs import SlidingWindow
from kvcalc.engines.vllm.cache.specs import Entries
from kvcalc.errors import KvcalcError
from kvcalc.formats.by_name import find_format
from kvcalc.formats.element import TENSOR_FORMATS
from kvcalc.mechanisms import Compressed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.engines.cache_format import CacheFormat
    from kvcalc.engines.content_counter import TensorRows
    from kvcalc.engines.setup import Setup
    from kvcalc.engines.vllm.cache.specs import Spec
    from kvcalc.engines.vllm.defaults import Version
    from kvcalc.model.layers import Layer

SINCE: Version = (0, 20)
"""vllm/model_executor/models/deepseek_v4.py of 0.20.2; the specs of its caches are those of 0.33."""

BLOCK_SIZE = 256
"""vllm/models/deepseek_v4/sparse_mla.py, DeepseekV4SparseMLABackend.get_supported_kernel_block_sizes."""
WINDOW_BLOCK = 64
"""vllm/v1/attention/backends/mla/sparse_swa.py, DeepseekV4SWACache."""
ALIGNMENT = 576
"""What pages are padded to in the layout fp8_ds_mla, of states too (vllm/models/deepseek_v4/compressor.py and
attention.py, get_kv_cache_spec; vllm/v1/kv_cache_interface.py, _apply_alignment_padding)."""
STATE_BLOCKS = {4: 4, 128: 8}
"""compress_ratio -> tokens of a block of states (vllm/models/deepseek_v4/compressor.py, CompressorStateCache)."""
RTX_BLACKWELL = 12
FLASHINFER_ON_RTX: Version = (0, 24)
"""Cards of sm12x have FlashInfer's layout: not in 0.23, there in 0.25.1 (_select_dsv4_attn_cls)."""
AUTO_IS_FP8: Version = (0, 30)
"""_resolve_dsv4_kv_cache_dtype takes auto for fp8 in 0.30; versions from 0.21 to 0.29 assert that fp8 is asked for."""
ENTRY = 512
DS_MLA = "fp8_ds_mla"


def compressed_format(setup: Setup, version: Version) -> CacheFormat:
    """fp8_ds_mla, whatever is asked, with which no other format goes.

    vllm/models/deepseek_v4/attention.py, _resolve_dsv4_kv_cache_dtype.

    Raises:
        KvcalcError: another version, card or format.
    """
    asked, capability = setup.cache_format, setup.gpu.compute_capability
    if shares_entries(setup.model):
        return shared_format(setup, version)
    if version < SINCE:
        raise KvcalcError("--engine: vllm serves compressed attention since 0.20; --engine vllm@0.33")
    if version < PACKED and setup.deployment.pp > 1:
        raise KvcalcError(
            "--pp: kvcalc follows how vllm lays out compressed attention on several stages since 0.29 "
            "(vllm/v1/core/kv_cache_utils.py, _get_packed_kv_cache_groups); --engine vllm@0.29"
        )
    if capability is None or (capability[0] == RTX_BLACKWELL and version >= FLASHINFER_ON_RTX):
        raise KvcalcError(
            f"--gpu: kvcalc does not follow how vllm keeps compressed attention on {setup.gpu.name}: FlashMLA's layout "
            "is that of NVIDIA's data-centre cards (vllm/models/deepseek_v4/nvidia/model.py, _select_dsv4_attn_cls); "
            "--engine exact counts what is kept"
        )
    if any(layer.cache_dtype is not None for layer in setup.model.layout.kinds):
        raise KvcalcError("--engine: vllm keeps no layers of one model in a format of their own")
    for layer in setup.model.layout.kinds:
        _check_shape(layer)
    plain = asked.default.name == "fp8" and not asked.tensors
    named = {name: each.name for name, each in asked.tensors}
    layout = {name: TENSOR_FORMATS[DS_MLA][name] for name in named if name in TENSOR_FORMATS[DS_MLA]}
    step = "--cache-dtype fp8" if version < AUTO_IS_FP8 else "leave --cache-dtype out"
    if setup.cache_format_given and not plain and (not named or named != layout):
        raise KvcalcError(
            "--cache-dtype: vllm keeps DeepSeek-V4's entries in fp8_ds_mla (which it takes fp8 for) on this card "
            f"(vllm/models/deepseek_v4/attention.py, _resolve_dsv4_kv_cache_dtype); {step}"
        )
    if not setup.cache_format_given and version < AUTO_IS_FP8:
        raise KvcalcError(
            "--cache-dtype: vllm before 0.30 starts DeepSeek-V4 only where fp8 is asked for "
            f"(vllm/models/deepseek_v4/attention.py, _resolve_dsv4_kv_cache_dtype); {step}"
        )
    kept = {tensor.name for layer in setup.model.layout.kinds for tensor in layer.attention.cached()}
    formats = tuple((name, find_format(each, DS_MLA)) for name, each in TENSOR_FORMATS[DS_MLA].items() if name in kept)
    return asked._replace(name=DS_MLA, default=asked.computing, tensors=formats, state=find_format("fp32", "state"))


def _check_shape(layer: Layer) -> None:
    attention = layer.attention
    if not isinstance(attention, Compressed):
        raise KvcalcError(f"--engine: vllm serves no model with {layer.label} beside compressed attention")
    overlaps = attention.compress_ratio is not None and attention.overlap == (
        attention.compress_ratio == min(STATE_BLOCKS)
    )
    known = attention.compress_ratio is None or (attention.compress_ratio in STATE_BLOCKS and overlaps)
    if not known or attention.head_dim != ENTRY:
        raise KvcalcError(
            f"--engine: vllm has compressed attention with entries of 512 and ratios of 4, with overlap, and 128, "
            f"without: not {layer.label} (vllm/models/deepseek_v4/compressor.py); --engine exact counts it"
        )


def compressed_specs(layer: Layer, rows: tuple[TensorRows, ...], block_size: int) -> Iterator[Spec]:
    """A spec for each tensor, since each is a layer of the planner's.

    Raises:
        KvcalcError: blocks that do not hold whole groups of tokens.
    """
    if block_size % max(STATE_BLOCKS):
        raise KvcalcError(f"--block-size: {block_size} tokens are no whole groups of {max(STATE_BLOCKS)} in vllm")
    ratio = getattr(layer.attention, "compress_ratio", None)
    for each in rows:
        shape, mine = f"{layer.label}, {each.tensor.name}", (each,)
        if each.tensor.every is not None:
            yield _aligned(Entries(shape, mine, block_size, tokens_per_row=each.tensor.tokens_per_row))
        elif each.tensor.last is not None:
            size = WINDOW_BLOCK if each.tensor.name == "kv" or ratio is None else STATE_BLOCKS[ratio]
            yield _aligned(SlidingWindow(shape, mine, size, window=each.tensor.last.value))


def _aligned(spec: Spec) -> Spec:
    return replace(spec, padded=-(-spec.content_page // ALIGNMENT) * ALIGNMENT)
