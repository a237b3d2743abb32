"""llama.cpp's options as text, each by its own name, and what a server runs with."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple

from kvcalc.engines.option import Option
from kvcalc.engines.option_values import count
from kvcalc.errors import KvcalcError
from kvcalc.units import parse_count, parse_positive

if TYPE_CHECKING:
    from collections.abc import Mapping
    from fractions import Fraction

    from kvcalc.engines.base import Engine

MOST_TOKENS = 10**6
MOST_DRAFTED = 1000
MOST_LAYERS = 10**6
CHECKPOINTS = 24
"""Of each request in Ollama's own engine: kvcache/recurrent.go, DefaultCheckpointCount (0.18 to 0.24)."""
FlashAttention = Literal["on", "off", "auto"]


def _flag(text: str, what: str) -> bool:
    known = {"true": True, "1": True, "on": True, "false": False, "0": False, "off": False}
    value = known.get(text.strip().lower())
    if value is None:
        raise KvcalcError(f"{what}: '{text[:40]}' is not 0 or 1")
    return value


def _flash(text: str, what: str) -> FlashAttention:
    known: dict[str, FlashAttention] = {"on": "on", "1": "on", "off": "off", "0": "off", "auto": "auto"}
    value = known.get(text.strip().lower())
    if value is None:
        raise KvcalcError(f"{what}: '{text[:40]}' is none of on, off, auto")
    return value


def _or_all(text: str, what: str) -> int | None:
    return None if text.strip().lower() == "all" else parse_count(text, what, MOST_LAYERS, 0)


def _shares(text: str, what: str) -> tuple[Fraction, ...]:
    """Shares above 0, as `-ts 3,1` or `3/1` has them."""
    return tuple(parse_positive(each.strip(), what) for each in text.replace("/", ",").split(","))


OPTIONS: Mapping[str, Option] = MappingProxyType(
    {
        "kv-unified": Option(
            _flag,
            "0",
            "1: all slots share one set of cells. llama-server does so where it chooses its 4 slots itself.",
            source="common/arg.cpp, --kv-unified; tools/server/server.cpp, n_parallel",
        ),
        "swa-full": Option(
            _flag,
            "0",
            "1: layers with windows keep the whole context.",
            source="common/arg.cpp, --swa-full; src/llama-kv-cache-iswa.cpp",
        ),
        "ubatch-size": Option(
            count(MOST_TOKENS),
            "512",
            "Tokens that a step computes at most (-ub).",
            source="common/common.h, n_ubatch",
        ),
        "flash-attn": Option(
            _flash,
            "auto",
            "on, off or auto: on where the card has a kernel for the heads (-fa).",
            source="common/arg.cpp, --flash-attn; ggml/src/ggml-cuda/fattn.cu",
        ),
        "n-gpu-layers": Option(
            _or_all,
            "all",
            "Layers on the card (-ngl), the last ones; the output head counts as one. all: every layer.",
            source="common/arg.cpp, --n-gpu-layers; src/llama-model.cpp, load_tensors",
        ),
        "n-cpu-moe": Option(
            count(MOST_LAYERS, 0),
            "0",
            "First layers whose routed experts stay in host memory (-ncmoe).",
            source="common/arg.cpp, --n-cpu-moe",
        ),
        "no-kv-offload": Option(
            _flag,
            "0",
            "1: the cache and the states stay in host memory (-nkvo).",
            source="common/common.h, no_kv_offload",
        ),
        "tensor-split": Option(
            _shares,
            None,
            "Share of the layers that each card has, as 24,48 (-ts); of --pp N or --gpu NAME+NAME.",
            otherwise="by the memory of the cards",
            source="common/arg.cpp, --tensor-split; src/llama-model.cpp, get_layer_buft_list",
        ),
        "ollama-new-engine": Option(
            _flag,
            "0",
            "1: Ollama's own engine, which 0.6 to 0.24 ran most models in; since 0.30 Ollama starts llama-server.",
            source="Ollama 0.24, kvcache/causal.go, Init; envconfig/config.go, OLLAMA_NEW_ENGINE",
        ),
        "n-outputs-max": Option(
            count(MOST_TOKENS, 0),
            None,
            "Tokens of a step whose logits are wanted; 0: of all, as of an application that uses the library and does "
            "not say. Up to b9459 it is always all.",
            otherwise="one of each slot, as llama-server has it",
            source="include/llama.h, llama_context_params.n_outputs_max; src/llama-context.cpp, graph_reserve",
        ),
        "draft-n": Option(
            count(MOST_DRAFTED, 0),
            "0",
            "Tokens that MTP layers or a draft model propose: each needs a copy of every state.",
            source="common/arg.cpp, --spec-draft-n-max; src/llama-memory-recurrent.cpp, n_rs_seq",
        ),
    }
)


GIVEN_ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "ctx-size": "--context, the tokens of each slot",
        "parallel": "--batch",
        "cache-type-k": "--cache-dtype k=TYPE,v=TYPE",
        "cache-type-v": "--cache-dtype k=TYPE,v=TYPE",
    }
)
"""Options of llama-server that kvcalc has as options of its own."""


class Settings(NamedTuple):
    """What a server runs with, by the names of its options."""

    kv_unified: bool
    swa_full: bool
    ubatch_size: int
    flash_attn: FlashAttention
    n_gpu_layers: int | None
    n_cpu_moe: int
    no_kv_offload: bool
    tensor_split: tuple[Fraction, ...] | None
    ollama_new_engine: bool
    n_outputs_max: int | None
    draft_n: int

    @property
    def state_copies(self) -> int:
        """Of every state, beside itself: for drafted tokens, or where requests may begin again."""
        return CHECKPOINTS if self.ollama_new_engine else self.draft_n


def settings_of(engine: Engine) -> Settings:
    """The options of an engine. Requests of Ollama's own engine share all cells."""
    found = Settings(*(engine.option(name.replace("_", "-")) for name in Settings._fields))
    return found._replace(kv_unified=True) if found.ollama_new_engine else found
