"""Figures that SGLang printed beside predicted ones. The logs are those of tests/logs."""

from __future__ import annotations

from typing import Any

import pytest
from sglang_start_ups import B200, COMPRESSED, HYBRID, LATENTS, OLDER, WINDOWS

import kvcalc as package
from kvcalc.errors import KvcalcError


def off(result: package.LogCheck, name: str) -> float:
    row = result.row(name)
    assert row is not None
    assert row.difference is not None
    return abs(row.difference)


def test_the_default_share_and_the_weights_are_the_servers(log: Any) -> None:
    """16,384 tokens of a step, 512 sequences and 74 graphs of prefill are reserved for: 0.854 of the card."""
    found = package.capacity_from_log(log(B200))
    assert (found.engine_version, found.scenario.gpu.name) == ("0.5.12.post1", "b200")
    assert off(found, "weights") < 0.0005
    assert off(found, "tokens") < 0.0005
    assert found.exact.as_printed
    assert not found.differs


def test_states_and_tokens_share_the_memory(log: Any) -> None:
    found = package.capacity_from_log(log(HYBRID), gpu="rtx4090")
    slots = found.row("slots of states")
    assert slots is not None
    assert slots.printed == 186
    assert off(found, "weights") < 0.01
    assert off(found, "tokens") < 0.03
    assert off(found, "tokens, given the printed memory") < 0.0005


def test_memory_without_that_of_states_is_told_and_not_compared(log: Any) -> None:
    """A quoted log may lack the line of the states: its keys and values are not all that the pools take."""
    lines = [line for line in HYBRID.splitlines() if "Mamba Cache" not in line]
    found = package.capacity_from_log(log("\n".join(lines)), gpu="rtx4090")
    assert found.row("cache memory") is None
    assert found.row("tokens, given the printed memory") is None
    told = found.row("cache memory but states")
    assert told is not None
    assert (told.predicted, told.why) == (None, "the log has no line of its states, whose memory lies beside")
    assert off(found, "tokens") < 0.03


def test_windows_have_their_share_of_the_tokens(log: Any) -> None:
    found = package.capacity_from_log(log(WINDOWS), gpu="gb10")
    assert off(found, "tokens") < 0.005
    windows = found.row("tokens of windows")
    assert windows is not None
    assert windows.printed == 798276
    assert off(found, "tokens of windows") < 0.005


def test_windows_of_compressed_attention_follow_the_requests(log: Any) -> None:
    found = package.capacity_from_log(log(COMPRESSED), engine="sglang@0.5.23", gpu="h200")
    assert off(found, "tokens") < 0.02
    windows = found.row("tokens of windows")
    assert windows is not None
    assert windows.predicted == windows.printed == 164096


def test_replicas_with_dp_attention_are_among_the_ranks(log: Any) -> None:
    found = package.capacity_from_log(log(LATENTS), gpu="b200")
    deployment = found.deployment
    assert (deployment.tp, deployment.dp, deployment.ep, deployment.dp_attention) == (1, 8, 8, True)
    given = found.row("tokens, given the printed memory")
    assert given is not None
    assert given.predicted == 524288


def test_what_is_free_before_loading_follows_from_what_is_left(log: Any) -> None:
    found = package.capacity_from_log(log(OLDER), "llama-3.1-8b", engine="sglang@0.4.9.post6", gpu="rtx4090")
    assert off(found, "weights") < 0.001
    assert off(found, "tokens") < 0.002


def test_a_log_without_its_model_names_the_next_step(log: Any) -> None:
    with pytest.raises(KvcalcError, match="kvcalc capacity MODEL --from-log FILE"):
        package.capacity_from_log(log(OLDER))


def test_weights_of_another_format_than_the_models_are_taken_as_printed(log: Any) -> None:
    """In bf16 they would leave less than nothing for the cache."""
    lighter = HYBRID.replace("mem usage=8.85 GB", "mem usage=3.10 GB")
    found = package.capacity_from_log(log(lighter), gpu="rtx4090")
    weights, memory = found.row("weights"), found.row("cache memory")
    assert weights is not None
    assert weights.difference == pytest.approx(0, abs=1e-6)
    assert memory is not None
    assert memory.predicted is not None
    assert memory.predicted > 0
    assert "weights-as-printed" in {each.code for each in found.notes}
    given = package.capacity_from_log(log(lighter), gpu="rtx4090", weight_dtype="bf16")
    assert off(given, "weights") > 1
    assert "weights-as-printed" not in {each.code for each in given.notes}
    fitting = package.capacity_from_log(log(HYBRID), gpu="rtx4090")
    assert "weights-as-printed" not in {each.code for each in fitting.notes}


@pytest.mark.parametrize(("algorithm", "told"), [("EAGLE", True), ("None", False), (None, False)])
def test_a_server_that_drafts_is_said_to_keep_what_is_not_counted(
    log: Any, algorithm: str | None, *, told: bool
) -> None:
    flag = "" if algorithm is None else f" --speculative-algorithm {algorithm}"
    drafts = HYBRID.replace("--mem-fraction-static 0.8", f"--mem-fraction-static 0.8{flag}")
    found = package.capacity_from_log(log(drafts), gpu="rtx4090")
    assert ("draft-of-log" in {each.code for each in found.notes}) == told
