"""Which models are listed, and what they are tried with. Annotations are evaluated, as those of all options."""

from typing import Annotated, TypedDict

from kvcalc.catalogue import gpu_names
from kvcalc.mechanisms import KINDS
from kvcalc.scenario.option import Option
from kvcalc.scenario.options import (
    Batch,
    CacheDtype,
    Context,
    EngineChoice,
    EngineSettings,
    Utilization,
    WeightDtype,
)
from kvcalc.verbs.listing.model_list import SORTS

WORD = Option("WORD", "In one of their names: qwen3, 'llama 8b', coder.")

GPU_WORD = Option("WORD", "In one of their names, or their vendor or architecture: h100, 'rtx 40', amd, blackwell.")


class Chosen(TypedDict, total=False):
    """Which models are listed, and in which order."""

    kind: Annotated[
        str | None,
        Option("KIND", "Those with such a layer: gqa, mla, mamba2 ...; several behind commas.", values=lambda: KINDS),
    ]
    sort: Annotated[str | None, Option("KEY", "By name, parameters, cache, context or headroom.", values=lambda: SORTS)]
    fits: Annotated[
        str | None, Option("GPU", "Those that one such accelerator holds, by their memory on it.", values=gpu_names)
    ]


class TriedWith(Batch, Context, CacheDtype, WeightDtype, Utilization, EngineChoice, EngineSettings):
    """What models are tried with on an accelerator."""
