"""The weights of one rank: its share of the checkpoint, what the engine loads beyond it, and what drafts tokens."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from kvcalc.engines.side_by_side import DRAFT, named_draft
from kvcalc.memory.weights import EVERYTHING, rank_weights, rank_weights_bytes
from kvcalc.scenario import compute_format
from kvcalc.term import Factor, Product, Sum, Term

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.engines.placement import Placement
    from kvcalc.memory.common import Common
    from kvcalc.memory.weights import PartsAlike
    from kvcalc.model.stages import Stage

TABLE = "vllm/v1/spec_decode/llm_base_proposer.py, _maybe_share_embeddings: shared with one pipeline stage alone"


class RankWeights:
    """What one rank of a stage holds of weights. Bytes are counted without terms, which are made when asked for."""

    def __init__(self, common: Common, stage: Stage, draft: RankWeights | None) -> None:
        """With the rank's share of what drafts tokens."""
        self._held, self._stage, self._draft = common.weights, stage, draft
        self._scenario, self._deployment, self._settled = common.scenario, common.deployment, common.settled

    @cached_property
    def term(self) -> Sum | None:
        """All of it; None where the model's parameters are not known."""
        parts = self.parts
        return None if parts is None else Sum("weights", (*parts, *self.excess, *self._draft_parts))

    @cached_property
    def parts(self) -> tuple[Term, ...] | None:
        """Its share of the checkpoint alone."""
        if self._held is None:
            return None
        number, layers, placement = self._stage.number, self._stage.layers, self._settled.placement
        return rank_weights(self._scenario, self._deployment, self._held.parts, number, layers, placement).parts

    @property
    def _draft_parts(self) -> tuple[Term, ...]:
        """The same of what drafts; nothing where a given size has it already."""
        scenario = self._scenario
        drafting = scenario.drafting
        own = drafting is not None and drafting.own_layers and drafting.weights is None
        if own and scenario.engine.size_has_drafts and scenario.replacements.weights is not None:
            return ()
        parts = None if self._draft is None else self._draft.parts
        return tuple(part._replace(path=f"{DRAFT}, {part.path}") for part in parts or ())

    @cached_property
    def bytes(self) -> int | None:
        """The bytes of that."""
        share = self.share_bytes
        if share is None:
            return None
        return share + sum(term.bytes for term in (*self.excess, *self._draft_parts))

    @cached_property
    def share_bytes(self) -> int | None:
        """Those of its share of the checkpoint alone."""
        return self._share_of_weights(self._settled.placement)

    @cached_property
    def experts_bytes(self) -> int:
        """Its share of the experts alone; 0 where they are not known apart."""
        known = self._held
        experts = () if known is None else tuple(part for part in known.alike if part[0].split == "ep")
        return self._share_of(experts, self._settled.placement)

    @cached_property
    def host_bytes(self) -> int:
        """What host memory holds of its weights; 0 where they are not known."""
        if self._settled.placement == EVERYTHING:
            return 0
        return (self._share_of_weights(EVERYTHING) or 0) - (self.share_bytes or 0)

    def _share_of_weights(self, placement: Placement) -> int | None:
        known = self._held
        return None if known is None else self._share_of(known.alike, placement)

    def _share_of(self, parts: PartsAlike, placement: Placement) -> int:
        scenario, deployment = self._scenario, self._deployment
        return rank_weights_bytes(scenario, deployment, parts, self._stage.number, self._stage.layers, placement)

    @cached_property
    def excess(self) -> tuple[Product, ...]:
        """What lies beside that: what the engine loads beyond it, unless the user gives a size, and adapters."""
        scenario, lora = self._scenario, self._scenario.lora
        given = scenario.replacements.weights
        own = () if given is not None else tuple(self._settled.weights_excess(self._stage))
        of_draft = () if self._draft is None else (*map(named_draft, self._draft.excess), *self._table_of_draft)
        if lora is None:
            return (*own, *of_draft)
        from kvcalc.engines.lora import lora_rows

        first, last = self._stage.number == 0, self._stage.layers.stop == scenario.model.num_layers
        adapters = lora_rows(lora, scenario.model, self._deployment, self._stage, first=first, last=last)
        return (*own, *of_draft, *adapters)

    @property
    def _table_of_draft(self) -> Iterator[Product]:
        """The model's embedding, where what drafts needs it and it lies on another stage."""
        scenario, deployment = self._scenario, self._deployment
        model, drafting = scenario.model, scenario.drafting
        if deployment.pp == 1 or drafting is None or not drafting.without_table or model.tie_word_embeddings:
            return
        if model.vocab_size is not None and model.hidden_size is not None:
            share = -(-model.vocab_size * model.hidden_size // deployment.tp)
            size = Factor("bytes", compute_format(model).block_bytes, "byte")
            yield Product(f"{DRAFT}, copy of the model's embedding", (Factor("share", share, "element"), size), TABLE)
