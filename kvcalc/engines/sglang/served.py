"""What SGLang asks of a model and of a card before it decides anything, and what it does not serve."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from kvcalc.engines.quant_methods import SGLANG, refuse_checkpoint, refuse_split_blocks
from kvcalc.engines.sglang.compressed import MODELS, PAGE, check_compressed, compresses
from kvcalc.engines.sglang.defaults import BREAKABLE_GRAPHS, PREFILL_GRAPHS, Version
from kvcalc.engines.sglang.model_types import (
    DEEPSEEK,
    GRAPHS_WITH_TOWERS,
    PAGED_STATES,
    PIECEWISE_BLOCKED,
    TRTLLM_KEEPS_ALL,
    WINDOW_POOLS,
    takes_more_than_text,
    tower_dims,
    towers_count,
)
from kvcalc.errors import KvcalcError
from kvcalc.legality import legal_tps
from kvcalc.mechanisms import KDA, MLA, RWKV, Cross, Lightning, Mamba1, Mamba2
from kvcalc.model.span import Chunk

if TYPE_CHECKING:
    from kvcalc.engines.setup import Setup
    from kvcalc.model.model import Model

CARDS = ("NVIDIA", "AMD")
WIDE_VALUES_IN_FA4: Version = (0, 5, 17)
"""On data-centre Blackwell since then, in pages of 128 (has_asymmetric_kv; _fa4_page_constraint)."""
MEMORY_DEFAULTS = "sglang/srt/arg_groups/memory_hook.py, before 0.5.19 server_args.py"

DATA_CENTRE_BLACKWELL = 10
"""Major compute capability."""
NEVER: Version = (10**6,)
KEPT_WHOLE = frozenset({"gpt_oss", "gemma2", "gemma3", "gemma3_text", "gemma3n"})
"""Before 0.5.8, classes known to keep every token."""
POOLS_IN_FULL: Version = (0, 5, 8)
"""Before it, which windows have a pool depends on the model's code, and on the hybrid-kvcache-ratio of Llama-4."""
STATES: Version = (0, 5, 4)
"""Models with states are sized by mamba-full-memory-ratio since then."""
SPARSE: Version = (0, 5, 6)
"""The indexer's keys of sparse latents are counted since then (profile_max_num_token)."""
OWN_VALUES: Version = (0, 5, 8)
"""Values of another width than the keys are counted since then (get_cell_size_per_token)."""


def refuse_unserved(setup: Setup, version: Version) -> None:
    """Refuses what this version does not serve, or what kvcalc does not follow of it.

    Raises:
        KvcalcError: the model or its deployment.
    """
    vendor, kinds = setup.gpu.vendor, [layer.attention for layer in setup.model.layout.kinds]
    if vendor is not None and vendor not in CARDS:
        raise KvcalcError(
            f"--gpu: {setup.gpu.name}: kvcalc follows sglang on cards of {' and '.join(CARDS)} only; --engine exact "
            "counts any"
        )
    refuse_checkpoint(setup, version, SGLANG)
    if vendor == "NVIDIA":  # on AMD's cards its kernels may pad them (get_moe_padding_size)
        refuse_split_blocks(setup, "sglang", "sglang/srt/layers/quantization/fp8.py")
    if setup.deployment.dcp > 1:
        raise KvcalcError("--dcp: kvcalc does not follow how sglang shares the tokens of a sequence; leave it out")
    if any(isinstance(each, Cross) for each in kinds):
        raise KvcalcError("--engine sglang: what it keeps of an encoder's tokens is not known to kvcalc")
    if any(isinstance(each, Mamba1 | Lightning | RWKV) for each in kinds):
        raise KvcalcError(
            "--engine sglang: kvcalc does not follow its states of Mamba-1, lightning attention and RWKV; --engine "
            "exact counts them"
        )
    grows = [layer for layer in setup.model.layout.kinds if layer.attention.elements_per_token]
    if not grows:
        raise KvcalcError("--engine sglang: it sizes its pools by tokens, and no layer of this model keeps any")
    if has_states(setup.model) and version < STATES:
        raise KvcalcError("--engine: kvcalc follows models with states under sglang from 0.5.4.post3 on")
    check_compressed(setup, version)
    _check_columns(setup)
    _check_groups(setup)
    _check_older(setup, version)


