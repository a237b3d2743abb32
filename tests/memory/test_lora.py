"""LoRA adapters beside the weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

import kvcalc
from kvcalc.errors import KvcalcError

LINEAR = 41_943_040
"""Parameters of rank 16 on every linear module of Llama-3.1-8B, as trainers print them: https://docs.unsloth.ai ."""
QUERIES_AND_VALUES = 3_407_872
"""Of rank 8 on q_proj and v_proj, as PEFT prints them of Llama-3-8B."""


def beside(model: str, **options: Any) -> dict[str, int]:
    """Rows of adapters on a rank."""
    tree: Any = kvcalc.estimate(model, **options).memory.per_rank.tree
    return {part.path: part.bytes for part in tree.parts[0].parts if part.path.startswith("lora, ")}


QWEN3_5 = ("qwen3.5-27b", 16, (12288, 5120))
PRINTED = [
    ({"lora": 16}, LINEAR),
    ({"lora": 8, "lora_modules": "q_proj,v_proj"}, QUERIES_AND_VALUES),
    ({"lora": 16, "max_loras": 4}, 4 * LINEAR),
]


@pytest.mark.parametrize(("options", "parameters"), PRINTED)
def test_adapters_have_the_parameters_that_trainers_print(options: dict[str, Any], parameters: int) -> None:
    rows = beside("llama-3.1-8b", **options)
    assert sum(rows.values()) == 2 * parameters
    plain, found = kvcalc.estimate("llama-3.1-8b"), kvcalc.estimate("llama-3.1-8b", **options)
    assert (found.memory.weights_bytes or 0) - (plain.memory.weights_bytes or 0) == 2 * parameters


def test_rank_16_added_up_matrix_by_matrix() -> None:
    hidden, wide, narrow, width = 4096, 4096, 1024, 14336
    pairs = [(hidden, wide), (hidden, narrow), (hidden, narrow), (wide, hidden)]
    pairs += [(hidden, width), (hidden, width), (width, hidden)]
    assert sum(32 * 16 * (inputs + outputs) for inputs, outputs in pairs) == LINEAR


