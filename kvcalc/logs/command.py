"""Reading a server's command line as people keep it: with variables, line breaks, within `docker run` or a script.

It is split as a shell would, and nothing is run: no variable is looked up, no file is opened.
"""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, Any, NamedTuple

from kvcalc.errors import KvcalcError, one_line
from kvcalc.logs.arguments import Flag, command_flags, plain_number
from kvcalc.logs.command_lines import COMMAND_LINES, HARMLESS, NOTHING, OFF
from kvcalc.logs.launchers import MAX_SHOWN, OPTION, start_of
from kvcalc.logs.told_version import told_version

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvcalc.logs.command_lines import CommandLine
    from kvcalc.logs.command_lines.relayed import Taken

MAX_LENGTH = 64 * 1024
"""Characters of a command line."""
MAX_WORDS = 4096
SHORTEST, ALIKE = 6, 0.88
"""Letters of an option's beginning that may be meant for all of it, and how alike words of one meaning are."""
MOST_NAMED = 12
"""Flags that are named in a list."""

_WINDOWS_PATH = re.compile(r"(?<![^\s=])[A-Za-z]:\\[^\s'\"]*")
"""Outside of quotes, where a shell of Windows leaves backslashes as they are."""
_BROKEN_LINE = re.compile(r"[\\`^][ \t]*\r?\n")
"""A line that goes on: of shells, of PowerShell, of Windows."""
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w{0,80})=(.*)", re.DOTALL)
_EXPANSION = re.compile(r"\$[\w({]|`")
_LEADING_POINT = re.compile(r"^\.(?=\d)")
_DTYPES = {"float16", "bfloat16", "float32", "half", "float"}
"""Of the options that name a format of torch's; 'auto' is left out already."""
_OF_DTYPES = {"--dtype", "--state-dtype"}
_MAY_LACK_VALUES = {"flash-attn"}
_FILES = {"config", "extra_llm_api_options"}
_SAYS_NONE = {"split_mode"}
"""Options of which 'none' is a value of its own."""


class Command(NamedTuple):
    """What a server is told to do.

    Attributes:
        engine: by kvcalc's name.
        version: of the engine, where the line tells it.
        model: as the line has it.
        settings: values by what `CommandLine.settings` says of an option.
        unknown: flags that kvcalc has no rule for.
        noted: flags that may change memory beside the cache.
        fits_context: whether the server is to find the longest context itself.
        by_ollama: whether Ollama starts the server.
        taken: what the program takes itself.
    """

    engine: str
    version: str | None
    model: str
    settings: Mapping[str, str]
    unknown: tuple[str, ...]
    noted: tuple[str, ...]
    fits_context: bool = False
    by_ollama: bool = False
    taken: tuple[Taken, ...] = ()


def read_command(text: str) -> Command:
    """The server that a command line starts.

    Args:
        text: of one command line, perhaps over several lines.

    Raises:
        KvcalcError: it starts no server that is known, lacks its model, or has an option that changes memory and that
            kvcalc does not follow.
    """
    words = _words(text)
    start = start_of(words)
    line = COMMAND_LINES[start.engine]
    flags, others = command_flags(start.arguments, _known(line), line.flags, line.switches, line.lists, line.opposites)
    given = [*_from_environment(start.before, line), *_with_objects(flags, line)]
    settings = dict(start.beside)
    unknown: dict[str, None] = {}
    noted: dict[str, None] = {}
    for each in given:
        whole = each.name.partition(".")[0]  # --eplb-config.window_size and its like are parts of an object
        if whole != each.name and whole in {*line.settings, *line.refused}:
            raise KvcalcError(f"{OPTION}: {one_line(each.typed, MAX_SHOWN)}: write the option as one object in JSON")
        _refuse_words(each, line.words.get(whole, frozenset()), line)
        value = _LEADING_POINT.sub("0.", plain_number(each.value, line.suffixes))
        if option := line.settings.get(each.name):
            _check(each, option, value, line)
            several = each.name in line.added and option in settings
            settings[option] = f"{settings[option]},{value}" if several else value
        elif each.name in line.refused:
            _refuse(each, line)
        elif whole in line.parts:
            _refuse_parts(each, line.parts[whole], line)
            noted.setdefault(each.typed)
        elif whole in line.noted:
            noted.setdefault(each.typed)
        elif each.name not in line.harmless and not HARMLESS.fullmatch(each.name or each.typed.lstrip("-").lower()):
            _refuse_misspelled(each, line)
            unknown.setdefault(each.typed)
    fitted, says_so = line.fitted
    fits = settings.get(fitted, "").lower() in says_so
    if fits:
        del settings[fitted]
    settings = {
        option: value for option, value in settings.items() if value.lower() not in NOTHING or option in _SAYS_NONE
    }
    _check_decided(given, settings, line)
    model = settings.pop("MODEL", None) or _of_repository(settings) or _positional(others, flags)
    version = told_version(start.engine, text, words, start.version, OPTION)
    told = _named(unknown), _named(noted)
    return Command(start.engine, version, model, settings, *told, fits, start.by_ollama, start.taken)


