"""Pooled index keys in vLLM: a key for each group of tokens, and a ring of those not pooled yet.

Beside latents they are GLM-5.3-Flash's, beside heads Qwen3.8-Flash-Next's.
"""

from __future__ import annotations

from math import gcd, lcm
from typing import TYPE_CHECKING

from kvcalc.engines.vllm.cache.span_specs import CircularBuffer
from kvcalc.engines.vllm.cache.specs import Entries, FullAttention, Spec
from kvcalc.errors import KvcalcError
from kvcalc.mechanisms import GQA, MLA, Role, ShortConv

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.engines.content_counter import TensorRows
    from kvcalc.engines.setup import Setup
    from kvcalc.engines.vllm.defaults import Version
    from kvcalc.gpu import Gpu
    from kvcalc.mechanisms import Mechanism
    from kvcalc.model.layers import Layer

SINCE: Version = (0, 33)
"""vllm/models/glm5next is in 0.32 too, whose planner was not asked."""
SOURCE = "vllm/models/glm5next/common/attention.py"
HOPPER, BLACKWELL = 9, 10
KEY_WIDTH = 128
"""The one that its kernels take."""
PAGES = (32, 64)
"""Keys of a page that DeepGEMM's kernel takes (vllm/utils/deep_gemm.py, get_paged_mqa_page_sizes)."""
LATENT_ROWS = {HOPPER: 64, BLACKWELL: 32}
"""Tokens of a block of latents are a multiple of this (get_supported_kernel_block_sizes of
vllm/v1/attention/backends/mla/flashmla_sparse.py and flashinfer_mla_sparse.py)."""
ROWS_APART = {HOPPER: 1, BLACKWELL: 32}
"""Blocks of latents are a multiple of so many rows apart (align_blocks_to_rows of sparse_utils.py beside them)."""


OF_HEADS = "vllm/models/qwen4_exp/common/qsa_cache.py"
PLACE = 3 * 8
"""Bytes of a token's place in a picture: three whole numbers beside what waits (QSAKeyStateCache)."""


def pools(mechanism: Mechanism) -> bool:
    """Whether an indexer pools its keys."""
    return getattr(mechanism, "index_kpool", None) is not None


def granule(latent: MLA, gpu: Gpu) -> int | None:
    """What the tokens of a block are a multiple of; None where keys are not pooled."""
    if latent.index_kpool is None:
        return None
    return lcm(LATENT_ROWS.get(_major(gpu), max(LATENT_ROWS.values())), PAGES[0] * latent.index_kpool)


def check_pooled(setup: Setup, version: Version) -> None:
    """Refuses what vLLM does not serve, or kvcalc does not follow.

    Raises:
        KvcalcError: the version, the card, the layers or the format.
    """
    kinds = [layer.attention for layer in setup.model.layout.kinds]
    if not any(map(pools, kinds)):
        return
    if version < SINCE:
        raise KvcalcError("--engine: kvcalc follows how vllm keeps pooled index keys since 0.33; --engine vllm@0.33")
    major = _major(setup.gpu)
    if major not in LATENT_ROWS:
        raise KvcalcError(
            f"--gpu: kvcalc does not follow how vllm keeps pooled index keys on {setup.gpu.name}, but on NVIDIA's "
            "Hopper and Blackwell data-centre cards (vllm/v1/attention/backends/mla; vllm/models/qwen4_exp); "
            "--engine exact counts what is kept"
        )
    for attention in kinds:
        if isinstance(attention, MLA):
            _check_latent(attention)
    if any(isinstance(attention, ShortConv) and attention.whole for attention in kinds) and setup.deployment.pp > 1:
        raise KvcalcError(
            "--pp: vllm serves layers that make something of n-grams in one pipeline stage only "
            "(vllm/model_executor/models/config.py, Qwen4ExpForConditionalGenerationConfig); --pp 1"
        )
    if setup.deployment.dcp > 1 and any(isinstance(attention, GQA) for attention in kinds):
        raise KvcalcError(
            f"--dcp: vllm's caches of averaged index keys are whole on every rank ({OF_HEADS}, supports_dcp); --dcp 1"
        )
    if not any(isinstance(attention, MLA) for attention in kinds):
        return
    asked = setup.cache_format
    fp8 = bool(asked.tensors) or asked.default.name == "fp8"
    if setup.cache_format_given and fp8 and (major == HOPPER or asked.tensors):
        raise KvcalcError(
            f"--cache-dtype: kvcalc follows vllm's pooled index keys on {setup.gpu.name} beside latents in bf16"
            f"{' or fp8' if major == BLACKWELL else ''}, not in '{asked.name}' (on Hopper no backend keeps latents "
            "without a rotary key in fp8: vllm/v1/attention/backends/mla/flashmla_sparse.py, supports_combination); "
            "leave --cache-dtype out"
        )


