"""Adapters as vLLM holds them: slots of one rank for every linear module, filled or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines.lora import ENDS, JOINED, Lora, modules_of
from kvcalc.errors import KvcalcError

if TYPE_CHECKING:
    from kvcalc.deployment import Deployment
    from kvcalc.engines.vllm.defaults import Version
    from kvcalc.model.model import Model

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""vllm/config/lora.py, MaxLoRARanks."""
FOLLOWED: Version = (0, 12)
"""Before, vocabularies had rows of adapters too (lora_extra_vocab_size)."""
TARGETS: Version = (0, 20, 2)
"""The first version that was read whose LoRAConfig.target_modules match what is packed by its parts."""
_WITH_TABLES: dict[str, Version] = {
    "llama": (0, 12),
    "mistral": (0, 12),
    "granite": (0, 12),
    "qwen3": (0, 16),
    "mixtral": (0, 29),
    "qwen3_moe": (0, 29),
    "phi3": (0, 19),
}
"""Since when embedding_modules of the class has the tables (vllm/model_executor/models)."""
_ROUTERS: dict[str, Version] = {"mixtral": (0, 29), "qwen3_moe": (0, 29), "glm4_moe": (0, 31)}
"""Since when the router is a linear module of vLLM's, and one that its experts hold too has slots once
(vllm/lora/model_manager.py, _create_lora_modules)."""
_READ_FROM: dict[str, Version] = {"phi3": (0, 19)}
"""The first version whose class was read, of those that are followed later than FOLLOWED."""
_CLASSES = {*_WITH_TABLES, *_ROUTERS, "qwen2"}
_TOKENS_SHARED = {"qwen3_moe"}
"""Classes whose tensor-parallel ranks share the tokens of experts that replicas share (use_sequence_parallel_moe); of
the others all ranks have all tokens."""
TIED: Version = (0, 29)
"""From here on each has a head of its own over tied weights, which has slots too (ParallelLMHead.tie_weights)."""
MOST_WORDS = 258_048
"""vllm/lora/layers/logits_processor.py."""


def _followed_from(model: Model) -> Version | None:
    """Since when it is known which modules of the model have slots; None where it is not.

    Quantised experts may have wider matrices than the model's.
    """
    name = model.model_type or ""
    if name not in _CLASSES:
        return None
    if model.is_mixture_of_experts:
        plain = model.weight_dtype in {None, model.dtype} and model.num_experts and model.moe_intermediate_size
        return _ROUTERS.get(name) if plain else None
    return TIED if model.tie_word_embeddings and name in _WITH_TABLES else _READ_FROM.get(name, FOLLOWED)


def as_vllm_has(asked: Lora, model: Model, version: Version) -> Lora:
    """The slots that a server has: max-lora-rank, max-loras, and the modules of its class.

    Raises:
        KvcalcError: kvcalc does not follow what it has of such a model, version or rank.
    """
    number, since = ".".join(map(str, version)), _followed_from(model)
    if since is None or version < since:
        later = "" if since is None else f"--engine vllm@{'.'.join(map(str, since))}.0 is followed, and "
        raise KvcalcError(
            f"--lora: kvcalc does not follow which modules vllm {number} has slots for of {model.name}; {later}"
            "--engine exact counts them"
        )
    rank = next((each for each in RANKS if each >= asked.rank), None)
    if rank is None:
        raise KvcalcError(f"--lora: {asked.rank} is above {RANKS[-1]}, the most of vllm (vllm/config/lora.py)")
    if asked.modules is not None and version < TARGETS:
        raise KvcalcError(
            f"--lora-modules: kvcalc does not follow the choice of modules of vllm {number}; leave it out, or give "
            f"--engine vllm@{'.'.join(map(str, TARGETS))}"
        )
    since = _WITH_TABLES.get(model.model_type or "")
    tables = since is not None and version >= since
    own = tuple(name for name in modules_of(model) if tables or name not in ENDS)
    if "lm_head" in (asked.modules or own) and (model.vocab_size or 0) > MOST_WORDS:
        raise KvcalcError(
            f"--lora: vllm has no adapters of {model.vocab_size:,} words, which are above {MOST_WORDS:,} "
            "(vllm/lora/layers/logits_processor.py); --lora-modules without lm_head"
        )
    return Lora(rank, asked.slots or 1, own if asked.modules is None else _with_joined(asked.modules, own))


def _with_joined(modules: tuple[str, ...], own: tuple[str, ...]) -> tuple[str, ...]:
    """Slots are there for all that is one matrix with what is named (vllm/lora/utils.py, is_in_target_modules)."""
    slots = {*modules}
    for together in JOINED.values():
        if slots & {*together}:
            slots |= {*together}
    return tuple(name for name in own if name in slots) + tuple(name for name in modules if name not in own)


def refuse_adapters_of_experts(held: Lora, model: Model, deployment: Deployment) -> None:
    """Refuses adapters of experts whose tokens ranks share (vllm/config/parallel.py, use_sequence_parallel_moe).

    Raises:
        KvcalcError: they are such.
    """
    ranks = deployment.expert_ranks
    spread = deployment.dp_attention and deployment.ep > 1 and deployment.tp > 1
    if spread and model.model_type in _TOKENS_SHARED and "experts" in (held.modules or ()):
        raise KvcalcError(
            f"--lora: vllm has no adapters of {model.name}'s experts over replicas of several ranks "
            f"(vllm/lora/layers/fused_moe.py, _ep_check); --tp 1 --dp {ranks} gives each one rank"
        )
