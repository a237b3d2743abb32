"""The options that describe a scenario: each stands here once, and commands name those that they take.

Annotations are evaluated here, not kept as text: typer reads them at every start, and text takes it twice as long.
"""

from collections.abc import Callable, Iterable
from inspect import Parameter, Signature, signature
from types import MappingProxyType
from typing import Annotated, Any, TypeVar

import typer

from kvcalc.cli.options import flag, option
from kvcalc.render import Format
from kvcalc.scenario.make import DEFAULT_GPU

Command = TypeVar("Command", bound=Callable[..., None])

_AD_HOC = "A model without a file"
_IMPORTED = "A model of another format"
_WORKLOAD = "Workload"
_MEMORY = "Memory"
_DEPLOYMENT = "Deployment"


def _text(*flags: str, metavar: str, text: str, panel: str | None, default: str | None = None) -> Parameter:
    kind: Any = str if default is not None else str | None
    return _parameter(Annotated[kind, option(*flags, metavar=metavar, text=text, panel=panel)], default)


def _list(name: str, *, metavar: str, text: str, panel: str) -> Parameter:
    return _parameter(Annotated[list[str] | None, option(name, metavar=metavar, text=text, panel=panel)], None)


def _flag(name: str, text: str, panel: str | None) -> Parameter:
    return _parameter(Annotated[bool, flag(name, text, panel)], default=False)


