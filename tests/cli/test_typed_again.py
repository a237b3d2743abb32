"""The step after a refusal keeps the command and the options that were typed, and works."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

from each import for_each

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Kvcalc

NEXT = "next: kvcalc "


def step(stderr: str) -> str:
    return next((line.removeprefix(NEXT) for line in stderr.splitlines() if line.startswith(NEXT)), "")


TYPED = {
    "estimate lama-3-8b --tp 4 -b 32 --cache-dtype fp8": "estimate llama-3-8b --tp 4 -b 32 --cache-dtype fp8",
    "plan lama-3-8b --batch=32": "plan llama-3-8b --batch=32",
    "compare lama-3-8b gemma-2b -b 4": "compare llama-3-8b gemma-2b -b 4",
    "estimate llama-3-70b --draft lama-3-8b": "estimate llama-3-70b --draft llama-3-8b",
    "estimate llama-3-70b --draft=lama-3-8b": "estimate llama-3-70b --draft=llama-3-8b",
    "models show lama-3-8b": "estimate llama-3-8b",
    "compare llama-3-8b,gemma-2b -b 4": "compare llama-3-8b gemma-2b -b 4",
    "plot cache llama-3-8b,gemma-2b": "plot cache llama-3-8b gemma-2b",
    "estimate llama-3-8b,gemma-2b --json": "compare llama-3-8b gemma-2b",
    "compare llama-3-8b,nope -b 4": "compare llama-3-8b -b 4",
}


@for_each("line", TYPED)
def test_a_misspelt_model_is_put_right_in_the_line(kvcalc: Kvcalc, line: str) -> None:
    assert step(kvcalc(*line.split()).stderr) == TYPED[line]


def test_what_is_assumed_is_added_to_the_line(kvcalc: Kvcalc, tmp_path: Path) -> None:
    config = tmp_path / "a folder" / "config.json"
    config.parent.mkdir()
    sizes = {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    config.write_text(json.dumps({**sizes, "vocab_size": 100, "intermediate_size": 128, "sliding_window": 512}))
    typed = ["capacity", str(config), "--assume", "vocab_size=200", "--cache-memory", "1GiB"]
    mended = step(kvcalc(*typed).stderr)
    assert shlex.split(mended) == [*typed, "--assume", "sliding_window=null"]
    assert kvcalc(*shlex.split(mended)).code == 0
    of_several = step(kvcalc("compare", str(config), "llama-3-8b").stderr)
    assert shlex.split(of_several) == ["estimate", str(config), "--assume", "sliding_window=null"]


def test_a_sweep_takes_its_models_as_an_axis(kvcalc: Kvcalc) -> None:
    refused = kvcalc("sweep", "llama-3-8b,qwen3-8b", "-b", "1,2")
    assert step(refused.stderr) == "sweep --model llama-3-8b,qwen3-8b -b 1,2"
    assert kvcalc(*shlex.split(step(refused.stderr))).code == 0
    assert step(kvcalc("sweep", "llama-3-8b", "qwen3-8b").stderr) == "sweep --help"


def test_a_ladder_explains_the_row_that_one_asks_about(kvcalc: Kvcalc) -> None:
    def last(line: str) -> str:
        return kvcalc(*line.split()).stdout.splitlines()[-1].removeprefix(NEXT)

    assert last("estimate llama-3-8b -c 64Ki,4Ki") == "estimate llama-3-8b --context 65536 --explain"
    some = "estimate llama-3-8b --context 4Ki,256Ki,512Ki --gpu l40s --tp 1"
    assert last(some) == "estimate llama-3-8b --context 262144 --gpu l40s --tp 1 --explain"
    most = last("capacity llama-3-8b --gpu h200,l40s --unit MB")
    assert most == "capacity llama-3-8b --gpu h200 --unit MB --explain"


@for_each("end", [".html", ".HTM", ".svg", ".pdf", ".xlsx", ".parquet"])
def test_a_table_is_not_written_under_the_name_of_another_format(kvcalc: Kvcalc, tmp_path: Path, end: str) -> None:
    file = tmp_path / f"x{end}"
    refused = kvcalc("estimate", "llama-3-8b", "-o", str(file))
    assert refused.code == 2
    assert f"no result is written as {end.lower()}; .json, .csv, .md, .markdown and .txt are" in refused.stderr
    assert not file.exists()
    assert kvcalc("estimate", "llama-3-8b", "-o", str(file), "--format", "table").code == 0
    assert file.read_text().startswith("1 x h100-sxm: fits")