@pytest.mark.parametrize("tp", [2, 4, 16])
def test_ranks_divide_one_of_the_two_and_copy_the_other(tp: int) -> None:
    """As vLLM's layers do (column_parallel_linear.py, row_parallel_linear.py); beyond 8 ranks KV heads are copied."""
    rows = beside("llama-3.1-8b", lora=16, tp=tp)
    each = 32 * 16 * 2
    assert rows["lora, q_proj"] == each * (4096 + 4096 // tp)
    assert rows["lora, k_proj"] == each * (4096 + max(1024 // tp, 128))
    assert rows["lora, o_proj"] == each * (4096 // tp + 4096)
    assert rows["lora, down_proj"] == each * (14336 // tp + 4096)


@pytest.mark.parametrize(("model", "layers", "shape"), [("qwen3-next-80b-a3b", 12, (8192, 2048)), QWEN3_5])
def test_queries_that_are_made_with_their_gates_are_twice_as_wide(
    model: str, layers: int, shape: tuple[int, int]
) -> None:
    """Shapes of q_proj.weight in the checkpoints: 16 or 24 heads of 256, and as many gates."""
    assert beside(model, lora=16, lora_modules="q_proj", tp=1)["lora, q_proj"] == 2 * layers * 16 * sum(shape)


def test_stages_have_the_adapters_of_their_layers_and_tables() -> None:
    options: dict[str, Any] = {"lora": 16, "lora_modules": "q_proj,lm_head", "tp": 1}
    whole = kvcalc.estimate("llama-3.1-8b", **options).memory.weights_bytes or 0
    staged = kvcalc.estimate("llama-3.1-8b", pp=2, **options).memory.weights_bytes or 0
    assert staged == whole
    assert beside("llama-3.1-8b", **options)["lora, lm_head"] == 16 * (4096 + 128256) * 2


MIXTRAL = "mixtral-8x7b-v0.1"
VLLM = [("llama-3.1-8b", 12, 16, True), ("qwen2.5-7b-instruct", 64, 64, False), ("qwen3-8b", 8, 8, True)]


@pytest.mark.parametrize(("name", "asked", "rank", "tables"), VLLM)
def test_vllm_has_slots_for_every_linear_module_of_a_rank_that_it_knows(
    name: str, asked: int, rank: int, tables: bool
) -> None:
    """Rank 12 takes max-lora-rank 16; Qwen2's class has no embedding_modules."""
    model, rows = kvcalc.load_model(name), beside(name, lora=asked, engine="vllm")
    found = {path.removeprefix("lora, ") for path in rows}
    assert found - {"embed_tokens", "lm_head"} == {
        f"{each}_proj" for each in ("q", "k", "v", "o", "gate", "up", "down")
    }
    assert ("lm_head" in found, "embed_tokens" in found) == (tables, tables)
    exact = beside(name, lora=rank)
    assert {path: rows[path] for path in exact} == exact
    if tables:
        assert rows["lora, lm_head"] == rank * ((model.hidden_size or 0) + (model.vocab_size or 0)) * 2


@pytest.mark.parametrize(("tp", "ep"), [(1, 1), (4, 1), (4, 4)])
def test_vllm_has_slots_for_each_expert_of_a_rank_and_for_the_router(tp: int, ep: int) -> None:
    """Qwen3-30B-A3B: 48 layers of 128 experts of 768; by the shapes that create_lora_weights of 0.33.0 allocates.

    FusedMoEWithLoRA: w13 twice (experts, rank, hidden) and (experts, width, rank), w2 (experts, rank, width) and
    (experts, hidden, rank); the router is a ReplicatedLinearWithLoRA.
    """
    rank, hidden, experts, width = 16, 2048, 128 // ep, 768 // (tp // ep)
    w13 = experts * rank * hidden + experts * width * rank
    w2 = experts * rank * width + experts * hidden * rank
    router = rank * hidden + 128 * rank
    attention = 3 * rank * hidden + (4096 + 2 * 512) // tp * rank + rank * 4096 // tp + hidden * rank
    tables = 2 * (151_936 * rank + hidden * rank)
    rows = beside("qwen3-30b-a3b", engine="vllm", lora=16, max_loras=2, tp=tp, ep=ep)
    assert sum(rows.values()) == 2 * 2 * (48 * (2 * w13 + w2 + router + attention) + tables)
    routed = beside("qwen3-30b-a3b", lora=16, lora_modules="experts", tp=tp, ep=ep)
    assert sum(routed.values()) == 2 * 48 * (2 * w13 + w2)


JOINED: dict[str, Any] = {"engine": "vllm", "gpu": "h200", "tp": 2, "dp": 2, "dp_attention": True, "ep": 4}
"""Replicas of two ranks that share experts, and in Qwen3's class the tokens too (use_sequence_parallel_moe)."""


@pytest.mark.parametrize("verb", [kvcalc.estimate, kvcalc.capacity])
def test_experts_whose_tokens_ranks_share_have_no_adapters_in_vllm(verb: Callable[..., Any]) -> None:
    """_ep_check of 0.33.0 asserts it; Mixtral's class shares no tokens, and one rank a replica has none to share."""
    with pytest.raises(KvcalcError, match=r"^--lora: .* qwen3-30b-a3b's experts .* --tp 1 --dp 4 gives each one rank$"):
        verb("qwen3-30b-a3b", lora=16, context=8192, **JOINED)
    verb("qwen3-30b-a3b", lora=16, context=8192, **{**JOINED, "tp": 1, "dp": 4})
    verb("qwen3-30b-a3b", lora=16, context=8192, **{**JOINED, "engine": "exact"})
    verb("qwen3-30b-a3b", lora=16, lora_modules="q_proj,gate", context=8192, **JOINED)
    verb(MIXTRAL, lora=16, context=8192, **JOINED)


def test_a_plan_has_no_adapters_of_experts_whose_tokens_ranks_share() -> None:
    asked: dict[str, Any] = {"engine": "vllm", "gpu": "h200", "tp": 2, "batch": 2000, "context": 8192, "max_gpus": 32}
    for model, lora, shared in (("qwen3-30b-a3b", None, True), ("qwen3-30b-a3b", 16, False), (MIXTRAL, 16, True)):
        found = kvcalc.plan(model, lora=lora, **asked).deployments
        assert any(each.deployment.dp_attention for each in found) == shared


def test_sglang_has_eight_slots_for_what_it_is_told() -> None:
    """init_buffers of 0.5.23: of qkv_proj A (slots, 3 rank, hidden) and B (slots, (32 + 2 x 8) x 128 / tp, rank)."""
    rows = beside("llama-3.1-8b", engine="sglang", lora=16, lora_modules="q_proj,k_proj,v_proj", tp=4)
    assert sum(rows.values()) == 2 * 32 * 8 * 16 * (3 * 4096 + (32 + 2 * 8) * 128 // 4)
    every = beside("llama-3.1-8b", engine="sglang", lora=16)
    assert sum(every.values()) == 2 * 8 * LINEAR


def test_vllm_has_shared_experts_and_no_tables_of_glm() -> None:
    """GLM-4.5-Air: 45 layers of 128 experts and a shared one of 1,408, after one of 10,944; class without tables."""
    rows = beside("glm-4.5-air", engine="vllm@0.31.0", lora=16, tp=2)
    assert rows["lora, gate"] == 45 * 16 * (4096 + 128) * 2
    assert rows["lora, experts.down_proj"] == 45 * 128 * 16 * (1408 // 2 + 4096) * 2
    assert "lora, lm_head" not in rows
    with pytest.raises(KvcalcError, match=r"vllm 0\.29\.0 has slots for of glm-4\.5-air; --engine vllm@0\.31\.0"):
        beside("glm-4.5-air", engine="vllm@0.29.0", lora=16, tp=2)


def test_tied_tables_have_slots_of_their_own_in_vllm() -> None:
    """Llama-3.2-3B: a head over the embedding's weights; with stages the last one has the embedding too."""
    each = 16 * (3072 + 128_256) * 2
    rows = beside("llama-3.2-3b", engine="vllm", lora=16)
    assert rows["lora, embed_tokens"] == rows["lora, lm_head"] == each
    tables: dict[str, Any] = {"engine": "vllm", "lora": 16, "lora_modules": "embed_tokens,lm_head", "pp": 2}
    staged, plain = (
        kvcalc.estimate("llama-3.2-3b", **each) for each in (tables, {**tables, "lora": None, "lora_modules": None})
    )
    assert (staged.memory.weights_bytes or 0) - (plain.memory.weights_bytes or 0) == 3 * each
    assert "lora, lm_head" not in beside("qwen2.5-1.5b", engine="vllm@0.19.0", lora=16)


def test_a_given_size_of_the_weights_is_without_adapters() -> None:
    plain = kvcalc.estimate("llama-3.1-8b", weights="10GB")
    found = kvcalc.estimate("llama-3.1-8b", weights="10GB", lora=16)
    assert (found.memory.weights_bytes or 0) - (plain.memory.weights_bytes or 0) == 2 * LINEAR


def test_adapters_replace_the_hint_that_they_are_not_counted() -> None:
    def hint(model: str = "llama-3.1-8b", **options: Any) -> list[str]:
        notes = kvcalc.estimate(model, **options).not_modelled
        return [each.text for each in notes if each.code == "adapters-and-drafts"]

    assert hint() == ["LoRA adapters (--lora RANK) and draft models (--draft MODEL)"]
    assert hint(lora=16) == ["draft models (--draft MODEL)"]
    graphs = "CUDA graphs with LoRA adapters (as many again)"
    assert hint(lora=16, engine="vllm") == [f"{graphs} and draft models (--draft MODEL)"]
    assert hint(lora=16, draft="llama-3.2-1b") == []
    beside = ["LoRA adapters of routed experts and LoRA adapters of layers with states"]
    assert hint("qwen3-next-80b-a3b", lora=16, mtp=1) == beside


def test_vllm_has_slots_for_all_of_a_matrix_that_is_named_in_part() -> None:
    """is_in_target_modules of vllm/lora/utils.py: a packed parent is matched by one of its children."""
    options: dict[str, Any] = {"engine": "vllm", "lora": 16, "tp": 2}
    every = beside("llama-3.1-8b", **options)
    for named in ("q_proj,v_proj", "qkv_proj"):
        rows = beside("llama-3.1-8b", **options, lora_modules=named)
        assert rows == {path: every[path] for path in ("lora, q_proj", "lora, k_proj", "lora, v_proj")}


def test_phi_3_has_one_pair_for_queries_keys_and_values() -> None:
    """packed_modules_mapping of vllm/model_executor/models/phi3.py: qkv_proj of itself alone."""
    rows = beside("phi-3.5-mini", engine="vllm", lora=16, tp=4)
    assert rows["lora, qkv_proj"] == 2 * 32 * 16 * (3072 + 3 * 3072 // 4)
    assert rows["lora, gate_up_proj"] == 2 * 32 * 16 * (3072 + 2 * 8192 // 4)


REFUSED = [
    ("llama-4-scout-17b-16e", {"lora": 16}, "which linear modules .* --reserve lora=SIZE"),
    (
        replace(kvcalc.load_model("qwen1.5-moe-a2.7b"), num_shared_experts=None),
        {"lora": 16},
        "how wide its shared expert is",
    ),
    ("gemma-3n-e4b", {"lora": 16}, "--reserve lora=SIZE"),
    ("phi-3.5-mini", {"lora": 16, "lora_modules": "q_proj"}, "did you mean 'qkv_proj'"),
    ("phi-3.5-mini", {"lora": 16, "engine": "sglang"}, "join its matrices; --engine exact"),
    ("llama-3.1-8b", {"max_loras": 2}, "goes with --lora"),
    ("llama-3.1-8b", {"lora_modules": "q_proj"}, "goes with --lora"),
    ("llama-3.1-8b", {"lora": 16, "lora_modules": "query"}, "there are q_proj"),
    ("llama-3.1-8b", {"lora": 1024, "engine": "vllm"}, "above 512"),
    ("llama-3.1-8b", {"lora": 16, "engine": "vllm@0.11.0"}, "--engine exact"),
    ("llama-3.1-8b", {"lora": 16, "lora_modules": "q_proj", "engine": "vllm@0.18.0"}, "leave it out"),
    ("deepseek-v3", {"lora": 16, "engine": "vllm", "tp": 8}, "--engine exact"),
    (
        "llama-3.1-8b",
        {"lora": 16, "engine": "vllm", "gpu": "h100", "draft": "llama-3.2-1b", "draft_tokens": 8},
        "8,192 for max-num-seqs 1,024 .*--engine-option max-num-seqs=910$",
    ),
    (
        "mixtral-8x7b-v0.1",
        {"lora": 16, "engine": "vllm@0.19.0"},
        "--engine vllm@0.29.0 is followed, and --engine exact",
    ),
    ("llama-3.2-3b", {"lora": 16, "engine": "vllm@0.19.0"}, "--engine vllm@0.29.0 is followed"),
    ("qwen3-30b-a3b-fp8", {"lora": 16, "engine": "vllm"}, "--engine exact"),
    ("llama-3.1-8b", {"lora": 16, "lora_modules": "experts"}, "has no 'experts'"),
    ("nvidia-nemotron-3-super-120b-a12b-bf16", {"lora": 16}, "--reserve lora=SIZE"),
    ("qwen3-30b-a3b", {"lora": 16, "engine": "sglang"}, "--engine exact counts adapters"),
    ("llama-3.1-8b", {"lora": 16, "engine": "sglang", "lora_modules": "q_proj,o_proj"}, "name k_proj too"),
    ("llama-3.1-8b", {"lora": 16, "engine": "sglang", "lora_modules": "lm_head"}, "leave them out"),
]


@pytest.mark.parametrize(("model", "options", "said"), REFUSED)
def test_what_is_not_known_of_adapters_is_refused(
    model: str | kvcalc.Model, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(KvcalcError, match=said):
        kvcalc.estimate(model, **options)


def test_a_file_without_dims_is_refused() -> None:
    model = replace(kvcalc.load_model("llama-3.1-8b"), hidden_size=None)
    with pytest.raises(KvcalcError, match="--reserve lora=SIZE"):
        kvcalc.estimate(model, lora=16)
