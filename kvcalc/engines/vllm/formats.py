"""The formats that vLLM keeps tensors in: as asked for where it has them, and its own of states and sparse latents."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from kvcalc.engines.vllm.cache.compressed import compressed_format
from kvcalc.engines.vllm.cache.pooled import check_pooled
from kvcalc.engines.vllm.model_types import GLM_SPARSE, MIMO_V2, NEMOTRON_H
from kvcalc.errors import KvcalcError
from kvcalc.formats.by_name import find_format
from kvcalc.formats.element import TENSOR_FORMATS
from kvcalc.formats.turboquant import TURBOQUANT
from kvcalc.mechanisms import MLA, Compressed
from kvcalc.mechanisms.mha_mqa_gqa import KeysAndValues

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.engines.cache_format import CacheFormat
    from kvcalc.engines.setup import Setup
    from kvcalc.engines.vllm.defaults import Version
    from kvcalc.gpu import Gpu
    from kvcalc.model.layers import Layer

CACHE_DTYPES: Mapping[str, Version] = MappingProxyType(
    {
        "fp8": (0, 6),
        "fp8_e5m2": (0, 6),
        "fp8_per_token_head": (0, 20),
        "int8_per_token_head": (0, 20),
        "int4_per_token_head": (0, 25),
        "nvfp4": (0, 20),
    }
)
"""Quantised formats, and the first version that has each (vllm/config/cache.py, CacheDType). TurboQuant's stand in
turboquant.py; Octave and UltraQuant are left out: kvcalc has no such formats."""

SPARSE: Version = (0, 11)
"""The first version that serves latents with an indexer."""
BY_BACKEND: Version = (0, 18)
"""Since then the backend decides how sparse latents are kept in fp8; before, vllm/model_executor/models/config.py."""
NEMOTRON_STATES_IN_FP32: Version = (0, 20)
"""NemotronHForCausalLMConfig of vllm/model_executor/models/config.py, where the checkpoint does not say: float16 in
0.19, float32 in 0.20.2. Other states are kept in the convolution's dtype, but KDA's in fp32 (mamba_utils.py of
vllm/model_executor/layers/mamba, MambaStateDtypeCalculator)."""
MIMO_V2_TOLD: Version = (0, 32)
"""mimo_v2.py of vllm/model_executor/models hands cache_config on to its layers: not in 0.31, there in 0.32."""
GLM_IN_FP8: Version = (0, 32)
"""GlmMoeDsaForCausalLM of vllm/model_executor/models/config.py: not in 0.31, there in 0.32."""
SPARSE_IN_FP8_ON_WORKSTATIONS: Version = (0, 29)
"""FLASHINFER_MLA_SPARSE_SM120 in _canonicalize_sparse_mla_kv_cache_dtype, `auto` too: the first version that serves
sparse latents there (vllm/model_executor/layers/attention/mla_attention.py)."""
DS_MLA = "fp8_ds_mla"
NVFP4_DS_MLA = {"c_kv": "nvfp4", "k_rope": "fp8"}
"""nvfp4_ds_mla: 352 bytes of a latent of 512 + 64 (vllm/model_executor/layers/attention/mla_attention.py)."""
NVFP4_ON_OTHERS: Version = (0, 33)
TURING_OUT: Version = (0, 26)
TRITON_NEEDS_FP8: Version = (0, 29)
"""The first of the versions read whose Triton kernels refuse fp8 before compute capability 8.9; 0.19 does not."""
ADA = (8, 9)
ENGINE_V0_GONE: Version = (0, 11)
TURING, BLACKWELL, BLACKWELL_WORKSTATION = 7, 10, 12
"""Major compute capabilities."""


CHOSEN_BLOCKS: Version = (0, 25)


def kept_format(setup: Setup, version: Version) -> CacheFormat:
    """What each tensor is kept in.

    Raises:
        KvcalcError: vLLM does not keep such a cache so.
    """
    asked = setup.cache_format
    if asked.computing.name == "fp32" and not setup.dtype_given:
        raise KvcalcError(
            f"--dtype: {setup.model.name} is published in fp32, which vllm computes in bf16, or in fp16 on cards "
            "before compute capability 8.0 (vllm/config/model.py, _resolve_auto_dtype): give --dtype bf16 and "
            "--weight-dtype bf16, or --dtype fp32 where the server is given it"
        )
    if any(isinstance(layer.attention, Compressed) for layer in setup.model.layout.kinds):
        return compressed_format(setup, version)
    if asked.name in TURBOQUANT:
        return asked
    _check(asked, setup, version)
    check_pooled(setup, version)
    kinds = [layer.attention for layer in setup.model.layout.kinds]
    if any(isinstance(each, MLA) and each.index_topk is not None for each in kinds):
        asked = _of_sparse_latents(asked, setup, version)
    plain_states = any(getattr(each, "state_dtype", "") is None and each.kind != "kda" for each in kinds)
    if asked.state is None and plain_states:
        whole = setup.model.model_type in NEMOTRON_H and version >= NEMOTRON_STATES_IN_FP32
        return asked._replace(state=find_format("fp32", "state") if whole else asked.conv or asked.computing)
    return asked


def _check_chosen_blocks(setup: Setup, version: Version) -> None:
    """Layers whose indexer chooses whole blocks of tokens: vllm/models/minimax_m3, first in 0.25.1 of those read."""
    chosen = any(getattr(layer.attention, "index_block_size", None) for layer in setup.model.layout.kinds)
    if chosen and version < CHOSEN_BLOCKS:
        raise KvcalcError(
            "--engine: vllm serves layers whose indexer chooses blocks of tokens since 0.25 (vllm/models/minimax_m3); "
            "--engine vllm@0.33"
        )


def _check(asked: CacheFormat, setup: Setup, version: Version) -> None:
    number, kinds = ".".join(map(str, version)), setup.model.layout.kinds
    own = next((layer for layer in kinds if layer.cache_dtype is not None), None)
    if own is not None:
        raise KvcalcError(f"--engine: vllm keeps no layers of one model in a format of their own: {own.label}")
    _check_chosen_blocks(setup, version)
    if asked.tensors:
        _check_tensors(asked, setup, version)
        return
    name = asked.default.name
    if name == asked.computing.name:
        return
    latent = any(isinstance(layer.attention, MLA) for layer in kinds)
    has = [each for each, since in CACHE_DTYPES.items() if version >= since and (each == "fp8" or not latent)]
    if name not in has:
        raise KvcalcError(
            f"--cache-dtype: vllm {number} keeps no cache in {name}; of this model it has {asked.computing.name}, in "
            f"which it computes, and {', '.join(has)} (vllm/config/cache.py, CacheDType; supported_kv_cache_dtypes of "
            "each backend in vllm/v1/attention/backends)"
        )
    pairs = [layer for layer in kinds if isinstance(layer.attention, KeysAndValues)]
    uneven = any(getattr(layer.attention, "v_head_dim", None) not in (None, _key_width(layer)) for layer in pairs)
    if name.endswith("_per_token_head") and uneven:
        raise KvcalcError(f"--cache-dtype: kvcalc does not follow how vllm keeps values of another width in {name}")
    _check_class(name, setup, version)
    _check_card(name, setup.gpu, version, uneven=uneven)


def _check_class(name: str, setup: Setup, version: Version) -> None:
    """Whether the model's class tells its layers what their cache is to be in."""
    if setup.model.model_type in MIMO_V2 and version < MIMO_V2_TOLD:
        raise KvcalcError(
            f"--cache-dtype: vllm before 0.32 keeps the cache of {setup.model.name} in "
            f"{setup.cache_format.computing.name}, and not in {name} (vllm/model_executor/models/mimo_v2.py: layers "
            "get no cache_config); leave --cache-dtype out"
        )


