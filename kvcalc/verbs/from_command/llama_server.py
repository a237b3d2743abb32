"""What a llama-server is told: kvcalc's batch and context from -np and -c, and where its layers lie."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.catalogue import find_model
from kvcalc.errors import KvcalcError
from kvcalc.logs import ServerLog
from kvcalc.logs.launchers import OPTION
from kvcalc.units import MAX_BATCH, MAX_CONTEXT, parse_count
from kvcalc.verbs.from_command.override_tensor import experts_on_host
from kvcalc.verbs.log_check.llama_cpp_settings import AUTO_SLOTS, cache_format_of, slots_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.model.model import Model
    from kvcalc.verbs.log_check.card_of_log import LoggedCard
    from kvcalc.verbs.log_check.model_of_log import LoggedModel

_OF_LLAMA_CPP = (
    "ubatch-size",
    "flash-attn",
    "swa-full",
    "n-gpu-layers",
    "n-cpu-moe",
    "tensor-split",
    "n-outputs-max",
)
_SWITCHES = {"flash-attn", "swa-full"}
_ON, _OFF = ("true", "1", "on", "enabled"), ("false", "0", "off", "disabled")
"""is_truthy and is_falsey of common/arg.cpp."""
_SWITCHED = {**dict.fromkeys(_ON, "1"), **dict.fromkeys(_OFF, "0")}
N_BATCH, N_UBATCH = "2048", "512"
"""common/common.h; n_ubatch is cut to n_batch, and 0 is all of it (src/llama-context.cpp, llama_context)."""
_OF_ALL = {"0", "-1"}
"""n_ctx of the model's own limit; slots that the server chooses."""


def said_by_llama_server(log: ServerLog, known: LoggedModel, card: LoggedCard) -> dict[str, Any]:
    """Options by what it is told; `engine_option` has the engine's own.

    Raises:
        KvcalcError: a number that is none, or layers that are cut over cards.
    """
    settings = _completed(log.settings, known.model)
    asked = ServerLog(log.engine, settings=settings)
    slots, _, context = slots_of(asked)
    said: dict[str, Any] = {"gpu": card.gpu, "batch": slots}
    if context is not None:
        said["context"] = context
    if (kept_in := cache_format_of(asked)) is not None:
        said["cache_dtype"] = kept_in
    own = {name: settings[name] for name in _OF_LLAMA_CPP if name in settings}
    own = {name: _SWITCHED.get(value.lower(), value) if name in _SWITCHES else value for name, value in own.items()}
    own |= _experts(settings, own, known.model)
    if settings["kv-unified"].lower() in _ON:
        own["kv-unified"] = "1"
    if settings.get("kv_offload", "true").lower() in _OFF:
        own["no-kv-offload"] = "1"
    if _covers(own.get("n-gpu-layers", "all"), known.model):
        own.pop("n-gpu-layers", None)
    cards = _cards(settings, own)
    if cards == 1:
        own.pop("tensor-split", None)
    if card.gpu.number_together is not None and settings.get("split_mode") == "none":
        raise KvcalcError(f"{OPTION}: --split-mode none: one card holds all; name that one as --gpu")
    if card.gpu.number_together is None:
        said["pp"] = cards
    drafts, drafted = _drafts(settings, known.model)
    return {**said, **drafts, "engine_option": {**own, **drafted}}


def _experts(settings: Mapping[str, str], own: Mapping[str, str], model: Model) -> dict[str, str]:
    """The layers whose experts lie on the host, by the option or by patterns of tensors.

    Raises:
        KvcalcError: both say so.
    """
    every = settings.get("cpu-moe", "false").lower() in _ON
    if "override-tensor" not in settings:
        return {"n-cpu-moe": str(model.num_layers)} if every else {}
    if every or "n-cpu-moe" in settings:
        raise KvcalcError(f"{OPTION}: -ot and -cmoe or -ncmoe both move experts; put one of them into the line")
    return {"n-cpu-moe": experts_on_host(settings["override-tensor"], model, _cards(settings, own))}


