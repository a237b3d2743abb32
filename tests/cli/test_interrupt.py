"""Ctrl-C ends with status 130 wherever it comes, so kvcalc evaluates no text.

Python remembers a KeyboardInterrupt that leaves text given to eval or exec, and ends by the signal in place of the
status that was asked for, although it was caught (run_eval_code_obj in CPython's Python/pythonrun.c). Of what has been
compiled it remembers nothing.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import kvcalc

SOURCES = sorted(Path(kvcalc.__file__).parent.rglob("*.py"))


def evaluated(text: str) -> list[str]:
    """The first arguments of all calls of eval and exec, but for names that are given the result of compile."""
    if not re.search("eval|exec", text):
        return []  # without reading it
    tree = ast.parse(text)
    compiled = {
        ast.unparse(node.targets[0])
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)
        and ast.unparse(node.value.func) == "compile"
    }
    calls = (
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) in {"eval", "exec"}
    )
    return [first for call in calls if (first := ast.unparse(call.args[0])) not in compiled]


def test_text_that_is_evaluated_is_found() -> None:
    assert evaluated("a = compile('1', '', 'eval')\neval(a)\neval('2')\nexec(text)") == ["'2'", "text"]


def test_no_text_is_evaluated() -> None:
    assert {path.name: found for path in SOURCES if (found := evaluated(path.read_text(encoding="utf-8")))} == {}
