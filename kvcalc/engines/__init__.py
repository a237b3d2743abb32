"""The engines, one file each: how many bytes a cache really takes under each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines.base import Engine
from kvcalc.engines.budget import Budget, Pool, Temporary
from kvcalc.engines.content import Content, content_bytes, contents
from kvcalc.engines.content_counter import ContentCounter, Rate
from kvcalc.engines.exact import Exact
from kvcalc.engines.load import Load
from kvcalc.engines.option import Option, Rule
from kvcalc.engines.rank_load import RankLoad
from kvcalc.engines.registry import EngineRegistry
from kvcalc.engines.settled import Settled
from kvcalc.engines.setup import Setup
from kvcalc.engines.versions import version_number
from kvcalc.errors import KvcalcError, nearest_or_all

if TYPE_CHECKING:
    from collections.abc import Mapping

ENGINES = EngineRegistry(
    {
        "exact": "kvcalc.engines.exact:Exact",
        "vllm": "kvcalc.engines.vllm.engine:Vllm",
        "sglang": "kvcalc.engines.sglang.engine:Sglang",
        "tensorrt-llm": "kvcalc.engines.tensorrt_llm.engine:TensorrtLlm",
        "lmdeploy": "kvcalc.engines.lmdeploy.engine:Lmdeploy",
        "llama-cpp": "kvcalc.engines.llama_cpp.engine:LlamaCpp",
        "transformers": "kvcalc.engines.transformers.engine:Transformers",
        "mlx": "kvcalc.engines.mlx.engine:Mlx",
    }
)
"""By name, and where each is."""

__all__ = [
    "ENGINES",
    "Budget",
    "Content",
    "ContentCounter",
    "Engine",
    "Exact",
    "Load",
    "Option",
    "Pool",
    "RankLoad",
    "Rate",
    "Rule",
    "Settled",
    "Setup",
    "Temporary",
    "choose_engine",
    "content_bytes",
    "contents",
    "engine_asked",
    "version_number",
]


def choose_engine(text: str, options: Mapping[str, str], block_size: str | None = None) -> Engine:
    """The engine that is asked for.

    Args:
        text: NAME, or NAME@VERSION; without a version the newest whose rules are known.
        options: of the engine, by its own names, with dashes or underscores.
        block_size: short for the engine's own option for it.

    Raises:
        KvcalcError: no such engine or version, an option that it does not have, or a value that it cannot have.
    """
    kind, version = engine_asked(text)
    name = kind.name
    given = {key.replace("_", "-"): value for key, value in options.items()}
    if block_size is not None:
        if kind.block_option is None:
            raise KvcalcError(f"--block-size: engine {name} counts tokens, not blocks")
        if kind.block_option in given:
            raise KvcalcError(f"--block-size: is {kind.block_option} of engine {name}; give one of them")
        given[kind.block_option] = block_size
    for key in given:
        if key in kind.given_elsewhere:
            raise KvcalcError(f"--engine-option: {key} of {name} is given as {kind.given_elsewhere[key]}")
        if key not in kind.options:
            none = f"engine {name} has no options, so none named '{key[:60]}'"
            other = f"engine {name} has no option '{key[:60]}'{nearest_or_all(key, kind.options)}"
            raise KvcalcError(f"--engine-option: {other if kind.options else none}")
    read = {key: kind.options[key].read(value, f"--engine-option {key}") for key, value in given.items()}
    rules = _version(kind, version) if version else kind.usual_version or (kind.versions or (None,))[-1]
    older = version and version_number(version) != version_number(rules or "")
    return kind(rules, tuple(sorted(read.items())), version if older else None)


_LLAMA_CPP = "llama.cpp: give --engine llama-cpp"
_LLAMA_CPP_OR_MLX = f"{_LLAMA_CPP}, or mlx for a model in MLX's format"
_BUILT_ON = {
    "ollama": f"{_LLAMA_CPP}; before 0.30 with its own engine too, --engine-option ollama-new-engine=1",
    **dict.fromkeys(("lm-studio", "lmstudio"), _LLAMA_CPP_OR_MLX),
    **dict.fromkeys(
        ("llama-cpp-python", "llamafile", "llama-server", "jan", "gpt4all", "ramalama"),
        _LLAMA_CPP,
    ),
    **dict.fromkeys(
        ("koboldcpp", "kobold.cpp"),
        f"{_LLAMA_CPP}; up to 1.113 without --useswa, --engine-option swa-full=1",
    ),
    **dict.fromkeys(("mlx-lm", "mlx-vlm"), "MLX: give --engine mlx"),
    **dict.fromkeys(("hf", "huggingface"), "Transformers: give --engine transformers"),
}
"""Applications whose memory is that of the engine that they start, by their names in small letters."""


def engine_asked(text: str) -> tuple[type[Engine], str]:
    """The engine of 'NAME' or 'NAME@VERSION', and the version as it is written, empty where none is.

    Raises:
        KvcalcError: neither of these, or no such engine.
    """
    if "," in text:
        raise KvcalcError(f"--engine: '{text[:40]}' is several; kvcalc compare takes them, and the rest takes one")
    name, at, version = text.partition("@")
    if at and not (name and version):
        raise KvcalcError(f"--engine: '{text[:40]}' is not NAME or NAME@VERSION")
    if name not in ENGINES:
        serves = _BUILT_ON.get(name.lower().replace(" ", "-").replace("_", "-"))
        if serves is not None:
            raise KvcalcError(f"--engine: '{name[:40]}' serves with {serves}")
        raise KvcalcError(f"--engine: unknown engine '{name[:40]}'{nearest_or_all(name, ENGINES)}")
    return ENGINES[name], version


def _version(kind: type[Engine], version: str) -> str:
    """The version whose rules are followed: the one that is asked for, or the one before it."""
    if not kind.versions:
        raise KvcalcError(f"--engine: {kind.name} has no versions, and '{version[:40]}' is asked for")
    if version in kind.versions:
        return version
    asked = version_number(version)
    numbers = {each: number for each in kind.versions if (number := version_number(each))}
    if asked and numbers and min(numbers.values()) <= asked <= max(numbers.values()):
        return max((each for each, number in numbers.items() if number <= asked), key=lambda each: numbers[each])
    known = f"known is {kind.versions[-1]}"
    if len(kind.versions) > 1:
        known = f"known are {kind.versions[0]} to {kind.versions[-1]}"
    nearest = kind.versions[0] if asked and asked < min(numbers.values()) else kind.usual_version or kind.versions[-1]
    raise KvcalcError(
        f"--engine: version '{version[:40]}' of {kind.name} is not known; {known}; --engine {kind.name}@{nearest}"
    )
