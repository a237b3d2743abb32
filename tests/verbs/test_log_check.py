"""Printed figures beside predicted ones. The logs are those of tests/logs, the figures of public logs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import Kvcalc, codes
from vllm_start_ups import BOTH, DOES_NOT_FIT, V0_19, V0_31

import kvcalc as package

GIB = 2**30
SHIFTED = V0_31.replace("460,496", "360,496").replace("3.51x", "2.75x")


def rows(printed: str) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in json.loads(printed)["rows"]}


def test_a_start_that_compiled_nothing_explains_more_cache(kvcalc: Kvcalc, log: Any) -> None:
    """Llama 3 8B of 0.31 with 1.01 GiB of an embedding that a start makes as it compiles, or 0.24 without."""
    told = kvcalc("capacity", "--from-log", log(V0_31), "--gpu", "a100-80gb", "--json")
    assert "one that finds what it compiled before has" in rows(told.stdout)["cache memory"]["why"]


def test_each_figure_stands_beside_the_printed_one(kvcalc: Kvcalc, log: Any) -> None:
    told = kvcalc("capacity", "--from-log", log(V0_31), "--gpu", "a100-80gb", "--json")
    assert told.code == 0, told.stderr
    found = rows(told.stdout)
    assert found["tokens"]["printed"] == 460496
    assert found["tokens"]["unit"] == "tokens"
    assert found["concurrency"]["printed"] == 3.51
    assert found["cache memory"]["printed"] == round(56.21 * GIB)
    assert found["cache memory"]["unit"] == "bytes"
    assert found["cache memory"]["as_printed"] == "56.21 GiB"
    for row in found.values():
        if row["printed"] and row["predicted"] is not None and isinstance(row["printed"], int):
            assert row["difference"] == pytest.approx(row["predicted"] / row["printed"] - 1, rel=1e-6, abs=1e-8)


def test_tokens_are_predicted_of_the_printed_memory_too(log: Any) -> None:
    """460,496 tokens in 56.21 GiB, as stored file 70682754770 has them."""
    found = package.capacity_from_log(log(V0_31), gpu="a100-80gb").row("tokens, given the printed memory")
    assert found is not None
    assert found.predicted_low is not None
    assert found.predicted_high is not None
    assert found.predicted_low <= 460496 <= found.predicted_high
    assert found.predicted_high - found.predicted_low < 200


def test_the_options_that_are_written_give_the_printed_tokens(kvcalc: Kvcalc, log: Any) -> None:
    result = package.capacity_from_log(log(V0_31), gpu="a100-80gb")
    assert result.exact.tokens == 460496
    words = result.exact.command.split()
    assert words[:3] == ["kvcalc", "capacity", "llama-3-8b"]
    assert json.loads(kvcalc(*words[1:], "--json").stdout)["tokens"] == 460496
    assert result.exact.parts[0::2] == ("--weights", "--temporary", "--overhead")


def test_the_parts_that_are_written_give_the_printed_tokens_too(kvcalc: Kvcalc, log: Any) -> None:
    result = package.capacity_from_log(log(V0_31), gpu="a100-80gb")
    assert result.exact.as_printed
    words = [*result.exact.command.split()[1:-2], *result.exact.parts, "--json"]
    assert json.loads(kvcalc(*words).stdout)["tokens"] == 460496


def test_what_does_not_give_the_printed_figures_is_not_told_to(kvcalc: Kvcalc, log: Any) -> None:
    """Two ranks hold twice the printed tokens in the printed memory, 8-bit formats too."""
    for options in (("--tp", "2"), ("--cache-dtype", "fp8")):
        told = kvcalc("capacity", "--from-log", log(V0_31), "--gpu", "a100-80gb", *options)
        assert "as printed with" not in told.stdout
        assert "nearest: --engine-option kv-cache-memory-bytes=" in told.stdout


def test_blocks_are_looked_for_where_no_tokens_are_printed(log: Any) -> None:
    """190,100 blocks in 34.81 GiB, as stored file 33122952765 has them."""
    result = package.capacity_from_log(log(BOTH))
    blocks = result.row("blocks")
    assert blocks is not None
    assert blocks.printed == 190100
    assert result.exact.as_printed
    assert result.exact.tokens == 190100 * 16


def test_more_than_five_percent_off_is_a_no(kvcalc: Kvcalc, log: Any) -> None:
    told = kvcalc("capacity", "--from-log", log(SHIFTED), "--gpu", "a100-80gb")
    assert told.code == 1
    assert "360,496" in told.stdout
    assert "more than 5%" in told.stderr


def test_blocks_are_judged_where_no_tokens_are_printed(kvcalc: Kvcalc, log: Any) -> None:
    told = kvcalc("capacity", "--from-log", log(BOTH.replace("190100", "100100")))
    assert told.code == 1
    assert "blocks: " in told.stderr
    assert "more than 5%" in told.stderr


def test_concurrency_is_judged_where_nothing_else_is_printed(kvcalc: Kvcalc, log: Any) -> None:
    text = SHIFTED.replace("GPU KV cache size: 360,496 tokens, ", "")
    told = kvcalc("capacity", "--from-log", log(text), "--gpu", "a100-80gb")
    assert told.code == 1
    assert "concurrency: " in told.stderr


def test_no_tokens_at_all_are_a_no(kvcalc: Kvcalc, log: Any) -> None:
    told = kvcalc("capacity", "--from-log", log(V0_31.replace("460,496", "0")), "--gpu", "a100-80gb")
    assert told.code == 1
    assert "tokens: 0 printed" in told.stderr


def test_memory_alone_is_not_judged(kvcalc: Kvcalc, log: Any) -> None:
    told = kvcalc("capacity", "llama-3-8b", "--from-log", log("INFO Available KV cache memory: 56.21 GiB\n"))
    assert told.code == 0
    assert "not judged: the log prints none of tokens, blocks, concurrency" in told.stdout


REFUSED = "ERROR ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`\n"


@pytest.mark.parametrize("text", [DOES_NOT_FIT, REFUSED])
def test_a_start_that_failed_is_told(kvcalc: Kvcalc, log: Any, text: str) -> None:
    told = kvcalc("capacity", "llama-3-8b", "--from-log", log(text), "--gpu", "h100")
    assert told.code == 1
    assert "the log says that the server did not start" in told.stderr
    assert "such a server is predicted to start" in told.stderr
    told = kvcalc("capacity", "llama-3-8b", "--from-log", log(text), "--gpu", "h100", "--utilization", "0.2")
    assert told.code == 0
    assert "is predicted not to start" in told.stdout


def test_a_start_after_one_that_failed_is_compared(log: Any) -> None:
    assert package.capacity_from_log(log(DOES_NOT_FIT + V0_31)).log.refused is None
    assert package.capacity_from_log(log(V0_31 + DOES_NOT_FIT)).log.refused is not None


def test_a_log_without_figures_has_nothing_to_compare(kvcalc: Kvcalc, log: Any) -> None:
    text = "INFO vLLM server version 0.19.0, serving model meta-llama/Meta-Llama-3-8B\n"
    told = kvcalc("capacity", "--from-log", log(text))
    assert told.code == 2
    assert told.stdout == ""
    assert "nothing to compare" in told.stderr
    assert "Available KV cache memory" in told.stderr


def test_two_figures_of_one_rank_are_told(log: Any) -> None:
    text = "INFO GPU KV cache size: 476,000 tokens\nINFO GPU KV cache size: 100,000 tokens\n"
    result = package.capacity_from_log(log(text), "llama-3-8b", gpu="h100")
    told = [each.text for each in result.notes if each.code == "printed-twice"]
    several = "the log prints tokens 476,000 and 100,000, perhaps of several starts"
    assert told == [f"{several}: 100,000, the least, is used"]
    assert "printed-twice" not in codes(package.capacity_from_log(log(V0_31)).notes)


def test_a_printed_zero_has_no_difference(kvcalc: Kvcalc, log: Any) -> None:
    text = V0_19.replace("non-torch forward increase memory: 0.24GiB", "non-torch forward increase memory: 0.0GiB")
    found = rows(kvcalc("capacity", "--from-log", log(text), "--json").stdout)
    assert found["non-torch memory"]["printed"] == 0
    assert found["non-torch memory"]["difference"] is None


def test_what_is_given_wins_over_the_log(log: Any) -> None:
    result = package.capacity_from_log(
        log(V0_31), "llama-3-70b", tp=4, utilization="0.5", engine_option={"max_num_seqs": "8"}, context="4Ki"
    )
    assert result.model.name == "llama-3-70b"
    assert result.deployment.tp == 4
    assert result.workload.context == 4096
    told = {each.option: (each.value, each.source) for each in result.settings}
    assert told["--utilization"] == ("0.5", "given")
    assert told["max-num-seqs"] == ("8", "given")
    assert told["max-num-batched-tokens"] == ("2048", "log")


def test_options_of_the_command_line_win_too(kvcalc: Kvcalc, log: Any) -> None:
    options = ("--engine-option", "max_num_seqs=8", "--reserve", "x=1GiB", "--gpu", "h100", "--utilization", "0.9")
    told = json.loads(kvcalc("capacity", "--from-log", log(V0_31), *options, "--json").stdout)
    settings = {each["option"]: (each["value"], each["source"]) for each in told["settings"]}
    assert settings["max-num-seqs"] == ("8", "given")
    assert settings["--utilization"] == ("0.9", "given")
    assert told["gpus"]["utilization"] == 0.9
    less = json.loads(kvcalc("capacity", "--from-log", log(V0_31), *options[:2], *options[4:], "--json").stdout)
    kept = {row["name"]: row["predicted"] for row in told["rows"]}
    assert {row["name"]: row["predicted"] for row in less["rows"]}["cache memory"] == kept["cache memory"] + GIB


def test_formulas_can_stand_beside_a_log(kvcalc: Kvcalc, log: Any) -> None:
    asked = ("--gpu", "h100", "--engine", "exact", "--json")
    told = json.loads(kvcalc("capacity", "--from-log", log(V0_31), *asked).stdout)
    assert told["deployment"]["engine"] == "exact"
    assert told["exact"]["pool"][0] == "--cache-memory"


def test_the_screen_has_figures_reasons_and_options(kvcalc: Kvcalc, log: Any) -> None:
    told = kvcalc("capacity", "--from-log", log(V0_31), "--gpu", "a100-80gb", "--explain")
    assert "460,496" in told.stdout
    assert "within the rounding of the printed memory" in told.stdout
    assert "--engine-option kv-cache-memory-bytes=" in told.stdout
    assert "in numbers" in told.stdout
    page = kvcalc("capacity", "--from-log", log(V0_31), "--gpu", "a100-80gb", "--format", "markdown").stdout
    assert "| **tokens** | **460,496** |" in page
