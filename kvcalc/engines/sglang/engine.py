"""The engine `sglang`."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from kvcalc.engines.base import Engine
from kvcalc.engines.option import Option, Rule
from kvcalc.engines.setup import Setup
from kvcalc.engines.sglang.budget import left_free
from kvcalc.engines.sglang.defaults import VERSIONS, parse_version
from kvcalc.engines.sglang.drafting import refuse_draft
from kvcalc.engines.sglang.lora import as_sglang_has
from kvcalc.engines.sglang.model_types import DIVIDED_TOWERS
from kvcalc.engines.sglang.options import GIVEN_ELSEWHERE, OPTIONS
from kvcalc.engines.sglang.rules import RULES
from kvcalc.engines.sglang.served import refuse_unserved
from kvcalc.engines.sglang.settings import settings_of
from kvcalc.engines.sglang.settled import SettledSglang
from kvcalc.engines.sglang.state_slots import refuse_strategy
from kvcalc.errors import KvcalcError
from kvcalc.mechanisms import Compressed
from kvcalc.noun import noun

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping
    from fractions import Fraction

    from kvcalc.deployment import Deployment
    from kvcalc.engines.lora import Lora
    from kvcalc.mechanisms import Mechanism
    from kvcalc.model.model import Model


@noun
class Sglang(Engine):
    """SGLang."""

    name: ClassVar[str] = "sglang"
    versions: ClassVar[tuple[str, ...]] = VERSIONS
    about: ClassVar[str] = (
        "Has one pool of tokens on every rank, shared by all sequences, with a page more for padding. Windows of some "
        "models have a pool of their own, a fixed share of the other's tokens; other windows keep every token. States "
        "have slots, whose memory stands in a fixed ratio to the pool's. Layers that share a cache have rows all the "
        "same. Nothing is profiled: what mem-fraction-static leaves free must do for activations and CUDA graphs."
    )
    formula: ClassVar[str] = (
        "max_total_num_tokens = floor((mem-fraction-static x free before loading - weights) / (bytes of a token in "
        "full layers + swa-full-tokens-ratio x in windows)), rounded down to pages"
    )
    source: ClassVar[str] = (
        "SGLang, sglang/srt/model_executor/pool_configurator.py and sglang/srt/mem_cache/kv_cache_configurator.py"
    )
    options: ClassVar[Mapping[str, Option]] = OPTIONS
    given_elsewhere: ClassVar[Mapping[str, str]] = GIVEN_ELSEWHERE
    rules: ClassVar[tuple[Rule, ...]] = RULES
    block_option: ClassVar[str | None] = "page-size"
    utilization: ClassVar[Fraction | None] = None
    spreads_by: ClassVar[frozenset[str]] = frozenset({"tp", "pp", "ep", "dp_attention"})
    drafts: ClassVar[bool] = True

    def places_parts_of(self, mechanism: Mechanism) -> bool:
        return isinstance(mechanism, Compressed)

    def divides_towers(self, model: Model, deployment: Deployment) -> bool:
        return deployment.tp > 1 and model.model_type in DIVIDED_TOWERS

    def adapters(self, asked: Lora, model: Model) -> Lora:
        return as_sglang_has(asked, model)

    def most_usable(self, setup: Setup) -> int | None:
        """All but what mem-fraction-static leaves free."""
        try:
            settings = settings_of(self, setup)
        except KvcalcError:
            return 0
        return None if setup.gpu.memory_bytes is None else setup.gpu.memory_bytes - left_free(setup.gpu, settings)

    def made_of_longest(self, setup: Setup) -> Hashable:
        """Buffers of HiSparse are as long as it."""
        return setup.max_model_len if self.option("enable-hisparse") else None

    def settle(self, setup: Setup) -> SettledSglang:
        version = parse_version(self.version or VERSIONS[-1])
        refuse_unserved(setup, version)
        refuse_draft(setup, version)
        settings = settings_of(self, setup)
        refuse_strategy(setup, settings)
        return SettledSglang(setup, settings)
