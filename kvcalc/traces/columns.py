"""The columns of public traces by what they say, as Azure, BurstGPT, Mooncake, Qwen-Bailian and others call them."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.errors import MAX_NAME, KvcalcError, did_you_mean, one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

INPUT, OUTPUT, ARRIVAL, HASHES = "input tokens", "output tokens", "arrival", "hashes"

NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        INPUT: (
            "ContextTokens",
            "Request tokens",
            "input_length",
            "input_tokens",
            "input_len",
            "prompt_tokens",
            "prompt_len",
            "prompt_length",
            "prompt_size",
            "num_prefill_tokens",
            "num_prompt_tokens",
            "input",
        ),
        OUTPUT: (
            "GeneratedTokens",
            "Response tokens",
            "output_length",
            "output_tokens",
            "output_len",
            "completion_tokens",
            "generated_tokens",
            "num_decode_tokens",
            "num_output_tokens",
            "token_size",
            "output",
        ),
        ARRIVAL: ("TIMESTAMP", "timestamp", "arrived_at", "arrival_time", "arrival_timestamp", "arrival", "time"),
        HASHES: ("hash_ids",),
    }
)
"""What a column says -> its names, as files spell them: case, spaces and underscores play no part."""

UNITS: Mapping[str, int] = MappingProxyType({"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1})
"""Units of times -> nanoseconds. A column's name may end in one: arrival_ms."""

_REQUIRED = (INPUT, OUTPUT)


class Known(NamedTuple):
    """A public format, told by its columns.

    Attributes:
        needs: columns that it has, and others have not.
        unit: of its times where they are numbers.
        block_tokens: of a block that hash_ids name.
        source: where its publisher says so.
    """

    name: str
    needs: tuple[str, ...]
    unit: str
    block_tokens: int | None
    source: str


FORMATS = (
    Known("azure", ("ContextTokens", "GeneratedTokens"), "s", None, "https://github.com/Azure/AzurePublicDataset"),
    Known("burstgpt", ("Request tokens", "Response tokens"), "s", None, "https://github.com/HPMLL/BurstGPT"),
    Known(
        "qwen-bailian",
        ("chat_id", "input_length", "output_length"),
        "s",
        16,
        "https://github.com/alibaba-edu/qwen-bailian-usagetraces-anon",
    ),
    Known("mooncake", ("timestamp", "input_length", "output_length"), "ms", 512, "https://arxiv.org/abs/2407.00079"),
)
"""The first whose columns are there counts."""

PLAIN = Known("columns", (), "s", None, "")


class Columns(NamedTuple):
    """Which columns say what.

    Attributes:
        known: the format that they are of.
        names: what is said -> the column's own name.
        unit: of times where they are numbers.
    """

    known: Known
    names: Mapping[str, str]
    unit: str


def columns_of(header: Sequence[str], where: str) -> Columns:
    """What the columns of a file say.

    Args:
        header: their names.
        where: the file, for messages.

    Raises:
        KvcalcError: lengths are missing, or two columns say the same.
    """
    by_name: dict[str, str] = {}
    says_something = {_bare(each) for spellings in NAMES.values() for each in spellings}
    for name in header:
        bare = _bare(name)
        if bare in by_name and bare in says_something:
            raise KvcalcError(f"{where}: two columns are called '{_shown(name)}'; leave one of them out")
        by_name.setdefault(bare, name)
    known = next((each for each in FORMATS if all(_bare(name) in by_name for name in each.needs)), PLAIN)
    names: dict[str, str] = {}
    unit = known.unit
    for said, spellings in NAMES.items():
        units = {_bare(each): "" for each in spellings}
        if said == ARRIVAL:
            units |= {f"{name}{suffix}": suffix for name in tuple(units) for suffix in UNITS}
        found = [name for name in units if name in by_name]
        if len(found) > 1:
            both = " and ".join(f"'{_shown(by_name[name])}'" for name in found[:2])
            raise KvcalcError(f"{where}: {both} both say {said}; leave one of them out")
        if found:
            names[said] = by_name[found[0]]
            unit = units[found[0]] or unit
    missing = [said for said in _REQUIRED if said not in names]
    if missing:
        free = [name for name in header if name not in names.values()]
        raise KvcalcError(*_lacks(missing, free, header, where))
    return Columns(known, names, unit)


def holds_texts(where: str) -> str:
    """Why a file with what was said, as ShareGPT has it, is refused."""
    return f"{where}: holds texts, whose tokens depend on a tokenizer: count them and name the columns {_counted()}"


def _counted() -> str:
    """Names that columns of counted tokens may have."""
    return ", ".join(NAMES[said][3] for said in _REQUIRED)


def _lacks(missing: Sequence[str], free: Sequence[str], header: Sequence[str], where: str) -> list[str]:
    """What is not there, what may be meant, and what it would be called."""
    bare = {_bare(each): each for each in header}
    if bare.keys() & {"conversations", "messages"}:
        return [holds_texts(where)]
    if text := bare.get("prompt") or bare.get("text"):
        said = f"'{_shown(text)}' is taken for text, whose tokens depend on a tokenizer"
        return [f"{where}: {said}: count them, or if it counts them already, name the columns {_counted()}"]
    lines = []
    for said in missing:
        near = next(
            (f"; '{_shown(name)}' may be meant{hint}" for name in free if (hint := did_you_mean(name, NAMES[said]))),
            "",
        ).replace("; did you mean", ": spell it", 1)
        lines.append(f"{where}: no column says {said}{near.rstrip('?')}; it is called {', '.join(NAMES[said])}")
    return [*lines, f"  its columns are {', '.join(map(_shown, header[:20]))}"]


def _bare(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name[:200].lower())


def _shown(name: str) -> str:
    return one_line(name, MAX_NAME)
