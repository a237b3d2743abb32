"""Adapters."""

from collections.abc import Iterable
from functools import partial
from typing import Annotated, TypedDict

from kvcalc.scenario.option import Option
from kvcalc.scenario.reading import count, names

of_adapters = partial(Option, panel="Adapters")
MOST_RANK = 65_536
MOST_ADAPTERS = 10**6
MODULES = (
    "q_proj",
    "k_proj",
    "v_proj",
    "o_proj",
    "gate_proj",
    "up_proj",
    "down_proj",
    "experts",
    "gate",
    "q_a_proj",
    "q_b_proj",
    "kv_a_proj_with_mqa",
    "kv_b_proj",
    "qkv_proj",
    "gate_up_proj",
    "embed_tokens",
    "lm_head",
)


def _modules() -> Iterable[str]:
    return MODULES


class Adapters(TypedDict, total=False):
    lora: Annotated[
        int | str | None, of_adapters("RANK", "LoRA adapters of this rank beside the weights.", read=count(MOST_RANK))
    ]
    max_loras: Annotated[
        int | str | None,
        of_adapters("N", "Adapters held at the same time (1, or the engine's).", read=count(MOST_ADAPTERS)),
    ]
    lora_modules: Annotated[
        str | Iterable[str] | None,
        of_adapters(
            "A,B",
            "What adapters change, as q_proj,v_proj (attention and feed-forward).",
            read=names,
            flags=("--lora-modules", "--lora-target-modules"),
            values=_modules,
            separators=",",
        ),
    ]
