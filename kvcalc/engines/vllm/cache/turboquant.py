"""TurboQuant: keys and values packed into one slot a head, but in the first and last layers, kept as vLLM computes.

vllm/model_executor/layers/quantization/turboquant/config.py. A slot is a key and a value beside each other, rounded up
to even bytes; heads whose bytes would be odd are refused.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError
from kvcalc.formats.turboquant import TURBOQUANT
from kvcalc.mechanisms import GQA, MHA, MQA
from kvcalc.model.layers import LayerGroup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.engines.cache_format import CacheFormat
    from kvcalc.engines.setup import Setup
    from kvcalc.engines.vllm.defaults import Version
    from kvcalc.engines.vllm.settings import Settings
    from kvcalc.model.layers import Layer
    from kvcalc.model.model import Model

SINCE: Version = (0, 20)
TWO_FORMATS_BY_BLOCK: Version = (0, 25)
"""_align_heterogeneous_kv_block_size of vllm/platforms/interface.py: not in 0.23, there in 0.25.1."""
BOUNDARY = 2
"""Layers at each end (get_boundary_skip_layers)."""
EVEN = 8
"""Heads of a multiple of so many elements fill whole bytes."""
RESERVED: Version = (0, 25)
"""_reserve_workspace: not in 0.23, there in 0.25.1; before it, memory is taken as the kernels first run."""
SPLITS = 32
"""tq_max_kv_splits_for_cuda_graph of vllm/config/attention.py."""
SHORT_CONTINUATION = 128
"""Tokens of a step up to which no prompt is continued from what was unpacked (_CONTINUATION_DECODE_THRESHOLD)."""
PIECE = 256
"""Bytes that a piece of a workspace is a multiple of (vllm/v1/worker/workspace.py, get_simultaneous)."""


def with_boundary(setup: Setup, version: Version) -> Setup:
    """The same with the first and last layers in the format of computing, where the cache is in TurboQuant.

    vllm/engine/arg_utils.py, create_engine_config.

    Raises:
        KvcalcError: vLLM does not keep this model so, or kvcalc does not follow how.
    """
    name = setup.cache_format.name
    if name not in TURBOQUANT:
        return setup
    _check(setup, version)
    computing = setup.cache_format.computing.name
    return setup._replace(model=_layers_apart(setup.model, computing), weights_as=setup.weights_as or setup.model)


@lru_cache(maxsize=32)
def _layers_apart(model: Model, computing: str) -> Model:
    """The model with its layers written out, those at its ends in a format of their own."""
    number = model.num_layers
    ends = min(BOUNDARY, number // 2)
    layers = []
    for place, (layer,) in enumerate(model.layout.layers):
        whole = place < ends or place >= number - ends
        layers.append((layer.attention, computing if whole else None))
    groups = [
        LayerGroup(count=len(list(equal)), attention=attention, cache_dtype=own)
        for (attention, own), equal in groupby(layers)
    ]
    return replace(model, layers=tuple(groups))


def block_of_two_formats(block_size: int, model: Model, cache_format: CacheFormat, version: Version) -> int:
    """Tokens of a block: since 0.25 so many that a page of bytes covers 16 tokens of 2 bytes an element.

    The first layer's backend reckons with a byte an element, not with slots: it is none of TurboQuant's
    (vllm/platforms/interface.py, update_block_size_for_backend and _align_heterogeneous_kv_block_size).
    """
    ends = any(layer.cache_dtype is not None for layer in model.layout.kinds)
    if cache_format.name not in TURBOQUANT or version < TWO_FORMATS_BY_BLOCK or not ends:
        return block_size
    return block_size * -(-2 * 16 // block_size)


def reserved_bytes(setup: Setup, settings: Settings, block_size: int) -> int | None:
    """What the kernels reserve on each rank once the memory for the cache is measured; None where nothing is.

    vllm/v1/attention/backends/turboquant_attn.py, _reserve_workspace: one workspace, as large as the larger of two
    uses. A decode step has parts of its outputs in fp32 for every head and split; a prompt that continues has one
    request's keys and values unpacked to fp16.
    """
    if setup.cache_format.name not in TURBOQUANT or settings.version < RESERVED:
        return None
    computing, tp = setup.cache_format.computing.block_bytes, setup.deployment.tp
    most = 0
    for layer in setup.model.layout.kinds:
        heads = layer.attention.heads
        if heads is None or layer.cache_dtype is not None:
            continue
        rows, width = settings.max_num_seqs * (heads.num_heads // tp), heads.head_dim
        most = max(most, _pieces([rows * SPLITS * (width + 1) * 4, rows * width * computing, rows * 4]))
        if settings.max_num_batched_tokens > SHORT_CONTINUATION:
            kept = max(1, (heads.num_kv_heads or heads.num_heads) // tp)
            tokens = -(-max(0, settings.max_model_len - 1) // block_size) * block_size
            most = max(most, _pieces([kept * tokens * width * 2] * 2))
    return most


def _pieces(sizes: Sequence[int]) -> int:
    return sum(-(-size // PIECE) * PIECE for size in sizes)


def _check(setup: Setup, version: Version) -> None:
    name, model = setup.cache_format.name, setup.model
    if version < SINCE:
        raise KvcalcError(
            f"--cache-dtype: vllm keeps no cache in {name} before 0.20 (vllm/config/cache.py, CacheDType)"
        )
    if setup.cache_format.computing.name == "fp32":
        raise KvcalcError(
            f"--cache-dtype: vllm keeps no cache in {name} where it computes in fp32 (TurboQuantAttentionBackend of "
            "vllm/v1/attention/backends/turboquant_attn.py, supported_dtypes); give --dtype bf16"
        )
    if setup.deployment.dcp > 1:
        raise KvcalcError(
            f"--dcp: vllm shares out no tokens of a cache in {name} (vllm/v1/attention/backends/turboquant_attn.py, "
            "can_return_lse_for_decode); leave --dcp out"
        )
    if setup.deployment.pp > 1:
        raise KvcalcError(
            f"--pp: kvcalc does not follow how vllm makes blocks of {name} on a stage that begins with a packed layer "
            "(vllm/platforms/interface.py, _align_heterogeneous_kv_block_size); leave --pp out"
        )
    if setup.draft is not None:
        raise KvcalcError(f"--draft: kvcalc does not follow how vllm keeps a draft's layers in {name}; leave it out")
    if model.unreached_window is not None or any(len(caches) != 1 for caches in model.layout.layers):
        raise _other_layers(name)
    for layer in model.layout.kinds:
        _check_layer(name, layer)


def _other_layers(name: str) -> KvcalcError:
    return KvcalcError(
        f"--cache-dtype: kvcalc follows vllm's {name} in models whose layers all keep every token's keys and values, "
        "and this model has others; --cache-dtype fp8 is nearest"
    )


def _check_layer(name: str, layer: Layer) -> None:
    attention = layer.attention
    if not isinstance(attention, MHA | GQA | MQA) or layer.span is not None or layer.cache_dtype is not None:
        raise _other_layers(name)
    if {tensor.name for tensor in attention.cached()} != {"k", "v"} or attention.v_head_dim not in {
        None,
        attention.head_dim,
    }:
        raise _other_layers(name)
    width = attention.head_dim
    power = width & (width - 1) == 0
    if width % EVEN or not (power or name == "turboquant_k8v4"):
        raise KvcalcError(
            f"--cache-dtype: vllm rotates keys by a Hadamard matrix, which heads of {width} have none of "
            "(vllm/v1/attention/backends/turboquant_attn.py, _build_hadamard); --cache-dtype fp8 is nearest"
        )
