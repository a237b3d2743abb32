"""Writes tests/data/sglang/plans.json: what SGLang's own code sets and plans of drawn models and servers.

    make vectors-live-sglang

`ask` is what a test asks anew.
"""

from __future__ import annotations

import json
import random
from importlib.metadata import version
from typing import Any

import sglang_planner
from sglang_cases import Case, draw_case
from sglang_plans import DATA

VERSION = version("sglang")
OUT = DATA / "plans.json"
KEPT, SEED = 120, 16


def ask(case: Case) -> dict[str, Any]:
    """A case with what SGLang says of it."""
    says = sglang_planner.plan(case.config, case.memory, case.stage, case.draft, **case.options)
    return {**case._asdict(), "says": says}


def main() -> None:
    draw = random.Random(SEED)  # noqa: S311  # no secrets
    records = ",\n".join(json.dumps(ask(draw_case(draw, number))) for number in range(KEPT))
    head = json.dumps({"engine": "sglang", "version": VERSION, "card": sglang_planner.CARD})
    OUT.write_text(f'{head[:-1]}, "records": [\n{records}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
