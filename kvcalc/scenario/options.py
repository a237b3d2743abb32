"""The options, each once: a keyword of Python, its type, and beside it all that the command line needs.

A TypedDict is what a function or a command takes. Those at the end are put together from groups; an option that means
something else to one command stands there again with what differs. Annotations are evaluated, not kept as text: the
command line is made of them at every start.
"""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from functools import partial
from typing import Annotated, Any, TypedDict

from kvcalc.deployment import MAX_RANKS
from kvcalc.engines import ENGINES
from kvcalc.fields import MAX_PARAMETERS
from kvcalc.formats.element import COMPUTE_FORMATS, FORMATS
from kvcalc.formats.weights import WEIGHT_FORMATS
from kvcalc.gpu import Gpu
from kvcalc.mechanisms import STATE_FORMATS
from kvcalc.model.ad_hoc import MAX_DIM
from kvcalc.model.layers import MAX_LAYERS
from kvcalc.scenario.option import Option
from kvcalc.scenario.reading import (
    accelerator,
    accelerators,
    assumptions,
    context,
    count,
    engine_options,
    generated,
    pairs,
    positive,
    share,
    size,
    sizes,
    word,
    words,
)
from kvcalc.units import MAX_BATCH, MAX_CONTEXT

DEFAULT_GPU = "h100-sxm"
ALL_GPUS = "all"
DEFAULT_MAX_GPUS = 1024
"""GPUs that a plan may use."""
MAX_LIMIT = 1000
"""Deployments in an answer."""
DEVICES = ("auto", "meta", "cpu", "cuda")

_workload = partial(Option, panel="Workload")
_memory = partial(Option, panel="Memory")
_deployment = partial(Option, panel="Deployment")
_of_model = partial(Option, panel="Model")
_verify = partial(Option, panel="Verification")

_deployment_switch = partial(_deployment, "", default=False)
_verify_switch = partial(_verify, "", default=False)

_ranks, _dim = count(MAX_RANKS), count(MAX_DIM)


def _state_formats() -> Iterable[str]:
    return STATE_FORMATS


def _weight_formats() -> Iterable[str]:
    return (*FORMATS, *WEIGHT_FORMATS)


def _model_names() -> Iterable[str]:
    from kvcalc.catalogue import model_names  # noqa: PLC0415  # for start-up time

    return model_names()


def _gpu_names() -> Iterable[str]:
    from kvcalc.catalogue import shipped_gpus  # noqa: PLC0415  # likewise

    return sorted({name for gpu in shipped_gpus() for name in (gpu.name, *gpu.aliases)})


def _gpu_names_and_all() -> Iterable[str]:
    return (*_gpu_names(), ALL_GPUS)


MODEL = Option(
    "MODEL",
    "A name or hub id of the catalogue, a YAML file, a config.json or its folder, a .gguf, or hf:ORG/NAME.",
    values=_model_names,
)
"""The argument of most commands."""

GPU = Option("GPU", "A name or an alias.", values=_gpu_names)
"""The argument of `gpus show`."""

_BATCH = _workload(
    "N",
    "Sequences whose cache is held at the same time, over all replicas.",
    flags=("-b", "--batch", "--users", "--concurrency"),
    default=1,
    read=count(MAX_BATCH),
)
_CACHE_DTYPE = _memory(
    "F",
    "Format of the KV cache: fp8, or k=q8_0,v=q4_0 (the model's dtype).",
    values=lambda: FORMATS,
    separators=",=",
    read=word,
)
_GPU = _deployment(
    "NAME",
    "Accelerator, a name or alias of kvcalc gpus list.",
    default=DEFAULT_GPU,
    values=_gpu_names,
    read=accelerator,
)
_TP = _deployment("N", "Tensor-parallel size: each layer is split over N GPUs.", read=_ranks)
_PP = _deployment("N", "Pipeline-parallel size: layers are split over N stages.", read=_ranks)


class Batch(TypedDict, total=False):
    batch: Annotated[int | str, _BATCH]


