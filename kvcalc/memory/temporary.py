"""Temporary memory: the activations of one forward pass at their peak, on one rank.

No formula known to us predicts it: start-up logs of one engine differ 40 times for two models of one size, by settings
that the logs do not show. So it is a figure with a range, from logs in public, and `--temporary` replaces it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines import Temporary
from kvcalc.named_tuple import NamedTuple
from kvcalc.term import GIVEN, Factor, Product
from kvcalc.units import GIB

if TYPE_CHECKING:
    from kvcalc.model.model import Model


def _gib(hundredths: int) -> int:
    return hundredths * GIB // 100


class _Seen(NamedTuple):
    """A default and the range around it, in hundredths of a GiB."""

    low: int
    typical: int
    high: int
    source: str


_LOGS = "llm-d/llm-d-benchmark, config_explorer/empirical-vllm-memory-results.md, and its planner's constants"

_DENSE = _Seen(
    22,
    150,
    564,
    "vLLM start-up logs of dense text models: 0.22 GiB (8B, 24 GB card) to 5.64 (Qwen3-32B on H100, default settings; "
    f"4.76 for Llama-3.1-8B there; {_LOGS}); half of two dozen logs are below 1.4, for example 1.26 in "
    "vllm-project/vllm#10511. Left out: one of 9.37 on an A100-40 whose settings are not known",
)
_EXPERTS = _Seen(
    37,
    150,
    738,
    "vLLM start-up logs of mixture-of-experts models: 0.37 GiB (DeepSeek-R1 on 16 GPUs, vllm-project/vllm#14447) to "
    f"7.38 (gpt-oss-20b and 120b on H100, default settings; {_LOGS})",
)
_MULTIMODAL = _Seen(
    197,
    600,
    690,
    "vLLM start-up logs of vision models, whose profiling run holds the largest images: 1.97 (LLaVA-1.6-7B, H100) to "
    "6.90 GiB (Lingshu-32B, 80 GB card). Left out: 36.63 GiB of Llama-3.2-11B-Vision (vllm-project/vllm#12126), "
    "whose encoder cache was counted in",
)


def temporary(model: Model, replacement: int | None) -> Temporary:
    """Temporary memory of one rank as observed for this kind of model, or the user's own figure, which has no range."""
    if replacement is not None:
        given = Product("temporary", (Factor("given", replacement, "byte"),), GIVEN)
        return Temporary(given, replacement, replacement)
    seen = _kind(model)
    term = Product("temporary", (Factor("seen_in_practice", _gib(seen.typical), "byte"),), seen.source)
    return Temporary(term, _gib(seen.low), _gib(seen.high))


def _kind(model: Model) -> _Seen:
    text = _EXPERTS if model.is_mixture_of_experts else _DENSE
    if not model.has_towers:
        return text
    return _MULTIMODAL._replace(high=max(text.high, _MULTIMODAL.high))


def temporary_figures() -> tuple[str, str]:
    """The figures and their sources, for people who ask."""
    kinds = (("dense text models", _DENSE), ("mixtures of experts", _EXPERTS), ("multimodal models", _MULTIMODAL))
    figures = (
        f"{name}: {seen.typical / 100:.2f} GiB, observed {seen.low / 100:.2f} to {seen.high / 100:.2f}"
        for name, seen in kinds
    )
    return "; ".join(figures), "; ".join(seen.source for _, seen in kinds)
