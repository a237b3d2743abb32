"""What vLLM's own planner said, kept in tests/data/vllm, and how kvcalc is asked the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import kvcalc
from kvcalc.errors import KvcalcError

DATA = Path(__file__).parent / "data" / "vllm"
MODELS = DATA / "planner-models.json"

DEPLOYMENT = ("tp", "pp", "dcp", "cache_dtype", "block_size")
"""Settings that are kvcalc's own options; the others are the engine's."""

Figures = dict[str, Any]


def models() -> dict[str, dict[str, Any]]:
    """config.json of each model that was tried, without keys that play no part."""
    return dict(json.loads(MODELS.read_text(encoding="utf-8")))


def records(version: str) -> list[dict[str, Any]]:
    """What the planner of that version said: model, settings, memory and the figures."""
    return list(json.loads((DATA / f"planner-{version}.json").read_text(encoding="utf-8"))["records"])


def drafts(config: Mapping[str, Any]) -> bool:
    """Whether a model has layers that draft; where it has none, tokens are drafted from the text."""
    text = config.get("text_config", config)
    return bool(text.get("num_nextn_predict_layers") or text.get("mtp_num_hidden_layers"))


def figures_of_kvcalc(
    model: Any, version: str, settings: Mapping[str, Any], memory: int, config: Mapping[str, Any], gpu: str = "h100-sxm"
) -> Figures:
    """The same figures as kvcalc has them: those that vLLM prints, and the bytes of one request with the null block.

    Raises:
        KvcalcError: kvcalc refuses this.
    """
    own = {name: settings[name] for name in DEPLOYMENT if name in settings}
    if config.get("torch_dtype") == "float32":
        own["dtype"] = "bf16"  # vLLM's choice, which kvcalc asks to be told
    engine_option = {
        name.replace("_", "-"): str(value).lower() if isinstance(value, bool) else value
        for name, value in settings.items()
        if name not in DEPLOYMENT and name != "max_model_len"
    }
    if "num_speculative_tokens" in settings and not drafts(config):
        engine_option.setdefault("speculative-method", "ngram")
    shared: dict[str, Any] = {
        "context": settings["max_model_len"],
        "engine": f"vllm@{version}",
        "engine_option": engine_option,
        "gpu": gpu,
        **own,
    }
    capacity = kvcalc.capacity(model, cache_memory=memory, **shared)
    request = kvcalc.estimate(model, weights=0, **shared)
    return {
        "blocks": capacity.blocks,
        "block_size": capacity.block_size,
        "tokens": capacity.tokens,
        "concurrency": capacity.concurrency,
        "request_bytes": request.cache.bytes_per_rank,
    }


def figures_of_vllm(record: Mapping[str, Any]) -> Figures:
    """What a record expects of kvcalc.

    Concurrency is as vLLM prints it. One block of a pool, the null block, is no request's. Of several pipeline stages,
    kvcalc's estimate shows the one with the least headroom, which need not be the one with the largest blocks.
    """
    said = record["says"]
    figures = {
        "blocks": said["blocks"],
        "block_size": said["block_size"],
        "tokens": said["tokens"],
        "concurrency": float(f"{said['blocks'] / said['blocks_per_request']:.2f}"),
    }
    if "pp" not in record["settings"]:
        figures["request_bytes"] = (said["blocks_per_request"] + 1) * said["bytes_per_block"]
    return figures


def kind_of(name: str) -> str:
    """The kind of a model: of a drawn one the words before its number, of a real one its maker's name on the Hub."""
    return name.split("/", maxsplit=1)[0] if "/" in name else name.rpartition("-")[0]


def tell(record: Mapping[str, Any]) -> str:
    """A record's question in a line."""
    return f"{record['model']} {record['settings']} in {record['memory']:,} bytes"


def _decoder(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """A model file of Whisper's decoder, whose config.json kvcalc does not import: the keys named as in model files."""
    heads, width = config["decoder_attention_heads"], config["d_model"]
    own = {"kind": "mha", "num_heads": heads, "head_dim": width // heads}
    tokens = config["max_source_positions"]
    encoder = {**own, "kind": "cross", "num_kv_heads": heads, "encoder_context": tokens}
    return {
        "name": name,
        "source": "https://huggingface.co/openai/whisper-large-v3/blob/main/config.json (keys; dims are drawn)",
        "dtype": "bf16",
        "max_context": config["max_target_positions"],
        "layers": [{"count": config["decoder_layers"], "attention": [own, encoder]}],
    }


def differences(
    record: Mapping[str, Any], version: str, folder: Path, config: Mapping[str, Any], gpu: str = "h100-sxm"
) -> dict[str, Any]:
    """Figures that differ, as (kvcalc's, vLLM's), or the refusal by the name `refused`."""
    name, whisper = record["model"].replace("/", "--"), config["model_type"] == "whisper"
    path = folder / f"{name}.{'yaml' if whisper else 'json'}"
    if not path.exists():
        path.write_text(json.dumps(_decoder(name, config) if whisper else config), encoding="utf-8")
    try:
        ours = figures_of_kvcalc(path, version, record["settings"], record["memory"], config, gpu)
    except KvcalcError as refusal:
        return {"refused": str(refusal)}
    theirs = figures_of_vllm(record)
    return {name: (ours[name], value) for name, value in theirs.items() if ours[name] != value}
