"""Writes tests/data/vllm/planner-VERSION.json: what vLLM's planner says of the models of planner-models.json.

    python tests/live/write_vllm_vectors.py [KIND...]

Models that are drawn at random are written into planner-models.json; the real ones there stay as they are. With kinds,
only those are asked, and nothing is written. A case that vLLM refuses is left out, and told. Of versions before the one
that `make test-live` installs, half of what they say of the real models is kept (`make test-live-older`).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import pretended_card
import vllm
import vllm_planner
from vllm_cases import Case, Config, draw_cases, random_models
from vllm_vectors import DATA, MODELS, drafts, kind_of, models

VERSION = ".".join(vllm.__version__.split(".")[:2])

NEWEST = "0.33"
OLDER_SEED = 8

ARGUMENTS = {
    "tp": "tensor_parallel_size",
    "pp": "pipeline_parallel_size",
    "dcp": "decode_context_parallel_size",
    "cache_dtype": "kv_cache_dtype",
}
"""kvcalc's names of vLLM's arguments, where they differ."""


def arguments(settings: dict[str, Any], config: Config) -> dict[str, Any]:
    """The settings as vLLM's EngineArgs takes them."""
    given = {ARGUMENTS.get(name, name): value for name, value in settings.items() if name != "usage"}
    tokens = given.pop("num_speculative_tokens", None)
    if tokens is not None:
        # Of models with layers that draft, those; else a method that adds what the number alone adds.
        method = {"method": "mtp"} if drafts(config) else {"method": "ngram", "prompt_lookup_max": 3}
        given["speculative_config"] = {**method, "num_speculative_tokens": tokens}
    return given


def ask(case: Case, config: Config) -> dict[str, Any]:
    """One case's record."""
    usage = case.settings.get("usage", "server")
    said = vllm_planner.plan(config, case.memory, arguments(case.settings, config), usage)
    return {"model": case.model, "settings": case.settings, "memory": case.memory, "says": said}


def _lines(entries: list[str]) -> str:
    return ",\n".join(entries)


def write_models(every: dict[str, Config]) -> None:
    """One model a line."""
    MODELS.write_text(
        "{\n"
        + _lines([f"{json.dumps(name)}: {json.dumps(config)}" for name, config in sorted(every.items())])
        + "\n}\n",
        encoding="utf-8",
    )


def write_records(records: list[dict[str, Any]]) -> None:
    """One record a line."""
    head = {"engine": "vllm", "version": vllm.__version__, "card": pretended_card.NAME}
    body = _lines([json.dumps(each) for each in records])
    (DATA / f"planner-{VERSION}.json").write_text(
        f'{json.dumps(head)[:-1]}, "records": [\n{body}\n]}}\n', encoding="utf-8"
    )


def main(kinds: list[str]) -> None:
    """Asks every case."""
    real = {name: config for name, config in (models() if MODELS.exists() else {}).items() if "/" in name}
    drawn = random_models() if VERSION == NEWEST else {}
    every = {name: config for name, config in (real | drawn).items() if not kinds or kind_of(name) in kinds}
    records = []
    for case in draw_cases(every) if VERSION == NEWEST else draw_cases(every, each=2, seed=OLDER_SEED):
        try:
            records.append(ask(case, every[case.model]))
        except Exception as refusal:  # noqa: BLE001  # whatever vLLM raises: it does not serve this
            print(f"left out: {case.model} {case.settings}: {refusal!r}"[:400], file=sys.stderr)
            continue
        print(json.dumps(records[-1]) if kinds else f"{len(records)} {case.model}", flush=True)
    if kinds:
        return
    if VERSION == NEWEST:
        write_models(real | drawn)
        write_records(records)
    else:
        write_records(records[::2])


if __name__ == "__main__":
    main(sys.argv[1:])