class Context(TypedDict, total=False):
    context: Annotated[
        int | str | None,
        _workload(
            "N",
            "Tokens of each sequence, as 8192, 131_072, 128Ki, 1e6 or max (8192, or the model's limit).",
            flags=("-c", "--context"),
            read=context,
        ),
    ]


class MoreContext(TypedDict, total=False):
    input_tokens: Annotated[
        int | str | None,
        _workload("N", "Prompt tokens: the context is N + M.", flags=("--input",), read=count(MAX_CONTEXT)),
    ]
    output_tokens: Annotated[
        int | str | None, _workload("M", "Generated tokens: the context is N + M.", flags=("--output",), read=generated)
    ]
    shared_prefix: Annotated[
        int | str | None,
        _workload(
            "N",
            "First tokens of the context that all sequences of a replica share, kept once.",
            read=count(MAX_CONTEXT),
        ),
    ]


class CacheDtype(TypedDict, total=False):
    cache_dtype: Annotated[str | None, _CACHE_DTYPE]


class WeightDtype(TypedDict, total=False):
    weight_dtype: Annotated[
        str | None,
        _memory("F", "Format of the weights (the checkpoint's).", values=_weight_formats, read=word),
    ]


class StateDtypes(TypedDict, total=False):
    state_dtype: Annotated[
        str | None,
        _memory("F", "Format of recurrent states (the model's, or fp32).", values=_state_formats, read=word),
    ]
    conv_dtype: Annotated[
        str | None,
        _memory(
            "F", "Format of convolution states (the model's, or its dtype).", values=lambda: STATE_FORMATS, read=word
        ),
    ]


class Memory(TypedDict, total=False):
    """Parts that are stated, and further ones."""

    weights: Annotated[
        int | str | None, _memory("SIZE", "Weights of one replica, instead of what is computed.", read=size)
    ]
    temporary: Annotated[
        int | str | None, _memory("SIZE", "Temporary memory of one rank, instead of what is computed.", read=size)
    ]
    overhead: Annotated[
        int | str | None, _memory("SIZE", "Overhead of one rank, instead of what is computed.", read=size)
    ]
    reserve: Annotated[
        Mapping[str, int | str] | None,
        _memory(
            "NAME=SIZE",
            "Memory of one rank to set aside, as a row of its own; repeatable.",
            read=sizes("NAME=SIZE (for example lora=2GiB)"),
            repeatable=True,
        ),
    ]


_ENGINE = _deployment(
    "NAME",
    "Serving engine whose memory rules apply, NAME or NAME@VERSION.",
    default="exact",
    values=lambda: ENGINES,
    read=word,
)


class EngineChoice(TypedDict, total=False):
    engine: Annotated[str, _ENGINE]


class EngineSettings(TypedDict, total=False):
    engine_option: Annotated[
        Mapping[str, str | float] | None,
        _deployment(
            "KEY=VALUE",
            "Option of the engine, under its own name; repeatable.",
            read=engine_options("KEY=VALUE, named as the engine names it"),
            repeatable=True,
        ),
    ]
    block_size: Annotated[int | str | None, _deployment("N", "Tokens per block, for engines with blocks.")]


class GpuChoice(TypedDict, total=False):
    gpu: Annotated[Gpu | str, _GPU]


class GpuMemory(TypedDict, total=False):
    gpu_memory: Annotated[
        int | str | None, _deployment("SIZE", "Memory of the accelerator, as its runtime reports it.", read=size)
    ]


class Utilization(TypedDict, total=False):
    utilization: Annotated[
        float | str | Fraction | None,
        _deployment("X", "Share of that memory that may be used (the engine's default; exact: 0.92).", read=share),
    ]


class NodeSize(TypedDict, total=False):
    node_size: Annotated[
        int | str | None,
        _deployment("N", "GPUs per node, the most that tensor parallelism spans (the accelerator's).", read=_ranks),
    ]


