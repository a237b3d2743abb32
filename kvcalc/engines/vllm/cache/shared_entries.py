"""DeepSeek-V4.1 in vLLM: formats, blocks and pages of entries that later layers read, of windows and of rings."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate
from math import lcm
from typing import TYPE_CHECKING

from kvcalc.engines.vllm.cache.span_specs import CircularBuffer, Replayed
from kvcalc.engines.vllm.cache.specs import Entries, Spec
from kvcalc.errors import KvcalcError
from kvcalc.formats.by_name import find_format
from kvcalc.mechanisms import Compressed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.engines.cache_format import CacheFormat
    from kvcalc.engines.content_counter import TensorRows
    from kvcalc.engines.setup import Setup
    from kvcalc.engines.vllm.defaults import Version
    from kvcalc.gpu import Gpu
    from kvcalc.model.layers import Layer
    from kvcalc.model.model import Model

SINCE: Version = (0, 31)
"""vllm/models/deepseek_v41 of the versions read that have the records below: 0.31, 0.32 and 0.33."""
WHOLE_RECORDS: Version = (0, 33)
"""packed_block_stride_alignment: a block holds whole rows of both records; not in 0.32."""
MODEL_TYPE = "deepseek_v41"
RATIOS = (1, 2)
ENTRY = 512
WINDOW_BLOCK = 32
"""vllm/models/deepseek_v41/attention.py, DeepseekV4SWACache(block_size=32)."""
RING = 8
"""The least rows of a ring (vllm/models/deepseek_v41/compressor.py, CompressorStateCache)."""
HOPPER, BLACKWELL = 9, 10
FUSED_HEADS = 8
"""Heads of a group of outputs, of which each rank needs one whole (flash_mla_mega_attn.py, is_available_for)."""
ATTENTION = "vllm/models/deepseek_v41/attention.py"

RECORDS = {
    # compute capability -> name -> what a window's entries and compressed ones are kept in
    HOPPER: {"fp8_ds_mla": ("fp8_ds_v4", "fp8_ds_v4")},
    BLACKWELL: {"nvfp4_ds_mla": ("mxfp8", "nvfp4"), "fp8_ds_mla": ("mxfp8", "mxfp8")},
}
"""The first of a card is what auto and fp8 mean there (packed_kv_cache_dtype)."""
ALIGNMENT = {HOPPER: 576, BLACKWELL: 512}
"""kv_page_alignment, of indexers' pages too; rings have none."""
BLOCK_SIZE = {HOPPER: 64, BLACKWELL: 128}
"""vllm/v1/attention/backends/mla/indexer.py, DeepseekV41IndexerBackend.get_supported_kernel_block_sizes."""


def shares_entries(model: Model) -> bool:
    """Whether layers are DeepSeek-V4.1's, those that draft too, which have a window alone."""
    return (model.model_type or "").startswith(MODEL_TYPE) or any(
        getattr(layer.attention, "compress_ratio", None) in RATIOS for layer in model.layout.kinds
    )


def family_of_card(gpu: Gpu) -> int | None:
    """Its major compute capability; None where it is not known, or not NVIDIA's."""
    return None if gpu.compute_capability is None else gpu.compute_capability[0]


def shared_format(setup: Setup, version: Version) -> CacheFormat:
    """What is kept in what: a packed record by card, whatever is asked, with which no other format goes.

    vllm/models/deepseek_v41/attention.py, _resolve_dsv4_kv_cache_dtype.

    Raises:
        KvcalcError: another version, card, deployment or format.
    """
    asked, family = setup.cache_format, family_of_card(setup.gpu)
    if version < SINCE:
        raise KvcalcError("--engine: kvcalc follows how vllm lays out DeepSeek-V4.1 since 0.31; --engine vllm@0.33")
    if family not in RECORDS:
        raise KvcalcError(
            f"--gpu: kvcalc does not follow how vllm keeps DeepSeek-V4.1 on {setup.gpu.name}: its records are those of "
            f"Hopper and of data-centre Blackwell ({ATTENTION}, _use_v41_mxfp8_kv_record); --gpu h200 or b200"
        )
    for layer in setup.model.layout.kinds:
        _check_shape(layer, setup.deployment.tp)
    records = RECORDS[family]
    plain = asked.default.name == "fp8" and not asked.tensors
    given = {name: each.name for name, each in asked.tensors}
    named = tuple(given.get(name) for name in ("kv", "compressed_kv"))
    name = next(iter(records))
    if setup.cache_format_given and not plain:
        found = [each for each, formats in records.items() if each == asked.name or named == formats]
        if not found:
            raise KvcalcError(
                f"--cache-dtype: vllm keeps DeepSeek-V4.1 on {setup.gpu.name} in {' or '.join(records)}, and takes fp8 "
                f"for {name} ({ATTENTION}, _resolve_dsv4_kv_cache_dtype); leave --cache-dtype out"
            )
        (name, *_) = found
    formats = zip(("kv", "compressed_kv"), records[name], strict=True)
    tensors = tuple((tensor, find_format(each, name)) for tensor, each in formats)
    return asked._replace(name=name, default=asked.computing, tensors=tensors, state=find_format("fp32", "state"))


