"""How many sequences of how many tokens."""

from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypedDict

from kvcalc.scenario.mix import Mix
from kvcalc.scenario.option import Option
from kvcalc.scenario.reading import context, count, generated
from kvcalc.units import MAX_BATCH, MAX_CONTEXT

of_workload = partial(Option, panel="Workload")
BATCH = of_workload(
    "N",
    "Sequences whose cache is held at the same time, over all replicas.",
    flags=("-b", "--batch", "--users", "--concurrency"),
    default=1,
    read=count(MAX_BATCH),
)


MAX_IMAGES = 10**6


def _image_size(value: Any, what: str) -> tuple[int, int]:
    from kvcalc.scenario.images import image_size

    return image_size("x".join(map(str, value)) if isinstance(value, tuple) else value, what)


def _seconds(value: Any, what: str) -> Fraction:
    from kvcalc.scenario.sounds import seconds

    return seconds(value, what)


def mix(value: Any, what: str) -> Mix:
    """Requests that differ, as people write them."""
    from kvcalc.scenario.mix_text import mix as read

    return read(value, what)


class Batch(TypedDict, total=False):
    batch: Annotated[int | str, BATCH]


class Context(TypedDict, total=False):
    context: Annotated[
        int | str | None,
        of_workload(
            "N",
            "Tokens of each sequence, as 8192, 131_072, 128Ki, 1e6 or max (8192, or the model's limit).",
            flags=("-c", "--context"),
            read=context,
        ),
    ]


class Requests(TypedDict, total=False):
    """Of requests that differ."""

    mix: Annotated[
        Mix | str | Path | Sequence[tuple[Any, Any, Any]] | None,
        of_workload(
            "MIX",
            "Requests that differ, as SHARE:INPUT+OUTPUT (70%:2Ki+500,30%:16Ki+1Ki), or a CSV file with share,input,"
            "output: what they hold on average, and at their peak.",
            read=mix,
        ),
    ]
    images: Annotated[
        int | str | None,
        of_workload("N", "Images of each request, whose tokens are added to the context.", read=count(MAX_IMAGES)),
    ]
    image_size: Annotated[
        str | tuple[int, int] | None,
        of_workload("WxH", "Pixels of each image, width x height.", read=_image_size),
    ]
    audio: Annotated[
        str | float | Fraction | None,
        of_workload(
            "SECONDS", "Length of the sound of each request, whose tokens are added to the context.", read=_seconds
        ),
    ]


class MoreContext(TypedDict, total=False):
    input_tokens: Annotated[
        int | str | None,
        of_workload("N", "Prompt tokens: the context is N + M.", flags=("--input",), read=count(MAX_CONTEXT)),
    ]
    output_tokens: Annotated[
        int | str | None,
        of_workload("M", "Generated tokens: the context is N + M.", flags=("--output",), read=generated),
    ]
    shared_prefix: Annotated[
        int | str | None,
        of_workload(
            "N",
            "First tokens of the context that all sequences of a replica share, kept once.",
            read=count(MAX_CONTEXT),
        ),
    ]
    prefix_groups: Annotated[
        int | str | None,
        of_workload(
            "N", "Prefixes of that length, each kept once, that sequences share in groups (1).", read=count(MAX_BATCH)
        ),
    ]