def _drafts(settings: Mapping[str, str], model: Model) -> tuple[dict[str, Any], dict[str, str]]:
    """What drafts tokens, and the engine's own option for their number.

    A draft model that is named is loaded, whatever --spec-type says.

    Raises:
        KvcalcError: it is another thing than a model in f16 on the card or the model's own layers.
    """
    named, way = settings.get("draft") or settings.get("draft-hub"), settings.get("draft-type", "none")
    own = way == "draft-mtp" and named is None
    if not own and way not in {"none", "draft-simple"}:
        raise KvcalcError(
            f"{OPTION}: --spec-type {way[:40]}: kvcalc follows draft-simple with a model that drafts, and draft-mtp; "
            "leave it out"
        )
    if not own and named is None:
        if way != "none":
            raise KvcalcError(
                f"{OPTION}: --spec-type {way}: names no draft; put --spec-draft-model there, or leave it out"
            )
        return {}, {}
    tokens = settings.get("draft-n")
    if tokens is None and (own or any(layer.attention.kept_per == "sequence" for layer in model.distinct())):
        raise KvcalcError(
            f"{OPTION}: how many tokens are drafted, each with a copy of every state, is left to the server; put "
            "--spec-draft-n-max N into the line"
        )
    for flag, option in (("-ctkd", "draft-k"), ("-ctvd", "draft-v")):
        if settings.get(option, "f16").lower() != "f16":
            raise KvcalcError(
                f"{OPTION}: {flag} {settings[option][:40]}: kvcalc counts a draft's cache in f16; leave it out"
            )
    if own:
        return {"mtp": tokens}, {}
    layers = settings.get("draft-layers", "all")
    if not _covers(layers, find_model(str(named)).model):
        raise KvcalcError(
            f"{OPTION}: -ngld {layers[:40]}: kvcalc counts drafts that are on the card as a whole; give -ngld all"
        )
    return {"draft": named}, {} if tokens is None else {"draft-n": tokens}


def _completed(given: Mapping[str, str], model: Model) -> dict[str, str]:
    """Settings with those that a server takes itself: n_ctx is of all slots together."""
    settings = dict(given)
    if settings.get("n_seq_max", "-1") in _OF_ALL:
        settings |= {"n_seq_max": str(AUTO_SLOTS), "kv-unified": settings.get("kv-unified", "true")}
    settings.setdefault("kv-unified", "false")
    if settings.get("n_ctx", "0") in _OF_ALL and model.max_context is not None:
        settings["n_ctx"] = str(model.max_context)
    for flag, name, most in (("-c", "n_ctx", MAX_CONTEXT), ("-np", "n_seq_max", MAX_BATCH)):
        if name in settings:
            settings[name] = str(parse_count(settings[name], f"{OPTION}: {flag}", most))
    batch = parse_count(settings.get("n_batch", N_BATCH), f"{OPTION}: -b", MAX_CONTEXT)
    if "ubatch-size" in settings or "n_batch" in settings:
        asked = parse_count(
            settings.get("ubatch-size", N_UBATCH),
            f"{OPTION}: -ub",
            MAX_CONTEXT,
            0,
        )
        settings["ubatch-size"] = str(min(batch, asked or batch))
    if settings.keys() & {"type_k", "type_v"}:
        settings = {"type_k": "f16", "type_v": "f16", **settings}
    return settings


def _cards(settings: Mapping[str, str], own: Mapping[str, str]) -> int:
    """How many cards have layers: as many as --tensor-split has shares, one where nobody says."""
    mode = settings.get("split_mode", "layer")
    if mode not in {"layer", "none"}:
        raise KvcalcError(
            f"{OPTION}: --split-mode {mode[:40]}: kvcalc follows llama.cpp with whole layers on each card; give layer"
        )
    return 1 if mode == "none" else len(own.get("tensor-split", "").replace("/", ",").split(","))


def _covers(layers: str, model: Model) -> bool:
    """Whether so many layers are all there are, the output head among them; below 0 and 'auto' are left to it."""
    text = layers.lower()
    return text == "all" or text.startswith("-") or (text.isdecimal() and int(text[:9]) > model.num_layers)