def _known(line: CommandLine) -> frozenset[str]:
    return frozenset({*line.settings, *line.refused, *line.parts, *line.noted, *line.harmless, *line.switches})


def _with_objects(flags: list[Flag], line: CommandLine) -> list[Flag]:
    """`--speculative-config.method mtp` and its other parts as the one object that the server makes of them.

    vllm/utils/argparse_utils.py, FlexibleArgumentParser.parse_args; a part within a part is left as it stands.
    """
    parts = [each for each in flags if each.name.count(".") == 1 and each.name.partition(".")[0] in line.objects]
    kept = [each for each in flags if each not in parts]
    for whole in dict.fromkeys(each.name.partition(".")[0] for each in parts):
        of_whole = [each for each in parts if each.name.startswith(f"{whole}.")]
        value = json.dumps({each.name.partition(".")[2]: each.value for each in of_whole})
        kept.append(Flag(of_whole[0].typed, whole, value))
    return kept


def _words(text: str) -> list[str]:
    if len(text) > MAX_LENGTH:
        raise KvcalcError(f"{OPTION}: {len(text):,} characters are more than the limit of {MAX_LENGTH:,}")
    if not text.strip():
        raise KvcalcError(f"{OPTION}: is empty; give a line such as 'vllm serve ORG/NAME --tensor-parallel-size 4'")
    joined = _WINDOWS_PATH.sub(lambda path: path[0].replace("\\", "\\\\"), _BROKEN_LINE.sub(" ", text))
    try:
        words = shlex.split(joined, comments=True)
    except ValueError as error:
        raise KvcalcError(f"{OPTION}: a quote is not closed, or the line ends in a backslash") from error
    if len(words) > MAX_WORDS:
        raise KvcalcError(f"{OPTION}: {len(words):,} words are more than the limit of {MAX_WORDS:,}")
    return words


def _from_environment(before: list[str], line: CommandLine) -> Iterator[Flag]:
    for index, word in enumerate(before):
        text = word.partition("=")[2] if word.startswith("--env=") else word
        found = _ASSIGNMENT.fullmatch(text)
        container = index == 0 or before[index - 1] in {"-e", "--env"} or word.startswith("--env=")
        if found and found[1] in line.environment and (container or "run" not in before[:3]):
            yield Flag(found[1], line.environment[found[1]], found[2])


def _check(flag: Flag, option: str, value: str, line: CommandLine) -> None:
    """Refuses a value that is none."""
    shown = one_line(flag.typed, MAX_SHOWN)
    if value == "True" and flag.name not in line.switches and option not in _MAY_LACK_VALUES:
        raise KvcalcError(f"{OPTION}: {shown} lacks its value; put it behind it")
    if option in _OF_DTYPES and value.lower() not in {*_DTYPES, *NOTHING}:
        raise KvcalcError(f"{OPTION}: {shown} {one_line(value, MAX_SHOWN)}: known are {', '.join(sorted(_DTYPES))}")
    if _EXPANSION.search(value):
        told = one_line(value, MAX_SHOWN)
        raise KvcalcError(f"{OPTION}: {shown} is {told}, which a shell would replace; put its value there")


def _check_decided(given: list[Flag], settings: Mapping[str, str], line: CommandLine) -> None:
    """Refuses an option that decides the default of another where nobody gives that one."""
    for each in given:
        decided = line.decide.get(each.name.partition(".")[0])
        if decided is not None and decided not in settings and each.value.lower() not in OFF:
            told = f"--{decided.removeprefix('--')}"
            raise KvcalcError(
                f"{OPTION}: {one_line(each.typed, MAX_SHOWN)} decides {told} where nobody gives it, in a way that "
                f"kvcalc does not follow for {line.engine}; give {told} N"
            )


