"""Figures that TensorRT-LLM printed beside predicted ones."""

from __future__ import annotations

from typing import Any

from tensorrt_llm_start_ups import SMALL, SPARK

import kvcalc as package


def test_the_pool_of_the_trial_run_is_not_the_servers(log: Any) -> None:
    """8,224 tokens are those of the run that finds out what is free."""
    found = package.capacity_from_log(log(SPARK))
    assert (found.model.name, found.engine_version) == ("gpt-oss-120b", "1.1")
    settings = {each.option: each.value for each in found.settings}
    assert (settings["--context"], settings["free-gpu-memory-fraction"]) == ("86720", "0.9")
    rows = {row.name: row for row in found.rows}
    assert rows["tokens"].printed == 86_720
    assert found.gpus is not None
    assert found.gpus.memory_bytes == int(119.70 * 2**30)
    given = rows["tokens, given the printed memory"]
    assert (given.predicted_low or 0) <= 86_720 <= (given.predicted_high or 0)
    assert found.exact.as_printed


def test_what_other_programs_hold_explains_the_tokens(log: Any) -> None:
    found = package.capacity_from_log(log(SPARK))
    cache = found.row("cache memory")
    assert cache is not None
    assert (cache.why or "").startswith("non-torch memory: ")
    assert found.differs


def test_blocks_follow_from_the_memory_that_is_printed(log: Any) -> None:
    """30 layers of 3 heads of 64 in bf16 are 23,040 bytes a token."""
    found = package.capacity_from_log(log(SMALL), "smollm2-135m")
    row = found.row("blocks, given the printed memory")
    assert row is not None
    assert (row.predicted_low or 0) <= 13_189 <= (row.predicted_high or 0)
    assert round(13_189 * 32 * 23_040 / 2**30, 2) == 9.06
