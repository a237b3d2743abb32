"""Formats of what is kept, and sizes that a user states."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Annotated, TypedDict

from kvcalc.formats.element import FORMATS, TENSOR_FORMATS
from kvcalc.formats.turboquant import TURBOQUANT
from kvcalc.formats.weights import WEIGHT_FORMATS
from kvcalc.mechanisms import STATE_FORMATS
from kvcalc.scenario.option import Option
from kvcalc.scenario.reading import size, sizes, word

of_memory = partial(Option, panel="Memory")


def _state_formats() -> Iterable[str]:
    return STATE_FORMATS


def _weight_formats() -> Iterable[str]:
    return (*FORMATS, *WEIGHT_FORMATS)


def _cache_formats() -> Iterable[str]:
    return (*FORMATS, *TENSOR_FORMATS, *TURBOQUANT)


CACHE_DTYPE = of_memory(
    "F",
    "Format of the KV cache: fp8, or k=q8_0,v=q4_0 (the model's dtype).",
    values=_cache_formats,
    separators=",=",
    read=word,
)


class CacheDtype(TypedDict, total=False):
    cache_dtype: Annotated[str | None, CACHE_DTYPE]


class WeightDtype(TypedDict, total=False):
    weight_dtype: Annotated[
        str | None,
        of_memory("F", "Format of the weights (the checkpoint's).", values=_weight_formats, read=word),
    ]


class StateDtypes(TypedDict, total=False):
    state_dtype: Annotated[
        str | None,
        of_memory("F", "Format of recurrent states (the model's, or fp32).", values=_state_formats, read=word),
    ]
    conv_dtype: Annotated[
        str | None,
        of_memory(
            "F", "Format of convolution states (the model's, or its dtype).", values=lambda: STATE_FORMATS, read=word
        ),
    ]


class Memory(TypedDict, total=False):
    """Parts that are stated, and further ones."""

    weights: Annotated[
        int | str | None, of_memory("SIZE", "Weights of one replica, instead of what is computed.", read=size)
    ]
    temporary: Annotated[
        int | str | None, of_memory("SIZE", "Temporary memory of one rank, instead of what is computed.", read=size)
    ]
    overhead: Annotated[
        int | str | None, of_memory("SIZE", "Overhead of one rank, instead of what is computed.", read=size)
    ]
    reserve: Annotated[
        Mapping[str, int | str] | None,
        of_memory(
            "NAME=SIZE",
            "Memory of one rank to set aside, as a row of its own; repeatable.",
            read=sizes("NAME=SIZE (for example lora=2GiB)"),
            repeatable=True,
        ),
    ]
