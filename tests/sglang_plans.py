"""What SGLang's own code planned, beside what kvcalc counts of the same server."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import kvcalc
from kvcalc.deployment import Deployment
from kvcalc.engines.sglang.settled import SettledSglang
from kvcalc.importers import import_config
from kvcalc.memory import Ranks

DATA = Path(__file__).parent / "data" / "sglang"
BESIDE = {
    *("enable_dp_attention", "dp_size", "speculative_algorithm", "speculative_num_steps", "speculative_eagle_topk"),
    "speculative_num_draft_tokens",
}
OF_KVCALC = {"tp_size": "tp", "pp_size": "pp", "kv_cache_dtype": "cache_dtype"}


def counted(version: str, card: str, record: dict[str, Any]) -> dict[str, Any]:
    """What kvcalc counts, by the names of what SGLang says; of states before they are capped."""
    model = import_config(json.dumps(record["config"]), "config.json", "drawn").model
    options = {name: value for name, value in record["options"].items() if name not in {*OF_KVCALC, *BESIDE}}
    own = {OF_KVCALC[name]: value for name, value in record["options"].items() if name in OF_KVCALC}
    if "cache_dtype" in own:
        own["cache_dtype"] = own["cache_dtype"].removesuffix("_e4m3")
    if record["options"].get("enable_dp_attention"):
        dp = record["options"]["dp_size"]
        own |= {"tp": own["tp"] // dp, "dp": dp, "dp_attention": True}
    if steps := record["options"].get("speculative_num_steps"):
        draft = record.get("draft")
        named = {"draft_tokens": steps, "draft_weights": "1GB"} if draft else {"mtp": steps}
        own |= {**named, "draft": import_config(json.dumps(draft), "config.json", "draft").model} if draft else named
    asked = kvcalc.make_scenario(
        model,
        engine=f"sglang@{version}",
        engine_option={name.replace("_", "-"): str(value).lower() for name, value in options.items()},
        gpu=card,
        **own,
    )
    settled = Ranks(asked).settled(asked.deployment or Deployment())
    assert isinstance(settled, SettledSglang)
    stage = next(each for each in settled.stages if record["stage"] in {one for held in each.numbers for one in held})
    sizes, settings = settled.pools_of(stage).sizes(record["memory"]), settled.settings
    return {
        "tokens": sizes.tokens,
        "window_tokens": sizes.window_tokens if settings.window_pool else None,
        "slots": sizes.slots or None,
        "page_size": settings.page_size,
        "mem_fraction_static": settings.mem_fraction_static,
        "chunked_prefill_size": settings.chunked_prefill_size,
        "cuda_graph_max_bs": settings.cuda_graph_max_bs,
    }


def differences(version: str, card: str, record: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What differs: what kvcalc counts, and what SGLang says. A share is compared to the sixth decimal."""
    found = counted(version, card, record)
    said = {name: record["says"][name] for name in found}
    found["mem_fraction_static"], said["mem_fraction_static"] = (
        round(float(Fraction(each["mem_fraction_static"])), 6) for each in (found, said)
    )
    return {name: (found[name], said[name]) for name in found if found[name] != said[name]}
