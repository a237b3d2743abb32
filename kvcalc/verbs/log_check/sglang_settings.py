"""What an SGLang server was started with, by its log, and the card's memory by what was free before loading."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from kvcalc.deployment import MAX_RANKS
from kvcalc.engines import ENGINES
from kvcalc.engines.sglang.compressed import compresses
from kvcalc.logs.sglang.figures import WINDOW_TOKENS
from kvcalc.note import Note, note
from kvcalc.units import parse_count
from kvcalc.verbs.log_check.sglang_memory import ENGINE
from kvcalc.verbs.log_check.vllm_settings import TORCH_DTYPES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvcalc.logs import ServerLog
    from kvcalc.model.model import Model
    from kvcalc.verbs.log_check.card_of_log import LoggedCard

DRAFTS = "speculative algorithm"
_METHOD = re.compile(r"[\w-]{1,30}")
_NOT_GIVEN = "0.8"
"""The ratio that is printed of compressed attention where nobody gave one, and another rule holds."""
_STORED = {"bfloat16": "bf16", "float16": "fp16", "float8_e4m3fn": "fp8", "float8_e5m2": "fp8_e5m2", "uint8": "fp8"}
"""Formats of a pool by torch's names for them."""


def said_by_sglang(log: ServerLog, model: Model, card: LoggedCard) -> dict[str, Any]:
    """Options by the log; `engine_option` has the engine's own."""
    said: dict[str, Any] = {"gpu": card.gpu}
    said |= _deployment(log)
    context = log.most("longest request")
    if context is not None:
        said["context"] = int(context.value)
    elif "--context" in log.settings:
        said["context"] = log.settings["--context"]
    elif model.max_context is not None:
        said["context"] = model.max_context
    dtype = TORCH_DTYPES.get(log.settings.get("--dtype", "").removeprefix("torch."))
    if dtype is not None:
        said["dtype"] = dtype
    kept = log.settings.get("--cache-dtype", "").lower()
    kept = TORCH_DTYPES.get(kept, kept) or _STORED.get(log.settings.get("kept as", ""), "")
    if kept:
        said["cache_dtype"] = kept
    state = TORCH_DTYPES.get(log.settings.get("--state-dtype", ""))
    if state is not None and state != "fp32":
        said["state_dtype"] = state
    return {**said, "engine_option": _own(log, model)}


def uncounted_draft(log: ServerLog, given: Mapping[str, Any]) -> Iterator[Note]:
    """What drafts tokens in the log's server, where nobody gives it beside the log: its size is not in the log."""
    method = _METHOD.fullmatch(log.settings.get(DRAFTS, ""))
    if method is None or method[0].lower() == "none" or given.keys() & {"mtp", "draft"}:
        return
    told = f"the server drafts tokens ({method[0]}), which is not counted: pools of the draft, and states of what it"
    yield note("draft-of-log", f"{told} drafts, leave less for the cache (--mtp or --draft)", method=method[0])


def _deployment(log: ServerLog) -> dict[str, Any]:
    """SGLang counts replicas with dp-attention among its tensor-parallel ranks."""
    tp, pp, dp, ep = (
        parse_count(log.settings.get(name, "1"), name, MAX_RANKS) for name in ("--tp", "--pp", "--dp", "--ep")
    )
    said: dict[str, Any] = {"tp": tp, "pp": pp}
    joined = log.settings.get("--dp-attention", "").lower() == "true" and tp % dp == 0
    if (attention := parse_count(log.settings.get("--attn-dp", "1"), "--attn-dp", MAX_RANKS)) > 1 and dp == 1:
        dp, joined = attention, tp % attention == 0
    if dp > 1:
        said |= {"tp": tp // dp, "dp": dp, "dp_attention": True} if joined else {"dp": dp}
    if ep > 1:
        said["ep"] = ep
    return {name: value for name, value in said.items() if value is True or value != 1 or name == "tp"}


def _own(log: ServerLog, model: Model) -> dict[str, str]:
    own = {name: value for name, value in log.settings.items() if name in ENGINES[ENGINE].options}
    if compresses(model):
        if own.get("swa-full-tokens-ratio") == _NOT_GIVEN:
            del own["swa-full-tokens-ratio"]
        return own
    if WINDOW_TOKENS in log.printed:
        own["disable-hybrid-swa-memory"] = "false"
        tokens, windows = log.least("tokens"), log.least(WINDOW_TOKENS)
        if "swa-full-tokens-ratio" not in own and tokens is not None and windows is not None and tokens.value:
            own["swa-full-tokens-ratio"] = _short(windows.value / tokens.value)
    return own


def _short(ratio: Fraction) -> str:
    """A ratio as somebody would write it: two integers that were rounded down are all that is known of it."""
    return f"{float(ratio):.4f}".rstrip("0").rstrip(".")
