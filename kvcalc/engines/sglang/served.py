"""What SGLang asks of a model's class and of a card before it decides anything, and what it does not serve.

kvcalc does not know a model's class, only its name and its layers: where the class decides, names are compared.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from kvcalc.engines.sglang.defaults import BREAKABLE_GRAPHS, PREFILL_GRAPHS, Version
from kvcalc.errors import KvcalcError
from kvcalc.mechanisms import KDA, MLA, Cross, GatedDeltaNet, Lightning, Mamba1, Mamba2
from kvcalc.model.span import Chunk

if TYPE_CHECKING:
    from kvcalc.engines.base import Setup
    from kvcalc.model.model import Model

CARDS = ("NVIDIA", "AMD")
SGLANG_MODEL_CONFIG = "sglang/srt/configs/model_config.py"

WINDOW_POOLS: tuple[tuple[Version, tuple[str, ...]], ...] = (
    ((0, 5, 18), ("muse-glimmer",)),
    ((0, 5, 16), ("mellum",)),
    ((0, 5, 14), ("step-3.7",)),
    ((0, 5, 12), ("gemma-4", "laguna", "mimo-v2")),
    ((0, 5, 9), ("step-3.5",)),
    ((0, 5, 8), ("gpt-oss", "llama-4", "mimo-v2-flash")),
)
"""Names of models whose classes is_hybrid_swa_model lists, and since when: their windows have a pool of their own.
All others keep every token in every layer, Gemma-2 and Gemma-3, Exaone-4 and OLMo-3 among them."""
DATA_CENTRE_BLACKWELL = 10
"""Major compute capability."""
POOLS_IN_FULL: Version = (0, 5, 8)
"""Before it, which windows have a pool depends on the model's code, and on the hybrid-kvcache-ratio of Llama-4."""
STATES: Version = (0, 5, 4)
"""Models with states are sized by mamba-full-memory-ratio since then."""
SPARSE: Version = (0, 5, 6)
"""The indexer's keys of sparse latents are counted since then (profile_max_num_token)."""
OWN_VALUES: Version = (0, 5, 8)
"""Values of another width than the keys are counted since then (get_cell_size_per_token)."""

_NOT_BY_DEFAULT = ("gemma-3-", "llama-4", "step3")
"""Multimodal classes that are served for text alone unless told otherwise (mm_disabled_models)."""
_TOWERS: tuple[tuple[str, int, int], ...] = (
    ("qwen3.5-0.8b", 24, 768),
    ("qwen3.5-2b", 24, 1024),
    ("qwen3.5-4b", 24, 1024),
    ("qwen3.5", 24, 1152),
    ("qwen3.6", 24, 1152),
    ("qwen3-vl-2b", 24, 1024),
    ("qwen3-vl-4b", 24, 1024),
    ("qwen3-vl", 24, 1152),
    ("qwen2.5-vl", 24, 1280),
    ("qwen2-vl-2b", 24, 1536),
    ("qwen2-vl-7b", 24, 3584),
    ("qwen2-vl-72b", 24, 8192),
    ("gemma-4-31b", 27, 1152),
    ("gemma-4-26b", 27, 1152),
    ("gemma-4-e", 16, 768),
    ("gemma-3n", 24, 2048),
    ("kimi-vl", 27, 1152),
    ("kimi-k2", 24, 1024),
    ("mistral-small-3.1", 24, 1024),
    ("devstral-small-2", 24, 1024),
    ("ministral-3", 24, 1024),
    ("llava-1.5", 24, 1024),
    ("internvl3", 24, 1024),
    ("glm-4.1v", 24, 1536),
    ("glm-4.6v-flash", 24, 1536),
)
"""Prefixes of names, with num_hidden_layers and hidden_size of vision_config as adjust_mem_fraction_for_vlm reads them
from the published config.json: 24 and 1024 where it lacks them."""
_GRAPHS_WITH_TOWERS: tuple[tuple[Version, tuple[str, ...]], ...] = (
    ((0, 5, 18), ("qwen3.5", "qwen3.6", "kimi-k2", "kimi-k3", "muse-glimmer")),
    ((0, 5, 16), ("qwen3.5", "qwen3.6")),
)
"""multimodal_breakable_cuda_graph_supported_model_archs."""


def refuse_unserved(setup: Setup, version: Version) -> None:
    """Refuses what this version does not serve, or what kvcalc does not follow of it.

    Raises:
        KvcalcError: the model or its deployment.
    """
    vendor, kinds = setup.gpu.vendor, [layer.attention for layer in setup.model.layout.kinds]
    if vendor is not None and vendor not in CARDS:
        raise KvcalcError(f"--gpu: {setup.gpu.name}: kvcalc follows sglang on cards of {' and '.join(CARDS)} only")
    if setup.deployment.dcp > 1:
        raise KvcalcError("--dcp: kvcalc does not follow how sglang shares the tokens of a sequence; leave it out")
    if any(isinstance(each, Cross) for each in kinds):
        raise KvcalcError("--engine sglang: what it keeps of an encoder's tokens is not known to kvcalc")
    if any(isinstance(each, Mamba1 | Lightning) for each in kinds):
        raise KvcalcError(
            "--engine sglang: kvcalc does not follow its states of Mamba-1 and of lightning attention; --engine exact "
            "counts them"
        )
    grows = [layer for layer in setup.model.layout.kinds if layer.attention.elements_per_token]
    if not grows:
        raise KvcalcError("--engine sglang: it sizes its pools by tokens, and no layer of this model keeps any")
    has_states = any(isinstance(each, Mamba2 | GatedDeltaNet | KDA) for each in kinds) or len(grows) < len(kinds)
    if has_states and version < STATES and any(_is_state(each) for each in kinds):
        raise KvcalcError("--engine: kvcalc follows models with states under sglang from 0.5.4.post3 on")
    _check_groups(setup)
    _check_older(setup, version)


