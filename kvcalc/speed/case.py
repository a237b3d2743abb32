"""What is measured: one layer of the model under each mechanism, with the bytes and operations that kvcalc counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.deployment import Deployment
from kvcalc.engines import RankLoad, content_bytes
from kvcalc.errors import KvcalcError, nearest_or_all
from kvcalc.memory import Ranks
from kvcalc.memory.decode_traffic import WeightsUsed, work
from kvcalc.memory.prompt_work import prompt_work
from kvcalc.speed.mechanism import Measured, why_not_measured
from kvcalc.verbs.comparing.what_if import variants

if TYPE_CHECKING:
    from kvcalc.model.layers import Layer
    from kvcalc.scenario import Scenario
    from kvcalc.verbs.comparing.what_if import Variant

MECHANISMS = ("mha", "gqa", "mqa", "mla")
USUAL_GQA = "gqa-8"
FORMATS = ("bf16", "fp32", "fp16")
"""In which torch computes as well as stores: no path converts while it reads."""


class Case(NamedTuple):
    """One layer under one mechanism.

    Attributes:
        name: of the mechanism.
        own: whether it is the model's.
        scenario: of the model under it.
        layer: the kind of layer that is measured.
        mechanism: its dims.
        layers: how many of them the model has.
        hidden_size: of the model.
    """

    name: str
    own: bool
    scenario: Scenario
    layer: Layer
    mechanism: Measured
    layers: int
    hidden_size: int

    @property
    def sequences(self) -> int:
        return self.scenario.workload.batch

    def positions(self, context: int) -> int:
        """Rows of each sequence that a step reads."""
        return context if self.layer.span is None else self.layer.span.kept(context)

    def cache_bytes(self, context: int) -> int:
        """Bytes that a step of one such layer reads of its cache, by kvcalc's formula."""
        one = RankLoad({self.layer: 1}, 1, self.sequences, context, self.scenario.cache_format)
        return content_bytes(one)

    def operations(self, context: int) -> int:
        """Floating-point operations of a step on it, by kvcalc's formula; of MLA with the expansion absorbed."""
        asked = self._at(context)
        deployment, rank = Deployment(), Ranks(asked).of(Deployment())[0]
        computed = work(asked, deployment, rank, WeightsUsed(asked, deployment, rank, ()))
        return sum(each.operations(self.sequences, self.sequences) for each in computed)

    def prefill_operations(self, tokens: int) -> int:
        """Of one prompt of so many tokens, causal, by kvcalc's formula."""
        asked = self._at(tokens)
        deployment, rank = Deployment(), Ranks(asked).of(Deployment())[0]
        none = WeightsUsed(asked, deployment, rank, ())
        return sum(each.operations(1, 1) for each, _ in prompt_work(deployment, rank, none, 0, tokens))

    def _at(self, context: int) -> Scenario:
        """A model of this layer alone."""
        from kvcalc.model.layers import LayerGroup  # the file's name for it is taken above

        span = self.layer.span
        group = LayerGroup(
            count=1,
            attention=self.mechanism,
            **({} if span is None else {span.name: span.tokens}),  # type: ignore[arg-type]  # window or chunk
        )
        model = replace(self.scenario.model, layers=(group,))
        workload = replace(self.scenario.workload, context=context)
        return replace(self.scenario, model=model, workload=workload)


def cases_of(scenario: Scenario, asked: tuple[str, ...] | None) -> tuple[list[Case], dict[str, str]]:
    """A case for each mechanism, and why there is none for others that nobody named.

    Args:
        scenario: the model and the workload.
        asked: names of mechanisms; None for all four, as far as the model has them.

    Raises:
        KvcalcError: a mechanism that was asked for cannot be measured, or none can.
    """
    known = {variant.name: variant for variant in variants(scenario.model)}
    found, left_out = [], {}
    for name in asked or MECHANISMS:
        variant = _variant(name, known)
        reason = "is no mechanism that this model can have" if variant is None else None
        if variant is not None:
            case = _case(scenario, variant)
            if isinstance(case, Case):
                found.append(case)
                continue
            reason = case
        if asked is not None:
            raise KvcalcError(f"--mechanism {name[:40]}: {reason}{nearest_or_all(name, _measurable(known))}")
        left_out[name] = str(reason)
    if not found:
        reasons: dict[str, list[str]] = {}
        for name, reason in left_out.items():
            reasons.setdefault(reason, []).append(name)
        told = "; ".join(f"each of {', '.join(names)} {reason}" for reason, names in reasons.items())
        raise KvcalcError(
            f"{scenario.model.name}: no layer can be measured ({told}); bench is of attention with heads or a latent"
        )
    return found, left_out


def _measurable(known: dict[str, Variant]) -> list[str]:
    names = dict.fromkeys((*MECHANISMS, *known))
    return [name for name in names if _variant(name, known) and name != "mla_expanded"]


def _variant(name: str, known: dict[str, Variant]) -> Variant | None:
    """The variant of that name; of gqa the model's own, else the usual one, else the middle."""
    if name in known or name != "gqa":
        return known.get(name)
    grouped = [variant for each, variant in known.items() if each.startswith("gqa-")]
    own = next((variant for variant in grouped if variant.own), None)
    return own or known.get(USUAL_GQA) or (grouped[len(grouped) // 2] if grouped else None)


def _case(scenario: Scenario, variant: Variant) -> Case | str:
    """The most common of its layers that have a path, those without a window first; or why none has."""
    model = variant.model
    counted = Counter(layer for layers in model.sequence() for layer in layers)
    reasons = {layer: why_not_measured(layer.attention) for layer in counted}
    able = [layer for layer in counted if reasons[layer] is None]
    if not able:
        layer = next(iter(counted))
        return f"{layer.label} {reasons[layer]}"
    layer = max(able, key=lambda each: (each.span is None, counted[each]))
    attention = layer.attention
    if not isinstance(attention, Measured):  # as `why_not_measured` has said
        raise TypeError(attention.label)
    heads = attention.heads
    hidden = model.hidden_size or heads.num_heads * heads.head_dim
    asked = replace(scenario, model=model)
    return Case(variant.name, variant.own, asked, layer, attention, counted[layer], hidden)


def format_of(case: Case) -> str:
    """The element format of all tensors of a case's cache.

    Raises:
        KvcalcError: it is none that is computed in, or there are several.
    """
    formats = {case.scenario.cache_format.of(case.layer, tensor).name for tensor in case.mechanism.cached()}
    if len(formats) == 1 and (name := formats.pop()) in FORMATS:
        return name
    raise KvcalcError(
        f"--cache-dtype: bench measures caches in {', '.join(FORMATS)}, which torch computes in as they are stored; "
        f"next: --cache-dtype {FORMATS[0]}"
    )
