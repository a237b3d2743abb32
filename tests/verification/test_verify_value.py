"""What verify answers is a value as other results are: compared, copied, pickled, and written as JSON."""

from __future__ import annotations

import copy
import json
import pickle

import pytest
from conftest import Kvcalc

import kvcalc
from kvcalc.verification.result import Verification


@pytest.fixture(scope="module")
def answer() -> Verification:
    return kvcalc.verify("llama-3-8b", device="meta")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_it_can_be_pickled(answer: Verification, protocol: int) -> None:
    assert pickle.loads(pickle.dumps(answer, protocol)) == answer  # noqa: S301  # our own


def test_it_can_be_copied_and_be_a_key(answer: Verification) -> None:
    assert {answer: 1}[copy.deepcopy(answer)] == 1


def test_it_is_one_short_line_at_a_prompt(answer: Verification) -> None:
    assert repr(answer) == f"<Verification llama-3-8b on meta: verified: {answer.summary}>"
    assert all(len(repr(each)) <= 250 and "\n" not in repr(each) for each in (answer, *answer.checks))


def test_its_object_is_what_the_command_prints(kvcalc: Kvcalc, answer: Verification) -> None:
    printed = kvcalc("verify", "llama-3-8b", "--device", "meta", "--json").stdout
    assert answer.to_json() + "\n" == printed
    assert answer.to_dict() == json.loads(printed)