class Sizes(TypedDict, total=False):
    tp: Annotated[int | str | None, _TP]
    pp: Annotated[int | str | None, _PP]
    dp: Annotated[int | str | None, _deployment("N", "Data-parallel size: N replicas of the model.", read=_ranks)]
    ep: Annotated[
        int | str | None, _deployment("N", "Expert-parallel size: experts are split over N GPUs.", read=_ranks)
    ]
    dcp: Annotated[
        int | str | None,
        _deployment(
            "N", "Decode-context-parallel size: tokens are split over N of the tensor-parallel GPUs.", read=_ranks
        ),
    ]
    dp_attention: Annotated[bool, _deployment_switch("Replicas share the experts; each keeps its own caches.")]
    gpus: Annotated[int | str | None, _deployment("N", "The best legal deployment of at most N GPUs.", read=_ranks)]


class AllowPp(TypedDict, total=False):
    allow_pp: Annotated[
        bool,
        _deployment_switch("Also try pipeline stages where tensor parallelism alone is enough."),
    ]


class Spill(TypedDict, total=False):
    spill: Annotated[bool, _deployment_switch("Put cache that does not fit on the GPUs into host memory.")]


class Assumptions(TypedDict, total=False):
    assume: Annotated[
        Mapping[str, Any] | None,
        _of_model(
            "KEY=VALUE",
            "Value of a key that the imported file does not have; repeatable.",
            read=assumptions("KEY=VALUE (for example head_dim=128)"),
            repeatable=True,
        ),
    ]


class ModelNumbers(TypedDict, total=False):
    """A model without a file."""

    layers: Annotated[int | str | None, _of_model("N", "Layers.", read=count(MAX_LAYERS))]
    heads: Annotated[int | str | None, _of_model("N", "Query heads.", read=_dim)]
    kv_heads: Annotated[int | str | None, _of_model("N", "Key/value heads (as many as heads).", read=_dim)]
    head_dim: Annotated[int | str | None, _of_model("N", "Head dimension.", read=_dim)]
    v_head_dim: Annotated[int | str | None, _of_model("N", "Value head dimension (as head-dim).", read=_dim)]
    kv_lora_rank: Annotated[int | str | None, _of_model("N", "Rank of the KV latent (mla).", read=_dim)]
    qk_rope_head_dim: Annotated[int | str | None, _of_model("N", "Dimension of the rotary key (mla).", read=_dim)]
    window: Annotated[int | str | None, _of_model("N", "Sliding window of every layer.", read=count(MAX_CONTEXT))]


class ModelFields(TypedDict, total=False):
    parameters: Annotated[
        int | str | None,
        _of_model("N", "Number of parameters; also for a file that does not say.", read=count(MAX_PARAMETERS)),
    ]
    dtype: Annotated[
        str | None,
        _of_model(
            "F",
            "Format of computation; cache and weights default to it (bf16).",
            values=lambda: COMPUTE_FORMATS,
            read=word,
        ),
    ]


class HeldOptions(Batch, Context, MoreContext, WeightDtype, StateDtypes, Memory, total=False):
    """Of what a rank holds, but for the format of its cache."""


class DeployedOptions(
    EngineSettings,
    GpuChoice,
    GpuMemory,
    Utilization,
    NodeSize,
    Sizes,
    AllowPp,
    Spill,
    Assumptions,
    ModelNumbers,
    ModelFields,
    total=False,
):
    """Of where and how, but for the engine."""


class ScenarioOptions(CacheDtype, HeldOptions, EngineChoice, DeployedOptions, total=False):
    """Of one scenario: `make_scenario`, `estimate`."""


class CapacityOptions(ScenarioOptions, total=False):
    """Of `capacity`."""

    cache_memory: Annotated[
        int | str | None,
        _memory(
            "SIZE", "What one rank has for the cache; then accelerator, weights and the rest play no part.", read=size
        ),
    ]


class EnginesChoice(TypedDict, total=False):
    engine: Annotated[
        str | Sequence[str],
        _ENGINE._replace(
            help="Serving engine whose memory rules apply, NAME or NAME@VERSION, or several to compare: exact,vllm.",
            read=words,
            separators=",",
        ),
    ]


