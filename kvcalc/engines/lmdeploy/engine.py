"""The engine `lmdeploy`."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from kvcalc.engines.base import Engine
from kvcalc.engines.lmdeploy.layout import LmdeployLayout
from kvcalc.engines.lmdeploy.options import GIVEN_ELSEWHERE, OPTIONS, settings_of
from kvcalc.engines.lmdeploy.rules import BLOCK, RULES, TURBOMIND
from kvcalc.engines.option import Option, Rule
from kvcalc.engines.quant_methods import refuse_but
from kvcalc.engines.setup import Setup
from kvcalc.engines.shared_memory import refuse_shared_memory
from kvcalc.errors import KvcalcError
from kvcalc.formats.by_name import find_format
from kvcalc.mechanisms import GQA, MHA, MLA, MQA
from kvcalc.noun import noun

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping
    from fractions import Fraction

    from kvcalc.engines.cache_format import CacheFormat
    from kvcalc.engines.lmdeploy.options import Settings
    from kvcalc.model.layers import Layer

LATENT_WIDTH = 576
BYTES_OF_COMPUTING = 2
OLDEST = (7, 0)
CARDS = "src/turbomind/kernels/attention/arch.h"
OF_TURBOMIND = "0.16"
"""The version whose core was read. Later wheels have it compiled; their pytorch backend is Python, and was read."""
NOT_FOLLOWED, EXACT = "--engine lmdeploy: kvcalc does not follow", "--engine exact counts them"


@noun
class Lmdeploy(Engine):
    """LMDeploy: its TurboMind backend, and its PyTorch backend as far as its rules are alike."""

    name: ClassVar[str] = "lmdeploy"
    versions: ClassVar[tuple[str, ...]] = ("0.16", "0.17", "0.18")
    usual_version: ClassVar[str | None] = OF_TURBOMIND
    about: ClassVar[str] = (
        "Has one pool of blocks on every rank, with a share of what the weights leave free: activations have the rest. "
        "Windows keep every token. Models with states, of an encoder's tokens, with an indexer, with layers that share "
        "a cache or that differ in their heads are refused: kvcalc does not follow those. Its rules were read "
        "(those of its pytorch backend up to 0.18), and no log of it is known; that it has a class for the model is "
        "not checked."
    )
    formula: ClassVar[str] = (
        "tokens = cache-block-seq-len x floor(cache-max-entry-count x (memory - weights - context) / slab) x "
        "floor(slab / (cache-block-seq-len x 2 x max(1, Hkv / tp) x head_dim x layers x bytes of an element))"
    )
    source: ClassVar[str] = f"LMDeploy, {TURBOMIND}; {BLOCK}"
    options: ClassVar[Mapping[str, Option]] = OPTIONS
    given_elsewhere: ClassVar[Mapping[str, str]] = GIVEN_ELSEWHERE
    rules: ClassVar[tuple[Rule, ...]] = RULES
    block_option: ClassVar[str | None] = "cache-block-seq-len"
    utilization: ClassVar[Fraction | None] = None
    spreads_by: ClassVar[frozenset[str]] = frozenset({"tp", "ep"})

    def made_of_longest(self, setup: Setup) -> Hashable:  # noqa: ARG002  # the interface's
        return None

    def settle(self, setup: Setup) -> LmdeployLayout:
        settings = settings_of(self, setup.gpu)
        if settings.turbomind and (self.version or OF_TURBOMIND) != OF_TURBOMIND:
            raise KvcalcError(
                f"--engine: kvcalc read the core of LMDeploy's TurboMind in {OF_TURBOMIND}, and later wheels have it "
                f"compiled; --engine lmdeploy@{OF_TURBOMIND}, or --engine-option backend=pytorch"
            )
        _check_deployment(self, setup)
        layers = tuple(setup.model.layout.kinds)
        _check_layers(layers, settings)
        if not settings.turbomind and setup.model.vocab_size is None:
            raise KvcalcError(
                "--engine-option backend=pytorch: leaves room for logits, and the model's file has no vocab_size"
            )
        return LmdeployLayout(setup, settings, _kept_format(setup, settings, layers))


METHODS = frozenset({"awq", "gptq", "fp8", "mxfp4", "compressed-tensors", "smooth_quant"})
LOADED = "lmdeploy/turbomind/converter.py and lmdeploy/pytorch/config.py"
"""What either of its backends loads (0.18.0)."""


def _check_deployment(engine: Engine, setup: Setup) -> None:
    """Refuses what is not followed."""
    vendor, deployment = setup.gpu.vendor, setup.deployment
    if vendor not in (None, "NVIDIA"):
        raise KvcalcError(
            f"--gpu: {setup.gpu.name}: kvcalc follows LMDeploy on cards of NVIDIA only; --engine exact counts any"
        )
    if (setup.gpu.compute_capability or OLDEST) < OLDEST:
        raise KvcalcError(
            f"--gpu: LMDeploy runs on cards from Volta (sm70) on, and {setup.gpu.name} is older ({CARDS})"
        )
    refuse_shared_memory(setup.gpu, "LMDeploy")
    refuse_but(setup, "LMDeploy", METHODS, LOADED)
    if (option := engine.size_refused(deployment)) is not None:
        raise KvcalcError(
            f"{option}: kvcalc counts LMDeploy with all layers and whole sequences on a rank; give --tp, or --dp"
        )


def _check_layers(layers: tuple[Layer, ...], settings: Settings) -> None:
    """Refuses layers whose cache is not followed."""
    shapes = set()
    for layer in layers:
        each = layer.attention
        if not isinstance(each, MHA | GQA | MQA | MLA):
            raise KvcalcError(f"{NOT_FOLLOWED} what it keeps of layers of kind '{each.kind}' ({each.label}); {EXACT}")
        if isinstance(each, MLA):
            if each.index_topk is not None:
                raise KvcalcError(f"{NOT_FOLLOWED} its sparse latents with an indexer; {EXACT}")
            if not settings.turbomind:
                raise KvcalcError(f"{NOT_FOLLOWED} the latents of its pytorch backend; {EXACT}")
            if each.kv_lora_rank + each.qk_rope_head_dim != LATENT_WIDTH:
                raise KvcalcError(f"{NOT_FOLLOWED} latents that are not {LATENT_WIDTH} wide; {EXACT}")
        if layer.cache_dtype is not None:
            raise KvcalcError(f"{NOT_FOLLOWED} layers of one model in a format of their own; {EXACT}")
        shapes |= {(tensor.heads, tensor.head_elements) for tensor in each.cached()}
    if len(shapes) > 1 and not any(isinstance(layer.attention, MLA) for layer in layers):
        raise KvcalcError(f"{NOT_FOLLOWED} heads that differ, between layers or between keys and values; {EXACT}")
    if not settings.turbomind and layers and all(layer.span is not None for layer in layers):
        raise KvcalcError(f"{NOT_FOLLOWED} the windows of all layers in its pytorch backend; {EXACT}")


def _kept_format(setup: Setup, settings: Settings, layers: tuple[Layer, ...]) -> CacheFormat:
    """As computed, or quantised."""
    asked, computing = setup.cache_format, setup.cache_format.computing
    given = {asked.default.name, *(each.name for _, each in asked.tensors)}
    if setup.cache_format_given and given != {computing.name}:
        raise KvcalcError(
            f"--cache-dtype: LMDeploy keeps the cache in the format of computing, {computing.name} (--dtype sets it), "
            "or quantised: --engine-option quant-policy=8 or 4"
        )
    if computing.block_bytes != BYTES_OF_COMPUTING:
        raise KvcalcError(f"--dtype: LMDeploy computes in fp16 or bf16, not {computing.name}")
    if settings.kept_in is None:
        return asked._replace(name=computing.name, default=computing, tensors=())
    if any(isinstance(layer.attention, MLA) for layer in layers):
        raise KvcalcError("--engine-option quant-policy: kvcalc does not follow LMDeploy's quantised latents; give 0")
    kept_in = find_format(settings.kept_in, "quant-policy")
    return asked._replace(name=kept_in.name, default=kept_in, tensors=())
