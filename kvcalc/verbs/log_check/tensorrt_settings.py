"""What a TensorRT-LLM server was started with, by its log."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from kvcalc.deployment import MAX_RANKS
from kvcalc.units import parse_count
from kvcalc.verbs.log_check.vllm_settings import TORCH_DTYPES

if TYPE_CHECKING:
    from kvcalc.logs import ServerLog
    from kvcalc.model.model import Model

ENGINE = "tensorrt-llm"
_DIGITS = 4
"""Of a share that is kept in 32 bits: 0.8999999761581421."""


def said_by_tensorrt_llm(log: ServerLog, model: Model) -> dict[str, Any]:
    """Options by the log, but for the card; `engine_option` has the engine's own."""
    ranks = {name: parse_count(log.settings.get(f"--{name}", "1"), name, MAX_RANKS) for name in ("tp", "pp", "ep")}
    said: dict[str, Any] = {name: count for name, count in ranks.items() if count > 1 or name == "tp"}
    longest = log.most("longest request")
    if longest is not None:
        said["context"] = int(longest.value)
    elif "--context" in log.settings:
        said["context"] = log.settings["--context"]
    elif model.max_context is not None:
        said["context"] = model.max_context
    cache = log.settings.get("--cache-dtype", "").lower()
    if cache:
        said["cache_dtype"] = TORCH_DTYPES.get(cache, cache)
    own = {}
    if share := log.settings.get("free-gpu-memory-fraction"):
        own["free-gpu-memory-fraction"] = str(round(float(Fraction(share)), _DIGITS))
    if block := log.settings.get("tokens-per-block"):
        own["tokens-per-block"] = block
    return {**said, "engine_option": own}