class CompareOptions(HeldOptions, EnginesChoice, DeployedOptions, total=False):
    """Of `compare`, which takes several formats and several engines."""

    cache_dtype: Annotated[
        str | Sequence[str] | None,
        _CACHE_DTYPE._replace(
            help="Format of the KV cache, or several to compare: bf16,fp8,q8_0 (the model's dtype).", read=words
        ),
    ]


class PlannedOptions(
    Context,
    MoreContext,
    CacheDtype,
    WeightDtype,
    StateDtypes,
    Memory,
    EngineChoice,
    EngineSettings,
    Utilization,
    AllowPp,
    Assumptions,
    ModelNumbers,
    ModelFields,
    total=False,
):
    """Of a scenario whose workload is sized, and whose deployment is looked for."""


class PlanOnly(TypedDict, total=False):
    """What `plan` looks for, and where."""

    batch: Annotated[int | str | None, _BATCH._replace(help=f"{_BATCH.help[:-1]} (1).", default=None)]
    tokens: Annotated[
        int | str | None,
        _workload("N", "Tokens held at the same time, in sequences of the context.", read=count(MAX_CONTEXT)),
    ]
    rps: Annotated[
        float | str | Fraction | None,
        _workload("R", "Requests a second: the batch is R x S (Little's law).", read=positive),
    ]
    latency: Annotated[float | str | Fraction | None, _workload("S", "Seconds that a request takes.", read=positive)]
    gpu: Annotated[
        Gpu | str | Sequence[Gpu | str],
        _GPU._replace(
            help="Accelerators to choose from, as A,B, or all; repeatable.",
            repeatable=True,
            values=_gpu_names_and_all,
            separators=",",
            read=accelerators,
        ),
    ]
    max_gpus: Annotated[
        int | str,
        _deployment("N", "At most N GPUs.", flags=("--max-gpus", "--gpus"), default=DEFAULT_MAX_GPUS, read=_ranks),
    ]
    spare: Annotated[
        int | str,
        _deployment("N", "Replicas to add to those that hold the workload.", default=0, read=count(MAX_RANKS, least=0)),
    ]
    prices: Annotated[
        Mapping[str, float | str | Fraction] | None,
        _deployment(
            "NAME=USD",
            "Price of one accelerator for an hour: the cheapest come first; repeatable.",
            flags=("--price",),
            read=pairs("NAME=USD_PER_HOUR (for example h100=2.99)"),
            repeatable=True,
            values=_gpu_names,
        ),
    ]
    tp: Annotated[int | str | None, _TP._replace(help="This tensor-parallel size only.")]
    pp: Annotated[int | str | None, _PP._replace(help="This number of pipeline stages only.")]
    limit: Annotated[int | str, Option("N", "Deployments to show.", default=10, read=count(MAX_LIMIT))]


class PlanOptions(PlanOnly, PlannedOptions, GpuMemory, NodeSize, total=False):
    """Of `plan`."""


class VerifiedOptions(
    Batch, Context, CacheDtype, StateDtypes, GpuMemory, Utilization, Memory, Assumptions, total=False
):
    """Of a scenario that is verified."""

    tp: Annotated[int | str | None, _TP._replace(help="Tensor-parallel size; under torchrun, a process for each rank.")]
    pp: Annotated[int | str | None, _PP]


class VerifyOptions(VerifiedOptions, total=False):
    """Of `verify`."""

    device: Annotated[
        str,
        _verify(
            "|".join(DEVICES),
            "Where to allocate: meta is shapes without memory; auto is a GPU where there is one, else cpu.",
            default="auto",
            values=lambda: DEVICES,
        ),
    ]
    decode: Annotated[
        bool,
        _verify(
            "", "Fill the cache by prefill and decode from it on the CPU too (slow); on CUDA always.", default=False
        ),
    ]
    skip_unsupported: Annotated[
        bool, _verify_switch("Leave the verdict alone for kinds of layers that cannot be verified.")
    ]
    boundary: Annotated[
        bool,
        _verify(
            "", "Find the most sequences that allocate beside the rest of a rank: one more must not.", default=False
        ),
    ]
