"""The attention backend that vLLM takes on a card, as far as it decides the tokens of a block."""

from __future__ import annotations

from math import lcm
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.engines.option_values import AUTO
from kvcalc.engines.vllm.cache.compressed import BLOCK_SIZE as COMPRESSED_BLOCK_SIZE
from kvcalc.engines.vllm.cache.pooled import granule
from kvcalc.engines.vllm.cache.shared_entries import BLOCK_SIZE as OF_SHARED_ENTRIES
from kvcalc.engines.vllm.cache.shared_entries import family_of_card, shares_entries
from kvcalc.engines.vllm.model_types import BOUNDED_GATES, OLMO_HYBRID
from kvcalc.engines.vllm.options import TRITON
from kvcalc.formats.turboquant import TURBOQUANT
from kvcalc.mechanisms import KDA, MLA, Compressed, GatedDeltaNet, Mamba2

if TYPE_CHECKING:
    from kvcalc.engines.cache_format import CacheFormat
    from kvcalc.engines.vllm.defaults import Version
    from kvcalc.engines.vllm.settings import Settings
    from kvcalc.gpu import Gpu
    from kvcalc.model.model import Model

DEFAULT_BLOCK_SIZE = 16
"""vllm/config/cache.py, CacheConfig.DEFAULT_BLOCK_SIZE; before 0.18 vllm/platforms/cuda.py, check_and_update_config."""

SPARSE_BLOCK_SIZE = 64
"""vllm/v1/attention/backends/mla/indexer.py, DeepseekV32IndexerBackend.get_supported_kernel_block_sizes."""

CHOSEN_BY_BACKEND: Version = (0, 18)
"""Since then Platform.update_block_size_for_backend asks the backend for its smallest block."""
FLASHMLA: Version = (0, 8)
"""Since then latents on Hopper go to FlashMLA, and since 0.18 to FlashAttention where they are not in fp8."""
CUTLASS_MLA: Version = (0, 10)
FLASHINFER_MLA: Version = (0, 13)
HYBRIDS_ASK_BACKEND: Version = (0, 20)
LATENT_HYBRIDS_BY_128: Version = (0, 27)
KDA_EXPORTED: Version = (0, 29)
"""Since then states of a prefix's last block are exported from within a prefill: num_prefill_checkpoint_blocks of
MambaSpec is not in 0.28. Those of Mamba-2 and gated delta nets follow later: mamba_mixer2.py has it in 0.32 and not in
0.31, qwen_gdn_linear_attn.py in 0.33 and not in 0.32."""
MAMBA2_EXPORTED: Version = (0, 32)
GDN_EXPORTED: Version = (0, 33)

HOPPER, BLACKWELL, BLACKWELL_WORKSTATION = 9, 10, 12
"""Major compute capabilities."""
FLASHKDA = (HOPPER, BLACKWELL, BLACKWELL_WORKSTATION)

PLAIN_HEAD = 128
"""The width of keys that FlashInfer's kernels for latents and for gated delta nets on Blackwell take."""
LARGE_HEAD = 256
"""vllm/model_executor/models/config.py: with it FlashInfer on Blackwell takes no blocks of 16."""

WIDE_HEAD = 512
WIDE_HEADS_IN_FP8: Version = (0, 31)
"""vllm/v1/attention/backends/flash_attn.py, _get_sm90_fa4_fp8_kv_block_size: not in 0.29, there in 0.31."""

GDN_CHECKPOINT_ALIGNMENT = 64
"""vllm/v1/attention/backends/gdn_attn.py, FLASHINFER_GDN_CHECKPOINT_ALIGNMENT."""


class Backend(NamedTuple):
    """What the choice of a backend depends on.

    Attributes:
        capability: compute capability of the card; None where it is not NVIDIA's.
        latent: the model's latent layer, if it has any.
        fp8: whether its cache is in 8 bits.
        chosen: tokens of a block that an indexer chooses whole.
        fixed: tokens of a block of DeepSeek-V4.1 on this card.
        granule: what the tokens of a block are a multiple of, beside states too.
    """

    version: Version
    capability: tuple[int, int] | None
    latent: MLA | None
    fp8: bool
    head_dim: int | None
    compressed: bool = False
    chosen: int | None = None
    fixed: int | None = None
    granule: int = 1

    @property
    def _major(self) -> int:
        return 0 if self.capability is None else self.capability[0]

    @property
    def block_size(self) -> int:
        """Tokens of a block where nobody says."""
        if self.compressed:
            return self.fixed or COMPRESSED_BLOCK_SIZE
        if self.chosen is not None:
            return self.chosen
        if self.latent is None:
            wide = self.head_dim == WIDE_HEAD and self.fp8 and self._major == HOPPER
            return 64 if wide and self.version >= WIDE_HEADS_IN_FP8 else DEFAULT_BLOCK_SIZE
        if self.latent.index_kpool is not None:
            return self.granule
        if self.latent.index_topk is not None:
            return SPARSE_BLOCK_SIZE
        return self._of_latents

    @property
    def paged(self) -> int | None:
        """What the tokens of a block must be a multiple of, on NVIDIA's cards: whole pages of an indexer's keys."""
        if self.latent is None or self.latent.index_topk is None or self.capability is None:
            return None
        return self.granule if self.latent.index_kpool is not None else SPARSE_BLOCK_SIZE

    @property
    def _of_latents(self) -> int:
        """vllm/platforms/cuda.py, _get_backend_priorities, and each backend's get_supported_kernel_block_sizes."""
        version, plain = self.version, self.latent is not None and self.latent.qk_nope_head_dim == PLAIN_HEAD
        if self._major == HOPPER and version >= FLASHMLA:
            return 64 if self.fp8 or version < CHOSEN_BY_BACKEND else DEFAULT_BLOCK_SIZE
        if self._major == BLACKWELL and version >= CUTLASS_MLA:
            if plain and version >= FLASHINFER_MLA:
                return 32 if version >= CHOSEN_BY_BACKEND else 64
            return 128
        return DEFAULT_BLOCK_SIZE

    @property
    def state_alignment(self) -> int:
        """What the blocks of a model with states too are a multiple of.

        vllm/model_executor/models/config.py, HybridAttentionMambaModelConfig, and since 0.20
        vllm/platforms/interface.py, _align_hybrid_block_size.
        """
        if self.version >= HYBRIDS_ASK_BACKEND:
            at_least = 128 if self.latent is not None and self.version >= LATENT_HYBRIDS_BY_128 else 0
            return max(self.block_size, at_least)
        if self.latent is not None and self.version >= FLASHINFER_MLA:
            return 64
        large_head = self.head_dim == LARGE_HEAD and self._major == BLACKWELL and self.version >= (0, 14)
        return 32 if large_head else DEFAULT_BLOCK_SIZE


