"""Where a server's own options begin in a line: behind its program, a module of Python, or a container's image."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.errors import KvcalcError, one_line
from kvcalc.logs.command_lines import koboldcpp, llama_cpp_python, lm_studio
from kvcalc.logs.command_lines.ollama import BUILD, PROGRAM, llama_server_words
from kvcalc.logs.told_version import pinned_program

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvcalc.logs.command_lines.relayed import Taken

OPTION = "--from-command"
MAX_SHOWN = 60
"""Letters of a word that a message repeats."""

_OPERATORS = re.compile(r"&&?|\|\|?|;|\d?>>?\S*|<\S*")
_IMAGES = (
    (re.compile(r"(?:.*/)?(?:vllm-openai(?:-rocm)?)(?::(?P<tag>.+))?"), "vllm"),
    (re.compile(r"(?:.*/)?llama\.cpp:(?:server|full)(?P<tag>[\w.-]*)"), "llama-cpp"),
)
"""Images that start a server by themselves: docker/Dockerfile of vLLM, .devops of llama.cpp."""
_TAG_VERSION = re.compile(r"v?(\d{1,4}\.\d{1,4}(?:\.\d{1,4})?(?:\.post\d{1,3})?)(?![\w.]*rc)")
_TAGGED = re.compile(r"(?:[\w./-]+:(?=v)|[\w./-]*tensorrt-llm/release:)(v?\d[\w.-]+)")
"""Images of SGLang (lmsysorg/sglang:v0.5.8-cu129), TensorRT-LLM (nvcr.io/nvidia/tensorrt-llm/release:1.1.0), vLLM."""
_BUILD = re.compile(r".*-(b\d{3,6})")
_MODULES = {
    "vllm.entrypoints.openai.api_server": "vllm",
    "vllm.entrypoints.api_server": "vllm",
    "sglang.launch_server": "sglang",
}
_PROGRAMS = {"llama-server": "llama-cpp", "llama-server.exe": "llama-cpp", "trtllm-serve": "tensorrt-llm"}
_SERVES = {"vllm": "vllm", "sglang": "sglang"}
"""Programs that serve where their next word is `serve`."""


class Start(NamedTuple):
    """Where a server's own words begin.

    Attributes:
        engine: by kvcalc's name.
        version: by the tag of a container's image; None where there is none, or it is no release.
        arguments: the server's own words.
        before: what stands before them in its command.
        by_ollama: whether Ollama starts it: what nobody says is then as Ollama says it.
        beside: settings that no word says, by the engine's own names.
        taken: what the program takes itself.
    """

    engine: str
    version: str | None
    arguments: list[str]
    before: list[str]
    by_ollama: bool = False
    beside: Mapping[str, str] = MappingProxyType({})
    taken: tuple[Taken, ...] = ()


def start_of(words: list[str]) -> Start:
    """The one server among the commands of a line.

    Raises:
        KvcalcError: there is none, or there are several.
    """
    found = [start for each in _commands(words) if (start := _server(each)) is not None]
    if len(found) != 1:
        what = f"{len(found)} servers are started" if found else "no server is started that is known"
        known = (
            "vllm serve, python -m sglang.launch_server, llama-server, ollama run, koboldcpp, lms load, python -m "
            "llama_cpp.server, trtllm-serve"
        )
        shown = one_line(" ".join(words), MAX_SHOWN)
        raise KvcalcError(f"{OPTION}: {what} by '{shown}'; give one line of: {known}")
    return found[0]


def _commands(words: list[str]) -> Iterator[list[str]]:
    """The commands that stand one after another in a line; where output goes belongs to none."""
    command: list[str] = []
    for word in words:
        if _OPERATORS.fullmatch(word):
            yield command
            command = []
        elif word.endswith(";"):
            yield [*command, word[:-1]]
            command = []
        else:
            command.append(word)
    yield command


def _server(words: list[str]) -> Start | None:
    for index, word in enumerate(words):
        after, name = words[index + 1 :], pinned_program(re.split(r"[/\\]", word)[-1])
        if word == "-m" and after and after[0] in _MODULES:
            return Start(_MODULES[after[0]], _version_of_images(words[:index]), after[1:], words[:index])
        if (start := _by_library(word, name, after)) is not None:
            return start
        if name in _SERVES and after[:1] == ["serve"]:
            return Start(_SERVES[name], _version_of_images(words[:index]), after[1:], words[:index])
        if name == PROGRAM and after[:1] == ["run"]:
            told = llama_server_words(after[1:], words[:index], OPTION)
            return Start("llama-cpp", BUILD, told, [], by_ollama=True)
        if name == PROGRAM and after[:1] == ["serve"]:
            raise KvcalcError(f"{OPTION}: 'ollama serve' names no model; put its variables before 'ollama run MODEL'")
        if name in _PROGRAMS:
            arguments = after[1:] if name == "trtllm-serve" and after[:1] == ["serve"] else after
            return Start(_PROGRAMS[name], _version_of_images(words[:index]), arguments, words[:index])
    return _image(words)


def _by_library(word: str, name: str, after: list[str]) -> Start | None:
    """A program that has llama.cpp in it, of a build that its line does not tell."""
    if word == "-m" and after[:1] == [llama_cpp_python.MODULE]:
        told = llama_cpp_python.relayed(after[1:], OPTION)
    elif name == lm_studio.PROGRAM_NAME and after[:1] == ["load"]:
        told = lm_studio.relayed(after[1:], OPTION)
    elif koboldcpp.is_program(name):
        told = koboldcpp.relayed(after, OPTION)
    else:
        return None
    return Start("llama-cpp", None, list(told.words), [], beside=told.beside, taken=told.taken)


def _image(words: list[str]) -> Start | None:
    """A container's image that starts a server by itself, with the server's options behind it."""
    if "run" not in words[:3]:
        return None
    for index, word in enumerate(words):
        for image, engine in _IMAGES:
            found = image.fullmatch(word)
            if found is not None:
                tag = found["tag"] or ""
                version = _BUILD.fullmatch(tag) if engine == "llama-cpp" else _TAG_VERSION.match(tag)
                arguments = [each for each in words[index + 1 :] if each != "--server"]
                return Start(engine, version[1] if version else None, arguments, words[:index])
    return None


def _version_of_images(before: list[str]) -> str | None:
    """The version that the tag of an image says, where a container starts the program."""
    if "run" not in before[:3]:
        return None
    tags = [found[1] for each in before if (found := _TAGGED.fullmatch(each))]
    found = _TAG_VERSION.match(tags[-1]) if tags else None
    return found[1] if found else None