def _key_width(layer: Layer) -> int | None:
    heads = layer.attention.heads
    return None if heads is None else heads.head_dim


def _check_card(name: str, gpu: Gpu, version: Version, *, uneven: bool) -> None:
    """Whether a backend takes the format on this card (supports_compute_capability and supports_kv_cache_dtype)."""
    capability = gpu.compute_capability
    if capability is None or version < ENGINE_V0_GONE:
        return
    least = (8, 0) if version >= TURING_OUT else (7, 5)
    if name.startswith("fp8") and capability < least:
        raise KvcalcError(
            f"--cache-dtype: vllm keeps no cache in {name} on {gpu.name}, of compute capability "
            f"{capability[0]}.{capability[1]} (vllm/v1/attention/backends/flashinfer.py and triton_attn.py)"
        )
    kernels_of_triton = name == "fp8_per_token_head" or uneven
    if name.startswith("fp8") and version >= TRITON_NEEDS_FP8 and kernels_of_triton and capability < ADA:
        raise KvcalcError(
            f"--cache-dtype: vllm keeps no cache in {name} on {gpu.name}, whose kernels for that compute in fp8 from "
            "compute capability 8.9 on (vllm/v1/attention/backends/triton_attn.py, TritonAttentionImpl); leave "
            "--cache-dtype out"
        )
    if name.startswith("fp8") and version >= TRITON_NEEDS_FP8 and uneven and capability[0] == BLACKWELL:
        raise KvcalcError(
            f"--cache-dtype: vllm keeps no values of another width than keys in {name} on {gpu.name} "
            "(vllm/v1/attention/backends/flash_attn.py: FlashAttention does not support fp8 kv-cache on this device); "
            "leave --cache-dtype out"
        )
    if name == "nvfp4" and capability[0] != BLACKWELL and (version < NVFP4_ON_OTHERS or capability[0] == TURING):
        raise KvcalcError(
            f"--cache-dtype: vllm {'.'.join(map(str, version))} keeps no cache in nvfp4 on {gpu.name} "
            "(vllm/v1/attention/backends/flashinfer.py)"
        )


