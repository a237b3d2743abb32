"""Cells, rows and states of llama.cpp: figures that it prints itself, or that public logs have of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import pytest

import kvcalc
from kvcalc.engines import Load, choose_engine
from kvcalc.engines.llama_cpp.layout import LlamaLayout
from kvcalc.errors import KvcalcError
from kvcalc.mechanisms import GQA, MHA, MLA, MQA, GatedDeltaNet, Mamba2, MLAExpanded, ShortConv
from kvcalc.memory import Ranks
from kvcalc.model.layers import LayerGroup, Layers

MIB = 2**20


def group(count: int, attention: object, **other: int) -> LayerGroup:
    return LayerGroup(count=count, attention=attention, **other)  # type: ignore[arg-type]  # as given


def model(*layers: Layers) -> kvcalc.Model:
    return kvcalc.Model(name="shape", dtype="bf16", parameters=10**9, layers=layers)


def gqa(heads: int, kv_heads: int, head_dim: int) -> GQA:
    return GQA(num_heads=heads, num_kv_heads=kv_heads, head_dim=head_dim)


LATENT = MLA(num_heads=4, kv_lora_rank=512, qk_rope_head_dim=64, qk_nope_head_dim=128, v_head_dim=128)
EXPANDED = MLAExpanded(num_heads=4, kv_lora_rank=512, qk_rope_head_dim=64, qk_nope_head_dim=128, v_head_dim=128)
DSA = replace(LATENT, num_heads=64, index_head_dim=128)
QWEN35_9B = (
    group(24, GatedDeltaNet(num_k_heads=16, num_v_heads=32, k_head_dim=128, v_head_dim=128, conv_kernel=4)),
    group(8, gqa(16, 4, 256)),
)
QWEN36_27B = (
    group(48, GatedDeltaNet(num_k_heads=16, num_v_heads=48, k_head_dim=128, v_head_dim=128, conv_kernel=4)),
    group(16, gqa(24, 4, 256)),
)
GEMMA3_270M = (group(15, gqa(4, 1, 256), window=512), group(3, gqa(4, 1, 256)))
GEMMA4_12B = (group(40, gqa(16, 8, 256), window=1024), group(8, gqa(16, 1, 512)))


class Printed(NamedTuple):
    """A size that llama.cpp printed, in hundredths of a MiB."""

    layers: tuple[Layers, ...]
    batch: int
    context: int
    hundredths: int
    source: str
    cache_dtype: str | None = None
    options: tuple[tuple[str, str], ...] = ()


OWN = "run of llama.cpp as in llama-cpp-python 0.3.36, and of b11549"
PRINTED = {
    "f16": Printed((group(4, gqa(32, 8, 128)),), 1, 4096, 6400, OWN),
    "bf16": Printed((group(4, gqa(32, 8, 128)),), 1, 4096, 6400, OWN, "bf16"),
    "q8_0": Printed((group(4, gqa(32, 8, 128)),), 1, 4096, 3400, OWN, "q8_0"),
    "q5_1": Printed((group(4, gqa(32, 8, 128)),), 1, 4096, 2400, OWN, "q5_1"),
    "K q8_0, V q4_0": Printed((group(4, gqa(32, 8, 128)),), 1, 4096, 2600, OWN, "k=q8_0,v=q4_0"),
    "three slots of 4096 in all": Printed((group(4, gqa(32, 8, 128)),), 3, 4096 // 3, 7200, OWN),
    "four slots, cells together": Printed(
        (group(4, gqa(32, 8, 128)),), 4, 2048, 12800, OWN, options=(("kv-unified", "1"),)
    ),
    "a fork's q4_hqq": Printed(
        (group(28, gqa(24, 8, 128)),), 1, 4096, 29400, "stored file 54092791146", "k=q4_hqq,v=f16"
    ),
    "a fork's q4_hqq_128": Printed((group(28, gqa(24, 8, 128)),), 1, 4096, 11900, "the same", "q4_hqq_128"),
    "a fork's turbo4": Printed((group(62, gqa(48, 8, 128)),), 1, 24576, 158100, "stored file 53172676154", "turbo4"),
    "mha": Printed((group(2, MHA(num_heads=32, head_dim=128)),), 1, 4096, 12800, OWN),
    "mqa": Printed((group(2, MQA(num_heads=32, head_dim=64)),), 1, 4096, 200, OWN),
    "windows, cells together": Printed(
        (group(10, gqa(32, 16, 128), window=1024), group(2, gqa(32, 16, 128))),
        4,
        8192,
        87200,
        OWN,
        options=(("kv-unified", "1"),),
    ),
    "latent": Printed((group(4, LATENT),), 1, 4096, 1800, OWN),
    "latent q8_0": Printed((group(4, LATENT),), 1, 4096, 956, OWN, "k=q8_0,v=q8_0"),
    "latent of an old file": Printed((group(4, EXPANDED),), 1, 4096, 4000, OWN),
    "convolutions of LFM2": Printed(
        (group(3, ShortConv(hidden_size=2048, conv_kernel=3)), group(1, gqa(32, 8, 64))), 2, 2048, 809, OWN
    ),
    "mamba2": Printed(
        (group(2, Mamba2(num_heads=128, head_dim=64, state_size=128, num_groups=8, conv_kernel=4)),), 4, 1024, 3294, OWN
    ),
    "Qwen3.6-27B on an RTX 3090": Printed(QWEN36_27B, 1, 200192, 664700 + 14962, "b8946, its log", "q8_0"),
    "Qwen3.6-27B, 4 slots that share cells": Printed(
        QWEN36_27B, 4, 65536, 1638400 + 59850, "LM Studio 0.4.12", options=(("kv-unified", "1"),)
    ),
    "Qwen3.5-9B, 6 tokens drafted": Printed(
        QWEN35_9B, 1, 131072, 217600 + 35175, "llama.cpp on Metal", "q8_0", (("draft-n", "6"),)
    ),
    "GLM-5.2": Printed(
        (group(21, DSA), group(57, replace(DSA, index_head_dim=None))), 1, 524288, 4761600, "llama.cpp of August 2026"
    ),
    "gemma-4-12B, 4 slots that share cells": Printed(
        GEMMA4_12B, 4, 2048, 83300, "llama.cpp of 2026 on 8 GB", "q8_0", (("kv-unified", "1"),)
    ),
    "gemma-4-12B": Printed(GEMMA4_12B, 1, 262144, 243100, "b10840, unslothai/unsloth#10489", "q8_0"),
    "gemma-3-270m": Printed(GEMMA3_270M, 1, 8192, 3900, "unslothai/unsloth PR 5225"),
    "gemma-3-270m, 2 slots": Printed(GEMMA3_270M, 2, 4096, 5400, "unslothai/unsloth PR 5225"),
    "gemma-3-270m, 2 short slots": Printed(GEMMA3_270M, 2, 2048, 4200, "unslothai/unsloth PR 5225"),
    "gemma-4-31B, whole windows": Printed(
        (
            group(50, gqa(32, 16, 256), window=1024),
            group(
                10,
                gqa(
                    32,
                    4,
                    512,
                ),
            ),
        ),
        1,
        8192,
        704000,
        "koboldcpp up to 1.113",
        options=(("swa-full", "1"),),
    ),
}


def layout(case: Printed, **options: Any) -> Any:
    asked = kvcalc.make_scenario(
        model(*case.layers),
        engine="llama-cpp",
        engine_option=dict(case.options),
        cache_dtype=case.cache_dtype,
        batch=case.batch,
        context=case.context,
        **options,
    )
    return Ranks(asked).settled(kvcalc.Deployment())


def held(case: Printed) -> int:
    settled = layout(case)
    load = Load(case.batch, case.context)
    return sum(settled.held_bytes(stage, load) for stage in settled.stages)


@pytest.mark.parametrize("name", PRINTED)
def test_cells_and_states_are_as_printed(name: str) -> None:
    case = PRINTED[name]
    drafts = 2 if "draft-n" in dict(case.options) else 1
    assert abs(100 * held(case) - case.hundredths * MIB) <= drafts * MIB


def test_each_excess_is_a_row_of_its_own() -> None:
    settled = layout(PRINTED["gemma-4-12B"])
    (stage,) = settled.stages
    names = [term.path for term in settled.excess(stage, Load(1, 262144))]
    assert names == ["gqa 16/8 x 256, window 1,024: k+v, cells of a micro-batch and padding"]


def test_values_are_as_wide_as_the_widest_without_flash_attention() -> None:
    """llama_kv_cache prints 'padding V cache to N' (src/llama-kv-cache.cpp, is_n_embd_v_gqa_variable)."""
    with_flash = PRINTED["gemma-4-12B"]._replace(cache_dtype=None)
    without = with_flash._replace(options=(("flash-attn", "off"),))
    assert held(without) - held(with_flash) == 8 * 262144 * (8 * 256 - 512) * 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cache_dtype": "fp8"}, "keeps no fp8"),
        ({"conv_dtype": "bf16"}, "keeps states in fp32"),
        ({"cache_dtype": "q8_0", "engine_option": {"flash-attn": "off"}}, "only with flash attention"),
        ({"tp": 2}, "give --pp"),
        ({"pp": 48}, "one has no layer"),
        ({"utilization": "0.9"}, "takes no such share"),
    ],
)
def test_what_it_does_not_do_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(KvcalcError, match=said):
        kvcalc.estimate(
            "qwen3.6-27b" if "conv_dtype" in options else model(*GEMMA4_12B[1:], *GEMMA4_12B[:1]),
            **{"engine": "llama-cpp", **options},
        )


def test_a_card_is_full_when_one_token_more_does_not_fit() -> None:
    """Qwen3.6-27B in q8_0 on 24 GB: 200,192 tokens ran there (b8946, its log: 14,032.23 MiB of weights)."""
    found = kvcalc.capacity(
        "qwen3.6-27b",
        engine="llama-cpp",
        weights=14_032 * MIB + 241_172,
        cache_dtype="q8_0",
        context=200192,
        gpu="rtx3090",
        pp=1,
    )
    assert found.sequences == 1
    assert found.max_context is not None
    assert found.max_context >= 200192

    def headroom(context: int) -> int | None:
        return kvcalc.estimate(
            "qwen3.6-27b",
            engine="llama-cpp",
            weights=14_032 * MIB + 241_172,
            cache_dtype="q8_0",
            context=context,
            gpu="rtx3090",
            pp=1,
        ).memory.per_rank.headroom_bytes

    at_most, beyond = headroom(found.max_context), headroom(found.max_context + 1)
    assert at_most is not None
    assert beyond is not None
    assert beyond < 0 <= at_most


def test_options_are_by_the_engines_names() -> None:
    engine = choose_engine("llama-cpp", {"kv_unified": "1", "ubatch-size": "256"})
    assert (engine.option("kv-unified"), engine.option("ubatch-size")) == (True, 256)
    assert engine.version == "b11549"


UNGATED = [("starcoder2", 4608, 18432, 36, 4, 128, 7301), ("falcon", 4544, 18176, 71, 1, 64, 7201)]
"""Hidden size, feed-forward width, heads, KV heads, width of a head; compute buffer at 1,024 tokens in hundredths of a
MiB, as b11549 prints it of such graphs (tests/live)."""


@pytest.mark.parametrize(("name", "hidden", "width", "heads", "kv_heads", "head_dim", "hundredths"), UNGATED)
def test_feed_forward_blocks_without_a_gate_hold_less(
    name: str, hidden: int, width: int, heads: int, kv_heads: int, head_dim: int, hundredths: int
) -> None:
    attention = gqa(heads, kv_heads, head_dim) if kv_heads > 1 else MQA(num_heads=heads, head_dim=head_dim)
    shape = kvcalc.Model(
        name=name,
        model_type=name,
        dtype="bf16",
        hidden_size=hidden,
        intermediate_size=width,
        layers=(group(3, attention),),
    )
    scenario = kvcalc.make_scenario(shape, engine="llama-cpp", context=1024)
    found = Ranks(scenario).settled(kvcalc.Deployment())
    buffer = found.temporary(found.stages[0], Load(1, 1024))
    assert buffer is not None
    assert abs(buffer.term.bytes * 100 - hundredths * MIB) <= 2 * MIB


@pytest.mark.parametrize(
    ("engine", "cache_dtype", "said"),
    [
        ("llama-cpp", "k=q8_0,v=f16", "refuses another for V"),
        ("llama-cpp", "k=f16,v=q8_0", "refuses another for V"),
        ("llama-cpp@b10229", "k=q8_0,v=q4_0", "refuses another for V"),
        ("llama-cpp", "k=q8_0,v=q8_0", None),
        ("llama-cpp", "k=q8_0", None),
        ("llama-cpp@b9538", "k=q8_0,v=q4_0", None),
    ],
)
def test_a_latent_has_one_type(engine: str, cache_dtype: str, said: str | None) -> None:
    asked: dict[str, Any] = {"engine": engine, "cache_dtype": cache_dtype, "weights": 10**9, "context": 4096}
    if said is None:
        found = kvcalc.estimate(model(group(4, LATENT)), **asked)
        assert found.cache.bytes == 4 * 4096 * 576 * 34 // 32
    else:
        with pytest.raises(KvcalcError, match=said):
            kvcalc.estimate(model(group(4, LATENT)), **asked)


def test_blocks_must_divide_a_head() -> None:
    """'K cache type q8_0 with block size 32 does not divide n_embd_head_k=80' (src/llama-context.cpp)."""
    narrow = model(group(4, gqa(32, 8, 80)))
    with pytest.raises(KvcalcError, match="do not divide a head of 80"):
        kvcalc.estimate(narrow, engine="llama-cpp", cache_dtype="q8_0", weights=10**9)
    kvcalc.estimate(
        narrow, engine="llama-cpp", cache_dtype="k=q8_0,v=f16", weights=10**9, engine_option={"flash-attn": "off"}
    )


@pytest.mark.parametrize(("name", "mib"), [("phi-3-mini-4k", 3072), ("mistral-7b-v0.1", 1024), ("starcoder2-15b", 640)])
def test_windows_that_it_does_not_use_change_nothing(name: str, mib: int) -> None:
    """Phi-3-mini printed 12,288 MiB of 32,768 tokens (Ollama, stored file 2311416387): 3,072 of 8,192."""
    found = kvcalc.estimate(name, engine="llama-cpp", context=8192, weights=10**9)
    assert found.cache.bytes == mib * MIB
    assert "unused-window" in {each.code for each in found.notes}


SLOTS: dict[str, Any] = {"engine": "llama-cpp", "context": 256, "gpu": "h200-sxm"}


@pytest.mark.parametrize(("engine", "most"), [("llama-cpp", 256), ("llama-cpp@b6182", 64), ("llama-cpp@b7000", 256)])
def test_a_replica_has_no_more_slots_than_llama_cpp_takes(engine: str, most: int) -> None:
    """LLAMA_MAX_SEQ of src/llama-cparams.h, however much memory there is."""
    found = kvcalc.capacity("gemma-3-270m", **{**SLOTS, "engine": engine})
    assert (found.sequences, found.concurrency, found.tokens) == (most, most, most * 256)
    assert (found.limited_by, found.one_more_lacks_bytes) == ("sequences", None)


def test_more_slots_than_that_need_replicas() -> None:
    found = kvcalc.estimate("gemma-3-270m", batch=300, **SLOTS)
    assert (found.answer.deployment, found.answer.fits) == (kvcalc.Deployment(dp=2), True)
    (first, *_) = kvcalc.plan("gemma-3-270m", batch=300, **SLOTS).deployments
    assert (first.deployment, first.max_batch) == (kvcalc.Deployment(dp=2), 512)
    for verb in (kvcalc.estimate, kvcalc.capacity):
        with pytest.raises(KvcalcError, match=r"at most 256 sequences on a replica.*--dp 2 shares them out"):
            verb("gemma-3-270m", batch=300, pp=2, **SLOTS)
    with pytest.raises(KvcalcError, match=r"300,000,000 are asked for$"):
        kvcalc.estimate("gemma-3-270m", batch=300_000_000, **SLOTS)


@pytest.mark.parametrize("pp", [1, 2])
def test_without_a_cache_on_the_card_slots_limit(pp: int) -> None:
    """Temporary memory grows with the first slots alone."""
    found = kvcalc.capacity(
        "llama-2-7b", context=1, pp=pp, engine="llama-cpp", engine_option={"no-kv-offload": "1"}, gpu="b200"
    )
    assert (found.sequences, found.limited_by) == (256, "sequences")
    assert "cache-on-host" in {each.code for each in found.notes}


OLLAMA = [
    # kvcache/causal.go, Init: 4,096 tokens at least, or the whole context; a token more for several requests.
    ("gpt-oss-20b", 1, 4096, 4096),
    ("gpt-oss-20b", 1, 8192, 4608),
    ("gpt-oss-20b", 2, 8192, 8704),
    ("gemma-3-27b", 1, 8192, 1536),
    ("gemma-3-27b", 4, 8192, 4864),
    ("gemma-3-27b", 1, 1024, 1024),
]


@pytest.mark.parametrize(("name", "slots", "context", "cells"), OLLAMA)
def test_cells_of_windows_in_ollamas_own_engine(name: str, slots: int, context: int, cells: int) -> None:
    asked = kvcalc.make_scenario(
        name, engine="llama-cpp", engine_option={"ollama-new-engine": "1"}, batch=slots, context=context
    )
    layout = Ranks(asked).settled(kvcalc.Deployment())
    assert isinstance(layout, LlamaLayout)
    load = Load(slots, context)
    spans = {layer.span for layer in asked.model.layout.kinds}
    (window,) = (span for span in spans if span is not None)
    assert layout.cells(window, load).all == cells
    assert layout.cells(None, load).all == slots * context


def test_layers_that_draft_have_cells_in_hybrids_of_delta_attention() -> None:
    """306.00 MiB of Ling 3.0 at 65,536 cells in q8_0: 8 x 576 x 34/32 bytes a cell (stored file 63225873246)."""
    asked: dict[str, Any] = {"engine": "llama-cpp", "context": 65536, "cache_dtype": "q8_0", "pp": 1, "gpu": "h200"}
    found = kvcalc.estimate("ling-3.0-flash", **asked)
    assert found.cache.bytes - found.cache.state_bytes_per_sequence == 306 * MIB
    assert found.cache.bytes_per_token == 8 * 576 * 34 // 32


def test_smallthinkers_window_is_llama_cpps_own() -> None:
    """The file says 128 tokens; b11549 has 2 x 4,096 and a micro-batch, 10,240 cells."""
    window = group(4, GQA(num_heads=8, num_kv_heads=4, head_dim=80), window=128)
    asked = kvcalc.make_scenario(
        replace(model(window), model_type="smallthinker"),
        engine="llama-cpp",
        engine_option={"kv-unified": "1", "ubatch-size": "2048"},
        batch=2,
        context=8192,
    )
    layout = Ranks(asked).settled(kvcalc.Deployment())
    (stage,) = layout.stages
    assert layout.held_bytes(stage, Load(2, 8192)) == 4 * (2 * 4096 + 2048) * 2 * 4 * 80 * 2
