"""Writes tests/data/flags/vllm-options.json: every option of `vllm serve`, of the versions that it was run with.

    PYTHONPATH=FOLDER python tests/live/write_vllm_options.py     # each version's wheel, unpacked, in turn

The parser is the installed version's own; nothing is started. Of each option is kept how it is given: a switch (with
the flags that turn it off, where there are more than `--no-NAME`), a value, or several values; and in which versions.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import pretended_card
import vllm
from vllm.utils.argparse_utils import FlexibleArgumentParser

OUT = Path(__file__).parents[1] / "data" / "flags" / "vllm-options.json"
PLACES = ("vllm.entrypoints.openai", "vllm.entrypoints.launchers", "vllm.entrypoints.common")
"""Where a version has cli_args.py."""


def parser() -> Any:
    """That of `vllm serve`."""
    for place in PLACES:
        if importlib.util.find_spec(place) and importlib.util.find_spec(f"{place}.cli_args"):
            return importlib.import_module(f"{place}.cli_args").make_arg_parser(FlexibleArgumentParser())
    raise SystemExit(f"{vllm.__version__} has no cli_args.py in {', '.join(PLACES)}")


def kind_of(action: Any) -> str:
    """How an option is given."""
    if action.nargs == 0:
        return "switch"
    return "values" if action.nargs in {"+", "*"} else "value"


def main() -> None:
    """Adds this version's options."""
    kept = json.loads(OUT.read_text(encoding="utf-8")) if OUT.exists() else {"versions": [], "options": {}}
    version = ".".join(vllm.__version__.split(".")[:2])
    kept["versions"] = sorted({*kept["versions"], version})
    for action in parser()._actions:  # noqa: SLF001  # argparse has no other way to ask
        flags = sorted(action.option_strings, key=lambda each: (not each.startswith("--"), each.startswith("--no-")))
        long = [each for each in flags if each.startswith("--") and not each.startswith("--no-")]
        if not long or long[0] == "--help":
            continue
        first = next((each for each in long if each[2:].replace("-", "_") == action.dest), long[0])
        others = [each for each in flags if each != first and not each.startswith("--no-")]
        had = kept["options"].get(first, {"versions": []})["versions"]
        kept["options"][first] = {
            "takes": kind_of(action),
            "also": others,
            "versions": sorted({*had, version}),
        }
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(each)}" for name, each in sorted(kept["options"].items()))
    source = "vllm serve --help of each version: entrypoints/*/cli_args.py and engine/arg_utils.py"
    head = json.dumps({"source": source, "card": pretended_card.NAME, "versions": kept["versions"]})
    OUT.write_text(f'{head[:-1]}, "options": {{\n{lines}\n}}}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
