"""The engine `tensorrt-llm`."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from kvcalc.engines.base import Engine
from kvcalc.engines.option import Option, Rule
from kvcalc.engines.quant_methods import refuse_files
from kvcalc.engines.setup import Setup
from kvcalc.engines.shared_memory import refuse_shared_memory
from kvcalc.engines.tensorrt_llm.layout import TensorrtLayout
from kvcalc.engines.tensorrt_llm.rules import MANAGER, RULES, UTIL
from kvcalc.errors import KvcalcError
from kvcalc.mechanisms import GQA, MHA, MLA, MQA
from kvcalc.noun import noun
from kvcalc.units import parse_count, parse_fraction

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping
    from fractions import Fraction

    from kvcalc.engines.cache_format import CacheFormat

LLM_ARGS = "tensorrt_llm/llmapi/llm_args.py, KvCacheConfig"
BLOCK_ARRAY = "cpp/tensorrt_llm/kernels/kvCacheUtils.h, KVBlockArrayForContextFMHA: tokensPerBlock must be power of 2"
HEADS_IN_NVFP4 = (
    "cpp/tensorrt_llm/kernels/unfusedAttentionKernels/unfusedAttentionKernels_2_template.h, "
    "invokeApplyBiasRopeUpdateKVCacheDispatch"
)
MOST_BLOCK = 10**6
MOST_DRAFTED = 1000
FORMATS = ("fp16", "bf16", "fp32", "fp8", "nvfp4")
"""resource_manager.py, get_cache_bytes_per_token."""


def _power_of_two(text: str, what: str) -> int:
    """Tokens of a block, as the kernels' offsets need them."""
    tokens = parse_count(text, what, MOST_BLOCK, 1)
    if tokens & (tokens - 1):
        least = 1 << tokens.bit_length() - 1
        raise KvcalcError(
            f"{what}: {tokens:,} is no power of two, which tensorrt-llm needs ({BLOCK_ARRAY}); {least:,} or "
            f"{2 * least:,} is"
        )
    return tokens


@noun
class TensorrtLlm(Engine):
    """TensorRT-LLM, its PyTorch backend."""

    name: ClassVar[str] = "tensorrt-llm"
    versions: ClassVar[tuple[str, ...]] = ("1.1",)
    about: ClassVar[str] = (
        "Has one pool of blocks on every rank, all with as many as the fullest rank has. Windows keep every token. The "
        "cache gets a share of what a profiling run leaves free, not of the card. Models with states, of an encoder's "
        "tokens, with an indexer, with layers that share a cache or that differ in head_dim are refused: kvcalc does "
        "not follow those. Its rules were read; the tokens of two public logs follow from the memory that they print."
    )
    formula: ClassVar[str] = (
        "tokens = ceil(floor(free-gpu-memory-fraction x (memory - weights - peak) / (2 x ceil(Hkv / tp) x head_dim x "
        "layers x bytes of an element)) / tokens-per-block) x tokens-per-block"
    )
    source: ClassVar[str] = f"TensorRT-LLM, {MANAGER} and {UTIL}"
    options: ClassVar[Mapping[str, Option]] = MappingProxyType(
        {
            "tokens-per-block": Option(
                _power_of_two, "32", "Tokens of a block, a power of two.", source=f"{LLM_ARGS}; {BLOCK_ARRAY}"
            ),
            "free-gpu-memory-fraction": Option(
                parse_fraction,
                "0.9",
                "Share of the memory that is free after the peak, for the cache.",
                source=LLM_ARGS,
            ),
            "max-draft-len": Option(
                lambda text, what: parse_count(text, what, MOST_DRAFTED, 0),
                "0",
                "Tokens that are drafted a step; layers of the model's own have a cache for each of them.",
                source="tensorrt_llm/llmapi/llm_args.py, MTPDecodingConfig, DraftTargetDecodingConfig",
            ),
        }
    )
    drafting_option: ClassVar[str | None] = "max-draft-len"
    given_elsewhere: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "tensor-parallel-size": "--tp",
            "tp-size": "--tp",
            "pipeline-parallel-size": "--pp",
            "pp-size": "--pp",
            "moe-expert-parallel-size": "--ep",
            "ep-size": "--ep",
            "enable-attention-dp": "--dp-attention",
            "max-seq-len": "--context",
            "dtype": "--cache-dtype (of the cache), --dtype (of computing)",
        }
    )
    rules: ClassVar[tuple[Rule, ...]] = RULES
    block_option: ClassVar[str | None] = "tokens-per-block"
    utilization: ClassVar[Fraction | None] = None
    spreads_by: ClassVar[frozenset[str]] = frozenset({"tp", "pp", "ep", "dp_attention"})
    drafts: ClassVar[bool] = True

    def made_of_longest(self, setup: Setup) -> Hashable:  # noqa: ARG002  # the interface's
        return None

    def settle(self, setup: Setup) -> TensorrtLayout:
        _refuse_unserved(setup)
        if setup.draft is not None:
            _refuse_unserved(setup.draft)
        drafted = self.option("max-draft-len")
        return TensorrtLayout(setup, self.option("tokens-per-block"), self.option("free-gpu-memory-fraction"), drafted)


