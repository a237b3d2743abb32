"""docs/pictures.md: each picture is what its command writes. UPDATE_GOLDENS=1 writes them anew."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from kvcalc.cli.app import run

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "pictures.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^ {4}kvcalc (plot .+) -o docs/(images/\S+)$", PAGE, re.MULTILINE)
MOST_BYTES = 40_000


@pytest.mark.parametrize(("command", "name"), COMMANDS)
def test_a_picture_is_what_its_command_writes(command: str, name: str, tmp_path: Path) -> None:
    shipped, target = ROOT / "docs" / name, tmp_path / "new.svg"
    assert run([*command.split(), "-o", str(target)]) == 0
    if os.environ.get("UPDATE_GOLDENS"):
        shipped.write_bytes(target.read_bytes())
    assert shipped.read_bytes() == target.read_bytes()
    assert shipped.stat().st_size < MOST_BYTES


def test_every_kind_is_shown() -> None:
    assert {command.split()[1] for command, _ in COMMANDS} == {"cache", "sequences", "gpus", "memory"}
    assert all(f"({name})" in PAGE for _, name in COMMANDS)
