"""--emit and --from-command on the command line: what goes to stdout, what to stderr, and exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Kvcalc

ASKED = ("estimate", "llama-3-70b", "-b", "32", "-c", "8192", "--tp", "4")


def test_a_line_stands_alone_on_stdout_and_reads_back(kvcalc: Kvcalc) -> None:
    emitted = kvcalc(*ASKED, "--emit", "vllm")
    assert emitted.code == 0
    assert emitted.stdout.count("\n") == 1
    assert "note: no engine is given: vllm 0.33.0 is used" in emitted.stderr
    assert "max-num-seqs 32, and memory is counted with it" in emitted.stderr
    back = kvcalc("capacity", "--from-command", emitted.stdout, "--json")
    said = json.loads(back.stdout)
    assert (back.code, said["command"], said["model"]["name"]) == (0, "capacity", "llama-3-70b")
    assert said["deployment"] == {
        "engine": "vllm",
        "engine_version": "0.33.0",
        "tp": 4,
        "pp": 1,
        "dp": 1,
        "ep": 1,
        "dcp": 1,
        "dp_attention": False,
    }
    assert (said["workload"]["batch"], said["workload"]["context"]) == (32, 8192)


@pytest.mark.parametrize("command", ["estimate", "capacity", "plan"])
def test_three_commands_emit(command: str, kvcalc: Kvcalc) -> None:
    line = kvcalc(command, "llama-3-8b", "-b", "4", "--emit", "sglang").stdout
    begins = "python -m sglang.launch_server --model-path meta-llama/Meta-Llama-3-8B --context-length 8192"
    assert line == f"{begins} --max-running-requests 4\n"


def test_a_line_goes_to_a_file(kvcalc: Kvcalc, tmp_path: Path) -> None:
    file = tmp_path / "serve.sh"
    run = kvcalc(*ASKED, "--emit", "vllm", "-o", str(file))
    assert (run.code, run.stdout) == (0, "")
    assert file.read_text().startswith("vllm serve ")


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ((*ASKED, "--emit", "vllm", "--json"), 2, "--json: is of a result"),
        ((*ASKED, "--emit", "vllm", "--format", "csv"), 2, "--format: is of a result"),
        ((*ASKED, "--emit", "vllm", "--check"), 2, "--check: is of a result"),
        ((*ASKED, "--emit", "vllm", "--engine", "sglang"), 2, "leave it out, or --engine vllm"),
        ((*ASKED, "--emit", "ollama"), 2, "cannot be emitted"),
        (("estimate", "llama-3-70b", "--tp", "1", "--emit", "vllm"), 1, "2 GPUs do (tp 2)"),
        (("capacity", "llama-3-70b", "--tp", "1", "--emit", "vllm"), 1, "holds not one sequence"),
        (("capacity", "llama-3-8b", "--cache-memory", "1GiB", "--emit", "vllm"), 2, "--cache-memory: is of a result"),
        (("plan", "llama-3-70b", "--max-gpus", "1", "--emit", "vllm"), 1, "--emit: nothing legal"),
        (("capacity", "llama-3-8b", "--from-command", "vllm serve x"), 2, "leave 'llama-3-8b' out"),
        (("capacity", "--from-command", "vllm serve x", "--emit", "vllm"), 2, "--emit: goes with MODEL"),
        (("capacity", "--from-command", "vllm serve x", "--from-log", "y"), 2, "--from-log: goes with MODEL"),
        (("capacity", "--from-log", "y", "--emit", "vllm"), 2, "--emit: launches what is computed"),
    ],
)
def test_what_contradicts_is_refused(words: tuple[str, ...], code: int, told: str, kvcalc: Kvcalc) -> None:
    run = kvcalc(*words)
    assert (run.code, run.stdout) == (code, "")
    assert told in run.stderr
