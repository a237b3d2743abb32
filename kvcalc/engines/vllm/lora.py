"""Adapters as vLLM holds them: slots of one rank for every linear module, filled or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines.lora import ENDS, Lora, modules_of
from kvcalc.errors import KvcalcError

if TYPE_CHECKING:
    from kvcalc.engines.vllm.defaults import Version
    from kvcalc.model.model import Model

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""vllm/config/lora.py, MaxLoRARanks."""
FOLLOWED: Version = (0, 12)
"""Before, vocabularies had rows of adapters too (lora_extra_vocab_size)."""
TARGETS: Version = (0, 20)
"""LoRAConfig.target_modules; before, every module has slots."""
_WITH_TABLES = {"llama": (0, 12), "mistral": (0, 12), "granite": (0, 12), "qwen3": (0, 16)}
"""Since when embedding_modules of the class has the tables (vllm/model_executor/models)."""
_CLASSES = {*_WITH_TABLES, "qwen2"}


def as_vllm_has(asked: Lora, model: Model, version: Version) -> Lora:
    """The slots that a server has: max-lora-rank, max-loras, and the modules of its class.

    Raises:
        KvcalcError: kvcalc does not follow what it has of such a model, version or rank.
    """
    number = ".".join(map(str, version))
    known = model.model_type in _CLASSES and not model.tie_word_embeddings and not model.is_mixture_of_experts
    if version < FOLLOWED or not known:
        what = f"vllm {number}" if version < FOLLOWED else f"vllm of {model.name}"
        raise KvcalcError(
            f"--lora: kvcalc does not follow which modules {what} has slots for; --engine exact counts them"
        )
    rank = next((each for each in RANKS if each >= asked.rank), None)
    if rank is None:
        raise KvcalcError(f"--lora: {asked.rank} is above {RANKS[-1]}, the most of vllm (vllm/config/lora.py)")
    if asked.modules is not None and version < TARGETS:
        raise KvcalcError(f"--lora-modules: vllm {number} has slots for every linear module; leave it out")
    since = _WITH_TABLES.get(model.model_type or "")
    tables = since is not None and version >= since
    own = tuple(name for name in modules_of(model) if tables or name not in ENDS)
    return Lora(rank, asked.slots or 1, asked.modules or own)
