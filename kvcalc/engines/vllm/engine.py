"""The engine `vllm`."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, ClassVar

from kvcalc.engines.base import Engine
from kvcalc.engines.option import Option, Rule
from kvcalc.engines.option_values import AUTO
from kvcalc.engines.setup import Setup
from kvcalc.engines.vllm.cache.pooled import pools
from kvcalc.engines.vllm.cache.turboquant import with_boundary
from kvcalc.engines.vllm.classes import refuse_stages, refuse_without_class
from kvcalc.engines.vllm.defaults import UTILIZATION_92, VERSIONS
from kvcalc.engines.vllm.loaded.lora import as_vllm_has
from kvcalc.engines.vllm.loaded.stage_tables import check_tables
from kvcalc.engines.vllm.loaded.weights import TOWERS_LEFT_OUT, TOWERS_ON_FIRST_STAGE, divides_towers, has_whole_towers
from kvcalc.engines.vllm.longest import made_of_longest
from kvcalc.engines.vllm.model_types import MIMO_V2, UNUSED_LEFT_OUT
from kvcalc.engines.vllm.options import DSPARK, GIVEN_ELSEWHERE, OPTIONS
from kvcalc.engines.vllm.profiled.budget import usable_bytes
from kvcalc.engines.vllm.rules import MEMORY_RULES, RULES, WEIGHT_RULES
from kvcalc.engines.vllm.served import refuse_unserved
from kvcalc.engines.vllm.settings import parse_version, settings_of
from kvcalc.engines.vllm.settled import SettledVllm
from kvcalc.errors import KvcalcError
from kvcalc.mechanisms import Compressed, ShortConv
from kvcalc.model.towers import text_model
from kvcalc.noun import noun

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from kvcalc.deployment import Deployment
    from kvcalc.engines.lora import Lora
    from kvcalc.gpu import Gpu
    from kvcalc.mechanisms import Mechanism
    from kvcalc.model.model import Model


@noun
class Vllm(Engine):
    """vLLM."""

    name: ClassVar[str] = "vllm"
    versions: ClassVar[tuple[str, ...]] = VERSIONS
    about: ClassVar[str] = (
        "Puts layers that keep alike into groups with one block table each, and gives every rank one pool of blocks, "
        "as many as the smallest rank has. A sequence takes whole blocks of every group, and a block takes as many "
        "bytes as the widest group needs. Layers with windows keep the tokens in flight and a block more."
    )
    formula: ClassVar[str] = "bytes of a block x (1 + sequences x sum over groups of ceil(tokens kept / block-size))"
    source: ClassVar[str] = "vLLM, vllm/v1/kv_cache_interface.py and vllm/v1/core/kv_cache_utils.py"
    options: ClassVar[Mapping[str, Option]] = OPTIONS
    given_elsewhere: ClassVar[Mapping[str, str]] = GIVEN_ELSEWHERE
    rules: ClassVar[tuple[Rule, ...]] = (*RULES, *WEIGHT_RULES, *MEMORY_RULES)
    block_option: ClassVar[str | None] = "block-size"
    drafts: ClassVar[bool] = True
    drafting_option: ClassVar[str | None] = "num-speculative-tokens"
    adapters_left_out: ClassVar[str | None] = "CUDA graphs with LoRA adapters (as many again)"
    """cudagraph_specialize_lora of vllm/config/compilation.py; vllm/v1/cudagraph_dispatcher.py, _get_lora_cases."""

    def default_utilization(self, gpu: Gpu) -> Fraction:  # noqa: ARG002  # the same on every card
        """gpu_memory_utilization of vllm/config/cache.py."""
        return Fraction(92 if parse_version(self.version or VERSIONS[-1]) >= UTILIZATION_92 else 90, 100)

    def divides_towers(self, model: Model, deployment: Deployment) -> bool:
        return divides_towers(model, deployment, parse_version(self.version or self.versions[-1]))

    def copies_towers_on_first_stage(self, model: Model) -> bool:
        version = parse_version(self.version or self.versions[-1])
        return version >= TOWERS_ON_FIRST_STAGE and has_whole_towers(model, version)

    def loads_unused(self, model: Model) -> bool:
        """Not in later versions (UNUSED_LEFT_OUT)."""
        since = UNUSED_LEFT_OUT.get(model.model_type or "")
        return since is None or parse_version(self.version or self.versions[-1]) < since

    def as_loaded(self, model: Model) -> Model:
        """In bf16 where it is published in fp32, and in fp16, which is as many bytes, on cards before capability 8.0.

        vllm/config/model.py, _resolve_auto_dtype.
        """
        if model.dtype != "fp32" or model.weights or model.weight_dtype not in {None, "fp32"}:
            return model
        return replace(model, dtype="bf16", weight_dtype=None)

    def parts_loaded(self, model: Model) -> Model:
        """The text model alone, where it is told so."""
        if not self.option("language-model-only") or not model.has_towers:
            return model
        version = parse_version(self.version or VERSIONS[-1])
        if version < TOWERS_LEFT_OUT:
            since = ".".join(map(str, TOWERS_LEFT_OUT))
            raise KvcalcError(
                f"--engine-option: language-model-only: vllm loads towers before {since}; leave it out, or --engine "
                f"vllm@{since}.0"
            )
        return text_model(model)

    def places_parts_of(self, mechanism: Mechanism) -> bool:
        chosen = getattr(mechanism, "index_block_size", None) is not None
        return chosen or isinstance(mechanism, Compressed) or pools(mechanism) or isinstance(mechanism, ShortConv)

    def mtp_layers_loaded(self, model: Model) -> int | None:
        """One of MiMo-V2's three (vllm/model_executor/models/mimo_v2_mtp.py, num_mtp_layers)."""
        return 1 if model.model_type in MIMO_V2 else None

    def own_draft(self, model: Model) -> Model | None:
        """Nothing where tokens are drafted from the text itself."""
        method = self.option("speculative-method")
        if method == DSPARK:
            from kvcalc.model.dspark import dspark_model  # only where it drafts

            return dspark_model(model)
        return super().own_draft(model) if method == AUTO else None

    def adapters(self, asked: Lora, model: Model) -> Lora:
        return as_vllm_has(asked, model, parse_version(self.version or VERSIONS[-1]))

    def made_of_longest(self, setup: Setup) -> Hashable:
        return made_of_longest(setup, settings_of(self, setup))

    def most_usable(self, setup: Setup) -> int | None:
        """The memory requested."""
        stated = self.option("kv-cache-memory-bytes")
        return usable_bytes(setup, parse_version(self.version or VERSIONS[-1]), stated)

    def settle(self, setup: Setup) -> SettledVllm:
        hybrid_manager = not self.option("disable-hybrid-kv-cache-manager")
        if not self.ran:
            refuse_without_class(setup.model, self.asked_version or self.version or VERSIONS[-1])
            refuse_stages(setup.model, parse_version(self.version or VERSIONS[-1]), setup.deployment.pp)
        check_tables(setup.model, setup.deployment.pp)
        refuse_unserved(setup, parse_version(self.version or VERSIONS[-1]), hybrid_manager=hybrid_manager)
        setup = with_boundary(setup, parse_version(self.version or VERSIONS[-1]))
        return SettledVllm(setup, settings_of(self, setup))
