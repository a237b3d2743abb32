"""SGLang's options as text: each by the engine's own name, with the default of its documentation."""

from __future__ import annotations

from fractions import Fraction
from types import MappingProxyType
from typing import TYPE_CHECKING

from kvcalc.engines.option import Option
from kvcalc.engines.option_values import AUTO, count, flag, or_auto
from kvcalc.engines.sglang.hisparse import hisparse_config
from kvcalc.errors import KvcalcError
from kvcalc.units import parse_count, parse_fraction, parse_positive

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_TOKENS = 10**9
MOST_PAGE = 10**6
SERVER_ARGS = "sglang/srt/server_args.py"


def _chunk(text: str, what: str) -> int:
    return -1 if text.strip() == "-1" else parse_count(text, what, MOST_TOKENS)


STRATEGIES = ("no_buffer", "extra_buffer", "extra_buffer_lazy")


def _strategy(text: str, what: str) -> str:
    if text not in STRATEGIES:
        raise KvcalcError(f"{what}: '{text[:40]}' is none; known are {', '.join(STRATEGIES)}")
    return text


def _ratio(text: str, what: str) -> Fraction:
    value = parse_positive(text, what)
    if value > 1000:  # noqa: PLR2004  # nobody means that
        raise KvcalcError(f"{what}: '{text[:40]}' is beyond the limit of 1,000")
    return value


GIVEN_ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "context-length": "--context",
        "tp": "--tp, with --dp-attention divided by --dp",
        "tp-size": "--tp, with --dp-attention divided by --dp",
        "tensor-parallel-size": "--tp, with --dp-attention divided by --dp",
        "pp-size": "--pp",
        "pipeline-parallel-size": "--pp",
        "dp-size": "--dp",
        "data-parallel-size": "--dp",
        "ep-size": "--ep",
        "enable-dp-attention": "--dp-attention",
        "kv-cache-dtype": "--cache-dtype",
        "mamba-ssm-dtype": "--state-dtype",
        "dtype": "--dtype",
        "quantization": "--weight-dtype",
    }
)
"""Options of SGLang that kvcalc has as options of its own."""

OPTIONS: Mapping[str, Option] = MappingProxyType(
    {
        "mem-fraction-static": Option(
            or_auto(parse_fraction),
            AUTO,
            "Share of a card's free memory for weights and pools; auto: what the version reserves for a card's size.",
            source=SERVER_ARGS,
        ),
        "page-size": Option(
            or_auto(count(MOST_PAGE)),
            AUTO,
            "Tokens of a page; auto: 1, or 64 where the attention backend needs it (sparse latents, trtllm_mha and "
            "trtllm_mla on B200 and its like).",
            source=SERVER_ARGS,
        ),
        "swa-full-tokens-ratio": Option(
            _ratio, "0.8", "Tokens of the pool of windows for each token of the full pool.", source=SERVER_ARGS
        ),
        "mamba-full-memory-ratio": Option(
            _ratio, "0.9", "Memory of the states for each byte of the tokens' pool.", source=SERVER_ARGS
        ),
        "chunked-prefill-size": Option(
            or_auto(_chunk),
            AUTO,
            "Tokens of a prompt that a step computes at most, -1 for all; auto: 2048 to 16384, by version and card.",
            source=SERVER_ARGS,
        ),
        "cuda-graph-max-bs": Option(
            or_auto(count(MOST_TOKENS)),
            AUTO,
            "Sequences of the largest CUDA graph; auto: 8 to 512, by version, card and tp.",
            source=SERVER_ARGS,
        ),
        "max-running-requests": Option(
            or_auto(count(MOST_TOKENS)),
            AUTO,
            "Sequences that run at the same time, of all replicas with dp-attention; auto: up to 4096.",
            source=SERVER_ARGS,
        ),
        "max-total-tokens": Option(
            or_auto(count(MOST_TOKENS)), AUTO, "Tokens of the pool at most; auto: what memory holds."
        ),
        "max-mamba-cache-size": Option(
            or_auto(count(MOST_TOKENS)), AUTO, "Slots for states; auto: by mamba-full-memory-ratio."
        ),
        "mamba-radix-cache-strategy": Option(
            or_auto(_strategy),
            AUTO,
            "Slots of states that a sequence needs: 3 with no_buffer, 4 with extra_buffer_lazy, 5 with extra_buffer; "
            "auto: by version and class. Before 0.5.14 its flag is --mamba-scheduler-strategy.",
            source=SERVER_ARGS,
        ),
        "disable-overlap-schedule": Option(
            flag, "false", "Whether a step is scheduled once the one before it is done."
        ),
        "disable-radix-cache": Option(flag, "false", "Whether equal prefixes are not shared."),
        "disable-hybrid-swa-memory": Option(
            or_auto(flag),
            AUTO,
            "Whether layers with windows or chunks keep every token; auto: by version and the model's class.",
        ),
        "disable-cuda-graph": Option(flag, "false", "Whether there are no CUDA graphs."),
        "disable-prefill-cuda-graph": Option(
            flag,
            "false",
            "Whether there are no CUDA graphs of prefill, for which memory is reserved since 0.5.10. Before 0.5.14 its "
            "flag is --disable-piecewise-cuda-graph.",
            source=SERVER_ARGS,
        ),
        "enable-hisparse": Option(
            flag,
            "false",
            "In 0.5.23: whether latents with an indexer lie in host memory, a hot set of each request on the device.",
            source="sglang/srt/managers/hisparse_coordinator.py",
        ),
        "hisparse-config": Option(
            or_auto(hisparse_config),
            AUTO,
            "Of HiSparse, as JSON: device_buffer_size (auto: 2 x top_k), host_to_device_ratio (2), top_k (2048).",
            source="sglang/srt/mem_cache/sparsity/factory.py",
        ),
    }
)
"""By the engine's own name."""