def _parameter(annotation: Any, default: Any) -> Parameter:
    return Parameter("_", Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


OPTIONS = MappingProxyType(
    {
        "batch": _text(
            "-b", "--batch", panel=_WORKLOAD, metavar="N", text="Sequences, over all replicas.", default="1"
        ),
        "context": _text(
            "-c",
            "--context",
            panel=_WORKLOAD,
            metavar="N",
            text="Tokens of each sequence, as 8192, 131_072, 128Ki, 1e6 or max (8192, or the model's limit).",
        ),
        "input_tokens": _text("--input", panel=_WORKLOAD, metavar="N", text="Prompt tokens: context is N + M."),
        "output_tokens": _text("--output", panel=_WORKLOAD, metavar="M", text="Generated tokens: context is N + M."),
        "shared_prefix": _text(
            "--shared-prefix",
            panel=_WORKLOAD,
            metavar="N",
            text="First tokens of the context that all sequences of a replica share: kept once.",
        ),
        "cache_dtype": _text(
            "--cache-dtype", panel=_MEMORY, metavar="F", text="Format of the cache: fp8, or k=q8_0,v=q4_0."
        ),
        "weight_dtype": _text("--weight-dtype", panel=_MEMORY, metavar="F", text="Format of the weights."),
        "state_dtype": _text("--state-dtype", panel=_MEMORY, metavar="F", text="Format of recurrent states."),
        "conv_dtype": _text("--conv-dtype", panel=_MEMORY, metavar="F", text="Format of convolution states."),
        "weights": _text("--weights", panel=_MEMORY, metavar="SIZE", text="Weights of one replica."),
        "temporary": _text("--temporary", panel=_MEMORY, metavar="SIZE", text="Temporary memory of one rank."),
        "overhead": _text("--overhead", panel=_MEMORY, metavar="SIZE", text="Overhead of one rank."),
        "reserve": _list(
            "--reserve", panel=_MEMORY, metavar="NAME=SIZE", text="A further row of one rank; repeatable."
        ),
        "engine": _text("--engine", panel=_MEMORY, metavar="NAME", text="How the cache is counted.", default="exact"),
        "engine_option": _list(
            "--engine-option",
            panel=_MEMORY,
            metavar="KEY=VALUE",
            text="An option of the engine, as it names it; repeatable.",
        ),
        "block_size": _text(
            "--block-size", panel=_MEMORY, metavar="N", text="Tokens of a block, in engines that have blocks."
        ),
        "gpu": _text(
            "--gpu", panel=_DEPLOYMENT, metavar="NAME", text="Accelerator (kvcalc gpus list).", default=DEFAULT_GPU
        ),
        "gpu_memory": _text(
            "--gpu-memory", panel=_DEPLOYMENT, metavar="SIZE", text="Its memory, as its runtime reports."
        ),
        "utilization": _text(
            "--utilization", panel=_DEPLOYMENT, metavar="X", text="Share of it that may be used.", default="0.92"
        ),
        "tp": _text("--tp", panel=_DEPLOYMENT, metavar="N", text="Tensor-parallel ranks."),
        "pp": _text("--pp", panel=_DEPLOYMENT, metavar="N", text="Pipeline stages."),
        "dp": _text("--dp", panel=_DEPLOYMENT, metavar="N", text="Replicas."),
        "ep": _text("--ep", panel=_DEPLOYMENT, metavar="N", text="Parts into which the experts fall."),
        "dcp": _text(
            "--dcp",
            panel=_DEPLOYMENT,
            metavar="N",
            text="Ranks, among the tp, that share the tokens of a sequence.",
        ),
        "dp_attention": _flag("--dp-attention", "Replicas share the experts; each has its own caches.", _DEPLOYMENT),
        "gpus": _text("--gpus", panel=_DEPLOYMENT, metavar="N", text="The best legal deployment of at most N GPUs."),
        "node_size": _text(
            "--node-size",
            panel=_DEPLOYMENT,
            metavar="N",
            text="GPUs that tensor parallelism may span (the accelerator's own).",
        ),
        "allow_pp": _flag(
            "--allow-pp",
            "Let the smallest deployment use pipeline stages where tensor parallelism is enough.",
            _DEPLOYMENT,
        ),
        "spill": _flag("--spill", "Keep cache that has no room in the host's memory.", _DEPLOYMENT),
        "assume": _list(
            "--assume",
            panel=_IMPORTED,
            metavar="KEY=VALUE",
            text="Decide what an imported file does not say, by its own key; repeatable.",
        ),
        "layers": _text("--layers", panel=_AD_HOC, metavar="N", text="Layers."),
        "heads": _text("--heads", panel=_AD_HOC, metavar="N", text="Query heads."),
        "kv_heads": _text("--kv-heads", panel=_AD_HOC, metavar="N", text="KV heads (as many as heads)."),
        "head_dim": _text("--head-dim", panel=_AD_HOC, metavar="N", text="Elements of a head."),
        "v_head_dim": _text("--v-head-dim", panel=_AD_HOC, metavar="N", text="Elements of a value (as head-dim)."),
        "kv_lora_rank": _text("--kv-lora-rank", panel=_AD_HOC, metavar="N", text="Latent elements (mla)."),
        "qk_rope_head_dim": _text("--qk-rope-head-dim", panel=_AD_HOC, metavar="N", text="Rotary key elements (mla)."),
        "window": _text("--window", panel=_AD_HOC, metavar="N", text="Sliding window of every layer."),
        "parameters": _text(
            "--parameters", panel=_AD_HOC, metavar="N", text="Parameters; also where a file lacks them."
        ),
        "dtype": _text(
            "--dtype",
            panel=_AD_HOC,
            metavar="F",
            text="Format of computing, to which cache and weights default (bf16).",
        ),
        "how": _text("--format", metavar="|".join(Format), text="How to print the result (table).", panel=None),
        "json": _flag("--json", "Short for --format json.", None),
        "output_file": _text(
            "-o", "--output-file", metavar="FILE", text="Write to FILE instead; - is stdout.", panel=None
        ),
        "unit": _text(
            "--unit", metavar="UNIT", text="Unit of sizes on the screen: GiB, GB, MiB, B ...", panel=None, default="GiB"
        ),
        "explain": _flag("--explain", "Print the tree of terms with its formulas.", None),
    }
)

WORKLOAD = ("batch", "context", "input_tokens", "output_tokens", "shared_prefix")
FORMATS = ("cache_dtype", "weight_dtype", "state_dtype", "conv_dtype")
MEMORY = ("weights", "temporary", "overhead", "reserve")
ENGINE = ("engine", "engine_option", "block_size")
GPU = ("gpu", "gpu_memory", "utilization", "node_size")
DEPLOYMENT = ("tp", "pp", "dp", "ep", "dcp", "dp_attention", "gpus", "allow_pp")
NUMBERS = ("layers", "heads", "kv_heads", "head_dim", "v_head_dim", "kv_lora_rank", "qk_rope_head_dim", "window")
AD_HOC = ("assume", *NUMBERS, "parameters", "dtype")
OUTPUT = ("how", "json", "output_file", "unit")

MODEL_HELP = "A name or hub id of the catalogue, a YAML file, a config.json or its folder, a .gguf, or hf:ORG/NAME."
ModelArgument = Annotated[str | None, typer.Argument(metavar="MODEL", help=MODEL_HELP)]


def takes(names: Iterable[str]) -> Callable[[Command], Command]:
    """Give a command the named options: they reach it as keywords beside its own parameters."""
    shared = [OPTIONS[name].replace(name=name) for name in names]

    def with_options(command: Command) -> Command:
        own = [each for each in signature(command).parameters.values() if each.kind is not Parameter.VAR_KEYWORD]
        vars(command)["__signature__"] = Signature([*own, *shared])
        return command

    return with_options
