"""Laws that every cache obeys, on random models: groups, repeats, windows and layers that keep nothing."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, NamedTuple

from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st

import kvcalc
from kvcalc.legality import legal_tps
from kvcalc.mechanisms import GQA, MHA, MLA, MQA, Attention, NoAttention, Shared
from kvcalc.model.layers import LayerGroup, Repeat
from kvcalc.verbs.estimate_result import CacheResult

laws = examples(60)

dims = st.integers(1, 300)
batches = st.integers(1, 1000)
contexts = st.integers(1, 50_000)
windows = st.none() | st.integers(1, 60_000)


class Row(NamedTuple):
    """A layer as the test's own arithmetic sees it: elements a token on one rank that holds everything."""

    head_elements: int
    """K and V of one head."""
    kv_heads: int
    """0 where tensor parallelism does not divide the row."""
    window: int | None

    def bytes_on_rank(self, tokens: int, tp: int) -> int:
        heads = 1 if self.kv_heads == 0 else max(self.kv_heads // tp, 1)
        return heads * self.head_elements * min(tokens, self.window or tokens) * 2


def _row(layer: LayerGroup) -> Row:
    match layer.attention:
        case MHA(num_heads=heads, head_dim=k, v_head_dim=v) | GQA(num_kv_heads=heads, head_dim=k, v_head_dim=v):
            return Row(k + (v or k), heads, layer.window)
        case MQA(head_dim=k, v_head_dim=v):
            return Row(k + (v or k), 0, layer.window)
        case MLA(kv_lora_rank=latent, qk_rope_head_dim=rope):
            return Row(latent + rope, 0, layer.window)
    return Row(0, 0, None)


def rows(parts: tuple[LayerGroup | Repeat, ...]) -> list[Row]:
    """Every layer of the model, written out."""
    out: list[Row] = []
    for part in parts:
        out += rows(part.of) * part.repeat if isinstance(part, Repeat) else [_row(part)] * part.count
    return out


@st.composite
def attentions(draw: st.DrawFn, heads: int) -> Attention:
    kv_heads = draw(st.sampled_from([n for n in range(1, heads + 1) if heads % n == 0]))
    v_head_dim = draw(st.none() | dims)
    kinds: list[Attention] = [
        MHA(num_heads=heads, head_dim=draw(dims), v_head_dim=v_head_dim),
        MQA(num_heads=heads, head_dim=draw(dims), v_head_dim=v_head_dim),
        GQA(num_heads=heads, num_kv_heads=kv_heads, head_dim=draw(dims), v_head_dim=v_head_dim),
        MLA(
            num_heads=heads,
            kv_lora_rank=draw(dims),
            qk_rope_head_dim=draw(dims),
            qk_nope_head_dim=draw(dims),
            v_head_dim=draw(dims),
        ),
        Shared(),
        NoAttention(),
    ]
    return draw(st.sampled_from(kinds))


@st.composite
def groups(draw: st.DrawFn, heads: int) -> LayerGroup:
    attention = draw(attentions(heads))
    window = draw(windows) if attention.cached() else None
    return LayerGroup(count=draw(st.integers(1, 6)), attention=attention, window=window)


@st.composite
def models(draw: st.DrawFn) -> kvcalc.Model:
    group = groups(draw(st.sampled_from([1, 2, 6, 8, 16])))
    repeat = st.builds(Repeat, repeat=st.integers(1, 4), of=st.lists(group, min_size=1, max_size=3).map(tuple))
    nested = st.builds(Repeat, repeat=st.integers(1, 3), of=st.lists(group | repeat, min_size=1, max_size=2).map(tuple))
    parts = draw(st.lists(group | repeat | nested, min_size=1, max_size=3))
    return kvcalc.Model(name="random", layers=tuple(parts))


def cache(model: kvcalc.Model, **options: Any) -> CacheResult:
    return kvcalc.estimate(model, **{"context": 100, **options}).cache


def tps(model: kvcalc.Model) -> list[int]:
    return legal_tps(model)


@laws
@given(models(), batches, contexts, st.data())
def test_the_cache_is_the_sum_of_its_layers(model: kvcalc.Model, batch: int, context: int, data: st.DataObject) -> None:
    tp = data.draw(st.sampled_from(tps(model)))
    result = cache(model, batch=batch, context=context, tp=tp)
    layers = rows(model.layers)
    assert len(layers) == model.num_layers

    def expected(tokens: int, ranks: int = tp) -> int:
        return sum(layer.bytes_on_rank(tokens, ranks) for layer in layers)

    assert result.bytes_per_rank == batch * expected(context)
    assert result.bytes == tp * batch * expected(context)
    assert result.one_copy_bytes == batch * expected(context, 1)
    assert result.bytes_per_sequence == expected(context)
    assert result.bytes_per_token == expected(1)
    assert result.bytes_per_token_at_context == expected(context + 1) - expected(context)
    assert result.state_bytes_per_sequence == 0
    full = sum(layer._replace(window=None).bytes_on_rank(context, tp) for layer in layers)
    assert result.without_windows_bytes == tp * batch * full
    assert result.lower_bound is any(layer.window is not None and layer.window < context for layer in layers)


@laws
@given(models(), batches, contexts, st.data())
def test_factors_multiply_to_leaves_and_leaves_sum_to_the_cache(
    model: kvcalc.Model, batch: int, context: int, data: st.DataObject
) -> None:
    result = cache(model, batch=batch, context=context, tp=data.draw(st.sampled_from(tps(model))))

    for term in result.terms:
        assert term.bytes == math.prod(factor.value for factor in term.factors)
        assert term.formula == " x ".join(factor.name for factor in term.factors)
    assert sum(term.bytes for term in result.terms) == result.bytes
    assert len({term.path for term in result.terms}) == len(result.terms)


@laws
@given(
    st.sampled_from([1, 2, 6, 8, 64]), dims, st.none() | dims, windows, batches, contexts, st.data()
)  # fmt: skip
def test_gqa_lies_between_mha_and_mqa(
    heads: int, head_dim: int, v_head_dim: int | None, window: int | None, batch: int, context: int, data: st.DataObject
) -> None:
    def of(attention: Attention) -> CacheResult:
        model = kvcalc.Model(name="m", layers=(LayerGroup(count=3, attention=attention, window=window),))
        return cache(model, batch=batch, context=context, tp=tp)

    tp = data.draw(st.sampled_from([n for n in range(1, heads + 1) if heads % n == 0]))
    widths: dict[str, Any] = {"num_heads": heads, "head_dim": head_dim, "v_head_dim": v_head_dim}
    mha, mqa = of(MHA(**widths)), of(MQA(**widths))
    all_heads, one_head = of(GQA(num_kv_heads=heads, **widths)), of(GQA(num_kv_heads=1, **widths))

    assert replace(all_heads, terms=mha.terms, tree=mha.tree) == mha
    assert replace(one_head, terms=mqa.terms, tree=mqa.tree) == mqa
    assert mha.one_copy_bytes == heads * mqa.one_copy_bytes


@laws
@given(models(), batches, contexts)
def test_twice_the_sequences_layers_or_bytes_is_twice_the_cache(model: kvcalc.Model, batch: int, context: int) -> None:
    once = cache(model, batch=batch, context=context).bytes
    twice = replace(model, layers=(Repeat(repeat=2, of=model.layers),))

    assert cache(model, batch=2 * batch, context=context).bytes == 2 * once
    assert cache(model, batch=batch, context=context, cache_dtype="fp32").bytes == 2 * once
    assert 2 * cache(model, batch=batch, context=context, cache_dtype="fp8").bytes == once
    assert cache(twice, batch=batch, context=context).bytes == 2 * once
    assert cache(replace(model, layers=model.layers * 2), batch=batch, context=context).bytes == 2 * once


@laws
@given(models(), st.integers(2, 7), contexts)
def test_query_heads_alone_do_not_matter(model: kvcalc.Model, times: int, context: int) -> None:
    def more_heads(part: LayerGroup | Repeat) -> LayerGroup | Repeat:
        if isinstance(part, Repeat):
            return replace(part, of=tuple(more_heads(inner) for inner in part.of))
        if isinstance(part.attention, GQA | MQA | MLA):
            attention = replace(part.attention, num_heads=part.attention.num_heads * times)
            return replace(part, attention=attention)
        return part

    changed = replace(model, layers=tuple(more_heads(part) for part in model.layers))
    assert cache(changed, context=context).bytes == cache(model, context=context).bytes


@laws
@given(models(), batches, contexts)
def test_more_ranks_never_hold_more(model: kvcalc.Model, batch: int, context: int) -> None:
    results = {tp: cache(model, batch=batch, context=context, tp=tp) for tp in tps(model)}
    by_rank = [result.bytes_per_rank for result in results.values()]

    assert by_rank == sorted(by_rank, reverse=True)
    for tp, result in results.items():
        assert result.bytes == tp * result.bytes_per_rank
        assert result.one_copy_bytes == results[1].bytes
        assert result.one_copy_bytes <= result.bytes <= result.one_copy_bytes * tp


@laws
@given(st.integers(1, 64), st.integers(1, 4), dims, batches, contexts)
def test_up_to_the_kv_heads_ranks_divide_exactly_and_then_copy(
    kv_heads: int, times: int, head_dim: int, batch: int, context: int
) -> None:
    attention = GQA(num_heads=kv_heads * times, num_kv_heads=kv_heads, head_dim=head_dim)
    model = kvcalc.Model(name="m", layers=(LayerGroup(count=5, attention=attention),))
    whole = 5 * batch * context * kv_heads * 2 * head_dim * 2
    for tp in tps(model):
        result = cache(model, batch=batch, context=context, tp=tp)
        assert result.bytes_per_rank * min(tp, kv_heads) == whole
        assert result.bytes == whole * max(1, tp // kv_heads)


@laws
@given(dims, dims, batches, contexts)
def test_every_rank_keeps_the_whole_latent(latent: int, rope: int, batch: int, context: int) -> None:
    attention = MLA(num_heads=16, kv_lora_rank=latent, qk_rope_head_dim=rope, qk_nope_head_dim=3, v_head_dim=5)
    model = kvcalc.Model(name="m", layers=(LayerGroup(count=7, attention=attention),))
    for tp in (1, 2, 4, 8, 16):
        result = cache(model, batch=batch, context=context, tp=tp)
        assert result.bytes_per_rank == 7 * batch * context * (latent + rope) * 2
        assert result.bytes == tp * result.bytes_per_rank


@laws
@given(models(), contexts, st.integers(0, 100_000))
def test_more_context_never_takes_less(model: kvcalc.Model, context: int, more: int) -> None:
    short, long = cache(model, context=context), cache(model, context=context + more)

    assert short.bytes <= long.bytes <= long.without_windows_bytes
    assert long.bytes - short.bytes <= more * short.bytes_per_token
    assert long.bytes_per_token_at_context <= short.bytes_per_token_at_context


@laws
@given(models(), contexts, batches)
def test_a_tokens_bytes_are_differences_of_caches(model: kvcalc.Model, context: int, batch: int) -> None:
    here = cache(model, context=context, batch=batch)
    after = cache(model, context=context + 1, batch=batch)
    second = cache(model, context=2).bytes - cache(model, context=1).bytes

    assert here.bytes_per_token == cache(model, context=1).bytes
    assert here.bytes_per_token_at_context * batch == after.bytes - here.bytes
    assert cache(model, context=1).bytes_per_token_at_context == second


@laws
@given(st.integers(1, 16).flatmap(groups), st.integers(1, 50), st.integers(1, 50), contexts)
def test_layers_may_be_grouped_in_any_way(group: LayerGroup, a: int, b: int, context: int) -> None:
    def of(*parts: LayerGroup | Repeat) -> CacheResult:
        return cache(kvcalc.Model(name="m", layers=parts), context=context)

    together = of(replace(group, count=a + b))

    assert of(replace(group, count=a), replace(group, count=b)) == together
    assert of(Repeat(repeat=a + b, of=(replace(group, count=1),))) == together
    assert of(*[replace(group, count=1)] * (a + b)) == together


@laws
@given(models(), st.integers(1, 5), contexts)
def test_a_repeat_is_its_layers_written_out(model: kvcalc.Model, times: int, context: int) -> None:
    written_out = tuple(
        LayerGroup(count=1, attention=layer.attention, window=layer.span and layer.span.tokens)  # type: ignore[arg-type]  # the strategy draws members of the union
        for (layer,) in model.sequence()
    )
    long = kvcalc.Model(name="m", layers=written_out * times)
    repeated = kvcalc.Model(name="m", layers=(Repeat(repeat=times, of=written_out),))

    assert long.sequence() == model.sequence() * times == repeated.sequence()
    assert cache(long, context=context) == cache(repeated, context=context)
    assert cache(long, context=context).bytes == times * cache(model, context=context).bytes