def _refuse_unserved(setup: Setup) -> None:
    """Refuses what is not known.

    Raises:
        KvcalcError: the model, its deployment or the format.
    """
    vendor, deployment = setup.gpu.vendor, setup.deployment
    if vendor not in (None, "NVIDIA"):
        raise KvcalcError(
            f"--gpu: {setup.gpu.name}: tensorrt-llm runs on cards of NVIDIA only; --engine exact counts any"
        )
    if deployment.dcp > 1:
        raise KvcalcError(
            "--dcp: kvcalc does not follow how tensorrt-llm shares the tokens of a sequence; leave it out"
        )
    if deployment.dp_attention and deployment.tp > 1:
        raise KvcalcError("--dp-attention: under tensorrt-llm each rank is a replica of its own; leave out --tp")
    refuse_shared_memory(setup.gpu, "tensorrt-llm")
    refuse_files(setup, "tensorrt-llm", "tensorrt_llm/quantization/mode.py, QuantAlgo")
    widths = set()
    for layer in setup.model.layout.kinds:
        each = layer.attention
        if not isinstance(each, MHA | GQA | MQA | MLA):
            raise KvcalcError(
                f"--engine tensorrt-llm: kvcalc does not follow what it keeps of layers of kind '{each.kind}' "
                f"({each.label}); --engine exact counts them"
            )
        if isinstance(each, MLA) and each.index_topk is not None:
            raise KvcalcError(
                "--engine tensorrt-llm: kvcalc does not follow its sparse latents with an indexer; --engine exact "
                "counts them"
            )
        if layer.cache_dtype is not None:
            raise KvcalcError("--engine: tensorrt-llm keeps no layers of one model in a format of their own")
        widths |= {(isinstance(each, MLA), tensor.head_elements) for tensor in each.cached()}
    if len({width for latent, width in widths if not latent}) > 1:
        raise KvcalcError(
            "--engine tensorrt-llm: kvcalc does not follow how it keeps heads that differ in width, between layers or "
            "between keys and values; --engine exact counts them"
        )
    _check_format(setup.cache_format, {width for latent, width in widths if not latent})


def _check_format(asked: CacheFormat, widths: set[int]) -> None:
    """Whether it keeps heads of these widths in the format."""
    if asked.tensors or asked.default.name not in FORMATS:
        raise KvcalcError(f"--cache-dtype: tensorrt-llm keeps a cache in {', '.join(FORMATS)}, not '{asked.name}'")
    odd = [width for width in widths if width & (width - 1)]
    if asked.default.name == "nvfp4" and odd:
        raise KvcalcError(
            f"--cache-dtype: tensorrt-llm keeps heads in nvfp4 whose width is a power of two, not {odd[0]} "
            f"({HEADS_IN_NVFP4}); give fp8"
        )
