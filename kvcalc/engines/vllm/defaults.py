"""What vLLM runs with where nobody says, by version, card, usage and model (vllm/engine/arg_utils.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kvcalc.engines.vllm.model_types import RUNNER_BY_TYPE, runner_by_type
from kvcalc.units import GIB

if TYPE_CHECKING:
    from kvcalc.engines.vllm.traits import Traits
    from kvcalc.gpu import Gpu
    from kvcalc.model.model import Model

Version = tuple[int, ...]

VERSIONS = (
    "0.6.0",
    "0.6.3",
    "0.6.4",
    "0.6.5",
    "0.6.6",
    "0.7.3",
    "0.8.0",
    "0.8.4",
    "0.8.5",
    "0.9.0",
    "0.9.1",
    "0.9.2",
    "0.10.0",
    "0.10.2",
    "0.11.0",
    "0.11.1",
    "0.12.0",
    "0.13.0",
    "0.14.0",
    "0.15.0",
    "0.16.0",
    "0.17.0",
    "0.18.0",
    "0.18.1",
    "0.19.0",
    "0.20.0",
    "0.20.1",
    "0.20.2",
    "0.21.0",
    "0.22.0",
    "0.23.0",
    "0.25.1",
    "0.26.0",
    "0.27.1",
    "0.28.0",
    "0.29.0",
    "0.30.0",
    "0.31.0",
    "0.32.0",
    "0.33.0",
)
"""Those whose sources the rules here were read from."""

ENGINE_V1: Version = (0, 8)
"""The first version whose default engine is V1 (EngineArgs.create_engine_config)."""
ENGINE_V0_GONE: Version = (0, 11)
STAGES_IN_V1: Version = (0, 9, 1)
A100_EXCLUDED: Version = (0, 9)
"""vllm-project/vllm#17885."""
TOKENS_BOUNDED_BY_SEQUENCES: Version = (0, 11, 1)
"""max_num_batched_tokens is no more than max_num_seqs x max_model_len."""
SEQUENCES_BY_CARD: Version = (0, 8, 4)
"""1,024 on every card in 0.8.3."""
CARDS_BY_MEMORY: Version = (0, 8, 5)
"""Those of 70 GiB and more: up to 0.8.4 cards that are called H100 or H200, a GH200 among them."""
SEQUENCES_BY_USAGE: Version = (0, 9, 2)
LARGE_CARDS: Version = (0, 28)
"""The tier of 160 GiB and more: not in 0.27, there in 0.28."""
HYBRIDS_SHARE_PREFIXES: Version = (0, 28)
"""default_prefix_caching of vllm/engine/arg_utils.py: not in 0.27.1 (`and not model_config.is_hybrid`), but in 0.28."""
UTILIZATION_92: Version = (0, 20)
"""vllm/config/cache.py, gpu_memory_utilization: 0.9 in 0.19, 0.92 in 0.20.0."""

ITEMS_FIT: Version = (0, 22)
"""max_num_batched_tokens is no less than an item of Gemma 4 whose tokens see each other: not in 0.20.0, but in 0.22.1
(vllm/engine/arg_utils.py, _get_min_mm_batched_tokens). Logs of 0.25.1 print 2,496."""
VIDEO = 32 * (70 + 2 + 6)
"""Tokens of a video: frames x (tokens of one, its two bounds and its time) (vllm/model_executor/models/gemma4_mm.py,
get_mm_max_tokens_per_item; gemma4_unified.py has the same)."""
SEE_EACH_OTHER = {"gemma4", "gemma4_unified"}
"""model_type of those that take images, of what Gemma4ModelArchConfigConvertor is for
(vllm/transformers_utils/model_arch_config_convertor.py, is_mm_prefix_lm)."""

GB10, THOR = (12, 1), (11, 0)
TOLD_BY_TORCH: Version = (0, 33)
NAMED_LARGE = ("h100", "h200", "gh200")

MIN_TOKENS = 2048
"""SchedulerConfig.DEFAULT_MAX_NUM_BATCHED_TOKENS."""
MIN_SEQUENCES = 128
"""SchedulerConfig.DEFAULT_MAX_NUM_SEQS."""
V0_SEQUENCES = 256
V0_CHUNK = 512
V0_TOWER_TOKENS: tuple[tuple[Version, int], ...] = (((0, 6, 3), 5120), ((0, 6), 4096))
"""vllm/config.py, _MULTIMODAL_MODEL_MAX_NUM_BATCHED_TOKENS, of 0.6.3 to 0.8.5, and of 0.6.0."""
LONG_CONTEXT = 32768
CHUNKS_OF_2048: Version = (0, 6, 5)
"""SchedulerConfig of vllm/config.py: chunks of 512 in 0.6.4, of 2,048 in 0.6.6."""
TOWERS_NOT_CHUNKED: Version = (0, 6, 3)
"""EngineArgs.create_engine_config: prompts of models with towers are chunked in 0.6.0 too."""


