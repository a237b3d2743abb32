"""A tensor-parallel rank of a vLLM server: its model, its blocks, and whether it keeps states of prefixes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kvcalc.engines.vllm.cache.backends import backend_of, exports_states, state_alignment
from kvcalc.engines.vllm.cache.turboquant import block_of_two_formats
from kvcalc.errors import KvcalcError
from kvcalc.mechanisms import Mamba1, Mamba2, Role

if TYPE_CHECKING:
    from kvcalc.engines.content_counter import ContentCounter, TensorRows
    from kvcalc.engines.setup import Setup
    from kvcalc.engines.vllm.settings import Settings
    from kvcalc.gpu import Gpu
    from kvcalc.model.layers import Layer
    from kvcalc.model.model import Model

MODELS_CONFIG = "vllm/model_executor/models/config.py, MambaModelConfig"


class Rank(NamedTuple):
    """A tensor-parallel rank of a server.

    Attributes:
        counter: counts in the formats that the engine keeps.
        block_size: tokens of a block, as given or as the attention backend has it.
        alignment: what the blocks of a model with states too are a multiple of where nobody says how long they are.
        granule: what they are a multiple of, however long.
        exports_states: whether a prefill keeps a block more, for the state of a prefix's end.
        draft: the same of what drafts tokens; None where nothing does.
    """

    model: Model
    tp: int
    counter: ContentCounter
    settings: Settings
    block_size: int
    alignment: int
    granule: int
    exports_states: bool
    gpu: Gpu
    draft: Rank | None = None

    def rows(self, layer: Layer) -> tuple[TensorRows, ...]:
        """What one layer keeps."""
        return self.counter.rows({layer: 1}, self.tp)


def rank_of(model: Model, tp: int, counter: ContentCounter, settings: Settings, gpu: Gpu) -> Rank:
    """A rank with the blocks that its card's attention backend takes.

    Raises:
        KvcalcError: blocks that it does not take.
    """
    backend = backend_of(settings.version, model, gpu, counter.cache_format)
    if backend.chosen is not None and (settings.block_size or 0) % backend.chosen:
        raise KvcalcError(
            f"--block-size: vllm has blocks of {backend.chosen} tokens for layers whose indexer chooses such blocks "
            "(vllm/models/minimax_m3/common/indexer.py, get_supported_kernel_block_sizes); leave --block-size out"
        )
    if backend.paged and (settings.block_size or 0) % backend.paged:
        raise KvcalcError(
            f"--block-size: vllm's kernels take pages of {backend.paged} tokens of latents with an indexer "
            "(vllm/v1/attention/backends/mla/indexer.py, get_supported_kernel_block_sizes), of which "
            f"{settings.block_size} is no multiple; leave --block-size out"
        )
    if backend.fixed and settings.block_size not in (None, backend.fixed):
        raise KvcalcError(
            f"--block-size: kvcalc follows vllm's blocks of {backend.fixed} tokens for DeepSeek-V4.1 on {gpu.name} "
            "(vllm/v1/attention/backends/mla/indexer.py, DeepseekV41IndexerBackend); leave --block-size out"
        )
    align = shares_states(model, settings)
    alignment = state_alignment(backend, settings, model, gpu, prefixes=align)
    return Rank(
        model,
        tp,
        counter,
        settings,
        block_of_two_formats(settings.block_size or backend.block_size, model, counter.cache_format, settings.version),
        alignment,
        backend.granule,
        align and exports_states(settings.version, model, gpu, settings.gdn_prefill_backend),
        gpu,
    )


def with_draft(rank: Rank, draft: Setup, counter: ContentCounter) -> Rank:
    """A rank that holds what drafts tokens too.

    Args:
        rank: without it.
        draft: on its share of the ranks.
        counter: counts in the formats that it keeps.

    Raises:
        KvcalcError: it has states.
    """
    if any(tensor.rows is not None for tensor in draft.model.cached_tensors):
        raise KvcalcError(
            f"--draft: {draft.model.name} keeps states, and kvcalc does not follow how vllm puts those of a draft into "
            "groups; --engine exact counts them"
        )
    return rank._replace(draft=rank._replace(model=draft.model, tp=draft.deployment.tp, counter=counter))


def shares_states(model: Model, settings: Settings) -> bool:
    """Whether a sequence keeps a second state, that of its last whole block (mamba_cache_mode align).

    Raises:
        KvcalcError: this version would keep a state of every block (mamba_cache_mode all).
    """
    kinds = [layer.attention for layer in model.layout.kinds]
    hybrid = {
        any(each.role is Role.STATE and each.rows is not None for each in kind.cached())
        for kind in kinds
        if kind.cached()
    }
    convolutions = any(each.role is Role.CONV for kind in kinds for each in kind.cached())
    if not settings.enable_prefix_caching or not (True in hybrid or convolutions):
        return False
    of_every_block = any(isinstance(kind, Mamba1 | Mamba2) for kind in kinds)
    if of_every_block and settings.version < (0, 26):
        raise KvcalcError(
            "--engine-option: enable-prefix-caching makes vllm before 0.26 keep a state for every block of this "
            f"model, by a chunk size that model files lack ({MODELS_CONFIG}); kvcalc does not follow that"
        )
    return settings.version >= (0, 15)
