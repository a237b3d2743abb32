"""Prices on the command line and in files, which may be anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import kvcalc

if TYPE_CHECKING:
    from conftest import Kvcalc

PLAN = ("plan", "llama-3-8b", "-c", "8192", "--gpu", "h100,l40s", "--json")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "h100,2.5\nl40s,1\nb200,9\n"),
        ("a.csv", "gpu,usd\r\n\r\n h100-sxm , 2.50 \r\nl40s,1\r\n"),
        ("a.csv", '\ufeff"h100","2.5"\nl40s,1'),
        ("a.yaml", "h100: 2.5\nl40s: 1\nmi300x: 3\n"),
        ("a.yaml", "{h100: '2.5', l40s: 1, 'h100-sxm:3g.40gb': 1}"),
        ("prices", "h100: 2.5\nl40s: 1.0\n"),
        ("a=b.csv", "h100,2.5\nl40s,1\n"),
    ],
)
def test_files_of_prices(name: str, text: str, tmp_path: Path, kvcalc: Kvcalc) -> None:
    """Those of other accelerators are passed over; one that is typed wins."""
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    for more, cost in ((), 2.5), (("--price", "h100=4"), 4):
        rows = json.loads(kvcalc(*PLAN, "--price", str(path), *more).stdout)["deployments"]
        assert {row["gpu"]: row["usd_per_hour"] for row in rows if row["count"] == 1} == {"h100-sxm": cost, "l40s": 1}
    given = {"h100": 2.5, "l40s": 1}
    first, second = (
        kvcalc_plan.deployments
        for kvcalc_plan in (
            _planned(prices=path),
            _planned(prices=given),
        )
    )
    assert first == second


def _planned(**options: Any) -> kvcalc.Plan:
    return kvcalc.plan("llama-3-8b", context=8192, gpu=["h100", "l40s"], **options)


def test_several_prices_in_one_option(kvcalc: Kvcalc) -> None:
    together = kvcalc(*PLAN, "--price", "h100=2.5,l40s=1")
    assert together.code == 0
    assert kvcalc(*PLAN, "--price", "h100=2.5", "--price", "l40s=1").stdout == together.stdout


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "h1000,2\n", "a.csv:1: no accelerator 'h1000'; did you mean 'h100'"),
        ("a.csv", "h100,2,3\n", "a.csv:1: expected a name and USD an hour, such as 'h100-sxm,2.99'"),
        ("a.csv", "h100;2\n", "a.csv:1: expected a name and USD an hour"),
        ("a.csv", "l40s,free\nh100,2\n", "a.csv:1 l40s: not a number: 'free'"),
        ("a.csv", "h100,nan\n", "a.csv:1 h100: not a number: 'nan'"),
        ("a.csv", "h100,true\n", "a.csv:1 h100: not a number: 'true'"),
        ("a.csv", "h100,-1\n", "a.csv:1 h100: must be above 0"),
        ("a.csv", "h100,2\nh100-sxm,3\n", "a.csv:2: h100-sxm has two prices"),
        ("a.csv", "h100,1e999\n", "h100: "),
        ("a.csv", "x" * 300_000, "larger than 200,000 bytes"),
        ("a.csv", "h100,2\n" * 20_000, "more than 10,000 prices"),
        ("a.yaml", "h100: [1, 2]\n", "expected USD an hour of h100, such as 2.99"),
        ("a.yaml", "h100: true\n", "expected USD an hour of h100"),
        ("a.yaml", "- h100\n", "expected names and USD an hour, such as 'h100-sxm: 2.99'"),
        ("a.yaml", "h100: 2\nh100: 3\n", "a.yaml:2"),
        ("a.yaml", "h100: &a 2\nl40s: *a\n", "an anchor"),
        ("a.yaml", "", "the file is empty"),
        ("a.yaml", "h100: .inf\n", "h100: "),
    ],
)
def test_files_that_are_no_prices(name: str, text: str, message: str, tmp_path: Path, kvcalc: Kvcalc) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    run = kvcalc(*PLAN, "--price", str(path))
    assert (run.code, run.stdout) == (2, "")
    assert message in run.stderr
    assert len(run.stderr) < 1000


@pytest.mark.parametrize(
    ("price", "message"),
    [
        ("nosuch.csv", "'nosuch.csv' is not NAME=USD_PER_HOUR (for example h100=2.99), and no such file is there"),
        ("h100=1,,l40s=2", "'' is not NAME=USD_PER_HOUR"),
        ("h100=1,l40s", "'l40s' is not NAME=USD_PER_HOUR"),
        ("h100=1,h100=2", "'h100' is given twice"),
        ("h1000=1", "--price: no accelerator 'h1000'; did you mean 'h100'"),
        ("b200=1,h100=1", "--price: b200 is not among the accelerators of --gpu"),
        ("h100:1g.10gb=1", "--price: h100-sxm:1g.10gb is not among the accelerators of --gpu"),
        ("h100=nan", "--price h100: not a number: 'nan'"),
        ("/dev/zero", "larger than"),
        (".", "cannot be read"),
    ],
)
def test_prices_that_cannot_be(price: str, message: str, kvcalc: Kvcalc) -> None:
    run = kvcalc(*PLAN, "--price", price)
    assert (run.code, run.stdout) == (2, "")
    assert message in run.stderr
