"""What a shell offers, by the protocol that it speaks: the words so far in the environment, a line for each answer."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prepared import Prepared

from kvcalc.catalogue import model_names
from kvcalc.cli.app import COMMANDS
from kvcalc.engines import ENGINES
from kvcalc.formats.element import FORMATS
from kvcalc.formats.turboquant import TURBOQUANT
from kvcalc.render import Format
from kvcalc.units import SIZE_UNITS

pytestmark = pytest.mark.xdist_group("processes")


PROGRAM = "import sys; sys.argv = ['kvcalc']; from kvcalc.cli import main; main()"

NEEDS = ("kvcalc.api", "kvcalc.catalogue.complete", "kvcalc.cli.app", "kvcalc.cli.output", "typer.completion")
"""What completing needs. Commands are not among them: while a shell completes, their parameters are others."""

Complete = Callable[..., list[str]]


@pytest.fixture(scope="module")
def complete() -> Iterator[Complete]:
    """Ask for the answer's lines, given the environment."""
    with Prepared(NEEDS) as process:

        def lines(**environment: str) -> list[str]:
            [run] = process.together([environment], program=PROGRAM)
            assert (run.code, run.stderr) == (0, "")
            return run.stdout.splitlines()

        yield lines


@pytest.fixture
def in_bash(complete: Complete) -> Complete:
    """Ask what bash offers for the last word of `kvcalc ...`."""

    def offered(*words: str) -> list[str]:
        line = "\n".join(("kvcalc", *words))
        return complete(_KVCALC_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(len(words)))

    return offered


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("estimate", "llama-3-"), [name for name in model_names() if name.startswith("llama-3-")]),
        (("models", "show", "deepseek-v2"), [name for name in model_names() if name.startswith("deepseek-v2")]),
        (("estimate", "llama-3-8b", "--gpu", "h200"), ["h200", "h200-141gb", "h200-nvl", "h200-sxm", "h200-sxm5"]),
        (("gpus", "show", "h200"), ["h200", "h200-141gb", "h200-nvl", "h200-sxm", "h200-sxm5"]),
        (("gpus", "show", "h200-sxm:1g"), ["h200-sxm:1g.18gb", "h200-sxm:1g.35gb"]),
        (("estimate", "llama-3-8b", "--cache-dtype", "q8"), ["q8_0"]),
        (("estimate", "llama-3-8b", "--cache-dtype", "turbo"), list(TURBOQUANT)),
        (("capacity", "llama-3-8b", "--unit", "G"), [unit for unit in SIZE_UNITS if unit.startswith("G")]),
        (("compare", "--engine", "ex"), [name for name in ENGINES if name.startswith("ex")]),
        (("gpus", "list", "--format", ""), list(Format)),
        (("verify", "llama-3-8b", "--device", "c"), ["cpu", "cuda"]),
        (("explain", "mla"), ["mla", "mla_expanded"]),
        (("estimate", "llama-3-8b", "--dp"), ["--dp", "--dp-attention"]),
        (
            ("capacity", "llama-3-8b", "--engine", "vllm", "--engine-option", "max-num"),
            ["max-num-batched-tokens=", "max-num-seqs="],
        ),
        (("esti",), ["estimate"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bash_is_offered_values(in_bash: Complete, words: tuple[str, ...], expected: list[str]) -> None:
    assert expected
    assert in_bash(*words) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("compare", "llama-3-8b", "qwen3-8"), [name for name in model_names() if name.startswith("qwen3-8")]),
        (("compare", "llama-3-8b", "--cache-dtype", "bf16,mx"), [f"bf16,{n}" for n in FORMATS if n.startswith("mx")]),
        (("estimate", "llama-3-8b", "--cache-dtype", "k=q8_0,v=q8"), ["k=q8_0,v=q8_0"]),
        (("plan", "llama-3-8b", "--gpu", "a100-80gb,al"), ["a100-80gb,all"]),
        (("plan", "llama-3-8b", "--gpu", "b200", "--gpu", "gh200-9"), ["gh200-96"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_the_last_of_several_values_is_completed(
    in_bash: Complete, words: tuple[str, ...], expected: list[str]
) -> None:
    assert in_bash(*words) == expected


def test_mistakes_so_far_are_not_told_at_the_prompt(in_bash: Complete) -> None:
    assert in_bash("estimate", "llama-3-8b", "--tp", "2", "--tp", "4", "--unit", "Ti") == ["TiB"]


def test_of_the_commands_only_that_of_the_line_is_made() -> None:
    told = "import atexit; atexit.register(lambda: print(*sorted(sys.modules), sep='\\n'))"
    run = subprocess.run(
        [sys.executable, "-c", f"{PROGRAM.replace('main()', '')}{told}; main()"],
        env={**os.environ, "_KVCALC_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "kvcalc plan llama-3-8"},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = run.stdout.splitlines()
    assert lines[0] == "_arguments '*: :((\"llama-3-8b\"))'"
    assert {line for line in lines if line.removeprefix("kvcalc.cli.") in COMMANDS} == {"kvcalc.cli.plan"}


def test_zsh_and_fish_are_offered_the_same(complete: Complete) -> None:
    zsh = complete(_KVCALC_COMPLETE="complete_zsh", _TYPER_COMPLETE_ARGS="kvcalc estimate llama-3-8")
    fish = complete(
        _KVCALC_COMPLETE="complete_fish",
        _TYPER_COMPLETE_FISH_ACTION="get-args",
        _TYPER_COMPLETE_ARGS="kvcalc estimate llama-3-8",
    )
    assert zsh == ["_arguments '*: :((\"llama-3-8b\"))'"]
    assert fish == ["llama-3-8b"]


BASH = """
kvcalc() {{ {python} -c 'import sys; sys.argv[0] = "kvcalc"; from kvcalc.cli import main; main()' "$@"; }}
export -f kvcalc
printf '#!/bin/bash\nkvcalc "$@"\n' > kvcalc
chmod +x kvcalc
export PATH=$PWD:$PATH
eval "$(kvcalc --show-completion bash)"
complete -p kvcalc > /dev/null || exit 1
try() {{ COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _kvcalc_completion kvcalc; echo "${{COMPREPLY[*]}}"; }}
try kvcalc estimate llama-3-70
try kvcalc capacity llama-3-8b --engine vllm --engine-option max-num-s
"""


def test_a_real_bash_completes(tmp_path: Path) -> None:
    run = subprocess.run(
        ["bash", "--norc", "-c", BASH.format(python=sys.executable)],  # noqa: S607  # whichever bash there is
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.splitlines() == ["llama-3-70b", "max-num-seqs="]


def test_a_number_is_not_guessed(in_bash: Complete) -> None:
    assert in_bash("estimate", "llama-3-8b", "--batch", "") == [""]
