"""Names and sources from files say what they say in CSV and Markdown: nothing computes them and nothing obeys them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from conftest import Kvcalc

from kvcalc.render.markdown import write
from kvcalc.render.record import to_csv
from kvcalc.render.view import Column, Grid, Lines, Row, Verbatim, View

FORMULAS = ["=1+1", "+1", "-1+cmd|' /C calc'!A0", "@SUM(A1)", "\uff1d1", "=HYPERLINK('http://x','y')"]


def model_file(folder: Path, name: str) -> str:
    file = folder / "model.yaml"
    part = {"part": name, "parameters": 1000, "format": "bf16"}
    layer = {"count": 1, "attention": {"kind": "mqa", "num_heads": 1, "head_dim": 8}}
    file.write_text(json.dumps({"name": name, "source": name, "layers": [layer], "weights": [part]}), encoding="utf-8")
    return str(file)


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("command", ["estimate", "capacity", "compare llama-3-8b", "plan", "models show"])
def test_a_spreadsheet_computes_no_cell(kvcalc: Kvcalc, tmp_path: Path, command: str, name: str) -> None:
    run = kvcalc(*command.split(), model_file(tmp_path, name), "--format", "csv")
    assert run.code == 0
    cells = [cell for row in csv.reader(io.StringIO(run.stdout)) for cell in row]
    assert any(name in cell for cell in cells) or command == "plan"
    assert [cell for cell in cells if cell.startswith(("=", "+", "-1+", "@", "\uff1d"))] == []


@pytest.mark.parametrize("text", ["\t=1", "\r=1", "\n=1"])
def test_no_cell_begins_with_what_a_spreadsheet_skips(text: str) -> None:
    assert next(csv.reader([to_csv([{"name": text, "list": [text]}]).splitlines()[1]]))[0].startswith("\\")


def test_numbers_keep_their_sign() -> None:
    assert to_csv([{"headroom_bytes": -5, "share": -0.5, "names": ["-a", "b"]}]).splitlines()[1] == "-5,-0.5,'-a;b"


def test_a_lack_of_memory_is_a_number(kvcalc: Kvcalc) -> None:
    run = kvcalc("estimate", "llama-3-70b", "--tp", "1", "--format", "csv")
    (row,) = csv.DictReader(io.StringIO(run.stdout))
    assert int(row["memory_per_rank_headroom_bytes"]) < 0


MARKUP = {
    "[here](http://x)": r"\[here\](http://x)",
    "![i](http://x)": r"!\[i\](http://x)",
    "<img src=x>": r"\<img src=x\>",
    "a|b": r"a\|b",
    "&lt;b&gt;": r"\&lt;b\&gt;",
    "~~no~~ **b** _i_ `c` $m$": r"\~\~no\~\~ \*\*b\*\* \_i\_ \`c\` \$m\$",
    "# title": r"\# title",
    "> said": r"\> said",
    "two\nlines": r"two\\nlines",
}


@pytest.mark.parametrize(("text", "escaped"), MARKUP.items())
def test_markdown_says_what_the_text_says(text: str, escaped: str) -> None:
    view = View((Grid((Column(text),), (Row((text,)),)), Lines((text,))))
    assert write(view) == f"| {escaped} |\n| --- |\n| {escaped} |\n\n{escaped}  \n"


def test_a_file_cannot_end_the_block_that_shows_it() -> None:
    text = "# ```\n# ````\nname: x\n"
    assert write(View((Verbatim(text, "yaml"),))) == f"`````yaml\n{text}`````\n"


def test_a_model_s_name_is_no_link(kvcalc: Kvcalc, tmp_path: Path) -> None:
    run = kvcalc("estimate", model_file(tmp_path, "[a](http://x)|<b>"), "--format", "markdown")
    assert r"\[a\](http://x)\|\<b\>" in run.stdout
    assert "[a](" not in run.stdout.replace(r"\[a\](", "")