def _is_state(attention: object) -> bool:
    return any(tensor.rows is not None for tensor in attention.cached())  # type: ignore[attr-defined]  # a mechanism


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


def is_latent(model: Model) -> bool:
    """Whether it is served with multi-head latent attention (use_mla_backend)."""
    return any(isinstance(layer.attention, MLA) for layer in model.layout.kinds)


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
    if not any(layer.span is not None for layer in layers) or disabled:
        return False
    if disabled is False:
        return True
    name = setup.model.name
    listed = any(name.startswith(names) for since, names in WINDOW_POOLS if version >= since)
    chunks = any(isinstance(layer.span, Chunk) for layer in layers)
    if version < POOLS_IN_FULL and (chunks or not name.startswith(("gpt-oss", "gemma-2", "gemma-3"))):
        raise KvcalcError(
            "--engine: before 0.5.8 it depends on the model's code in sglang whether windows have a pool of their own; "
            "give --engine-option disable-hybrid-swa-memory=true where they have none"
        )
    return listed


def default_page(setup: Setup, version: Version) -> int:
    """Tokens of a page, by the attention backend that is chosen where nobody says."""
    if is_sparse(setup.model):
        return 1 if setup.gpu.vendor == "AMD" else 64
    if not _is_sm100(setup):
        return 1
    if is_latent(setup.model):
        return 64 if _is_deepseek(setup.model.name) and version >= (0, 5, 3) else 1
    states = any(_is_state(layer.attention) for layer in setup.model.layout.kinds)
    return 64 if version >= (0, 5, 6) and not states else 1


def has_prefill_graphs(setup: Setup, version: Version) -> bool:
    """Whether graphs of prefill are captured, for which memory is reserved.

    `_handle_piecewise_cuda_graph` of 0.5.10 to 0.5.13; since then `_disable_..._cudagraph_if_incompatible`.
    """
    model, pp = setup.model, setup.deployment.pp
    if version < PREFILL_GRAPHS or setup.gpu.vendor == "AMD":
        return False
    towers = takes_more_than_text(model)
    if version < BREAKABLE_GRAPHS:
        blocked = is_sparse(model) or model.name.startswith(("qwen3-next", "ling-2.5"))
        return not (blocked or towers or setup.deployment.dp_attention or pp > 1)
    allowed = any(model.name.startswith(names) for since, names in _GRAPHS_WITH_TOWERS if version >= since)
    if (towers and not allowed) or (pp > 1 and version >= (0, 5, 19)):
        return False
    return not _blocks_breakable(setup, version)


def _blocks_breakable(setup: Setup, version: Version) -> bool:
    model, latent = setup.model, is_latent(setup.model)
    kinds = [layer.attention for layer in model.layout.kinds]
    if version < (0, 5, 17):
        return latent or setup.deployment.dp_attention
    if version < (0, 5, 18):
        nemotron = "nemotron" in model.name and any(isinstance(each, Mamba2) for each in kinds)
        return nemotron or (latent and not is_sparse(model))
    kda = any(isinstance(each, KDA) for each in kinds) and version >= (0, 5, 20)
    return kda or (_is_sm100(setup) and latent and not is_sparse(model) and _is_deepseek(model.name))


def takes_more_than_text(model: Model) -> bool:
    """Whether its towers are loaded and served where nobody says otherwise (is_multimodal)."""
    return model.has_towers and not model.name.startswith(_NOT_BY_DEFAULT)


def refuse_unknown_share(setup: Setup) -> None:
    """Refuses a default of mem-fraction-static that depends on towers whose dims are not known.

    Raises:
        KvcalcError: they are not.
    """
    model = setup.model
    if takes_more_than_text(model) and _tower(model.name) is None:
        raise KvcalcError(
            f"--engine sglang: its default of mem-fraction-static depends on the layers of the tower of {model.name}, "
            f"which are not known ({SGLANG_MODEL_CONFIG}, adjust_mem_fraction_for_vlm); give --engine-option "
            "mem-fraction-static=X, which its start-up log tells"
        )


def tower_share(model: Model, version: Version) -> Fraction:
    """What the default of mem-fraction-static is multiplied by for a model that takes more than text."""
    tower = _tower(model.name) if takes_more_than_text(model) else None
    if tower is None or version < (0, 4, 9):
        return Fraction(1)
    layers, hidden = tower
    larger = Fraction(layers * hidden**2, 24 * 1024**2) - 1
    return Fraction(95, 100) * max(Fraction(8, 10), min(Fraction(105, 100), 1 - larger / 10))


def _tower(name: str) -> tuple[int, int] | None:
    return next(((layers, hidden) for prefix, layers, hidden in _TOWERS if name.startswith(prefix)), None)


def _is_sm100(setup: Setup) -> bool:
    """B200, B300 and their like, not the workstation's cards."""
    return (setup.gpu.compute_capability or (0, 0))[0] == DATA_CENTRE_BLACKWELL


def _is_deepseek(name: str) -> bool:
    """Of the class DeepseekV3ForCausalLM, or a wrapper of it."""
    return name.startswith(("deepseek-v3", "deepseek-r1", "kimi-k2", "moonlight"))