def _is_state(attention: object) -> bool:
    return any(tensor.rows is not None for tensor in attention.cached())  # type: ignore[attr-defined]  # a mechanism


def _check_columns(setup: Setup) -> None:
    """Columns of a dense layer are divided evenly; the words of the vocabulary are padded to as many as ranks divide.

    sglang/srt/layers/linear.py, divide, which asserts it; vocab_parallel_embedding.py, padding_size.
    """
    model, tp = setup.model, setup.deployment.tp
    columns = 0 if model.is_mixture_of_experts else model.intermediate_size or 0
    if columns % tp:
        most = max(each for each in legal_tps(model, tp) if columns % each == 0)
        raise KvcalcError(
            f"--tp: {tp} does not divide the {columns:,} columns of a layer, which sglang refuses "
            f"(sglang/srt/layers/linear.py, divide); --tp {most}"
        )


def _check_groups(setup: Setup) -> None:
    tp = setup.deployment.tp
    for layer in setup.model.layout.kinds:
        each = layer.attention
        if isinstance(each, Mamba2) and each.num_groups != 1 and each.num_groups % tp:
            raise KvcalcError(
                f"--tp: {tp} does not divide the {each.num_groups} groups of Mamba-2; kvcalc does not follow how "
                "sglang copies them (sglang/srt/configs/mamba_utils.py, extra_groups_for_head_shards)"
            )


def _check_older(setup: Setup, version: Version) -> None:
    for layer in setup.model.layout.kinds:
        each = layer.attention
        if isinstance(each, MLA):
            if each.index_topk is not None and version < SPARSE:
                raise KvcalcError("--engine: kvcalc follows latents with an indexer under sglang from 0.5.6.post2 on")
            continue
        heads = each.heads
        uneven = heads is not None and getattr(each, "v_head_dim", None) not in (None, heads.head_dim)
        if uneven and version < OWN_VALUES:
            raise KvcalcError(
                "--engine: sglang before 0.5.8 sizes its pool as if values were as wide as keys, which kvcalc does "
                "not follow; --engine sglang@0.5.8 or later"
            )


@lru_cache(maxsize=MODELS)
def is_latent(model: Model) -> bool:
    """Whether it is served with multi-head latent attention (use_mla_backend)."""
    return any(isinstance(layer.attention, MLA) for layer in model.layout.kinds)


@lru_cache(maxsize=MODELS)
def is_sparse(model: Model) -> bool:
    """Whether its latents are chosen by an indexer (is_deepseek_dsa)."""
    kinds = model.layout.kinds
    return any(isinstance(each.attention, MLA) and each.attention.index_topk is not None for each in kinds)


def has_window_pool(setup: Setup, version: Version, disabled: bool | None) -> bool:
    """Whether layers with windows or chunks have a pool of their own.

    Raises:
        KvcalcError: that is not known of this version.
    """
    layers = setup.model.layout.kinds
    if compresses(setup.model):
        return True
    if not any(layer.span is not None for layer in layers) or disabled:
        return False
    if disabled is False:
        return True
    model_type = setup.model.model_type or ""
    chunks = any(isinstance(layer.span, Chunk) for layer in layers)
    if version < POOLS_IN_FULL and (chunks or model_type not in KEPT_WHOLE):
        raise KvcalcError(
            "--engine: before 0.5.8 it depends on the model's code in sglang whether windows have a pool of their own; "
            "give --engine-option disable-hybrid-swa-memory=true where they have none"
        )
    if model_type == "gpt_oss" and version < TRTLLM_KEEPS_ALL and _is_sm100(setup):
        return False
    return version >= WINDOW_POOLS.get(model_type, NEVER)


def default_page(setup: Setup, version: Version) -> int:
    """Tokens of a page, by the attention backend that is chosen where nobody says."""
    if compresses(setup.model):
        return PAGE
    if is_sparse(setup.model):
        return 1 if setup.gpu.vendor == "AMD" else 64
    if not _is_sm100(setup):
        return 1
    if is_latent(setup.model):
        paged = setup.model.model_type in DEEPSEEK and version >= (0, 5, 3)
    elif has_states(setup.model):
        paged = setup.model.model_type in PAGED_STATES and version >= (0, 5, 14)
    elif is_asymmetric(setup.model) and version >= WIDE_VALUES_IN_FA4:
        return 128
    else:
        paged = version >= (0, 5, 6)
    return 64 if paged else 1