def backend_of(version: Version, model: Model, gpu: Gpu, cache_format: CacheFormat) -> Backend:
    """What decides the backend of a model on a card."""
    kinds = [layer.attention for layer in model.layout.kinds]
    latent = next((each for each in kinds if isinstance(each, MLA)), None)
    widths = [each.heads.head_dim for each in kinds if each.heads is not None]
    packed = bool(cache_format.tensors) and cache_format.name not in TURBOQUANT
    fp8 = cache_format.default.name == "fp8" or packed
    compressed = any(isinstance(each, Compressed) for each in kinds)
    chosen = max(filter(None, (getattr(each, "index_block_size", None) for each in kinds)), default=None)
    fixed = OF_SHARED_ENTRIES.get(family_of_card(gpu) or 0) if shares_entries(model) else None
    whole = 1 if latent is None else granule(latent, gpu) or 1
    return Backend(
        version, gpu.compute_capability, latent, fp8, max(widths, default=None), compressed, chosen, fixed, whole
    )


def exports_states(version: Version, model: Model, gpu: Gpu, gdn_backend: str = AUTO) -> bool:
    """Whether prefills export the state at a block's end, and keep a block more for it.

    vllm/model_executor/layers/mamba/mamba_mixer2.py, MambaMixer2.get_kv_cache_spec, on every card;
    vllm/model_executor/layers/mamba/gdn/qwen_gdn_linear_attn.py, with FlashInfer's kernel alone.
    """
    kinds = [layer.attention for layer in model.layout.kinds]
    if any(isinstance(each, Mamba2) for each in kinds):
        return version >= MAMBA2_EXPORTED
    if any(isinstance(each, KDA) for each in kinds):
        return version >= KDA_EXPORTED and model.model_type in BOUNDED_GATES and _major(gpu) in FLASHKDA
    return version >= GDN_EXPORTED and gdn_by_flashinfer(model, gpu, gdn_backend)


def _major(gpu: Gpu) -> int:
    return 0 if gpu.compute_capability is None else gpu.compute_capability[0]


def gdn_by_flashinfer(model: Model, gpu: Gpu, asked: str = AUTO) -> bool:
    """Whether gated delta nets go to FlashInfer's kernel: on Hopper, and on Blackwell with keys of 128.

    Not where Triton's is asked for, and never those of OLMo Hybrid (olmo_gdn_linear_attn.py).
    """
    if asked == TRITON or model.model_type in OLMO_HYBRID:
        return False
    layers = [layer.attention for layer in model.layout.kinds if isinstance(layer.attention, GatedDeltaNet)]
    if not layers:
        return False
    major = _major(gpu)
    plain = all(each.k_head_dim == PLAIN_HEAD for each in layers)
    return major == HOPPER or (major in {BLACKWELL, BLACKWELL_WORKSTATION} and plain)


def state_alignment(backend: Backend, settings: Settings, model: Model, gpu: Gpu, *, prefixes: bool) -> int:
    """What the blocks of a model with states too are a multiple of.

    Args:
        backend: of its attention.
        settings: of the server.
        model: that model.
        gpu: its card.
        prefixes: whether prefixes are shared: then blocks are on the grid of what the kernel exports.
    """
    alignment, block_size = backend.state_alignment, settings.block_size
    if block_size is not None and backend.version >= HYBRIDS_ASK_BACKEND:
        alignment = max(alignment, block_size)
    by_flashinfer = gdn_by_flashinfer(model, gpu, settings.gdn_prefill_backend)
    if prefixes and backend.version >= GDN_EXPORTED and by_flashinfer:
        return lcm(alignment, GDN_CHECKPOINT_ALIGNMENT)
    return alignment
