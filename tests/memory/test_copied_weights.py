"""What tensor-parallel ranks copy: a rank's bytes against the tensors of the model's class, shared out by name.

The rules are those of Megatron-LM and vLLM: columns or rows of a projection divide over the ranks; a KV head, or a
group of Mamba-2, is on tp / heads of them; norms, routers, latent down-projections and an indexer are on each.
"""

from __future__ import annotations

import json
import re
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
from conftest import DATA, texts

import kvcalc
from kvcalc.deployment import Deployment
from kvcalc.importers import import_config
from kvcalc.mechanisms import GQA, MHA, MLA, MQA, Mamba2
from kvcalc.memory import rank_memories
from kvcalc.model.layers import LayerGroup
from kvcalc.model.model import WeightPart

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.scenario import Scenario


WHOLE = re.compile(
    r"\.(q_a_proj|kv_a_proj_with_mqa|fc[12]_latent_proj|indexer\.wq_b|indexer\.wk|indexer\.weights_proj)\.|"
    r"\.(embed_positions|wpe)\.weight$|"
    r"\.(mlp\.gate|mixer\.gate|\w+\.router(\.layer)?|mlp\.gate\.wg|feed_forward\.gate)\.(weight|bias)$"
)
SMALL = re.compile(r"norm|layernorm|\.o_proj\.bias")
"""Whole on each rank too. No dims tell how many there are: only a list of weights does."""

OF_HEADS = re.compile(r"\.[kv]_proj\.weight$")
MIXED = re.compile(r"\.(in_proj|conv1d)\.weight$")
"""Of Mamba-2: the rows of B and C stand beside others."""

DIVIDED_NORMS = re.compile(r"mixer\.norm\.|mamba\.norm\.|\.self_attn\.[qk]_norm\.")
"""Norms over what the ranks divide."""

HIGH = re.compile(r"embed|lm_head|gate\.weight|weights_proj|norm|sinks|bias")
"""What an fp8 checkpoint keeps in bf16."""


def config_of(hub_id: str) -> dict[str, Any]:
    files = [json.loads((DATA / name).read_text(encoding="utf-8")) for name in ("configs.json", "configs_written.json")]
    found: dict[str, Any] = next(configs[hub_id] for configs in files if hub_id in configs)
    return {key: value for key, value in found.items() if key != "quantization_config"}


