"""Latents with an indexer in llama.cpp: compute buffers as logs printed them, and as graphs of b11549 have them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from llama_cpp_shapes import experts

import kvcalc
from kvcalc.engines import Load
from kvcalc.mechanisms import MLA
from kvcalc.memory import Ranks
from kvcalc.model.layers import LayerGroup

MIB = 2**20


def buffers(context: int, *, cards: int = 1, flash: str = "auto", **dims: int) -> list[tuple[float, float]]:
    """What is counted and the end of the range, of each card."""
    hidden, heads, ubatch = dims.pop("hidden", 6144), dims.pop("heads", 64), dims.pop("ubatch", 512)
    shape = experts("glm-dsa", hidden, heads, 1, 576, number=64, used=8, width=2048, first_dense=2, ff=12288, layers=8)
    latent = {"kv_lora_rank": 512, "qk_rope_head_dim": 64, "qk_nope_head_dim": 192, "v_head_dim": 256}
    index = {"index_head_dim": 128, "index_n_heads": 32, "index_topk": 2048}
    attention = MLA(num_heads=heads, **{**latent, **index, **dims})  # type: ignore[arg-type]  # dims alone
    model = replace(shape.model, layers=(LayerGroup(count=8, attention=attention),))
    options = {"ubatch-size": str(ubatch), "flash-attn": flash}
    asked = kvcalc.make_scenario(model, engine="llama-cpp", engine_option=options, context=context)
    layout = Ranks(asked).settled(kvcalc.Deployment(pp=cards))
    found = [layout.temporary(stage, Load(1, context)) for stage in layout.stages]
    return [(each.term.bytes / MIB, each.high / MIB) for each in found if each is not None]


GRAPHS: list[tuple[int, dict[str, int], float]] = [
    (8192, {}, 272.08),
    (32_768, {}, 360.08),
    (65_536, {}, 500.08),
    (131_072, {}, 756.08),
    (524_288, {}, 2292.08),
    (131_072, {"index_topk": 512}, 744.08),
    (131_072, {"hidden": 7168}, 766.08),
    (131_072, {"hidden": 12288}, 792.08),
    (131_072, {"heads": 16}, 618.08),
    (131_072, {"heads": 128}, 928.08),
    (131_072, {"qk_nope_head_dim": 64}, 728.08),
    (131_072, {"qk_nope_head_dim": 256}, 764.08),
    (131_072, {"ubatch": 2048}, 3024.12),
]
"""Tokens, dims of GLM-5 that differ, and MiB that b11549 reserves for a device like CUDA's (tests/live)."""


@pytest.mark.parametrize(("context", "dims", "reserved"), GRAPHS)
def test_scores_and_masks_of_an_indexer_are_counted(context: int, dims: dict[str, int], reserved: float) -> None:
    ((counted, most),) = buffers(context, cards=1, flash="auto", **dims)
    assert counted == pytest.approx(reserved, rel=0.035)
    assert most > reserved


def test_without_flash_attention_scores_of_all_heads_lie_beside() -> None:
    ((counted, _),) = buffers(131_072, flash="off")
    assert counted == pytest.approx(17652.08 + 1024 - 512, rel=0.035)


@pytest.mark.parametrize(("context", "reserved"), [(32_768, (696.3, 632.29)), (524_288, (5496.3, 5432.29))])
def test_cards_that_work_in_turn_have_four_copies_of_both_masks(context: int, reserved: tuple[float, float]) -> None:
    for (counted, _), printed in zip(buffers(context, cards=2), reserved, strict=True):
        assert counted == pytest.approx(printed, rel=0.03)


@pytest.mark.parametrize(("context", "printed"), [(524_288, 2292.07), (896_000, 3744.07)])
def test_logs_of_glm_5_2(context: int, printed: float) -> None:
    """The third of four cards, with experts in host memory (stored files 61313070182 and 60797658313)."""
    asked = kvcalc.make_scenario("glm-5.2", engine="llama-cpp@b10566", context=context)
    layout = Ranks(asked).settled(kvcalc.Deployment())
    (stage,) = layout.stages
    found = layout.temporary(stage, Load(1, context))
    assert found is not None
    assert found.term.bytes / MIB == pytest.approx(printed, rel=0.001)


def test_a_latent_in_blocks_needs_flash_attention_too() -> None:
    """llama_init_from_model: quantized V cache requires flash_attn to be enabled, and -ctv must be as -ctk is."""
    with pytest.raises(kvcalc.KvcalcError, match="only with flash attention"):
        kvcalc.estimate(
            "deepseek-v3", engine="llama-cpp", engine_option={"flash-attn": "off"}, cache_dtype="q8_0", context=4096
        )
    for cache, build in (("q8_0", "b11549"), ("k=q8_0", "b8929")):
        kvcalc.estimate("deepseek-v3", engine=f"llama-cpp@{build}", cache_dtype=cache, context=4096)
