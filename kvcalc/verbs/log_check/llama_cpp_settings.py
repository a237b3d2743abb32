"""What a llama.cpp server was started with, by its log: kvcalc's batch and context from n_ctx and n_seq_max."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from kvcalc.logs.llama_cpp.figures import CONTEXT
from kvcalc.units import MAX_BATCH, MAX_CONTEXT, MIB, parse_count

if TYPE_CHECKING:
    from kvcalc.logs import Printed, ServerLog
    from kvcalc.model.model import Model
    from kvcalc.verbs.log_check.card_of_log import LoggedCard

ENGINE = "llama-cpp"
OWN = (
    "kv-unified",
    "swa-full",
    "ubatch-size",
    "flash-attn",
    "n-gpu-layers",
    "n-cpu-moe",
    "no-kv-offload",
    "draft-n",
    "n-outputs-max",
    "ollama-new-engine",
)
"""Options that a log may tell."""

AUTO_SLOTS = 4
"""Of llama-server where nobody gives their number (tools/server/server.cpp, n_parallel), with one set of cells."""
_AUTO_SINCE = 6924
"""https://github.com/ggml-org/llama.cpp/pull/16736."""

_FLASH = {"enabled": "on", "1": "on", "true": "on", "on": "on", "disabled": "off", "0": "off", "false": "off"}
_FORMATS = {"f16": "fp16", "f32": "fp32"}
_HOST = re.compile(r"CPU\w{0,40}|\w{1,30}_Host|AMX|BLAS|Host", re.IGNORECASE)


def on_cards(log: ServerLog, figure: str) -> tuple[Printed, ...]:
    """Of a buffer's figures, those of accelerators; a buffer that is planned and not made has none."""
    return tuple(each for each in log.printed.get(figure, ()) if is_card(each.process) and each.value)


def is_card(device: str) -> bool:
    """Whether what llama.cpp calls a buffer lies on an accelerator."""
    return bool(device) and not _HOST.fullmatch(device)


def device_of(buffer: str) -> str:
    """The device of a buffer: files that are mapped have a name of their own."""
    return buffer.removesuffix("_Mapped").removesuffix("_Private")


def cards(log: ServerLog) -> tuple[str, ...]:
    """The accelerators that hold something, as llama.cpp calls them and in its order."""
    buffers = ("model buffer", "KV buffer", "RS buffer", "compute buffer", CONTEXT)
    found = {device_of(each.process) for figure in buffers for each in on_cards(log, figure)}
    return tuple(sorted(found, key=lambda name: (name.rstrip("0123456789"), _number(name))))


def said_by_llama_cpp(log: ServerLog, model: Model, card: LoggedCard) -> dict[str, Any]:
    """Options by the log; `engine_option` has the engine's own."""
    slots, unified, context = slots_of(log)
    said: dict[str, Any] = {"gpu": card.gpu, "batch": slots}
    if card.memory_bytes is not None:
        said["gpu_memory"] = card.memory_bytes
    if context is not None:
        said["context"] = context
    if (kept_in := cache_format_of(log)) is not None:
        said["cache_dtype"] = kept_in
    said["pp"] = max(1, len(cards(log)))
    own = {name: log.settings[name] for name in OWN if name in log.settings}
    own["kv-unified"] = str(int(unified))
    own["flash-attn"] = _FLASH.get(own.get("flash-attn", "").lower(), "auto")
    own |= {name: "1" for name in ("swa-full", "ollama-new-engine") if name in own}
    if (shares := _shares(log)) is not None:
        own["tensor-split"] = shares
    if (first := _first_layers_experts(log)) is not None:
        own["n-cpu-moe"] = str(first)
    placed, layers = log.most("layers on cards"), log.most("layers")
    if placed is not None and layers is not None:
        left = int(layers.value - placed.value)  # layers that predict further tokens are among them
        left -= left > 0 and "ollama-new-engine" in own  # of whose layers the head is the first that is left
        own["n-gpu-layers"] = "all" if left <= 0 else str(max(0, model.num_layers + 1 - left))
    elif own.get("n-gpu-layers", "0").lstrip("-").isdigit():
        own.pop("n-gpu-layers", None)  # more than there are is usual, and so is -1
    return {**said, "engine_option": own}


def weights_of_cards(log: ServerLog) -> dict[str, Any]:
    """What all accelerators hold of the model, where the whole of it is there; else all that is loaded."""
    placed, layers = log.most("layers on cards"), log.most("layers")
    part = placed is not None and layers is not None and placed.value < layers.value
    held = log.printed.get("model buffer", ()) if part else on_cards(log, "model buffer")
    total = sum(each.value for each in held)
    return {"weights": int(total)} if total else {}


def slots_of(log: ServerLog) -> tuple[int, bool, int | None]:
    """How many slots there are, whether they share cells, and the tokens of each; None where the log does not say."""
    slots, streams = (_count(log, name, MAX_BATCH) for name in ("n_seq_max", "streams"))
    said = log.settings.get("kv-unified", "").lower()
    if slots is None and "served" in log.settings and int(log.version or _AUTO_SINCE) >= _AUTO_SINCE:
        slots, said = AUTO_SLOTS, said or "true"
    slots = slots or 1
    unified = slots > 1 and (said in {"true", "1"} if said else (streams or 1) == 1)
    each = _count(log, "n_ctx_seq", MAX_CONTEXT)
    total = log.most("tokens")
    whole = int(total.value) if total is not None else _count(log, "n_ctx", MAX_CONTEXT)
    if each is not None and not unified:
        return slots, unified, each
    whole = each if whole is None else whole
    cells = log.most("cells")
    if whole is None and cells is not None:
        whole = int(cells.value) * (1 if unified else slots)
    return slots, unified, None if whole is None else max(1, whole // slots)


def _count(log: ServerLog, name: str, most: int) -> int | None:
    text = log.settings.get(name, "")
    return parse_count(text, name, most) if text.isdigit() and int(text) else None


def cache_format_of(log: ServerLog) -> str | None:
    """As kvcalc writes it; None where neither K's type is told."""
    k, v = (log.settings.get(name, "").lower() for name in ("type_k", "type_v"))
    k, v = _FORMATS.get(k, k), _FORMATS.get(v, v)
    if not k:
        return None
    return f"k={k},v={v or k}"


def _shares(log: ServerLog) -> str | None:
    """How layers are shared out: as it was told, else by the memory that was free on each card."""
    several, free = len(cards(log)), log.printed.get("free memory", ())[-len(cards(log)) :]
    told = log.settings.get("tensor-split", "").replace("/", ",")
    if several > 1 and len(told.split(",")) == several:
        return told
    if several > 1 and len(free) == several and all(each.value for each in free):
        return ",".join(str(int(each.value / MIB)) for each in free)
    return None


def _first_layers_experts(log: ServerLog) -> int | None:
    """Layers whose experts are told to be the host's, where they are the first ones."""
    found = {int(each.value) for each in log.printed.get("layer with experts on the host", ())}
    return len(found) if found and max(found) - min(found) == len(found) - 1 else None


def _number(device: str) -> int:
    digits = re.search(r"\d+$", device)
    return int(digits[0]) if digits else 0
