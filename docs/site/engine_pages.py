"""The page of an engine: a beginning that is written by hand, and below it what the code knows of the engine.

The page lies in docs/engines. What is below MARK is the same that `kvcalc explain ENGINE` shows, with what the engine
refuses and the evidence for its rules. A test compares it; UPDATE_GOLDENS=1 writes it anew.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evidence import EVIDENCE

from kvcalc.engines import ENGINES
from kvcalc.engines.base import SIZES
from kvcalc.logs.command_lines import COMMAND_LINES
from kvcalc.note import CODES

if TYPE_CHECKING:
    from types import ModuleType

    from kvcalc.engines import Engine
    from kvcalc.verbs.explanation import Explanation

ROOT = Path(__file__).parents[2]
MARK = "<!-- What follows is written from the code: UPDATE_GOLDENS=1 pytest tests/test_site.py -->\n"
FLAGS = {"vllm": "vllm", "sglang": "sglang"}
"""Engines of which it is known which versions have a flag: their files in tests/data/flags."""
NAMED = {"gpu.name": "this card", "model.name": "this model", "card.name": "this card"}
"""What a refusal puts in a message, by how its expression ends."""


def page(each: Explanation) -> str:
    """The whole page; without a beginning of its own it is the title and the rest."""
    path = ROOT / "docs" / "engines" / f"{each.name}.md"
    written = path.read_text(encoding="utf-8") if path.exists() else f"# {each.title}\n\n"
    return written.split(MARK)[0] + MARK + "\n".join(_sections(each)) + "\n"


def _sections(each: Explanation) -> Iterator[str]:
    engine = ENGINES[each.name]
    yield from ("", f"## What `kvcalc explain {each.name}` says", "", f"{_prose(each.keeps)}", "")
    yield from (f"**Formula**: {_prose(each.formula)}", "", f"**Source**: {_prose(each.source)}")
    if each.rules:
        yield from ("", "## Rules", "", "Each holds in all versions below, unless its words name some.", "")
        yield from _table(("of", "rule", "in its source"), ((one.about, one.formula, one.source) for one in each.rules))
    if each.options:
        yield from ("", "## Options", "", "`--engine-option NAME=VALUE` sets one.")
        if each.name in FLAGS:
            yield "The versions are those whose command line has the flag, of those that were read."
        yield ""
        versions = _versions_of_flags(each.name)
        columns = ("option", "default", "what it is", *(("versions",) if versions else ()), "in its source")
        yield from _table(
            columns,
            (
                (
                    f"`{one.name}`",
                    one.default,
                    one.help,
                    *((versions.get(one.name, ""),) if versions else ()),
                    one.source,
                )
                for one in each.options
            ),
        )
    if engine.given_elsewhere:
        yield from ("", "These are options of kvcalc's own:", "")
        yield from _table(
            (f"of {each.name}", "of kvcalc"), ((f"`{own}`", ours) for own, ours in engine.given_elsewhere.items())
        )
    if each.versions:
        yield from (
            "",
            "## Versions",
            "",
            f"Without a version `{engine.usual_version or each.versions[-1]}` is followed.",
        )
        if len(each.versions) > 1:
            yield from ("", "Known are the rules of " + ", ".join(f"`{one}`" for one in each.versions) + ".", "")
            yield "A version between two of these has the rules of the earlier one. Others are refused."
        else:
            yield from ("", "Its rules alone are known. Other versions are refused.")
    yield from _refused(engine)
    yield from _left_out(engine)
    yield from _known(each.name)


def _refused(engine: type[Engine]) -> Iterator[str]:
    """Every refusal in the engine's files, so that none is missing here, and the flags that its table refuses."""
    rows = sorted(each for module in _modules(engine) for each in Refusals(engine, module).rows())
    if rows:
        yield from ("", "## What is refused", "")
        yield "With these messages, where … stands for what was given, and [words] are there where they apply."
        yield "So are values that an option cannot have."
        yield ""
        yield from _table(("of", "why, and what to do"), dict.fromkeys(rows))
    line = COMMAND_LINES.get(engine.name)
    if line is None:
        return
    decided = sorted({each.removeprefix("--") for each in line.decide.values()})
    told = {
        "These change memory and are not followed: a command line or a log that has one is refused.": line.refused,
        "These decide what another option is where nobody gives that one: refused without "
        f"{', '.join(f'`--{each}`' for each in decided)}.": line.decide,
        "These may change memory beside the cache: a note names them.": line.noted - line.decide.keys(),
    }
    yield from ("", "Of the flags of a server (`--from-command`, `--from-log`):")
    for words, names in ((words, names) for words, names in told.items() if names):
        written = (name if name.isupper() else f"--{name.replace('_', line.joins)}" for name in names)
        yield from ("", words, "", ", ".join(f"`{each}`" for each in sorted(written)))