def _check_tensors(asked: CacheFormat, setup: Setup, version: Version) -> None:
    """Latents of a layer with an indexer may have formats of their own."""
    latents = [layer.attention for layer in setup.model.layout.kinds if isinstance(layer.attention, MLA)]
    if any(latent.index_topk is None for latent in latents):
        raise KvcalcError(
            f"--cache-dtype: vllm keeps latents in '{asked.name}' only where the layer has an indexer, which "
            f"{setup.model.name} lacks: of the MLA backends the sparse ones alone have it (supported_kv_cache_dtypes "
            "of vllm/v1/attention/backends/mla/flashmla_sparse.py and its neighbours); give bf16 or fp8"
        )
    number, named = ".".join(map(str, version)), {name: each.name for name, each in asked.tensors}
    blackwell = (setup.gpu.compute_capability or (0, 0))[0] == BLACKWELL
    if named == NVFP4_DS_MLA and version >= NVFP4_ON_OTHERS and blackwell:
        return
    if named != {name: TENSOR_FORMATS[DS_MLA][name] for name in ("c_kv", "k_rope")} or version < SPARSE:
        raise KvcalcError(
            f"--cache-dtype: vllm {number} keeps all of a cache in one format, not '{asked.name}'; of sparse latents "
            "it has fp8_ds_mla, and since 0.33 on Blackwell c_kv=nvfp4,k_rope=fp8"
        )


def _of_sparse_latents(asked: CacheFormat, setup: Setup, version: Version) -> CacheFormat:
    """fp8 with scales and a bf16 rotary key, or plain fp8.

    vllm/model_executor/models/config.py, DeepseekV32ForCausalLM and GlmMoeDsaForCausalLM; since 0.18
    vllm/model_executor/layers/attention/mla_attention.py, _canonicalize_sparse_mla_kv_cache_dtype.
    """
    major = (setup.gpu.compute_capability or (0, 0))[0]
    given = setup.cache_format_given
    if version < SPARSE:
        raise KvcalcError("--engine: vllm before 0.11 does not serve latents with an indexer")
    if not given and version >= GLM_IN_FP8 and major == BLACKWELL and setup.model.model_type in GLM_SPARSE:
        return asked._replace(name="fp8", default=find_format("fp8", "cache_dtype"), tensors=())
    fp8 = asked.default.name == "fp8" and not asked.tensors
    workstation = version >= SPARSE_IN_FP8_ON_WORKSTATIONS and major == BLACKWELL_WORKSTATION
    by_default = not given and (version < (0, 13) or workstation)
    served_so = version < BY_BACKEND or major != BLACKWELL
    if by_default or (fp8 and served_so):
        layout = TENSOR_FORMATS[DS_MLA]
        formats = tuple((tensor, find_format(layout[tensor], DS_MLA)) for tensor in ("c_kv", "k_rope"))
        return asked._replace(name=DS_MLA, default=asked.computing, tensors=formats)
    return asked
