"""Weights that the catalogue lists by part: they add up to the model, and have its dims."""

from __future__ import annotations

import re

from each import for_each

import kvcalc
from kvcalc.catalogue import model_names

LISTED = {
    # Parameters of the text model, as its class is built, and of the towers beside it and what joins them to it.
    "ai21-jamba-large-1.5": (398_555_145_696, 0),
    "ai21-jamba-mini-1.5": (51_570_323_328, 0),
    "deepseek-v3": (671_026_404_352, 0),
    "deepseek-v3.1": (671_026_404_352, 0),
    "deepseek-v3.2": (671_877_929_216, 0),
    "deepseek-v3.2-exp": (671_877_929_216, 0),
    "deepseek-v4-flash": (284_332_230_231, 0),
    "deepseek-v4-pro": (1_572_997_179_491, 0),
    "deepseek-v4.1-flash": (748_494_669_424, 411_842_560 + 73_410_560 + 3 * 5_120 + 40 * 384),
    "devstral-2-123b-2512": (125_025_988_608, 0),  # as wide and deep as Mistral-Medium-3.5's text model
    "gemma-3n-e2b": (
        4_435_182_688 + 10 * (2 * 2_048 * 2 * 256 + 256),
        681_348_640 + 294_126_912 + 3_345_408 + 4_460_544,
    ),
    "gemma-3n-e4b": (
        6_835_235_568 + 15 * (2 * 2_048 * 2 * 256 + 256),
        681_348_640 + 294_126_912 + 3_345_408 + 4_460_544,
    ),
    "devstral-small-2-24b-2512": (23_572_403_200, 403_305_472 + 35_652_608),  # Mistral-Small-3.1's
    "gemma-4-26b-a4b": (25_233_141_760, 572_792_112),
    "gemma-4-31b": (30_697_345_280, 575_741_232),
    "gemma-4-e2b": (4_647_449_856, 475_728_160),
    "gemma-4-e4b": (
        7_463_013_376 + 15 * (2 * 2_560 * 2 * 256 + 256) + 3 * (2 * 2_560 * 2 * 512 + 512),
        167_364_608 + 1_966_080 + 304_824_608 + 3_932_160,
    ),
    "gpt-oss-120b": (116_829_156_672, 0),
    "gpt-oss-20b": (20_914_757_184, 0),
    **dict.fromkeys(("kimi-k2", "kimi-k2-0905", "kimi-k2-thinking"), (1_026_408_209_408, 0)),
    "kimi-k2.6": (1_026_408_209_408, 471_143_920),
    "llama-3.1-405b-awq-int4": (410_081_247_232, 0),  # each KV head twice
    "llama-4-maverick-17b-128e": (400_711_848_960, 850_960_896 + 20_971_520),
    "llama-4-scout-17b-16e": (107_769_861_120, 850_960_896 + 20_971_520),
    "longcat-flash": (741_053_585_408 - 28 * 256 * 2 * 2_048 * 6_144, 0),  # less the weights of experts that have none
    "mimo-v2-flash": (308_778_768_832, 0),
    "minimax-m2": (228_689_748_992, 0),
    "minimax-m2.5": (228_689_748_992, 0),
    "minimax-m2.7": (228_689_748_992, 0),
    "mistral-medium-3.5-128b": (125_025_988_608, 2_495_702_144 + 182_519_424),
    "mistral-small-4-119b-2603": (118_972_826_624, 403_305_472 + 25_166_848),
    "nvidia-nemotron-3-nano-30b-a3b-bf16": (31_577_937_344, 0),
    "nvidia-nemotron-3-super-120b-a12b-bf16": (120_668_687_360, 0),
    "nvidia-nemotron-3-ultra-550b-a55b-bf16": (549_308_968_960, 0),
    "qwen2.5-72b-awq": (72_957_861_888, 0),  # its feed-forward blocks are 29,696 wide, for the kernels
}
OTHER_FORMAT = re.compile(r"^redhatai-|(-it)?-(fp8-dynamic|fp8|nvfp4|awq-int4|awq)$")
"""How names of checkpoints end that have another model's parameters in other formats."""

