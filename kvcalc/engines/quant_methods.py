"""Quantised checkpoints under engines: methods and files that they do not load, and weights that they do not divide.

A method is what config.json names (quant_method). Read from the registries of vLLM 0.19.0, 0.29.0, 0.31.0, 0.32.0 and
0.33.0 and of SGLang 0.4.9, 0.5.12 and 0.5.23 (layers/quantization/__init__.py, QUANTIZATION_METHODS); a method that
some of them have is refused since the first of these versions from which on they lack it.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.errors import KvcalcError
from kvcalc.formats.weights import find_weight_format, is_of_bitsandbytes, is_of_llama_cpp, is_of_mlx

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvcalc.engines.setup import Setup
    from kvcalc.formats.element import ElementFormat

_BITSANDBYTES = "bitsandbytes"
_ALWAYS = (0,)
_NOWHERE = ("higgs", "metal", "eetq", "bitnet", "quanto", "spqr", "vptq")
"""In none of the registries."""


class Loaded(NamedTuple):
    """What an engine loads.

    Attributes:
        engine: its name.
        missing: methods, and the first version that lacks them.
        of_few_bits: the first version that has GPTQ of 4 and 8 bits alone.
        registry: its source.
        divides: the source of what it does not divide.
    """

    engine: str
    missing: Mapping[str, tuple[int, ...]]
    of_few_bits: tuple[int, ...]
    registry: str
    divides: str


VLLM = Loaded(
    "vllm",
    MappingProxyType({**dict.fromkeys(_NOWHERE, _ALWAYS), **dict.fromkeys(("hqq", "aqlm"), (0, 19))}),
    (0, 29),
    "vllm/model_executor/layers/quantization",
    "vllm/model_executor/model_loader/bitsandbytes_loader.py",
)
SGLANG = Loaded(
    "sglang",
    MappingProxyType(
        {
            **dict.fromkeys((*_NOWHERE, "hqq", "torchao", "fp_quant", "intel/auto-round"), _ALWAYS),
            "aqlm": (0, 5, 12),
            "fbgemm_fp8": (0, 5, 23),
        }
    ),
    (0, 5, 23),
    "sglang/srt/layers/quantization",
    "sglang/srt/model_loader/loader.py",
)
_FEW_BITS = ("int2", "int3", "q2_g4_s0", "q3_g8_s0")


def refuse_checkpoint(setup: Setup, version: tuple[int, ...], loaded: Loaded) -> None:
    """Refuses weights that the engine does not load, or not over these ranks.

    Raises:
        KvcalcError: of such a checkpoint.
    """
    asked, model, engine = setup.weight_format, setup.model, loaded.engine
    formats = [part.format for part in model.weights] if asked is None else [asked.name]
    method = None if asked is not None else model.quant_method
    if method is not None and version >= loaded.missing.get(method, (version[0] + 1,)):
        raise KvcalcError(
            f"--engine: {engine} loads no checkpoint that {method} has quantised ({loaded.registry}); --engine "
            "transformers or exact counts it, --weight-dtype FORMAT is of another checkpoint of the model"
        )
    refuse_mlx(setup, engine, loaded.registry)
    if version >= loaded.of_few_bits and any(each.startswith(_FEW_BITS) for each in formats):
        raise KvcalcError(
            f"--engine: {engine} loads weights of GPTQ in 4 and 8 bits alone ({loaded.registry}, TYPE_MAP); --engine "
            "transformers or exact counts others, --weight-dtype FORMAT is of another checkpoint of the model"
        )
    tp = setup.deployment.tp
    stored = asked is None and (model.quant_method == _BITSANDBYTES or any(map(is_of_bitsandbytes, formats)))
    if stored and tp > 1:
        raise KvcalcError(
            f"--tp: {engine} divides no weights that a checkpoint of bitsandbytes has quantised over {tp} ranks "
            f"({loaded.divides}, pre_quant); --pp N divides layers, and --weight-dtype nf4 is of a model that is "
            "quantised as it is loaded"
        )


def refuse_split_blocks(setup: Setup, refuses: str, source: str) -> None:
    """Refuses experts in fp8 that ranks divide within a block that shares a scale: Qwen3-30B-A3B-FP8 over four.

    Args:
        setup: the model and its deployment.
        refuses: which engine does, with its versions.
        source: its file.

    Raises:
        KvcalcError: of such a deployment.
    """
    deployment, width = setup.deployment, setup.model.moe_intermediate_size
    ranks = deployment.expert_ranks // deployment.ep
    if ranks == 1 or not width or setup.weight_format is not None:
        return
    experts = [part for part in setup.model.weights if part.split == "ep" and part.format == "fp8"]
    block = next((each for part in experts if width % (ranks * (each := part.weight_block_size or 1))), None)
    if block is not None:
        raise KvcalcError(
            f"--tp: {ranks} ranks divide the {width:,} columns of an expert within a block of {block} that shares a "
            f"scale, which {refuses} refuses ({source}, Fp8MoEMethod.create_weights); --ep {deployment.expert_ranks} "
            "keeps experts whole"
        )


def refuse_mlx(setup: Setup, engine: str, source: str) -> None:
    """Refuses weights of MLX's files.

    Raises:
        KvcalcError: of such weights.
    """
    if any(map(is_of_mlx, _formats(setup))):
        raise KvcalcError(
            f"--engine: {engine} loads no weights in MLX's formats ({source}); --engine mlx counts them, "
            "--weight-dtype FORMAT is of another checkpoint of the model"
        )


def refuse_files(setup: Setup, engine: str, source: str) -> None:
    """Refuses weights of MLX's and of llama.cpp's files.

    Raises:
        KvcalcError: of such weights.
    """
    refuse_mlx(setup, engine, source)
    if any(map(is_of_llama_cpp, _formats(setup))):
        raise KvcalcError(
            f"--engine: {engine} loads no files of llama.cpp ({source}); --engine llama-cpp counts them, "
            "--weight-dtype FORMAT is of another checkpoint of the model"
        )


def refuse_but(setup: Setup, engine: str, methods: frozenset[str], source: str) -> None:
    """Refuses what others than those methods have quantised, and weights of MLX's and of llama.cpp's files.

    Raises:
        KvcalcError: of such a checkpoint.
    """
    refuse_files(setup, engine, source)
    method = None if setup.weight_format is not None else setup.model.quant_method
    if method is not None and method not in methods:
        raise KvcalcError(
            f"--engine: {engine} loads no checkpoint that {method} has quantised ({source}); --engine transformers or "
            "exact counts it, --weight-dtype FORMAT is of another checkpoint of the model"
        )


def _formats(setup: Setup) -> Iterator[ElementFormat]:
    asked = setup.weight_format
    if asked is not None:
        return iter((asked,))
    return (find_weight_format(part.format, "format") for part in setup.model.weights)
