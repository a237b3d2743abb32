"""What a server's line says of drafts and of adapters, as the options of kvcalc that mean the same."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kvcalc.engines.sglang.lora import SLOTS
from kvcalc.engines.vllm.options import DSPARK, WITHOUT_MODEL
from kvcalc.errors import KvcalcError
from kvcalc.logs.launchers import OPTION

if TYPE_CHECKING:
    from collections.abc import Mapping

OF_VLLM = {"rank": "16", "slots": "1"}
"""max_lora_rank and max_loras where nobody says (vllm/config/lora.py)."""
_CONFIG = {"method", "model", "num_speculative_tokens", "draft_tensor_parallel_size"}
_LOOKED_UP = {"prompt_lookup_min", "prompt_lookup_max"}
"""Of the method ngram; no memory depends on them."""
_MOST_SHOWN = 60
_CHAINS = {"EAGLE", "NEXTN", "EAGLE3", "STANDALONE"}


def said_beside(engine: str, settings: Mapping[str, str], model: str | None = None) -> dict[str, Any]:
    """Options by what is said of drafts and adapters; `engine_option` has the engine's own.

    Args:
        engine: vllm or sglang.
        settings: of the line, by what `CommandLine.settings` says of an option.
        model: that the line names, which may draft for itself.

    Raises:
        KvcalcError: kvcalc does not follow what drafts, or the line leaves it to the server.
    """
    drafts = _of_vllm(settings, model) if engine == "vllm" else _of_sglang(settings)
    return {**drafts, **_adapters(engine, settings)}


def _adapters(engine: str, settings: Mapping[str, str]) -> dict[str, Any]:
    if settings.get("enable lora", "false").lower() != "true":
        return {}
    if engine == "vllm":
        return {
            "lora": settings.get("--lora", OF_VLLM["rank"]),
            "max_loras": settings.get("--max-loras", OF_VLLM["slots"]),
            "lora_modules": settings.get("--lora-modules"),
        }
    rank, modules = settings.get("--lora"), settings.get("--lora-modules")
    if rank is None or modules is None:
        raise KvcalcError(
            f"{OPTION}: --enable-lora: sglang reads the rank and the modules in adapters; give --max-lora-rank and "
            "--lora-target-modules in the line"
        )
    if modules == "all":
        raise KvcalcError(
            f"{OPTION}: --lora-target-modules all: kvcalc does not follow the slots that sglang has for tables of the "
            "vocabulary; name the modules (q_proj k_proj v_proj o_proj gate_proj up_proj down_proj)"
        )
    return {"lora": rank, "max_loras": settings.get("--max-loras", str(SLOTS)), "lora_modules": modules}


def _of_vllm(settings: Mapping[str, str], model: str | None) -> dict[str, Any]:
    """`--speculative-config`, or its three parts."""
    parts = {"method": "draft method", "model": "draft", "num_speculative_tokens": "num-speculative-tokens"}
    config: dict[str, Any] = {name: settings[option] for name, option in parts.items() if option in settings}
    if (text := settings.get("speculative config")) is not None:
        config |= _object(text)
    if not config:
        return {}
    of_text = config.get("method") in WITHOUT_MODEL and "model" not in config
    if unknown := config.keys() - _CONFIG - (_LOOKED_UP if of_text else set()):
        raise KvcalcError(
            f"{OPTION}: --speculative-config: kvcalc does not follow '{min(unknown)[:_MOST_SHOWN]}' of it; leave it out"
        )
    tokens, method = str(config.get("num_speculative_tokens", "")), str(config.get("method", "mtp"))
    if not tokens:
        raise KvcalcError(f"{OPTION}: --speculative-config lacks num_speculative_tokens; put it there")
    if _drafts_for_itself(config, method, model):
        return {"mtp": tokens}
    if "model" in config:
        said: dict[str, Any] = {"draft": str(config["model"]), "engine_option": {"num-speculative-tokens": tokens}}
        if "draft_tensor_parallel_size" in config:
            said["draft_tp"] = str(config["draft_tensor_parallel_size"])
        return said
    if of_text or method == DSPARK:
        return {"engine_option": {"num-speculative-tokens": tokens, "speculative-method": method}}
    raise KvcalcError(
        f"{OPTION}: --speculative-config: kvcalc does not follow the method '{method[:_MOST_SHOWN]}'; it follows "
        f"mtp, {', '.join((*WITHOUT_MODEL, DSPARK))}, and drafts that are a model"
    )


def _drafts_for_itself(config: Mapping[str, Any], method: str, model: str | None) -> bool:
    """Whether the model's layers that predict further tokens draft.

    A model that is named as its own draft does so with them: the draft's config is made theirs (hf_config_override of
    vllm/config/speculative.py).

    Raises:
        KvcalcError: those of another checkpoint do.
    """
    if not method.endswith("mtp"):
        return False
    named = config.get("model", model)
    if named != model and "method" in config:
        raise KvcalcError(
            f"{OPTION}: --speculative-config: kvcalc follows the method {method[:_MOST_SHOWN]} with the model's own "
            "layers, and not with those of another checkpoint; leave its 'model' out"
        )
    return bool(named == model)


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise KvcalcError(
            f"{OPTION}: --speculative-config: '{text[:_MOST_SHOWN]}' is no object in JSON that can be read"
        )
    return {str(name).replace("-", "_"): value for name, value in found.items()}


def _of_sglang(settings: Mapping[str, str]) -> dict[str, Any]:
    """A chain of as many tokens as steps, which `--speculative-eagle-topk 1` is."""
    method = settings.get("draft method", "").upper()
    if not method:
        return {}
    steps, width = settings.get("draft steps"), settings.get("draft width")
    if method not in _CHAINS or width != "1" or steps is None:
        raise KvcalcError(
            f"{OPTION}: --speculative-algorithm {method[:_MOST_SHOWN]}: kvcalc follows {', '.join(sorted(_CHAINS))} "
            "with --speculative-num-steps N and --speculative-eagle-topk 1; without them the server chooses"
        )
    return {"draft": settings["draft"]} if "draft" in settings else {"mtp": steps}