def tensors_of(hub_id: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.initialization import no_init_weights

    values = config_of(hub_id)
    config = AutoConfig.for_model(**values)
    with torch.device("meta"), no_init_weights():
        model = AutoModelForCausalLM.from_config(config)
        model.tie_weights()  # left out with the initial values
    yield from ((name, tuple(parameter.shape)) for name, parameter in model.named_parameters())


def elements(shape: tuple[int, ...]) -> int:
    product = 1
    for size in shape:
        product *= size
    return product


class Rules:
    """How many bytes of a tensor one of `tp` ranks holds."""

    def __init__(self, model: kvcalc.Model, tp: int) -> None:
        self.tp, self.formats = tp, {part.format for part in model.weights}
        self.small_are_told = any(part.split == "stage" for part in model.weights)
        self.bf16_outputs = any(part.part == "attention outputs" for part in model.weights)
        attentions = [layer.attention for layer in model.distinct()]
        self.mamba = next((each for each in attentions if isinstance(each, Mamba2)), None)
        self.kv_heads = {
            width * heads: heads
            for each in attentions
            if isinstance(each, GQA | MQA | MHA)
            for heads in [
                each.num_kv_heads if isinstance(each, GQA) else 1 if isinstance(each, MQA) else each.num_heads
            ]
            for width in (each.head_dim, each.v_head_dim or each.head_dim)
        }

    def bytes(self, name: str, shape: tuple[int, ...]) -> Fraction:
        return self._share(name, shape) * self._size(name, shape)

    def _share(self, name: str, shape: tuple[int, ...]) -> Fraction:
        if MIXED.search(name) and self.mamba:
            of_groups = Fraction(2 * self.mamba.num_groups * self.mamba.state_size, shape[0])
            return of_groups / min(self.tp, self.mamba.num_groups) + (1 - of_groups) / self.tp
        return Fraction(1, self._ways(name, shape))

    def _ways(self, name: str, shape: tuple[int, ...]) -> int:
        if WHOLE.search(name):
            return 1
        if OF_HEADS.search(name):
            return min(self.tp, self.kv_heads[shape[0]])
        is_small = SMALL.search(name) and not (DIVIDED_NORMS.search(name) and shape[0] > 512)
        return 1 if is_small and self.small_are_told else self.tp

    def _size(self, name: str, shape: tuple[int, ...]) -> Fraction:
        if "mxfp4" in self.formats and re.search(r"\.experts\.\w+_proj$", name):
            return Fraction(elements(shape) * 17, 32)
        if "fp8" not in self.formats or HIGH.search(name) or (self.bf16_outputs and ".o_proj." in name):
            return Fraction(2 * elements(shape))
        rows, columns = shape[-2:]
        return Fraction(elements(shape) + 4 * elements(shape[:-2]) * -(-rows // 128) * -(-columns // 128))


def rank_bytes(model: kvcalc.Model, **options: Any) -> int:
    found = kvcalc.estimate(model, context=1, **options).memory.per_rank.weights_bytes
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "tp"),
    [
        ("gemma-2b", 8),
        ("opt-13b", 8),
        ("llama-3-8b", 32),
        ("qwen3-235b-a22b", 8),
        ("deepseek-v2-lite", 8),
        ("glm-5.2", 8),
        ("falcon-h1-34b", 4),
        ("hunyuan-a13b", 32),
        ("lfm2-8b-a1b", 32),
        ("granite-4.0-h-tiny", 4),
        ("deepseek-v3", 8),
        ("deepseek-v3.2", 8),
        ("minimax-m2.5", 16),
        ("mimo-v2-flash", 8),
        ("gpt-oss-20b", 16),
        ("ai21-jamba-mini-1.5", 16),
        ("nvidia-nemotron-3-ultra-550b-a55b-bf16", 16),
    ],
)
@pytest.mark.torch
def test_a_rank_holds_its_share_of_the_classs_tensors(name: str, tp: int) -> None:
    model = kvcalc.load_model(name)
    rules = Rules(model, tp)
    expected = sum(rules.bytes(*tensor) for tensor in tensors_of(model.hub_ids[0]))

    assert expected <= rank_bytes(model, tp=tp) < expected + 16


def copies_in(said: tuple[str, ...]) -> list[str]:
    return [line for line in said if line.startswith("weights that tensor-parallel ranks copy")]


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("gemma-2b", {"tp": 8}, f"norms, biases and other small weights (at most {37 * 2048:,} parameters)"),
        (
            "opt-13b",
            {"tp": 8},
            f"norms, biases and other small weights (at most {40 * 65 * 1024 + 10240:,} parameters)",
        ),
        ("kimi-linear-48b-a3b", {"tp": 4}, "norms, biases and other small weights"),
        ("gpt-oss-120b", {"tp": 16}, "biases"),
        (
            "gemma-2b",
            {"tp": 8, "weights": "5GB"},
            (
                "key and value projections (18,874,368 parameters), norms, biases and other small weights "
                "(at most 75,776 parameters)"
            ),
        ),
        (
            "deepseek-v3.2",
            {"tp": 8, "weights": "700GB"},
            (
                "latent down-projections (923,467,776 parameters), indexer's projections (851,509,248 parameters), "
                "routers, norms, biases and other small weights"
            ),
        ),
        (
            "palm-62b",
            {"tp": 8},
            "key and value projections (268,435,456 parameters), norms, biases and other small weights",
        ),
    ],
)
def test_what_is_copied_and_not_counted_is_named(name: str, options: dict[str, Any], expected: str) -> None:
    (line,) = copies_in(texts(kvcalc.estimate(name, **options).not_modelled))
    assert line == f"weights that tensor-parallel ranks copy instead of dividing: {expected}"