def _check_latent(attention: MLA) -> None:
    if attention.index_kpool is None:
        raise KvcalcError(
            f"--engine: vllm gives each latent layer beside pooled index keys an indexer of its own, which "
            f"{attention.label} lacks ({SOURCE}, Glm5NextMLAAttention: skip_topk=False); --engine exact counts it"
        )
    if attention.index_head_dim != KEY_WIDTH or attention.qk_rope_head_dim:
        raise KvcalcError(
            f"--engine: vllm has pooled index keys of 128 elements beside latents without a rotary key, not "
            f"{attention.label} ({SOURCE}, Indexer.forward); --engine exact counts it"
        )


def _major(gpu: Gpu) -> int:
    return 0 if gpu.compute_capability is None else gpu.compute_capability[0]


def pooled_specs(layer: Layer, rows: tuple[TensorRows, ...], block_size: int, drafted: int, gpu: Gpu) -> Iterator[Spec]:
    """A spec for each tensor, since each is a layer of the planner's.

    A block of several kernel blocks keeps each of those whole (get_block_stride_alignment).

    Raises:
        KvcalcError: blocks that do not hold whole rings.
    """
    own = tuple(each for each in rows if each.tensor.role is Role.CACHE)
    if isinstance(layer.attention, GQA):
        yield FullAttention(layer.label, own, block_size)
        yield from _of_heads(layer, rows[len(own) :], block_size, drafted)
        return
    for each in rows:
        shape, mine = f"{layer.label}, {each.tensor.name}", (each,)
        if each.tensor.every is not None:
            group = each.tensor.tokens_per_row
            kernel = gcd(PAGES[-1] * group, block_size)
            whole = 1 if kernel == block_size else kernel // group * each.row_bytes
            yield Entries(shape, mine, block_size, stride=whole, tokens_per_row=group)
        elif each.tensor.last is not None:
            group = each.tensor.last.value
            size = group * _power_of_two(-(-(group + drafted) // group))
            if block_size % size:
                raise KvcalcError(
                    f"--engine-option: num-speculative-tokens {drafted}: rings of {size} tokens do not divide vllm's "
                    f"blocks of {block_size} ({SOURCE}, Glm5NextTailCache.get_kv_cache_spec)"
                )
            yield CircularBuffer(shape, mine, size)
        else:
            yield FullAttention(shape, mine, block_size, stride=ROWS_APART.get(_major(gpu), 1) * each.row_bytes)


def _of_heads(layer: Layer, rows: tuple[TensorRows, ...], block_size: int, drafted: int) -> Iterator[Spec]:
    for each in rows:
        shape, mine = f"{layer.label}, {each.tensor.name}", (each,)
        if each.tensor.last is None:
            yield Entries(shape, mine, block_size, tokens_per_row=each.tensor.tokens_per_row)
            continue
        group = each.tensor.last.value
        size = group * -(-(group + drafted) // group)
        if block_size % size:
            raise KvcalcError(
                f"--engine-option: num-speculative-tokens {drafted}: rings of {size} tokens do not divide vllm's "
                f"blocks of {block_size} ({OF_HEADS}, QSAKeyStateCache.get_kv_cache_spec)"
            )
        yield CircularBuffer(shape, mine, size, unused_row=PLACE)


def _power_of_two(number: int) -> int:
    """The least that is no smaller."""
    return 1 << (number - 1).bit_length()
