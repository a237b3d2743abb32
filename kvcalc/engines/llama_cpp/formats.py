"""The types that llama.cpp keeps tensors in, and whether flash attention runs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError
from kvcalc.formats.by_name import find_format
from kvcalc.mechanisms import GQA, MHA, MLA, MQA, Compressed, Mechanism, MLAExpanded, Role

if TYPE_CHECKING:
    from kvcalc.engines.cache_format import CacheFormat
    from kvcalc.engines.llama_cpp.builds import BuildRules
    from kvcalc.engines.llama_cpp.options import Settings
    from kvcalc.engines.setup import Setup
    from kvcalc.formats.element import ElementFormat
    from kvcalc.mechanisms.base import CachedTensor

GGML_TYPES = ("fp32", "fp16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")
"""Of -ctk and -ctv (common/arg.cpp, kv_cache_types)."""


WITHOUT_FLASH = frozenset({"grok-1"})
"""Classes of which llama.cpp turns flash attention off (src/llama-context.cpp, llama_init_from_model)."""
_BY_HAND = re.compile(r"q\d{1,2}_g\d{1,4}_s\d{1,3}")
"""What forks keep, as it is written by hand."""


def ggml_format(setup: Setup, settings: Settings, rules: BuildRules) -> CacheFormat:
    """What K, V and states are kept in.

    f16 unless asked for, whatever the model computes in (common/common.h, cache_type_k); an indexer's keys in K's type
    (src/llama-kv-cache-dsa.cpp); states in f32 (src/llama-model.cpp, llama_memory_recurrent).

    Raises:
        KvcalcError: llama.cpp has no such type, or not for this.
    """
    asked, half = setup.cache_format, find_format("fp16", "cache")
    if not setup.cache_format_given:
        asked = asked._replace(name=half.name, default=half, tensors=())
    elif "=" in asked.name:
        asked = asked._replace(default=half)
    for each in (asked.default, *(each for _, each in asked.tensors)):
        _check(each, "--cache-dtype")
    for layer in setup.model.layout.kinds:
        if layer.cache_dtype is not None:
            _check(find_format(layer.cache_dtype, "cache_dtype"), f"cache_dtype of {layer.attention.label}")
    single = find_format("fp32", "states")
    for option, state in (("--conv-dtype", asked.conv), ("--state-dtype", asked.state)):
        if state not in {None, single}:
            raise KvcalcError(f"{option}: llama.cpp keeps states in fp32")
    named = dict(asked.tensors)
    named.setdefault("index_k", named.get("c_kv", asked.default))
    kept_in = asked._replace(tensors=tuple(named.items()))
    flash = flash_attention(setup, settings, kept_in, rules)
    _check_latent(setup, asked.name, rules)
    _check_heads(setup, kept_in, flash=flash)
    if _of_values(setup, kept_in, rules).block_elems > 1 and not flash:
        raise KvcalcError(
            "--cache-dtype: llama.cpp keeps V in blocks only with flash attention"
            + (
                ", which it turns off itself where CUDA has no kernel for these heads; --engine-option flash-attn=on "
                "computes it on the host"
                if settings.flash_attn == "auto"
                else ""
            )
        )
    return kept_in._replace(conv=single, state=single)


def _check_latent(setup: Setup, asked: str, rules: BuildRules) -> None:
    """A latent has K's type alone, and another type for V is refused (src/llama-context.cpp, llama_init_from_model)."""
    latent = any(isinstance(layer.attention, MLA | Compressed) for layer in setup.model.layout.kinds)
    types = dict(each.split("=", 1) for each in asked.split(",") if "=" in each)
    if not (latent and rules.latent_alike and "v" in types):
        return
    k, v = (find_format(types.get(name, "fp16"), "--cache-dtype").name for name in ("k", "v"))
    if k != v:
        told = f"llama.cpp keeps a latent in K's type, and refuses another for V; --cache-dtype {k}"
        raise KvcalcError(f"--cache-dtype: {told}")


