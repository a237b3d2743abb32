"""How a result is printed, and where it goes: the options, each once, and what they say together."""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated, Any, TypedDict

from kvcalc.errors import KvcalcError, nearest_or_all
from kvcalc.named_tuple import NamedTuple
from kvcalc.render import Format
from kvcalc.scenario.option import Option
from kvcalc.units import SIZE_UNITS

DEFAULT_UNIT = "GiB"

_UNIT = Option(
    "UNIT",
    "Unit of sizes on the screen: B, KB, MB, GB, TB, KiB, MiB, GiB or TiB.",
    default=DEFAULT_UNIT,
    values=lambda: SIZE_UNITS,
)


class Printed(TypedDict, total=False):
    """Of every command that has a result."""

    how: Annotated[
        str | None,
        Option(
            "|".join(Format),
            "How to print the result (as FILE ends, else table).",
            flags=("--format",),
            values=lambda: [each.value for each in Format],
        ),
    ]
    json: Annotated[bool, Option("", "Short for --format json.", default=False)]


class Destination(TypedDict, total=False):
    """Of every command."""

    output_file: Annotated[
        str | None, Option("FILE", "Write to FILE instead; - is stdout.", flags=("-o", "--output-file"))
    ]


class Unit(TypedDict, total=False):
    """Of commands that print sizes."""

    unit: Annotated[str, _UNIT]


class UnitOfBytes(TypedDict, total=False):
    """Of commands that print small sizes."""

    unit: Annotated[str, _UNIT._replace(default="B")]


class Explained(TypedDict, total=False):
    """Of commands whose figures have formulas."""

    explain: Annotated[bool, Option("", "Print the tree of terms with its formulas.", default=False)]


class ListingOutput(Printed, Destination, Unit, total=False):
    """Of commands that list or show."""


class ResultOutput(ListingOutput, Explained, total=False):
    """Of commands that compute."""


class Output(NamedTuple):
    """How and where.

    Attributes:
        unit: of sizes on the screen.
        file: None and '-' are stdout.
        explain: whether to print the tree of terms.
    """

    how: Format
    unit: str
    file: str | None
    explain: bool

    @property
    def is_read(self) -> bool:
        """Whether people read it, and want to know what to type next."""
        return self.how.is_read


def output_of(given: Mapping[str, Any], default_unit: str = DEFAULT_UNIT) -> Output:
    """What the options of a command line say together.

    Raises:
        KvcalcError: there is no such format or unit, or --json contradicts --format.
    """
    name, unit, json = given.get("how"), given.get("unit") or default_unit, given.get("json")
    if name is not None and name not in list(Format):
        raise KvcalcError(f"--format: no format '{name[:40]}'{nearest_or_all(name, Format)}")
    if json and name not in (None, Format.JSON):
        raise KvcalcError(f"--json: contradicts --format {name}")
    if unit not in SIZE_UNITS:
        raise KvcalcError(f"--unit: no unit '{unit[:40]}'{nearest_or_all(unit, SIZE_UNITS)}")
    how = Format.JSON if json else Format(name or _as_file_ends(given.get("output_file")))
    return Output(how, unit, given.get("output_file"), bool(given.get("explain")))


_PAGES = (".html", ".htm")
_OTHERS = {
    ".svg",
    ".png",
    ".pdf",
    ".tsv",
    ".xls",
    ".xlsx",
    ".ods",
    ".docx",
    ".jsonl",
    ".parquet",
    ".feather",
    ".arrow",
    ".yaml",
    ".yml",
    ".toml",
    ".xml",
    ".tex",
    ".rst",
    ".ipynb",
    ".jpg",
    ".jpeg",
    ".gz",
    ".zip",
    *_PAGES,
}
"""What files of other formats end in, which a table under such a name would not be."""
_ENDINGS = {".json": Format.JSON, ".csv": Format.CSV, ".md": Format.MARKDOWN, ".markdown": Format.MARKDOWN}


def _as_file_ends(file: str | None) -> Format:
    """What a file is by its name; a table under any other name, and on stdout.

    Raises:
        KvcalcError: it is a name of another format.
    """
    end = PurePath(file or "").suffix.lower()
    if end in _OTHERS:
        page = "; kvcalc report makes pages" if end in _PAGES else ""
        raise KvcalcError(
            f"-o: {file}: no result is written as {end}; {', '.join(_ENDINGS)} and .txt are, or --format says how{page}"
        )
    return _ENDINGS.get(end, Format.TABLE)


def format_of_file(asked: str | None, file: str | None, endings: Mapping[str, tuple[str, ...]], otherwise: str) -> str:
    """The format of a document: the one asked for, else as its file ends.

    Args:
        asked: the value of --format.
        file: where it is written; None and '-' are stdout.
        endings: of files, by the name of their format.
        otherwise: of stdout, and of files whose names have no ending.

    Raises:
        KvcalcError: there is no such format, or files of none end like that.
    """
    if asked is not None:
        if asked not in endings:
            raise KvcalcError(f"--format: no format '{asked[:40]}'{nearest_or_all(asked, endings)}")
        return asked
    end = PurePath(file or "").suffix.lower()
    found = next((name for name, known in endings.items() if end in known), None)
    if found is None and end:
        known = ", ".join(each for several in endings.values() for each in several)
        raise KvcalcError(f"-o: {file}: no format ends in {end[:40]}; {known} do, or --format {otherwise} says it")
    return found or otherwise
