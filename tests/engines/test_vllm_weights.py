"""What vLLM loads: against what servers print, and what its own code makes of experts' tensors."""

from __future__ import annotations

from typing import Any

import pytest

import kvcalc
from kvcalc.cuda_allocator import kept_end
from kvcalc.engines.vllm.loaded.mxfp4 import Experts, _loaded, _triton
from kvcalc.mechanisms import GQA, MLA
from kvcalc.memory import rank_memories
from kvcalc.model.layers import LayerGroup
from kvcalc.model.model import WeightPart
from kvcalc.term import Term

LLAMA_8B: dict[str, Any] = {
    "name": "Llama-3.1-8B",
    "hidden_size": 4096,
    "intermediate_size": 14_336,
    "vocab_size": 128_256,
    "max_context": 131_072,
    "tie_word_embeddings": False,
    "dtype": "bf16",
    "parameters": 8_030_261_248,
    "layers": (LayerGroup(count=32, attention=GQA(num_heads=32, num_kv_heads=8, head_dim=128)),),
}
QWEN_7B: dict[str, Any] = {
    "name": "Qwen2.5-7B",
    "hidden_size": 3584,
    "intermediate_size": 18_944,
    "vocab_size": 152_064,
    "max_context": 32_768,
    "tie_word_embeddings": False,
    "dtype": "bf16",
    "parameters": 7_615_616_512,
    "layers": (LayerGroup(count=28, attention=GQA(num_heads=28, num_kv_heads=4, head_dim=128)),),
}
MODELS = {"Llama-3.1-8B": LLAMA_8B, "Qwen2.5-7B": QWEN_7B}

PRINTED_BY_0_19 = [
    ("deepseek-v2-lite", {}, 29.43),
    ("gemma-3-4b", {}, 8.58),
    ("gemma-3-12b", {}, 23.31),
    ("granite-3.3-8b", {}, 15.25),
    ("Llama-3.1-8B", {}, 14.99),
    ("Llama-3.1-8B", {"weight_dtype": "fp8"}, 8.49),
    ("Llama-3.1-8B", {"weight_dtype": "fp32", "dtype": "fp32"}, 29.98),
    ("Llama-3.1-8B", {"tp": 2}, 7.51),
    ("Llama-3.1-8B", {"tp": 4}, 3.77),
    ("Llama-3.1-8B", {"pp": 2}, 7.51),
    ("Llama-3.1-8B", {"pp": 4}, 4.26),
    ("phi-2", {}, 5.19),
    ("mistral-small-3.1-24b-2503", {}, 44.76),
    ("qwen2.5-72b", {"tp": 2}, 67.82),  # Kimi-Dev-72B has its shape
    ("qwen2.5-72b", {"tp": 4}, 34.01),
    ("gpt-oss-20b", {"tp": 2}, 7.01),
    ("Qwen2.5-7B", {}, 14.25),
    ("Qwen2.5-7B", {"weight_dtype": "fp8"}, 8.14),
    ("Qwen2.5-7B", {"tp": 2}, 7.12),
    ("Qwen2.5-7B", {"tp": 4}, 3.55),
    ("qwen3-8b", {}, 15.27),
]
"""GiB of vLLM 0.19.0 on H100, of the rank that the log is of.

llm-d-incubation/llm-d-planner refs/pull/205/head, results_raw.csv at 56dc5b7.
"""


def rank_weights(model: str | kvcalc.Model, **options: Any) -> list[Term]:
    """Of one rank of each stage."""
    scenario = kvcalc.make_scenario(model, context=1, **{"engine": "vllm@0.19.0", **options})
    memories = rank_memories(scenario, scenario.deployment or kvcalc.Deployment())
    return [each.weights for each in memories if each.weights is not None]


def rows(model: str | kvcalc.Model, **options: Any) -> dict[str, int]:
    """The rows of the first stage's weights."""
    first = rank_weights(model, **options)[0]
    return {part.path: part.bytes for part in getattr(first, "parts", ())}