class Batch(NamedTuple):
    """What a step computes at most.

    Attributes:
        tokens: max_num_batched_tokens.
        sequences: max_num_seqs.
    """

    tokens: int
    sequences: int


def engine_of(version: Version, gpu: Gpu, pp: int = 1) -> str:
    """v0 or v1 (EngineArgs._is_v1_supported_oracle).

    From 0.8 to 0.10, V0 serves cards before compute capability 8.0, and up to 0.9.0 pipeline stages without Ray.
    """
    if version < ENGINE_V1 or (version < STAGES_IN_V1 and pp > 1):
        return "v0"
    old = gpu.compute_capability is not None and gpu.compute_capability < (8, 0)
    return "v0" if old and version < ENGINE_V0_GONE else "v1"


def runner_of(version: Version, gpu: Gpu, pp: int, model_type: str | None, traits: Traits) -> str:
    """The model runner: v0, v1 or v2."""
    return engine_of(version, gpu, pp) if version < RUNNER_BY_TYPE else runner_by_type(version, model_type, traits)


def default_batch(version: Version, gpu: Gpu, runner: str, usage: str, max_model_len: int, traits: Traits) -> Batch:
    """What is taken of both where neither is given."""
    if runner == "v0":
        return Batch(_v0_tokens(version, max_model_len, traits), V0_SEQUENCES)
    large = _tier(version, gpu)
    if usage == "async":
        sequences = MIN_SEQUENCES if version >= SEQUENCES_BY_USAGE else _sequences(version, large)
        return Batch(MIN_TOKENS, sequences)
    server = {2: 16384, 1: 8192, 0: 2048}[large]
    offline = 16384 if large else 8192
    return Batch(offline if usage == "offline" else server, _sequences(version, large))


def tokens_of_an_item(version: Version, model: Model) -> int:
    """What max_num_batched_tokens is at least by default, where an item of the input must be computed in one step.

    Of Gemma 4 with use_bidirectional_attention "vision" in its file: those whose layers share no cache.
    """
    if version < ITEMS_FIT or not model.has_towers or model.model_type not in SEE_EACH_OTHER:
        return 0
    return VIDEO if all(layer.attention.cached() for layer in model.distinct()) else 0


def _sequences(version: Version, large: int) -> int:
    return 1024 if large or version < SEQUENCES_BY_CARD else 256


def _tier(version: Version, gpu: Gpu) -> int:
    """0 for small cards, 1 from 70 GiB, 2 from 160 GiB.

    A GB10 and a Jetson Thor do not tell their memory (vllm/platforms/cuda.py of 0.33, get_device_total_memory), which
    then counts as 0: a log of 0.10.2 on a Thor has 2,048 tokens. 0.33, which finds it out in another way, excludes the
    GB10 by its capability. Of an AMD chip that shares the host's memory counts what is set aside for graphics alone
    (vllm/platforms/rocm.py, _query_total_memory_from_amdsmi): a log of 0.28 on one of 80 GiB has 2,048 tokens.
    """
    memory = gpu.memory_bytes or 0
    if gpu.vendor == "AMD" and (gpu.memory_from == "unified" or gpu.sizes_gb):
        return 0
    if gpu.compute_capability == GB10 or (gpu.compute_capability == THOR and version < TOLD_BY_TORCH):
        return 0
    if memory >= 160 * GIB and version >= LARGE_CARDS:
        return 2
    if version < CARDS_BY_MEMORY:
        return int(gpu.name.startswith(NAMED_LARGE))
    excluded = version >= A100_EXCLUDED and gpu.name.startswith("a100")
    return int(memory >= 70 * GIB and not excluded)


def _v0_tokens(version: Version, max_model_len: int, traits: Traits) -> int:
    """Prompts are computed whole, but those of more than 32,768 tokens in chunks.

    EngineArgs.create_engine_config and SchedulerConfig of 0.6.0 to 0.9.
    """
    unchunked = traits.windows or traits.latent or (traits.towers and version >= TOWERS_NOT_CHUNKED)
    chunk = MIN_TOKENS if version >= CHUNKS_OF_2048 else V0_CHUNK
    tokens = chunk if max_model_len > LONG_CONTEXT and not unchunked else max(max_model_len, MIN_TOKENS)
    least = next(tokens for since, tokens in V0_TOWER_TOKENS if version >= since)
    return max(tokens, least) if traits.towers else tokens


def default_prefix_caching(version: Version, runner: str, traits: Traits) -> bool:
    """Whether blocks of equal prefixes are shared."""
    if runner == "v0" or not traits.attention:
        return False
    return not traits.states or version >= HYBRIDS_SHARE_PREFIXES
