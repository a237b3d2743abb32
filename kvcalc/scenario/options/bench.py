"""What `bench` takes."""

from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from typing import Annotated, TypedDict

from kvcalc.scenario.option import Option
from kvcalc.scenario.options.memory import CacheDtype
from kvcalc.scenario.options.model import Assumptions
from kvcalc.scenario.options.workload import Batch, Context
from kvcalc.scenario.reading import count, names, share

of_bench = partial(Option, panel="Measurement")
MECHANISMS = ("mha", "gqa", "mqa", "mla")
DEVICES = ("auto", "cpu", "cuda")
LEAST_SAMPLES, MOST_SAMPLES = 20, 10_000


class MeasuredOptions(Batch, Context, CacheDtype, Assumptions, total=False):
    """Of a scenario whose speed is measured."""


class Measurement(TypedDict, total=False):
    """How it is measured."""

    mechanism: Annotated[
        str | Sequence[str] | None,
        of_bench(
            "M,M",
            "Mechanisms to measure, as mha, gqa, gqa-4, mqa or mla (mha,gqa,mqa,mla, as far as the model has them).",
            values=lambda: MECHANISMS,
            separators=",",
            read=names,
        ),
    ]
    device: Annotated[
        str,
        of_bench(
            "|".join(DEVICES),
            "Where to measure: auto is a GPU where there is one, else cpu.",
            default="auto",
            values=lambda: DEVICES,
        ),
    ]
    samples: Annotated[
        int | str,
        of_bench(
            "N",
            f"How often each figure is measured, at least {LEAST_SAMPLES}.",
            default=LEAST_SAMPLES,
            read=count(MOST_SAMPLES, LEAST_SAMPLES),
        ),
    ]
    compile: Annotated[
        bool,
        of_bench("", "Try torch.compile's flex_attention too, which compiles for up to a minute each.", default=False),
    ]
    offload: Annotated[
        float | str | Fraction | None,
        of_bench(
            "SHARE",
            "Measure with this share of the sequences' caches in pinned host memory too; on a CPU in a file.",
            read=share,
        ),
    ]


class BenchOptions(MeasuredOptions, Measurement, total=False):
    """Of `bench`."""
