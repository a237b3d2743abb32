"""Adapters as SGLang holds them: slots for the modules that it is told, in all layers, filled or not.

Some modules are one matrix to it: whoever names one of q_proj, k_proj and v_proj has slots for all three. Tables of the
vocabulary, which `all` names too, have slots of another kind, and routed experts have them in every layer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines.lora import ENDS, JOINED, Lora, modules_of
from kvcalc.engines.module_names import ModuleNames, names_of
from kvcalc.errors import KvcalcError
from kvcalc.mechanisms import GQA, MHA, MQA

if TYPE_CHECKING:
    from kvcalc.model.model import Model

SLOTS = 8
"""max_loras_per_batch of sglang/srt/server_args.py."""


def as_sglang_has(asked: Lora, model: Model) -> Lora:
    """The slots that a server has: max-loras-per-batch and lora-target-modules (sglang/srt/lora/mem_pool.py of 0.5.23).

    Raises:
        KvcalcError: kvcalc does not follow what it has of such a model, or of such modules.
    """
    plain = all(isinstance(layer.attention, MHA | GQA | MQA) for layer in model.layout.kinds)
    joined = any(len(parts) > 1 for parts in (names_of(model) or ModuleNames()).own.values())
    if model.is_mixture_of_experts or not plain or joined:
        raise KvcalcError(
            f"--lora: kvcalc does not follow which slots sglang has of {model.name}, whose layers are more than "
            "attention and a feed-forward block, or join its matrices; --engine exact counts adapters"
        )
    own = tuple(name for name in modules_of(model) if name not in ENDS)
    modules = asked.modules or own
    if any(name in ENDS for name in modules):
        raise KvcalcError(
            f"--lora-modules: kvcalc does not follow the slots that sglang has for {' and '.join(ENDS)}; leave them out"
        )
    for names in map(set, JOINED.values()):
        if missing := names - {*modules} if names & {*modules} else set():
            raise KvcalcError(
                f"--lora-modules: sglang has slots for {', '.join(sorted(names))} together; name {min(missing)} too"
            )
    return Lora(asked.rank, asked.slots or SLOTS, tuple(name for name in own if name in modules))
