"""Compute buffers of cards that work in turn, as public logs of Ollama printed them."""

from __future__ import annotations

import pytest

import kvcalc
from kvcalc.engines import Load
from kvcalc.memory import Ranks

MIB = 2**20
PRINTED: list[tuple[str, str, int, dict[str, str], tuple[float, float]]] = [
    ("llama-3.2-3b", "b9093", 32_768, {"tensor-split": "15,13"}, (378.04, 408.55)),
    ("qwen3.6-27b", "b9093", 262_144, {"tensor-split": "9,7", "ubatch-size": "2048"}, (9952.25, 6276.28)),
    ("qwen3.8-27b", "b10488", 262_144, {"ubatch-size": "2048"}, (4744.25, 4744.25)),
    ("smollm2-135m", "b10229", 8_192, {"tensor-split": "1,1"}, (48.91, 48.91)),
]
"""Stored files 54749245065 (Ollama 0.30, with logits of every token), 65715519840 (0.32 on two MI355X) and 63260729118
(llama.cpp on two A40, where the build is not said)."""


@pytest.mark.parametrize(("model", "build", "context", "options", "printed"), PRINTED)
def test_two_cards(model: str, build: str, context: int, options: dict[str, str], printed: tuple[float, float]) -> None:
    asked = kvcalc.make_scenario(model, engine=f"llama-cpp@{build}", engine_option=options, context=context)
    layout = Ranks(asked).settled(kvcalc.Deployment(pp=2))
    for stage, said in zip(layout.stages, printed, strict=True):
        found = layout.temporary(stage, Load(1, context))
        assert found is not None
        assert found.term.bytes / MIB == pytest.approx(said, rel=0.01)


def test_logits_that_an_application_wants_lie_on_the_last_card() -> None:
    found = []
    for options in ({}, {"n-outputs-max": "0"}):
        asked = kvcalc.make_scenario("llama-3.2-3b", engine="llama-cpp", engine_option=options, context=8192)
        layout = Ranks(asked).settled(kvcalc.Deployment(pp=2))
        buffers = [layout.temporary(stage, Load(1, 8192)) for stage in layout.stages]
        found.append([each.term.bytes for each in buffers if each is not None])
    assert found[0][0] == found[1][0]
    assert found[1][1] - found[0][1] == 512 * 4 * (128_256 + 4 * 3072 - (3 * 8192 + 4 * 3072))
