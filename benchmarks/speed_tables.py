"""Measures this machine with `kvcalc bench`, and with --write puts its tables into docs/speed.md.

Run it where nothing else runs. A table of the same machine and model is replaced, others stay.
"""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import kvcalc
from kvcalc.render import Format, render
from kvcalc.render.screens.bench import bench_report

if TYPE_CHECKING:
    from kvcalc.speed.result import Bench

PAGE = Path(__file__).parent.parent / "docs" / "speed.md"
GOALS = {"mha": 0.6, "gqa": 0.5, "mqa": 0.5, "mla": 0.5}
"""Of the bound, on a CPU."""


def main() -> None:
    """Measure once, print the tables, and write them where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="llama-3-8b")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--context", type=int, default=8192)
    parser.add_argument("--offload", default="0.25")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--json", type=Path, help="write every sample there")
    parser.add_argument("--write", action="store_true", help="into docs/speed.md")
    given = parser.parse_args()
    result = kvcalc.bench(
        given.model, batch=given.batch, context=given.context, offload=given.offload, compile=given.compile
    )
    words = ["kvcalc", "bench", given.model, "-b", str(given.batch), "-c", str(given.context)]
    words += ["--offload", given.offload, *(["--compile"] if given.compile else [])]
    told = section(result, shlex.join(words))
    print(told)
    if given.json:
        given.json.write_text(result.to_json() + "\n", encoding="utf-8")
    if given.write:
        PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8"), told), encoding="utf-8")


def section(result: Bench, command: str) -> str:
    """The tables of one measurement, under a heading that names machine and model."""
    machine = result.machine
    number = "1 thread" if machine.threads == 1 else f"{machine.threads} threads"
    threads = f", {number}" if machine.device == "cpu" else ""
    heading = f"### {result.model.name} on {machine.device_name}{threads}"
    notes = "".join(f"\n- {each.text}" for each in result.notes)
    reached = "".join(f"\n- {line}" for line in goals(result))
    tables = render(bench_report(result, "GiB"), Format.MARKDOWN).strip()
    return f"{heading}\n\n`{command}`\n\n{tables}\n{notes}\n{reached}\n"


def goals(result: Bench) -> list[str]:
    """What share of the bound each mechanism reached, beside the goal of a CPU."""
    found = []
    for each in result.rows:
        goal = GOALS[each.mechanism.partition("-")[0]]
        share = each.attention.share_of_bound
        verdict = "reached" if share >= goal else "not reached"
        found.append(f"{each.mechanism}: {share:.0%} of the bound by {each.path}; the goal of {goal:.0%} is {verdict}")
    return found if result.machine.device == "cpu" else []


def replaced(page: str, told: str) -> str:
    """The page with a section in the place of the one with its heading, else at its end."""
    heading = told.splitlines()[0]
    old = re.compile(rf"^{re.escape(heading)}\n.*?(?=^### |\Z)", re.DOTALL | re.MULTILINE)
    kept = old.sub("", page).rstrip("\n")
    return f"{kept}\n\n{told}"


if __name__ == "__main__":
    main()
