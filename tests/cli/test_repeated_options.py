"""An option that takes one value is not given two: both are named, none is taken in silence."""

from __future__ import annotations

from conftest import Kvcalc
from each import for_each

from kvcalc.cli.app import COMMANDS, _app


def single_valued() -> list[tuple[str, ...]]:
    """Every command with every one of its options that takes one value: the words of the command and both spellings."""
    import typer

    found: list[tuple[str, ...]] = []

    def look(group: object, words: tuple[str, ...]) -> None:
        for name, command in getattr(group, "commands", {}).items():
            look(command, (*words, name))
        options = (each for each in getattr(group, "params", ()) if each.param_type_name == "option")
        found.extend((*words, each.opts[0], each.opts[-1]) for each in options if not (each.multiple or each.is_flag))

    look(typer.main.get_command(_app("")), ())
    return found


OPTIONS = [each for each in single_valued() if each[0] in COMMANDS]


def test_every_command_is_looked_at() -> None:
    assert {each[0] for each in OPTIONS} == set(COMMANDS) - {"mcp"}  # which has switches and repeatable ones alone
    assert ("estimate", "--tp", "--tp") in OPTIONS
    assert ("models", "import", "-o", "--output-file") in OPTIONS


@for_each("words", OPTIONS)
def test_an_option_given_twice_is_refused(kvcalc: Kvcalc, words: tuple[str, ...]) -> None:
    *command, short, long = words
    run = kvcalc(*command, short, "first", f"{long}=second")
    assert (run.code, run.stdout) == (2, "")
    assert f"{long}: takes one value, and is given 'first' and 'second'" in run.stderr


def test_the_same_value_twice_is_a_repetition_too(kvcalc: Kvcalc) -> None:
    assert "given '2' and '2' and '2'" in kvcalc("estimate", "llama-3-8b", "-b2", "-b", "2", "--batch", "2").stderr


def test_flags_and_lists_may_be_repeated(kvcalc: Kvcalc) -> None:
    words = ("estimate", "llama-3-8b", "--json", "--json", "--reserve", "a=1GiB", "--reserve", "b=1GiB")
    assert kvcalc(*words).code == 0