@pytest.mark.parametrize(("name", "options", "printed"), PRINTED_BY_0_19)
def test_what_servers_print(name: str, options: dict[str, Any], printed: float) -> None:
    """Within 0.15 %, or the last digit; of experts and latents within 0.6 %."""
    model = kvcalc.Model(**MODELS[name]) if name in MODELS else name
    found = [weights.bytes / 2**30 for weights in rank_weights(model, **options)]

    off = min(abs(each - printed) for each in found)
    assert off < max(0.0051, printed * (0.006 if name in {"deepseek-v2-lite", "gpt-oss-20b"} else 0.0015))


@pytest.mark.parametrize(
    ("gpu", "version", "printed"),
    [
        # Marlin, as vLLM 0.10.1 on an H100 without triton_kernels loads it: "Model loading took 65.9651 GiB".
        ("a100-80gb", "0.19.0", 65.9651),
    ],
)
def test_gpt_oss_120b_as_its_kernels_have_it(gpu: str, version: str, printed: float) -> None:
    (weights,) = rank_weights("gpt-oss-120b", engine=f"vllm@{version}", gpu=gpu)

    assert weights.bytes / 2**30 == pytest.approx(printed, rel=0.002)


@pytest.mark.parametrize(
    ("version", "width", "values", "scales"),
    [
        ((0, 15, 0), 1472, 6_359_040, 417_792),
        ((0, 15, 0), 2880, 12_441_600, 806_400),
        ((0, 15, 0), 384, 1_658_880, 105_984),
        ((0, 19, 0), 1472, 6_545_408, 417_792),
        ((0, 19, 0), 2880, 12_718_080, 806_400),
        ((0, 19, 0), 384, 1_683_456, 105_984),
        ((0, 33, 0), 1472, 6_359_040, 417_792),
        ((0, 33, 0), 2880, 12_441_600, 806_400),
        ((0, 33, 0), 384, 1_658_880, 105_984),
    ],
)
def test_hoppers_layouts(version: tuple[int, ...], width: int, values: int, scales: int) -> None:
    """Run on the CPU: HopperMXValueLayout and HopperMXScaleLayout of the wheel's triton_kernels, of an expert's two
    matrices, 2 x width by 2,880 and 2,880 by width, transposed as _swizzle_mxfp4 does.
    """
    found = _triton(Experts(1, 1, 2880, width), version)

    assert (found.values, found.scales) == (values, scales)