def is_asymmetric(model: Model) -> bool:
    """Whether a row of values is not as wide as one of keys (has_asymmetric_kv)."""
    kinds = [layer.attention for layer in model.layout.kinds if layer.attention.heads is not None]
    return any(getattr(each, "v_head_dim", None) not in (None, each.heads.head_dim) for each in kinds if each.heads)


def check_page(setup: Setup, version: Version, page: int) -> None:
    """Refuses pages that the attention backend is not run with: sglang takes others then.

    sglang/srt/arg_groups/overrides.py, _mla_backend_page_constraints and _fa4_page_constraint.

    Raises:
        KvcalcError: another size is taken.
    """
    usual = default_page(setup, version)
    takes: tuple[int, ...] | None = {1: None, 64: (16, 32, 64, 128), 128: (128,)}.get(usual)
    if is_sparse(setup.model):
        takes = None if usual == 1 else (64,)
    elif takes is not None and is_latent(setup.model):
        takes = (32, 64)
    if takes is not None and page not in takes:
        raise KvcalcError(
            f"--block-size: the attention backend that sglang takes here has pages of {' or '.join(map(str, takes))} "
            f"tokens, and it changes {page} to {usual}; leave --block-size and --engine-option page-size out"
        )


@lru_cache(maxsize=MODELS)
def has_states(model: Model) -> bool:
    """Whether layers keep states (mambaish_config)."""
    return any(_is_state(layer.attention) for layer in model.layout.kinds)


def has_prefill_graphs(setup: Setup, version: Version) -> bool:
    """Whether graphs of prefill are captured, for which memory is reserved.

    `_handle_piecewise_cuda_graph` of 0.5.10 to 0.5.13; since then `_disable_..._cudagraph_if_incompatible`.
    """
    model, pp = setup.model, setup.deployment.pp
    if version < PREFILL_GRAPHS or setup.gpu.vendor == "AMD":
        return False
    towers = takes_more_than_text(model)
    if version < BREAKABLE_GRAPHS:
        blocked = is_sparse(model) or model.model_type in PIECEWISE_BLOCKED
        return not (blocked or towers or setup.deployment.dp_attention or pp > 1)
    allowed = version >= GRAPHS_WITH_TOWERS.get(model.model_type or "", NEVER)
    if (towers and not allowed) or (pp > 1 and version >= (0, 5, 19)):
        return False
    return not _blocks_breakable(setup, version)


def _blocks_breakable(setup: Setup, version: Version) -> bool:
    model, latent = setup.model, is_latent(setup.model)
    if compresses(model):
        return True
    kinds = [layer.attention for layer in model.layout.kinds]
    if version < (0, 5, 17):
        return latent or setup.deployment.dp_attention
    if version < (0, 5, 18):
        return model.model_type == "nemotron_h" or (latent and not is_sparse(model))
    # Of DeepSeek-V3 on B200 they are left out after memory was reserved for them (arg_groups/pipeline.py).
    return any(isinstance(each, KDA) for each in kinds) and version >= (0, 5, 20)


def refuse_unknown_share(setup: Setup) -> None:
    """Refuses a default of mem-fraction-static that depends on towers whose dims are not known.

    Raises:
        KvcalcError: they are not.
    """
    model = setup.model
    if towers_count(model) and tower_dims(model) is None:
        raise KvcalcError(
            f"--engine sglang: its default of mem-fraction-static depends on the layers of the tower of {model.name}, "
            f"which are not known ({MEMORY_DEFAULTS}, adjust_mem_fraction_for_vlm); give --engine-option "
            "mem-fraction-static=X, which its start-up log tells"
        )


def _is_sm100(setup: Setup) -> bool:
    """B200, B300 and their like, not the workstation's cards."""
    return (setup.gpu.compute_capability or (0, 0))[0] == DATA_CENTRE_BLACKWELL