def _check_heads(setup: Setup, kept_in: CacheFormat, *, flash: bool) -> None:
    """With flash attention blocks must divide a head (src/llama-context.cpp, llama_init_from_model)."""
    for layer in setup.model.layout.kinds if flash else ():
        for tensor in layer.attention.cached():
            own = kept_in.of(layer, tensor)
            wide = sum(each.head_elements for each in _keys(layer.attention)) if tensor.name != "v" else 0
            wide = wide or tensor.head_elements
            if tensor.role is Role.CACHE and wide % own.block_elems:
                raise KvcalcError(
                    f"--cache-dtype: {own.name} has blocks of {own.block_elems}, which do not divide a head of {wide} "
                    "with flash attention; --cache-dtype f16"
                )


def _keys(attention: Mechanism) -> list[CachedTensor]:
    """What makes up a key: a latent and its rotated part are one row."""
    latent = isinstance(attention, MLA)
    return [each for each in attention.cached() if latent and each.role is Role.CACHE]


def flash_attention(setup: Setup, settings: Settings, kept_in: CacheFormat, rules: BuildRules) -> bool:
    """Whether it runs: where left to llama.cpp, if the card has a kernel for the heads of every layer.

    Values in blocks need it, and newer builds turn it on for them.
    """
    if setup.model.model_type in WITHOUT_FLASH:
        return False
    if settings.flash_attn != "auto" or rules.flash_asked:
        return settings.flash_attn == "on"
    if rules.values_turn_on and _of_values(setup, kept_in, rules).block_elems > 1:
        return True
    return all(has_kernel(layer.attention) for layer in setup.model.layout.kinds)


def _of_values(setup: Setup, kept_in: CacheFormat, rules: BuildRules) -> ElementFormat:
    """The type that -ctv says: of latents, which have no V, that of K where builds refuse another."""
    kept, named = (
        [tensor.name for tensor in setup.model.cached_tensors if tensor.role is Role.CACHE],
        dict(kept_in.tensors),
    )
    like_keys = "v" not in kept and rules.latent_alike
    return named.get(kept[0] if like_keys and kept else "v", kept_in.default)


def _check(element_format: ElementFormat, what: str) -> None:
    if element_format.name not in GGML_TYPES and not _BY_HAND.fullmatch(element_format.name):
        raise KvcalcError(f"{what}: llama.cpp keeps no {element_format.name}; it has {', '.join(GGML_TYPES)}")


_ANY_RATIO = frozenset({40, 64, 72, 80, 96, 112, 128, 256})
"""Widths of heads for which CUDA has a kernel whatever the number of query heads."""


def has_kernel(attention: Mechanism) -> bool:
    """Whether CUDA has one for its heads; elsewhere the host computes them.

    ggml/src/ggml-cuda/fattn.cu, ggml_cuda_get_best_fattn_kernel.
    """
    match attention:
        case MLA():
            widths = attention.kv_lora_rank + attention.qk_rope_head_dim, attention.kv_lora_rank
            ratio = attention.num_heads
        case MHA() | MLAExpanded():
            widths, ratio = _widths(attention), 1
        case MQA():
            widths, ratio = _widths(attention), attention.num_heads
        case GQA():
            widths, ratio = _widths(attention), attention.num_heads // attention.num_kv_heads
        case _:
            return True
    k, v = widths
    if k in _ANY_RATIO:
        return k == v
    least = {(192, 128): 8, (320, 256): 32, (512, 512): 1, (576, 512): 1}.get((k, v))
    return least is not None and ratio > 1 and ratio % least == 0


def _widths(attention: Mechanism) -> tuple[int, int]:
    of = {tensor.name: tensor.head_elements for tensor in attention.cached() if tensor.role is Role.CACHE}
    return of["k"], of.get("v", of["k"])