def _refuse_misspelled(flag: Flag, line: CommandLine) -> None:
    """Refuses what is nearly an option that decides memory: the server would refuse it, or take it for that one."""
    from difflib import get_close_matches  # only where there is such a flag

    known = {name for name in (*line.settings, *line.refused) if line.settings.get(name, name)}
    begun = [name for name in known if len(flag.name) >= SHORTEST and name.startswith(flag.name)]
    near = begun or get_close_matches(flag.name, known, n=1, cutoff=ALIKE) if flag.name else []
    dashed = f"-{flag.name.replace('_', '-')}"
    short = [each for each in line.flags if each == dashed or (not flag.name and flag.typed.startswith(each))]
    if near or short:
        meant = short[-1] if short else f"--{near[0].replace('_', line.joins)}"
        raise KvcalcError(
            f"{OPTION}: kvcalc knows no option {one_line(flag.typed, MAX_SHOWN)} of {line.engine}; if {meant} is "
            "meant, write that, and its value as a word of its own"
        )


def _refuse(flag: Flag, line: CommandLine) -> None:
    if flag.value.lower() in line.refused[flag.name]:
        return
    if flag.name in _FILES:
        told = "is a file of further options, which kvcalc does not open: put them into the line"
    else:
        told = (
            f"changes memory in a way that kvcalc does not follow for {line.engine}; leave it out of the line, and "
            "give what it takes as --reserve NAME=SIZE"
        )
    raise KvcalcError(f"{OPTION}: {one_line(flag.typed, MAX_SHOWN)} {told}")


def _refuse_words(flag: Flag, refused: frozenset[str], line: CommandLine) -> None:
    """Refuses a value that names something which changes memory."""
    found = next((word for word in sorted(refused) if word.lower() in flag.value.lower()), None)
    if found is not None:
        raise KvcalcError(
            f"{OPTION}: {one_line(flag.typed, MAX_SHOWN)}: {found} changes memory in a way that kvcalc does not follow "
            f"for {line.engine}; leave it out of the line"
        )


def _refuse_parts(flag: Flag, refused: frozenset[str], line: CommandLine) -> None:
    """Refuses an object in JSON with a key that changes memory, or such a part that is written as an option."""
    _, dot, part = flag.name.partition(".")
    given = {part: flag.value} if dot else _object(flag)
    for key, value in given.items():
        if key.partition(".")[0] in refused and str(value).lower() not in OFF:
            raise KvcalcError(
                f"{OPTION}: {one_line(flag.typed, MAX_SHOWN)}: {one_line(key, MAX_SHOWN)} changes memory in a way that "
                f"kvcalc does not follow for {line.engine}; leave it out of the line"
            )


def _object(flag: Flag) -> Mapping[str, Any]:
    try:
        found = json.loads(flag.value)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise KvcalcError(f"{OPTION}: {one_line(flag.typed, MAX_SHOWN)} is no object in JSON")
    return found


def _of_repository(settings: dict[str, str]) -> str | None:
    """llama-server's ORG/NAME with the file in it."""
    repository, file = settings.pop("REPOSITORY", None), settings.pop("FILE", None)
    if repository is None:
        return None
    return repository if file is None else f"{repository.partition(':')[0]}:{file}"


def _positional(others: list[str], flags: list[Flag]) -> str:
    if len(others) != 1:
        what = f"names several models: {', '.join(one_line(each, MAX_SHOWN) for each in others[:3])}" if others else ""
        swallowed = next((each for each in flags if "/" in each.value and not each.value.startswith(("/", "{"))), None)
        hint = f" (is '{one_line(swallowed.value, MAX_SHOWN)}' one? put it first)" if swallowed and not others else ""
        raise KvcalcError(f"{OPTION}: the line {what or 'names no model'}; put ORG/NAME or a path first{hint}")
    model = others[0]
    if _EXPANSION.search(model):
        raise KvcalcError(f"{OPTION}: the model is {one_line(model, MAX_SHOWN)}, which a shell would replace; name it")
    return model


def _named(flags: dict[str, None]) -> tuple[str, ...]:
    return tuple(one_line(each, MAX_SHOWN) for each in list(flags)[:MOST_NAMED])
