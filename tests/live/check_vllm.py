"""Asks vLLM's own planner again, and compares it with what is kept and with kvcalc.

    make test-live

The ordinary tests do not collect this file: it needs vLLM's wheel. vLLM runs on a CPU as if it had an H100
(pretended_card.py): it makes its configuration of options, the model of its config.json on the meta device, and plans
the cache (vllm_planner.py). No kernel runs and no weight is there: a model takes a second, after vLLM's import of ten.

What it said once is kept in tests/data/vllm/planner-0.33.json, which tests/engines/test_vllm_vectors.py compares with
kvcalc, and what its classes have of weights in weights-0.33.json (vllm_weights.py; tests/engines/test_vllm_loaded.py).
This file asks some of those records again, and others that were never kept: models and settings drawn with the number
of the day, or LIVE_SEED, on an H100 or LIVE_CARD. `make vectors-live` writes the records anew. `make test-live-older`
asks planners of older versions, whose records are in planner-VERSION.json.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import random
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import pytest
from pretended_card import CARD
from vllm_cases import RANDOM, Case, draw_cases
from vllm_vectors import DATA, differences, models, records, tell
from vllm_weights import configs, says
from write_vllm_vectors import NEWEST, VERSION, ask

KEPT = 60
WEIGHED = 20
BY_THE_CARD = ("No valid attention backend found", "KV cache is not supported by", "does not support fp8 kv-cache")
"""Words of refusals that kvcalc must share."""
WORKERS_REFUSE = (
    "does not share out tokens with an indexer",
    "lays out no",
    "layers get no cache_config",
    "has for none of them",
)
"""Words of kvcalc's refusals of what planners before 0.33 plan and their workers do not run, or keep otherwise, or that
hides tokens from layers which are full."""
NOT_ASKED = {
    "0.19": {"mamba2-hybrid", "mimo", "pooled-index"},
    "0.26": {"gemma4", "pooled-index"},
    **{version: {"pooled-index"} for version in ("0.29", "0.31", "0.32")},
}
"""Kinds that an older version has no class for, or whose config.json the transformers beside it cannot read."""
NOTHING = {"blocks": 0, "block_size": 0, "tokens": 0, "blocks_per_request": 1, "bytes_per_block": 0}
DAY = int(os.environ.get("LIVE_SEED", dt.datetime.now(tz=dt.UTC).toordinal()))


@pytest.mark.skipif(CARD != "h100-sxm", reason="what is kept was said of an H100")
def test_vllm_still_says_what_is_kept() -> None:
    configs = models()
    kept = records(VERSION)
    for record in random.Random(DAY).sample(kept, min(KEPT, len(kept))):  # noqa: S311  # no secrets
        case = Case(record["model"], record["settings"], record["memory"])
        assert ask(case, configs[case.model])["says"] == record["says"], tell(record)


@pytest.mark.skipif(CARD != "h100-sxm", reason="what is kept was said of an H100")
def test_vllms_classes_still_have_the_weights_that_are_kept() -> None:
    kept = json.loads((DATA / f"weights-{VERSION}.json").read_text(encoding="utf-8"))["records"]
    files = configs()
    for record in random.Random(DAY).sample(kept, WEIGHED):  # noqa: S311  # no secrets
        assert says(files[record["model"]], record["deployment"]) == record["says"], record


@pytest.mark.parametrize("kind", sorted(RANDOM.keys() - NOT_ASKED.get(VERSION, set())))
def test_kvcalc_says_what_vllm_says_of_models_never_kept(kind: str, tmp_path: Path) -> None:
    make, count = RANDOM[kind]
    drawn: dict[str, Any] = {
        f"{kind}-{number}": make(random.Random(f"{DAY} {kind} {number}"))  # noqa: S311  # no secrets
        for number in range(1, count + 1)
    }
    asked, refused, wrong = 0, 0, []
    for case in draw_cases(drawn, each=2, seed=DAY):
        try:
            record = ask(case, drawn[case.model])
        except Exception as refusal:  # noqa: BLE001  # whatever vLLM raises: it does not serve this
            if any(words in str(refusal) for words in BY_THE_CARD):
                refused += 1
                found = differences({**case._asdict(), "says": NOTHING}, VERSION, tmp_path, drawn[case.model], CARD)
                if "refused" not in found:
                    wrong.append(f"{case}: vLLM refuses, {refusal!r}")
            continue
        asked += 1
        found = differences(record, VERSION, tmp_path, drawn[case.model], CARD)
        known = VERSION != NEWEST and any(words in found.get("refused", "") for words in WORKERS_REFUSE)
        if found and not known:
            wrong.append(f"{tell(record)}: {found}\n  {json.dumps(drawn[case.model])}")
    assert asked or refused
    assert not wrong, "\n".join(wrong)