@pytest.mark.parametrize(
    ("power", "version", "kernel", "shape"),
    [
        (80, (0, 33, 0), "Marlin", (3072, 2944)),
        (89, (0, 19, 0), "Marlin", (3072, 2944)),
        (90, (0, 10, 2), "Marlin", (3072, 2944)),
        (120, (0, 33, 0), "Marlin", (3072, 2944)),
        (100, (0, 19, 0), "TRT-LLM", (3072, 3072)),
        (103, (0, 33, 0), "TRT-LLM", (3072, 2944)),
    ],
)
def test_experts_padded_to_a_kernels_rows(
    power: int, version: tuple[int, ...], kernel: str, shape: tuple[int, int]
) -> None:
    """Three matrices of hidden x width, two elements a byte, and a byte of scale for 32."""
    found = _loaded(Experts(36, 128, 2880, 2880), version, power)
    elements = 3 * shape[0] * shape[1]

    assert (found.kernel, found.bytes) == (kernel, elements // 2 + elements // 32)


def test_experts_of_a_rank_and_of_a_stage() -> None:
    """gpt-oss-20b, 24 layers of 32 experts: 1,440 of 2,880 at tp 2 are 1,536 for Marlin; at ep 2 half of them."""
    padded, whole = 3 * 3072 * 1536 * 17 // 32, 3 * 2880 * 1440 * 17 // 32
    row = "experts as Marlin has them"

    assert rows("gpt-oss-20b", tp=2, gpu="a100-80gb")[row] == 24 * 32 * (padded - whole)
    assert rows("gpt-oss-20b", tp=2, pp=2, gpu="a100-80gb")[row] == 12 * 32 * (padded - whole)
    full = 3 * 3072 * 2944 * 17 // 32 - 3 * 2880 * 2880 * 17 // 32
    assert rows("gpt-oss-20b", tp=2, ep=2, gpu="a100-80gb")[row] == 24 * 16 * full
    assert row not in rows("gpt-oss-20b", weight_dtype="bf16", gpu="a100-80gb")
    assert row not in rows("qwen3-235b-a22b", tp=8, gpu="a100-80gb")
    assert row not in rows("gpt-oss-20b", gpu="mi300x")


def test_tables_of_rotations() -> None:
    """Positions x elements of a head, in bf16; gemma-3's are 8 times as long where scaled, and once where not."""
    assert rows(kvcalc.Model(**LLAMA_8B))["rotary table of 128"] == 131_072 * 128 * 2
    assert rows("gemma-3-27b")["rotary table of 128"] == 9 * 131_072 * 128 * 2
    assert rows("deepseek-v3", tp=8)["rotary table of 64"] == 163_840 * 64 * 2
    assert rows("qwen3.6-27b")["rotary table of 64"] == 4 * 262_144 * 64 * 2
    assert [row for row in rows("mamba-2.8b") if "rotary" in row] == []
    narrow = kvcalc.Model(**{**LLAMA_8B, "rotary_dim": 32})
    assert rows(narrow, dtype="fp32")["rotary table of 32"] == 131_072 * 32 * 4


def test_up_projections_of_quantised_latents_are_kept_in_bf16_too() -> None:
    """DeepSeek-V3: 61 layers x 16 heads of a rank x 512 x (128 + 128); a view of what is not quantised."""
    row = "latent up-projections, not quantised"

    assert rows("deepseek-v3", tp=8)[row] == 61 * 16 * 512 * 256 * 2
    assert row not in rows("deepseek-v3", tp=8, weight_dtype="bf16")
    assert row not in rows("deepseek-v2-lite")
    assert row in rows("deepseek-v2-lite", weight_dtype="fp8")
    latent = MLA(num_heads=8, kv_lora_rank=16, qk_rope_head_dim=8, qk_nope_head_dim=8, v_head_dim=8)
    layers = (LayerGroup(count=2, attention=latent),)
    parts = (
        WeightPart(part="experts", parameters=10**6, format="fp8", split="ep"),
        WeightPart(part="rest", parameters=10**6, format="bf16"),
    )
    assert row not in rows(kvcalc.Model(name="m", layers=layers, weights=parts))


def test_values_that_are_made_as_keys_have_weights_all_the_same() -> None:
    """gemma-4-31b: 10 full layers, each with 4 KV heads of 512; on 8 ranks one of them."""
    row = "values' projections, as keys"

    assert rows("gemma-4-31b")[row] == 10 * 4 * 512 * 5376 * 2
    assert rows("gemma-4-31b", tp=8)[row] == 10 * 512 * 5376 * 2
    assert rows("gemma-4-31b", tp=8, weight_dtype="fp8")[row] == 10 * 512 * 5376
    assert row not in rows("gemma-3-27b")


@pytest.mark.parametrize(
    ("requested", "allocated"),
    [
        # Measured on an H100, torch 2.11.0: torch.cuda.memory_allocated of one tensor in a fresh process.
        (1_048_576, 1_048_576),
        (10_485_760, 10_485_760),
        (34_603_008, 35_651_584),
        # A tensor whose end is longer than a MiB has it split off.
        (33_554_432 + 1_048_575, 33_554_432 + 1_048_575),
        (1_073_741_824, 1_073_741_824),
    ],
)
def test_an_end_of_at_most_a_mib_stays_with_its_tensor(requested: int, allocated: int) -> None:
    assert requested + kept_end(requested) == allocated


def test_ends_of_blocks_of_the_merged_matrices() -> None:
    """Qwen2.5-7B: gate and up are 271,581,184 bytes, 1 MiB short of whole 2 MiB; others half of it."""
    row = "rounding of PyTorch's allocator"
    qwen = kvcalc.Model(**QWEN_7B)

    assert rows(qwen)[row] == 28 * (2**20 + 2**19 + 2**19) + 2 * 2**19
    assert rows(qwen, pp=2)[row] == 14 * (2**20 + 2**19 + 2**19) + 2**19
    assert rows(qwen, weight_dtype="fp8")[row] == 28 * (2**19 + 2**18) + 2 * 2**19
    assert rows(qwen, weight_dtype="int4")[row] == 2 * 2**19
    assert row not in rows(kvcalc.Model(**LLAMA_8B))


def test_the_vocabulary_is_padded_to_64() -> None:
    """49,155 words are 49,216: 61 rows of each table; a tied head has none of its own but on another stage."""
    model = kvcalc.Model(**{**LLAMA_8B, "vocab_size": 49_155})
    row = "padding of the vocabulary"

    assert rows(model)[row] == 2 * 61 * 4096 * 2
    assert rows(model, tp=2)[row] == 2 * 61 * 4096 // 2 * 2
    assert rows(model, pp=2)[row] == 61 * 4096 * 2
    assert rows(kvcalc.Model(**{**LLAMA_8B, "vocab_size": 49_155, "tie_word_embeddings": True}))[row] == 61 * 4096 * 2
    assert row not in rows(kvcalc.Model(**LLAMA_8B))


def test_a_replica_counts_what_every_rank_loads() -> None:
    exact, vllm = (
        kvcalc.estimate(kvcalc.Model(**LLAMA_8B), context=1, tp=2, pp=2, engine=engine).memory.weights_bytes
        for engine in ("exact", "vllm")
    )
    assert exact is not None
    table, half = 131_072 * 128 * 2, 2**20  # a rank's half of embedding or head is 250.5 x 2 MiB
    assert vllm == exact + 4 * (table + half)


def test_a_size_that_is_given_is_all_of_it() -> None:
    assert rows("gemma-3-27b", weights="60GB") == {"weights": 60 * 10**9}


def test_groups_of_mamba_2_that_ranks_would_copy_are_refused() -> None:
    """Falcon-H1 has two; granite-4.0-h-tiny has one, of which every rank has a copy."""
    with pytest.raises(kvcalc.KvcalcError, match="4 does not divide the 2 groups of Mamba-2"):
        kvcalc.estimate("falcon-h1-34b", context=1, tp=4, engine="vllm")
    assert kvcalc.estimate("falcon-h1-34b", context=1, tp=2, engine="vllm").memory.weights_bytes
    assert kvcalc.estimate("granite-4.0-h-tiny", context=1, tp=4, engine="vllm").memory.weights_bytes


@pytest.mark.parametrize(
    ("name", "version", "options", "stages"),
    [
        # The tower's 871,932,416 parameters in bf16, over 8 ranks; in 0.33 later stages have none.
        ("llama-4-maverick-17b-128e", "0.19.0", {"tp": 8}, [217_983_104]),
        ("llama-4-maverick-17b-128e", "0.33.0", {"tp": 8, "pp": 2}, [217_983_104, 0]),
        ("llama-4-maverick-17b-128e", "0.19.0", {"tp": 8, "pp": 2}, [1_743_864_832] * 2),
        # Its own modules of torch until 0.19, and 2,678,221,568 parameters.
        ("mistral-medium-3.5-128b", "0.19.0", {"tp": 4}, [5_356_443_136]),
        ("mistral-medium-3.5-128b", "0.33.0", {"tp": 4}, [1_339_110_784]),
        # transformers' modules.
        ("gemma-4-31b", "0.33.0", {"tp": 2}, [1_151_482_464]),
    ],
)
def test_towers_of_ranks(name: str, version: str, options: dict[str, Any], stages: list[int]) -> None:
    found = [
        sum(part.bytes for part in getattr(weights, "parts", ()) if "tower" in part.path)
        for weights in rank_weights(name, engine=f"vllm@{version}", gpu="h200", **options)
    ]
    assert found == stages


def test_a_replica_of_divided_towers_counts_them_once() -> None:
    """Every rank of exact has 7/8 of the tower more than vLLM's; Llama-4's tables of rotations are 1 Mi positions."""
    name, tower = "llama-4-maverick-17b-128e", 2 * 871_932_416
    exact, vllm = (
        kvcalc.estimate(name, context=1, tp=8, engine=engine).memory.weights_bytes for engine in ("exact", "vllm")
    )
    loaded = sum(rows(name, tp=8, engine="vllm")[row] for row in rows(name, tp=8, engine="vllm") if "rotary" in row)
    ends = rows(name, tp=8, engine="vllm").get("rounding of PyTorch's allocator", 0)
    assert exact is not None
    assert vllm == exact - 7 * tower + 8 * (loaded + ends)


def test_rows_of_other_mechanisms_have_the_weights_of_the_model_as_it_is() -> None:
    found = set()
    for row in kvcalc.compare("qwen3-8b", engine="vllm").rows:
        (rank, *_) = rank_memories(row.scenario, kvcalc.Deployment(tp=4))
        assert rank.weights is not None
        found.add(rank.weights.bytes)
    assert len(found) == 1


@pytest.mark.parametrize(
    ("gpu", "version", "gib"),
    [
        # flashinfer_fp4_moe.py: 1,856 columns to 1,920, two matrices of 2,688, 128 experts of 23 layers
        ("rtx5090", "0.20.2", 23 * 128 * 2 * 2688 * 64 * 9 / 16 / 2**30),
        ("h100", "0.19.0", 0),  # Marlin takes 1,856 as it is: 116 tiles of 16
        ("h100", "0.33.0", 0),  # 2,688 is a multiple of 128 and 1,856 one of 64
    ],
)
def test_experts_in_nvfp4_are_padded_for_their_kernels(gpu: str, version: str, gib: float) -> None:
    model = "nvidia-nemotron-3-nano-30b-a3b-bf16"
    found = rows(model, engine=f"vllm@{version}", gpu=gpu, weight_dtype="nvfp4", tp=1)
    assert sum(size for name, size in found.items() if "padded to" in name) / 2**30 == gib


@pytest.mark.parametrize(
    ("engine", "gpu", "weight_dtype", "told"),
    [
        ("vllm", "h100", None, False),
        ("vllm", "mi300x", None, True),  # its kernels are not known
        ("exact", "h100", None, True),
        ("vllm", "b200", "nvfp4", False),
        ("vllm@0.19", "h100", "nvfp4", True),  # Marlin pads since 0.25
    ],
)
def test_padding_is_counted_or_told_not_to_be(engine: str, gpu: str, weight_dtype: str | None, told: bool) -> None:
    """gpt-oss-20b at tp 8: 360 of 2,880 columns are no multiple of the 32, or 16, that share a scale."""
    found = kvcalc.estimate("gpt-oss-20b", tp=8, engine=engine, gpu=gpu, weight_dtype=weight_dtype)

    assert ("blocks-split" in {note.code for note in found.notes}) is told


def weight_rows(name: str | kvcalc.Model, **options: Any) -> list[dict[str, int]]:
    """Of the first rank of each stage: bytes by the name of a row."""
    scenario = kvcalc.make_scenario(name, context=4096, engine="vllm@0.33", gpu="b200", **options)
    stages = rank_memories(scenario, scenario.deployment or kvcalc.Deployment())
    return [{part.path: part.bytes for part in getattr(each.weights, "parts", ())} for each in stages]


@pytest.mark.parametrize(
    ("name", "layers", "experts", "hidden"),
    [("hy3", 79, 192, 4096), ("glm-4.5v", 45, 128, 4096), ("glm-4.7-flash", 46, 64, 2048)],
)
def test_routers_that_classes_make_in_fp32(name: str, layers: int, experts: int, hidden: int) -> None:
    """gate = GateLinear(params_dtype=torch.float32) of models/hy_v3.py and glm4_moe.py."""
    (rows,) = weight_rows(name, tp=8)
    assert rows["routers in fp32"] == layers * experts * hidden * 2


@pytest.mark.parametrize(("name", "rows"), [("internvl3_5-30b-a3b", 151_936), ("internvl3_5-8b", 0)])
def test_text_models_inside_a_wrapper_have_their_own_tables(name: str, rows: int) -> None:
    """InternVL's experts are Qwen3-MoE's, whose class makes both tables on every stage; the dense one has Qwen3's."""
    first, middle, last = (each.get("tables that no token looks up here", 0) for each in weight_rows(name, pp=3))
    table = rows * 2048 * 2
    assert (first, middle, last) == (table, 2 * table, table)


@pytest.mark.parametrize("model_type", ["gemma", "paligemma", "cohere2_vision"])
def test_a_tied_table_is_on_middle_stages_of_some_classes(model_type: str) -> None:
    """As vLLM 0.33's PaliGemma on the meta device has it: 526,647,296 bytes on stage 1 of 4, with tp 2."""
    model = kvcalc.Model(**{**LLAMA_8B, "model_type": model_type, "tie_word_embeddings": True})
    tables = [each.get("tables that no token looks up here", 0) for each in weight_rows(model, pp=4)]
    assert tables == [0, 128_256 * 4096 * 2, 128_256 * 4096 * 2, 0]