def _check_shape(layer: Layer, tp: int) -> None:
    attention = layer.attention
    if not (
        isinstance(attention, Compressed)
        and attention.compress_ratio in {None, *RATIOS}
        and attention.head_dim == ENTRY
        and (attention.index_of_entries or not attention.has_entries)
    ):
        raise KvcalcError(
            f"--engine: vllm has DeepSeek-V4.1's layers with entries of {ENTRY} for one or two tokens and an indexer's "
            f"keys made of them: not {layer.label} (vllm/models/deepseek_v41/compressor.py); --engine exact counts it"
        )
    if attention.num_heads // tp < FUSED_HEADS:
        raise KvcalcError(
            f"--tp: {tp} leaves fewer than {FUSED_HEADS} heads a rank, and kvcalc does not follow how vllm then keeps "
            "DeepSeek-V4.1 (vllm/models/deepseek_v41/nvidia/flash_mla_mega_attn.py, is_available_for); "
            f"--tp {attention.num_heads // FUSED_HEADS}"
        )


def check_sources(model: Model, lengths: tuple[int, ...]) -> None:
    """Refuses pipeline stages whose layers read entries of another stage.

    Raises:
        KvcalcError: such a stage.
    """
    for number, start in enumerate(accumulate(lengths, initial=0)):
        kinds = [cache.attention for caches in model.layout.layers[start : start + 1] for cache in caches]
        reading = [each for each in kinds if isinstance(each, Compressed) and each.compress_ratio is not None]
        if number and reading and all(each.shared_entries for each in reading):
            raise KvcalcError(
                f"--pp: layer {start}, the first of pipeline stage {number}, reads the entries of a layer before it, "
                f"which vllm refuses ({ATTENTION}: PP splits inside a kv-sharing group are not supported); --pp 1"
            )


def shared_specs(
    layer: Layer,
    rows: tuple[TensorRows, ...],
    block_size: int,
    cache_format: CacheFormat,
    speculative: int,
    stride: bool,
) -> Iterator[Spec]:
    """A spec for each tensor, since each is a layer of the planner's.

    Args:
        layer: whose they are.
        rows: its tensors.
        block_size: of entries.
        cache_format: what entries are kept in.
        speculative: tokens that are drafted a step.
        stride: whether a block holds whole records.
    """
    records = dict(cache_format.tensors)
    window, entry = (records[name].block_bytes * ENTRY // records[name].block_elems for name in ("kv", "compressed_kv"))
    whole = records["kv"].name == "mxfp8"
    aligned_to = ALIGNMENT[BLACKWELL if whole else HOPPER]
    for each in rows:
        shape, mine = f"{layer.label}, {each.tensor.name}", (each,)
        if each.tensor.name == "kv" and each.tensor.last is not None:
            together = lcm(window, entry) if whole and stride else 1
            spec: Spec = Replayed(shape, mine, WINDOW_BLOCK, window=each.tensor.last.value, stride=together)
            yield _aligned(spec, aligned_to)
        elif each.tensor.last is not None:
            rows_a_step = speculative + 2  # those drafted, one more, and the one before
            yield CircularBuffer(shape, mine, max(RING, 1 << (rows_a_step - 1).bit_length()))
        else:
            yield _aligned(Entries(shape, mine, block_size, tokens_per_row=each.tensor.tokens_per_row), aligned_to)


def _aligned(spec: Spec, size: int) -> Spec:
    return replace(spec, padded=-(-spec.content_page // size) * size)