QUANTISED_HEADS = {"qwen3.6-27b-nvfp4", "qwen3.6-35b-a3b-nvfp4"}
"""Whose published config.json has lm_head among quantized_layers."""

EXPERTS = {
    # Where they are not three matrices of hidden_size x moe_intermediate_size in every layer from first_k_dense on:
    # matrices, their other side, and layers.
    "ai21-jamba-large-1.5": (3, 8_192, 36),
    "ai21-jamba-mini-1.5": (3, 4_096, 16),
    "llama-4-maverick-17b-128e": (3, 5_120, 24),
    "nvidia-nemotron-3-nano-30b-a3b-bf16": (2, 2_688, 23),
    "nvidia-nemotron-3-super-120b-a12b-bf16": (2, 1_024, 40),
    "nvidia-nemotron-3-ultra-550b-a55b-bf16": (2, 2_048, 48),
}
LISTS = {name: model for name in model_names() if (model := kvcalc.load_model(name)).weights}


IN_OTHER_FORMATS = sorted(name for name in {*LISTS} - {*LISTED} if OTHER_FORMAT.search(name))


def test_every_list_of_the_catalogue_is_tested() -> None:
    assert set(LISTS) == {*LISTED, *IN_OTHER_FORMATS}


@for_each("name", IN_OTHER_FORMATS)
def test_other_formats_of_a_model_have_its_parameters(name: str) -> None:
    counted = [part.parameters for part in LISTS[name].weights if not part.scales]
    assert sum(counted) == kvcalc.load_model(OTHER_FORMAT.sub("", name)).parameters == LISTS[name].parameters


@for_each("name", LISTED)
def test_a_lists_parts_add_up_to_the_model(name: str) -> None:
    counted = [part for part in LISTS[name].weights if not part.scales]
    towers = sum(part.parameters for part in counted if part.split == "all")

    assert (sum(part.parameters for part in counted) - towers, towers) == LISTED[name]
    assert LISTS[name].parameters == sum(part.parameters for part in counted)


@for_each("name", LISTS)
def test_a_lists_tables_have_the_models_dims(name: str) -> None:
    model = LISTS[name]
    assert model.vocab_size is not None
    assert model.hidden_size is not None
    table = model.vocab_size * model.hidden_size
    tables = {part.part: part for part in model.weights if part.place != "layers"}

    assert (tables["embedding"].place, tables["embedding"].parameters) == ("embedding", table)
    assert next(iter(tables)) == "embedding"  # the first is the one that a tied head uses
    assert set(tables) - {"embedding", "output head", "per-layer embeddings", "tables of n-grams"} == set()
    assert ("output head" in tables) is not model.tie_word_embeddings
    if "output head" in tables:
        assert (tables["output head"].place, tables["output head"].parameters) == ("head", table)
        assert (tables["output head"].format == tables["embedding"].format) is (name not in QUANTISED_HEADS)


@for_each("name", LISTS)
def test_a_lists_experts_have_the_models_dims(name: str) -> None:
    model = LISTS[name]
    experts = [part.parameters for part in model.weights if part.split == "ep" and not part.scales]
    if model.num_experts is None:
        assert experts == []
    else:
        assert model.moe_intermediate_size is not None
        assert model.hidden_size is not None
        usual = 3, model.hidden_size, model.num_layers - (model.first_k_dense or 0)
        matrices, side, layers = EXPERTS.get(name, usual)
        assert experts == [matrices * side * model.moe_intermediate_size * model.num_experts * layers]


IN_BLOCKS = [name for name in LISTED if name.startswith(("deepseek-v3", "mimo", "minimax"))]
"""Whose experts are in fp8 with a scale for each block; mxfp4 has its scales in the format."""


@for_each("name", IN_BLOCKS)
def test_a_list_has_a_scale_for_every_block_of_the_experts(name: str) -> None:
    """One for each 128 x 128: of a projection of 2,048 x 7,168, 16 x 56."""
    model = LISTS[name]
    experts, scales = (part for part in model.weights if part.split == "ep")

    assert (experts.weight_block_size, scales.scales, scales.format) == (128, True, "fp32")
    assert experts.parameters == scales.parameters * 128 * 128
