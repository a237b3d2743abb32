"""Asks SGLang's own code again, and compares it with what is kept and with kvcalc: `make test-live-sglang`.

Its defaults are read in the wheel that SGLANG_WHEEL names. Its server's arguments and its planner of pools are run, of
models and servers drawn with the number of the day, or LIVE_SEED, on an H100 or LIVE_CARD (sglang_planner.py).
"""

from __future__ import annotations

import datetime as dt
import json
import os
import random
import sys
from pathlib import Path
from typing import Any
from zipfile import Path as ZipPath

sys.path.insert(0, str(Path(__file__).parents[1]))

import pytest
import write_sglang_plans
from sglang_cases import draw_case
from sglang_planner import CARD
from sglang_plans import differences
from write_flags import FLAGS, has, text_of
from write_sglang_vectors import ORDER, OUT, lines_of

from kvcalc import KvcalcError

DAY = int(os.environ.get("LIVE_SEED", dt.datetime.now(tz=dt.UTC).toordinal()))
DRAWN, ASKED_AGAIN = 200, 20


@pytest.mark.skipif(CARD != "h100-sxm", reason="what is kept was said of an H100")
def test_sglang_still_plans_what_is_kept() -> None:
    kept = json.loads(write_sglang_plans.OUT.read_text(encoding="utf-8"))["records"]
    draw = random.Random(write_sglang_plans.SEED)  # noqa: S311  # no secrets
    cases = [draw_case(draw, number) for number in range(write_sglang_plans.KEPT)]
    for number in random.Random(DAY).sample(range(len(kept)), ASKED_AGAIN):  # noqa: S311  # no secrets
        assert json.loads(json.dumps(write_sglang_plans.ask(cases[number]))) == kept[number]


def refused_by_name(record: dict[str, Any]) -> str | None:
    """What kvcalc says of pages that SGLang does not take as they are given, and of a share that is none."""
    says, page = record["says"], record["options"].get("page_size")
    if page not in (None, says["page_size"]):
        return "--block-size: the attention backend"
    return "its default of mem-fraction-static" if says["mem_fraction_static"] <= 0 else None


def test_kvcalc_says_what_sglang_plans_of_servers_never_kept() -> None:
    draw = random.Random(DAY)  # noqa: S311  # no secrets
    for number in range(DRAWN):
        record = write_sglang_plans.ask(draw_case(draw, number))
        if refused := refused_by_name(record):
            with pytest.raises(KvcalcError, match=refused):
                differences(write_sglang_plans.VERSION, CARD, record)
            continue
        assert differences(write_sglang_plans.VERSION, CARD, record) == {}, (record["kind"], record["options"])


def test_the_defaults_kept_are_those_of_the_wheel() -> None:
    wheel = Path(os.environ["SGLANG_WHEEL"])
    version = wheel.name.split("-")[1]
    kept = json.loads(OUT.read_text(encoding="utf-8"))
    says = next(record["says"] for record in kept["records"] if version in record["versions"])
    assert kept["order"] == list(ORDER)
    assert [json.loads(line) for line in lines_of(ZipPath(wheel) / "sglang")] == says


def test_the_flags_kept_are_those_of_the_wheel() -> None:
    wheel = Path(os.environ["SGLANG_WHEEL"])
    kept = json.loads((Path(__file__).parents[1] / "data" / "flags" / "sglang.json").read_text(encoding="utf-8"))
    order, version = kept["versions"].split(), wheel.name.split("-")[1]
    text = text_of("sglang", ZipPath(wheel))
    for flag in FLAGS["sglang"].split():
        first, last = map(order.index, kept["flags"][flag])
        assert has("sglang", text, flag) == (first <= order.index(version) <= last), flag
