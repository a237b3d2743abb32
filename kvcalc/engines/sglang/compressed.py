"""Compressed attention in SGLang (DeepSeek-V4, V4.1): pools of windows, of entries and an indexer's keys, and states.

    bytes of a token   entries and keys of the groups that it is in
    bytes of a window's token   an entry in every layer, and its share of the rings of ratio 4: one a page
    fixed              rings of ratios 2 and 128, for max-running-requests; since 0.5.21 the pool of windows too

sglang/srt/model_executor/pool_configurator.py, DSV4PoolConfigurator; mem_cache/deepseek_v4_memory_pool.py.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError
from kvcalc.formats.by_name import find_format
from kvcalc.formats.element import TENSOR_FORMATS
from kvcalc.mechanisms import Compressed

if TYPE_CHECKING:
    from kvcalc.engines.cache_format import CacheFormat
    from kvcalc.engines.setup import Setup
    from kvcalc.engines.sglang.defaults import Version
    from kvcalc.model.model import Model

SINCE: Version = (0, 5, 15)
"""Before it, rings of ratio 128 grew with the tokens."""
BY_REQUESTS: Version = (0, 5, 21)
"""Since then the pool of windows follows max-running-requests, and pages are priced as they are padded."""
PAGE, REQUESTS, RATIO = 256, 256, Fraction(1, 10)
"""arg_groups/deepseek_v4_hook.py and overrides.py, where nothing else is asked."""
WINDOW = 128
PADDED = {"fp8_ds_v4": 576, "mxfp8": 512, "nvfp4": 256}
"""Format of an entry -> what its pages are padded to a multiple of (create_buffer; KVLayout.page_align)."""
ENTRY = 512
EVICTION = 128
"""SGLANG_SWA_EVICTION_INTERVAL."""
TAILS = 4
"""Prefixes for each request whose last window stays (_resolve_swa_prefix_tails)."""
OVERLAPPING, HEAVY = 4, 128
RINGS = {2: 2, HEAVY: HEAVY}
"""compress_ratio -> tokens of the ring of a request, of the ratios whose rings each has (_get_c2_state_fixed_bytes)."""
SHARING = (1, 2)
"""Ratios of DeepSeek-V4.1, whose indexers' keys are in four bits."""
PAGES_KEPT: Version = (0, 5, 23)
"""Pages of those entries are priced as they are padded since then, and those that are kept free
(_get_low_ratio_kv_padding_bytes)."""
INDEX_PAGE = 64
DS_MLA = "fp8_ds_mla"
_HOPPER, _BLACKWELL = 9, 10
OWN_LAYOUT: Version = (0, 5, 23)
"""Since then DeepSeek-V4.1 on Blackwell has a layout of its own where ranks keep all heads: its kernel of attention is
the default there (_default_dsv4_attention_backend of arg_groups/deepseek_v4_hook.py). Elsewhere SGLANG_DSV4_KV_LAYOUT
is v4 by default (environ.py)."""


MODELS = 64
"""Models of which answers are kept: searches ask on thousands of deployments of one."""


@lru_cache(maxsize=MODELS)
def compresses(model: Model) -> bool:
    """Whether its attention is compressed."""
    return any(isinstance(layer.attention, Compressed) for layer in model.layout.kinds)


def check_compressed(setup: Setup, version: Version) -> None:
    """Refuses what it does not serve, or kvcalc does not follow.

    Raises:
        KvcalcError: the version, the card, the layers or a draft.
    """
    if not compresses(setup.model):
        return
    for layer in setup.model.layout.kinds:
        each = layer.attention
        if not isinstance(each, Compressed) or not _is_known(each):
            raise KvcalcError(
                f"--engine: kvcalc follows DeepSeek-V4's compressed attention under sglang, with windows of {WINDOW} "
                f"and ratios of 4, with overlap and an indexer, and 128, without, and V4.1's: not {layer.label} "
                "(sglang/srt/model_executor/pool_configurator.py); --engine exact counts it"
            )
    if shares(setup.model) and version < BY_REQUESTS:
        raise KvcalcError("--engine: sglang serves DeepSeek-V4.1 since 0.5.21; --engine sglang@0.5.23")
    if shares(setup.model) and setup.deployment.pp > 1:
        raise KvcalcError(
            "--pp: sglang serves DeepSeek-V4.1 on one stage (validate_deepseek_v41_features of "
            "sglang/srt/arg_groups/deepseek_v4_hook.py)"
        )
    if version < SINCE:
        raise KvcalcError(
            "--engine: kvcalc follows compressed attention under sglang from 0.5.15 on; --engine sglang@0.5.15"
        )
    if _major(setup) not in {_HOPPER, _BLACKWELL}:
        raise KvcalcError(
            f"--gpu: kvcalc does not follow how this sglang keeps compressed attention on {setup.gpu.name}, but on "
            "NVIDIA's Hopper and its Blackwell data-centre cards (select_dsv4_kv_layout of "
            "sglang/srt/mem_cache/deepseek_v4_memory_pool.py); --engine exact counts what is kept"
        )
    if setup.draft is not None:
        raise KvcalcError(
            "--mtp, --draft: kvcalc does not follow what sglang keeps for compressed attention's drafts; --engine "
            "exact counts it"
        )


def shares(model: Model) -> bool:
    """Whether it has DeepSeek-V4.1's ratios."""
    return any(getattr(layer.attention, "compress_ratio", None) in SHARING for layer in model.layout.kinds)


def _is_known(attention: Compressed) -> bool:
    if attention.sliding_window != WINDOW:
        return False
    ratio, own_index = attention.compress_ratio, attention.index_head_dim is not None
    if ratio in SHARING:
        return not attention.overlap and attention.shared_entries != attention.index_of_entries
    v4 = {(None, False, False), (OVERLAPPING, True, True), (HEAVY, False, False)}
    return not attention.shared_entries and (ratio, attention.overlap, own_index) in v4


def _major(setup: Setup) -> int:
    return (setup.gpu.compute_capability or (0, 0))[0]


def compressed_format(asked: CacheFormat, setup: Setup, version: Version) -> CacheFormat:
    """Entries of 584 bytes, or of 528 and 288 (OWN_LAYOUT), whatever is asked, with which no other format goes.

    Raises:
        KvcalcError: another format.
    """
    layout = TENSOR_FORMATS[DS_MLA]
    named = {name: each.name for name, each in asked.tensors}
    plain = asked.default.name == "fp8" and not named
    if setup.cache_format_given and not plain and not (named and named.items() <= layout.items()):
        raise KvcalcError(
            "--cache-dtype: sglang keeps DeepSeek-V4's entries in fp8 with a rotary part in bf16 (fp8_ds_mla; "
            "sglang/srt/mem_cache/deepseek_v4_memory_pool.py); leave --cache-dtype out"
        )
    sharing = shares(setup.model)
    own = sharing and _major(setup) == _BLACKWELL and version >= OWN_LAYOUT and setup.deployment.tp == 1
    kept = {"kv": layout["kv"], "compressed_kv": layout["compressed_kv"]}
    if own:
        kept = {"kv": "mxfp8", "compressed_kv": "nvfp4"}
    if sharing:
        kept["index_k"] = "mxfp4"
    formats = tuple((name, find_format(each, DS_MLA)) for name, each in kept.items())
    return asked._replace(
        name="fp8" if own else DS_MLA,
        default=asked.computing,
        tensors=formats,
        state=find_format("fp32", "state"),
    )
