"""SGLang's own settings and pools of drawn models and servers, as its code planned them on a CPU, beside kvcalc's.

`make test-live-sglang` asks SGLang anew, of others too.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from sglang_plans import DATA, differences

import kvcalc
from kvcalc.deployment import Deployment
from kvcalc.engines.sglang.settled import SettledSglang
from kvcalc.memory import Ranks

KEPT: dict[str, Any] = json.loads((DATA / "plans.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("kind", sorted({record["kind"] for record in KEPT["records"]}))
def test_kvcalc_says_what_sglang_planned(kind: str) -> None:
    of_kind = [record for record in KEPT["records"] if record["kind"] == kind]
    assert len(of_kind) >= 10
    for record in of_kind:
        assert differences(KEPT["version"], KEPT["card"], record) == {}, record["options"]


PAGES = {"mimo-v2-flash": 128, "llama-3.1-8b": 64, "deepseek-v3": 64}


@pytest.mark.parametrize("model", PAGES)
def test_pages_on_data_centre_blackwell_are_those_of_its_attention_backend(model: str) -> None:
    """As sglang 0.5.23 says of a B200 (LIVE_CARD=b200): other pages than its backend has are changed."""
    asked: dict[str, Any] = {"engine": "sglang@0.5.23", "gpu": "b200", "tp": 8}
    share = {"mem-fraction-static": "0.8"}
    found = kvcalc.capacity(model, **asked, engine_option=share)
    assert found.tokens is not None
    assert found.tokens % PAGES[model] == 0
    with pytest.raises(kvcalc.KvcalcError, match=f"changes 8 to {PAGES[model]}; leave --block-size"):
        kvcalc.capacity(model, **asked, engine_option={**share, "page-size": "8"})


def test_memory_is_reserved_for_graphs_of_prefill_that_deepseek_then_leaves_out() -> None:
    """sglang 0.5.23 on a B200 with tp 8: 0.844."""
    found = kvcalc.capacity("deepseek-v3", engine="sglang@0.5.23", gpu="b200", tp=8, cache_memory="20GiB")
    told = next(note for note in found.notes if note.code == "engine-defaults")
    assert told.data["mem_fraction_static"] == 0.844


@pytest.mark.parametrize(
    ("model", "options", "says"),
    [
        ("qwen3-8b", {"mamba-radix-cache-strategy": "extra_buffer"}, "goes with models that keep states"),
        (
            "qwen3-next-80b-a3b",
            {"mamba-radix-cache-strategy": "extra_buffer_lazy", "disable-overlap-schedule": "true"},
            "leave disable-overlap-schedule out",
        ),
    ],
)
def test_strategies_that_sglang_does_not_start_with(model: str, options: dict[str, str], says: str) -> None:
    with pytest.raises(kvcalc.KvcalcError, match=says):
        kvcalc.capacity(model, tp=4, engine="sglang", engine_option=options, gpu="h200")


@pytest.mark.parametrize(("version", "slots"), [("0.5.15", 3), ("0.5.16", 5), ("0.5.23", 5)])
def test_slots_of_states_on_amd(version: str, slots: int) -> None:
    """_platform_supports_mamba_cache_extra_buffer, before 0.5.20 in sglang/srt/server_args.py."""
    asked = kvcalc.make_scenario("qwen3-next-80b-a3b", tp=4, engine=f"sglang@{version}", gpu="mi300x")
    settled = Ranks(asked).settled(asked.deployment or Deployment())
    assert isinstance(settled, SettledSglang)
    assert settled.slots_of_a_sequence == slots


SLOTS: list[tuple[str, dict[str, str], int]] = [
    ("0.5.23", {}, 5),
    ("0.5.23", {"mamba-radix-cache-strategy": "extra_buffer_lazy"}, 4),
    ("0.5.23", {"disable-overlap-schedule": "true"}, 3),
    ("0.5.23", {"mamba-radix-cache-strategy": "extra_buffer", "disable-overlap-schedule": "true"}, 4),
    ("0.5.23", {"disable-radix-cache": "true"}, 1),
    ("0.5.12", {}, 3),
    ("0.5.12", {"mamba-radix-cache-strategy": "extra_buffer"}, 5),
]


@pytest.mark.parametrize(("version", "options", "slots"), SLOTS)
def test_slots_of_states_follow_the_strategy_of_equal_prefixes(
    version: str, options: dict[str, str], slots: int
) -> None:
    """Of 4,164 slots sglang 0.5.23 runs 832 requests, 1,041 with extra_buffer_lazy, 1,388 without overlapping steps."""
    asked = kvcalc.make_scenario(
        "qwen3-next-80b-a3b", tp=4, engine=f"sglang@{version}", engine_option=options, gpu="h200"
    )
    settled = Ranks(asked).settled(asked.deployment or Deployment())
    assert isinstance(settled, SettledSglang)
    assert settled.slots_of_a_sequence == slots