@pytest.mark.parametrize(
    ("name", "options"), [("gemma-2b", {}), ("deepseek-v3.2", {"tp": 8}), ("gpt-oss-120b", {"tp": 8})]
)
def test_nothing_is_named_where_all_copies_are_counted(name: str, options: dict[str, Any]) -> None:
    assert copies_in(texts(kvcalc.estimate(name, **options).not_modelled)) == []


TWO_KV_HEADS = GQA(num_heads=8, num_kv_heads=2, head_dim=4)
"""Of a hidden size of 16, 2 x 16 x 8 parameters in each layer."""


def small(**changes: Any) -> kvcalc.Model:
    fields: dict[str, Any] = {
        "name": "m",
        "hidden_size": 16,
        "vocab_size": 10,
        "tie_word_embeddings": True,
        "parameters": 160 + 3 * 1000,
        "layers": (LayerGroup(count=3, attention=TWO_KV_HEADS),),
    }
    return kvcalc.Model(**{**fields, **changes})


def test_key_and_value_projections_are_on_as_many_ranks_as_share_a_head() -> None:
    """Of 3,160 parameters in bf16, 768 divide over 2 ranks at most."""
    of_tp = {tp: rank_bytes(small(), tp=tp) for tp in (1, 2, 4, 8)}

    assert of_tp == {1: 6320, 2: 3160, 4: (6320 - 1536) // 4 + 768, 8: (6320 - 1536) // 8 + 768}
    assert kvcalc.estimate(small(), context=1, tp=8).memory.weights_bytes == 6320 - 1536 + 4 * 1536


def test_pipeline_stages_share_what_ranks_copy() -> None:
    """3 layers on 2 stages: 2 of them and the table, 1 and the table again."""
    memory = kvcalc.estimate(small(), context=1, tp=4, pp=2).memory

    assert memory.per_rank.weights_bytes == 320 // 4 + (6000 - 1536) * 2 // 3 // 4 + 768 * 2 // 3
    assert memory.weights_bytes == 2 * 320 + 6000 - 1536 + 2 * 1536


def test_learned_positions_are_whole_on_the_first_stage_and_no_step_reads_them() -> None:
    model = small(position_parameters=1600)
    plain = small(parameters=160 + 3 * 1000 - 1600)
    of_stages = [rank_bytes(each, tp=4, pp=2) for each in (model, plain)]

    assert rank_bytes(model, tp=4) == rank_bytes(plain, tp=4) + 3200
    assert of_stages[0] == of_stages[1] + 3200
    steps = [kvcalc.estimate(each, context=1, tp=4).decode for each in (model, plain)]
    assert steps[0] is not None
    assert steps[0] == steps[1]
    assert kvcalc.estimate(model, context=1).memory.weights_bytes == 6320


def test_full_layers_without_a_value_projection_copy_keys_alone() -> None:
    full = LayerGroup(count=1, attention=TWO_KV_HEADS)
    layers = (LayerGroup(count=2, attention=TWO_KV_HEADS, window=5), full)
    both, keys = (rank_bytes(small(layers=layers, attention_k_eq_v=one), tp=4) for one in (False, True))

    assert both == (6320 - 1536) // 4 + 768
    assert keys == (6320 - 1280) // 4 + 640


def test_a_config_tells_that_full_layers_have_no_value_projection() -> None:
    text = json.dumps(config_of("google/gemma-4-31B-it"))

    assert import_config(text, "config.json", "m").model.attention_k_eq_v
    assert kvcalc.load_model("gemma-4-31b").attention_k_eq_v


def test_what_another_mechanism_would_copy_does_not_change_the_weights() -> None:
    """Rows of compare have the weights of the model as it is, also where another would have more KV heads."""
    rows = kvcalc.compare("gemma-2b").rows
    held = {rank_weights(row.scenario) for row in rows}

    assert {row.mechanism for row in rows} == {"mha", "gqa", "mqa", "mla", "mla_expanded"}
    assert held == {659_573_248}


def rank_weights(scenario: Scenario) -> int:
    (rank, *_) = rank_memories(scenario, Deployment(tp=8))
    assert rank.weights is not None
    return rank.weights.bytes


def listed(*parts: WeightPart) -> kvcalc.Model:
    return small(weights=parts, parameters=None)


def test_copies_take_the_format_and_the_scales_of_their_part() -> None:
    """Projections of 256 x 512 in fp8 have 2 x 4 scales in fp32; two ranks of four hold the same."""
    attention = GQA(num_heads=8, num_kv_heads=2, head_dim=128)
    layers = (LayerGroup(count=1, attention=attention),)
    parts = (
        WeightPart(part="a", parameters=10 * 128**2 + 16 * 128**2, format="fp8", weight_block_size=128),
        WeightPart(part="s", parameters=26, format="fp32", scales=True),
    )
    model = small(weights=parts, hidden_size=512, layers=layers)

    assert rank_bytes(model, tp=4) == (10 * 128**2 + 40) // 4 + (16 * 128**2 + 64) // 2
    assert rank_bytes(model, tp=4, weight_dtype="bf16") == 2 * (10 * 128**2 // 4 + 16 * 128**2 // 2)


def test_a_list_that_does_not_tell_where_projections_are() -> None:
    """Two parts of the layers divide over ranks: one must be said to have the projections."""
    parts = [WeightPart(part=name, parameters=3000, format=name) for name in ("fp8", "bf16")]
    unsaid, said = (
        listed(*parts),
        listed(parts[0], WeightPart(part="bf16", parameters=3000, format="bf16", projections=True)),
    )

    assert rank_bytes(unsaid, tp=4) == 9000 // 4
    (line,) = copies_in(texts(kvcalc.estimate(unsaid, context=1, tp=4).not_modelled))
    assert "key and value projections (768 parameters)" in line
    assert rank_bytes(said, tp=4) == 750 + (6000 - 1536) // 4 + 768
    (line,) = copies_in(texts(kvcalc.estimate(said, context=1, tp=4).not_modelled))
    assert "projections" not in line


def test_words_do_not_tell_how_many_parameters_they_hold() -> None:
    words = listed(WeightPart(part="words", parameters=1000, format="int32"))

    assert rank_bytes(words, tp=4) == 1000
    (line,) = copies_in(texts(kvcalc.estimate(words, context=1, tp=4).not_modelled))
    assert "key and value projections (768 parameters)" in line


def test_projections_are_of_layers() -> None:
    with pytest.raises(ValueError, match="projections: goes with split tp and place layers"):
        WeightPart(part="x", parameters=1, format="bf16", split="all", projections=True)


def test_an_indexer_without_its_heads_is_named() -> None:
    attention = MLA(
        num_heads=8,
        kv_lora_rank=8,
        qk_rope_head_dim=4,
        qk_nope_head_dim=4,
        v_head_dim=4,
        index_head_dim=128,
        index_topk=4,
    )
    model = small(layers=(LayerGroup(count=1, attention=attention),))

    (line,) = copies_in(texts(kvcalc.estimate(model, context=1, tp=8).not_modelled))
    assert line.split(": ")[1] == "indexer's projections, norms, biases and other small weights"
    assert rank_bytes(model, tp=8) == (6320 - 2 * 12 * 16) // 8 + 2 * 12 * 16


def test_without_a_hidden_size_copies_are_named() -> None:
    model = small(hidden_size=None)

    (line,) = copies_in(texts(kvcalc.estimate(model, context=1, tp=8).not_modelled))
    assert line.split(": ")[1] == "key and value projections, norms, biases and other small weights"
    assert rank_bytes(model, tp=8) == 790