class Refusals:
    """The refusals of one file, from its source.

    Args:
        engine: whose file it is.
        module: the file.
    """

    def __init__(self, engine: type[Engine], module: ModuleType) -> None:
        self._engine, self._module = engine, module
        self._tree = ast.parse(Path(module.__file__ or "").read_text(encoding="utf-8"))

    def rows(self) -> Iterator[tuple[str, str]]:
        """Of what each is, and its words."""
        for node in ast.walk(self._tree):
            made = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "KvcalcError"
            if isinstance(node, ast.Call) and made and not _reads_a_value(node.args[0]):
                about, _, words = self._text(node.args[0]).partition(": ")
                about = re.sub(r"^(--gpu) this card$|^(--engine) [a-z-]+$", r"\1\2", about)
                words = re.sub(r"…(\.?…)+", "…", words).removeprefix("… …: ").removeprefix("…: ")
                words = re.sub(r"(?<=\w\w)…(?=[ ,])", " …", words)
                words = words.removeprefix(f"{NAMED['gpu.name']}: ")
                if words != "…":  # it is put together elsewhere in the file
                    yield f"`{about}`", words

    def _text(self, node: ast.expr) -> str:
        match node:
            case ast.Constant():
                told = str(node.value)
            case ast.JoinedStr():
                told = "".join(map(self._text, node.values))
            case ast.FormattedValue():
                told = self._text(node.value)
            case ast.BinOp(op=ast.Add()):
                told = self._text(node.left) + self._text(node.right)
            case ast.IfExp():
                body, otherwise = self._text(node.body), self._text(node.orelse)
                told = f"{body} or {otherwise}" if body and otherwise else f"[{body or otherwise}]"
            case _:
                told = self._named(ast.unparse(node))
        return told

    def _named(self, written: str) -> str:
        """What an expression stands for: a constant of the file, an option, a card or a model; … for the rest."""
        if written == "option":
            return self._options()
        joined = re.fullmatch(r"'([^']+)'\.join\(([A-Z_]+)\)", written)
        value = getattr(self._module, joined[2] if joined else written, None)
        if joined and isinstance(value, tuple) and all(isinstance(each, str) for each in value):
            return joined[1].join(value)
        if isinstance(value, str | int):
            return str(value)
        return next((word for end, word in NAMED.items() if written.endswith(end)), "…")

    def _options(self) -> str:
        """What `option` is in this file: the sizes that the engine never spreads a model by, or what stands there."""
        source = ast.unparse(self._tree)
        if "self.size_refused" in source or "engine.size_refused" in source:
            found = [f"--{name.replace('_', '-')}" for name in SIZES if name not in self._engine.spreads_by]
        else:
            found = re.findall(r"'(--[a-z][a-z :-]*)'", "".join(re.findall(r"\boption, .*|\boption = .*", source)))
        return ", ".join(dict.fromkeys(found)) or "an option"


def _reads_a_value(node: ast.expr) -> bool:
    """Whether a message is that of a function which reads an option's value: it begins with the option's name."""
    first = node.values[0] if isinstance(node, ast.JoinedStr) else node
    return isinstance(first, ast.FormattedValue) and ast.unparse(first.value) == "what"


def _modules(engine: type[Engine]) -> list[ModuleType]:
    """The engine's own: all of its folder, or its one file."""
    module = import_module(engine.__module__)
    path = Path(module.__file__ or "")
    if path.parent.name == "engines":
        return [module]
    package = module.__name__.rpartition(".")[0]
    names = sorted(
        ".".join((package, *each.relative_to(path.parent).with_suffix("").parts)).removesuffix(".__init__")
        for each in path.parent.rglob("*.py")
    )
    return [import_module(name) for name in names]


def _left_out(engine: type[Engine]) -> Iterator[str]:
    versions = engine.versions
    left_out = [each.text for each in engine(versions[-1] if versions else None).not_modelled()]
    if engine.adapters_left_out:
        left_out.append(engine.adapters_left_out)
    codes = {code: CODES[code] for module in _modules(engine) for code in _noted(module)}
    left_out += [words for words in codes.values() if words.endswith("not counted")]
    if left_out:
        yield from ("", "## What is not modelled", "", *(f"- {_prose(each)}" for each in dict.fromkeys(left_out)))
    if codes:
        yield from ("", "## Notes", "", "What a result may say beside its figures, with these codes:", "")
        yield from _table(("code", "what it says"), ((f"`{code}`", words) for code, words in sorted(codes.items())))


def _noted(module: ModuleType) -> list[str]:
    """The codes of notes that a file makes: the first word of each call of `note`."""
    source = Path(module.__file__ or "").read_text(encoding="utf-8")
    return re.findall(r"\bnote\(\s*\"([a-z-]+)\"", source)


def _known(name: str) -> Iterator[str]:
    yield from ("", "## How it is known", "")
    found = EVIDENCE.get(name, ())
    if not found:
        yield "Its rules were read in its source. Nothing of it was run."
        return
    yield from _table(
        ("what kvcalc is compared with", "kept", "in"),
        ((each.what, f"{each.number():,}", f"`{each.place}`") for each in found),
    )
    yield from ("", "[accuracy.md](../accuracy.md) says how far predictions were off.")


def _versions_of_flags(name: str) -> dict[str, str]:
    if name not in FLAGS:
        return {}
    kept: dict[str, Any] = json.loads((ROOT / "tests" / "data" / "flags" / f"{FLAGS[name]}.json").read_text("utf-8"))
    return {flag.removeprefix("--"): f"{first} to {last}" for flag, (first, last) in kept["flags"].items()}


def _table(columns: tuple[str, ...], rows: Any) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield f"| {' | '.join('---' for _ in columns)} |"
    yield from (f"| {' | '.join(_prose(cell) for cell in row)} |" for row in rows)


def _prose(text: str) -> str:
    """Words as Markdown, so that nothing in them is markup: neither a bar, nor a star, nor a name's underscores."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(
        part if part.startswith("`") else re.sub(r"([|*<\\]|(?<!\w)_|_(?!\w))", r"\\\1", part) for part in parts
    )
