"""The formats that SGLang keeps tensors in: as asked for where it has them, its own of states and sparse latents."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from kvcalc.engines.sglang.compressed import compressed_format, compresses
from kvcalc.engines.sglang.served import is_latent, is_sparse
from kvcalc.errors import KvcalcError
from kvcalc.formats.by_name import find_format
from kvcalc.formats.element import TENSOR_FORMATS
from kvcalc.mechanisms import Mamba2

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.engines.cache_format import CacheFormat
    from kvcalc.engines.setup import Setup
    from kvcalc.engines.sglang.defaults import Version
    from kvcalc.formats.element import ElementFormat

CACHE_DTYPES: Mapping[str, Version] = MappingProxyType({"fp8": (0, 4), "fp8_e5m2": (0, 4)})
"""Quantised formats and since when (--kv-cache-dtype: fp8_e4m3, fp8_e5m2). fp4_e2m1 and mxfp8 are left out: which
backend stores their scales, and how, differs by card and version."""
DS_MLA = "fp8_ds_mla"
WIDE_FP8: Version = (0, 5, 9)
"""Sparse latents in fp8 are counted as wide as they are stored since then (calculate_mla_kv_cache_dim)."""
PLAIN_FP8_ON_BLACKWELL: Version = (0, 5, 10)
"""There the trtllm kernels, which take plain fp8, are the default since then (_set_default_nsa_backends)."""
BLACKWELL = 10


def kept_format(setup: Setup, version: Version) -> CacheFormat:
    """What each tensor is kept in.

    Raises:
        KvcalcError: SGLang does not keep such a cache, or kvcalc does not follow how.
    """
    asked, half = setup.cache_format, find_format("bf16", "conv")
    if any(layer.cache_dtype is not None for layer in setup.model.layout.kinds):
        raise KvcalcError("--engine: sglang keeps no layers of one model in a format of their own")
    if asked.computing.name == "fp32" and not setup.dtype_given:
        raise KvcalcError(
            f"--dtype: {setup.model.name} is published in fp32, which sglang computes in fp16; give --dtype fp16 and "
            f"--weight-dtype fp16 (sglang/srt/configs/model_config.py, _get_and_verify_dtype)"
        )
    asked = asked._replace(conv=asked.conv or half, state=asked.state or _own_state(setup))
    if compresses(setup.model):
        return compressed_format(asked, setup, version)
    if is_sparse(setup.model):
        return _of_sparse_latents(asked, setup, version)
    if asked.tensors:
        raise KvcalcError(f"--cache-dtype: sglang keeps all of a cache in one format, not '{asked.name}'")
    name = asked.default.name
    followed = dict.fromkeys((asked.computing.name, "bf16", *CACHE_DTYPES))
    if name not in followed:
        raise KvcalcError(
            f"--cache-dtype: kvcalc follows no cache of sglang in {name}; it follows {', '.join(followed)}"
        )
    if name == "fp8_e5m2" and is_latent(setup.model):
        raise KvcalcError("--cache-dtype: sglang keeps latents in bf16 or fp8 (fp8_e4m3)")
    return asked


def _own_state(setup: Setup) -> ElementFormat | None:
    """Of Mamba-2: it reads mamba_ssm_dtype of a file, which files of these classes do not have, and else takes fp32.

    sglang/srt/configs/mamba_utils.py, mamba2_state_dtype. Their key is mamba_ssm_cache_dtype.
    """
    told = any(isinstance(layer.attention, Mamba2) for layer in setup.model.layout.kinds)
    return find_format("fp32", "--state-dtype") if told else None


def _of_sparse_latents(asked: CacheFormat, setup: Setup, version: Version) -> CacheFormat:
    """fp8 by default on Blackwell; with scales and a bf16 rotary key, but plain where its kernels take that."""
    blackwell = (setup.gpu.compute_capability or (0, 0))[0] >= BLACKWELL
    plain = asked.default.name == "fp8" and not asked.tensors
    asked_of = {name: each.name for name, each in asked.tensors}
    stored = bool(asked_of) and asked_of.items() <= TENSOR_FORMATS[DS_MLA].items()
    in_fp8 = plain or stored or (blackwell and not setup.cache_format_given)
    if not in_fp8:
        if asked.tensors or asked.default.name != "bf16":
            raise KvcalcError("--cache-dtype: sglang keeps sparse latents in bf16 or fp8 (sglang/srt/server_args.py)")
        return asked
    if version < WIDE_FP8:
        raise KvcalcError(
            "--cache-dtype: sglang before 0.5.9 counts sparse latents in fp8 as narrower than it stores them, which "
            "kvcalc does not follow; give --cache-dtype bf16, or --engine sglang@0.5.9 or later"
        )
    if setup.gpu.vendor == "AMD" or (blackwell and version >= PLAIN_FP8_ON_BLACKWELL and not stored):
        return asked._replace(name="fp8", default=find_format("fp8", "cache_dtype"), tensors=())
    formats = tuple((tensor, find_format(TENSOR_FORMATS[DS_MLA][tensor], DS_MLA)) for tensor in ("c_kv", "k_rope"))
    return asked._replace(name=DS_MLA, default=asked.computing, tensors=formats)
