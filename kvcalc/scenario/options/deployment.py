"""The accelerator, how a model is divided over several, and the engine that serves it."""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from functools import partial
from typing import Annotated, TypedDict

from kvcalc.deployment import MAX_RANKS
from kvcalc.engines import ENGINES
from kvcalc.gpu import Gpu
from kvcalc.scenario.option import Option
from kvcalc.scenario.reading import accelerator, count, engine_options, share, size, word

DEFAULT_GPU = "h100-sxm"
of_deployment = partial(Option, panel="Deployment")
of_deployment_switch = partial(of_deployment, "", default=False)
ranks = count(MAX_RANKS)


def gpu_names() -> Iterable[str]:
    """What a shell completes an accelerator to."""
    from kvcalc.catalogue import shipped_gpus
    from kvcalc.catalogue.gpu_slices import slice_names

    own = {name for gpu in shipped_gpus() for name in (gpu.name, *gpu.aliases)}
    return [*sorted(own), *(name for gpu in shipped_gpus() for name in slice_names(gpu.name))]


GPU = Option("GPU", "A name or an alias.", values=gpu_names)
"""The argument of `gpus show`."""
ACCELERATOR = of_deployment(
    "NAME",
    "Accelerator, a name or alias of kvcalc gpus list.",
    default=DEFAULT_GPU,
    values=gpu_names,
    read=accelerator,
)
TP = of_deployment("N", "Tensor-parallel size: each layer is split over N GPUs.", read=ranks)
PP = of_deployment("N", "Pipeline-parallel size: layers are split over N stages.", read=ranks)
ENGINE = of_deployment(
    "NAME",
    "Serving engine whose memory rules apply, NAME or NAME@VERSION.",
    default="exact",
    values=lambda: ENGINES,
    read=word,
)


class EngineChoice(TypedDict, total=False):
    engine: Annotated[str, ENGINE]


class EngineSettings(TypedDict, total=False):
    engine_option: Annotated[
        Mapping[str, str | float] | None,
        of_deployment(
            "KEY=VALUE",
            "Option of the engine, under its own name; repeatable.",
            read=engine_options("KEY=VALUE, named as the engine names it"),
            repeatable=True,
        ),
    ]
    block_size: Annotated[int | str | None, of_deployment("N", "Tokens per block, for engines with blocks.")]


class GpuChoice(TypedDict, total=False):
    gpu: Annotated[Gpu | str, ACCELERATOR]


class GpuMemory(TypedDict, total=False):
    gpu_memory: Annotated[
        int | str | None, of_deployment("SIZE", "Memory of the accelerator, as its runtime reports it.", read=size)
    ]


class Utilization(TypedDict, total=False):
    utilization: Annotated[
        float | str | Fraction | None,
        of_deployment("X", "Share of that memory that may be used (the engine's default; exact: 0.92).", read=share),
    ]


class NodeSize(TypedDict, total=False):
    node_size: Annotated[
        int | str | None,
        of_deployment("N", "GPUs per node, the most that tensor parallelism spans (the accelerator's).", read=ranks),
    ]


class TensorAndPipeline(TypedDict, total=False):
    tp: Annotated[int | str | None, TP]
    pp: Annotated[int | str | None, PP]


class OtherSizes(TypedDict, total=False):
    dp: Annotated[int | str | None, of_deployment("N", "Data-parallel size: N replicas of the model.", read=ranks)]
    ep: Annotated[
        int | str | None, of_deployment("N", "Expert-parallel size: experts are split over N GPUs.", read=ranks)
    ]
    dcp: Annotated[
        int | str | None,
        of_deployment(
            "N", "Decode-context-parallel size: tokens are split over N of the tensor-parallel GPUs.", read=ranks
        ),
    ]
    dp_attention: Annotated[bool, of_deployment_switch("Replicas share the experts; each keeps its own caches.")]
    gpus: Annotated[int | str | None, of_deployment("N", "The best legal deployment of at most N GPUs.", read=ranks)]


class Sizes(TensorAndPipeline, OtherSizes, total=False):
    """Of a deployment."""


class AllowPp(TypedDict, total=False):
    allow_pp: Annotated[
        bool,
        of_deployment_switch("Also try pipeline stages where tensor parallelism alone is enough."),
    ]


class Spill(TypedDict, total=False):
    spill: Annotated[bool, of_deployment_switch("Put cache that does not fit on the GPUs into host memory.")]
