"""What drafts tokens: its weights and its cache beside the model's."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import Kvcalc

import kvcalc
from kvcalc.errors import KvcalcError
from kvcalc.model.mtp import mtp_model
from kvcalc.term import leaves

GIB = 2**30
DATA = Path(__file__).parent.parent / "data"
LLAMA_70B, LLAMA_8B = 70_553_706_496, 8_030_261_248  # parameters, by building LlamaForCausalLM
USABLE = 85_017_755_648 * 92 // 100  # an H100 as torch sees it


def test_a_draft_grows_so_setting_its_weights_aside_holds_too_many() -> None:
    """Llama-3-70B on 4 H100s with Llama-3.1-8B: 34 sequences of 8,192 tokens beside its weights, 13 with its cache."""
    options: dict[str, Any] = {"context": 8192, "tp": 4}
    beside = 15 * GIB // 10 + 17 * GIB // 10  # temporary and overhead: 1.5, and 1.0 + 0.7
    left = USABLE - 2 * LLAMA_70B // 4 - 2 * LLAMA_8B - beside
    own, of_draft = 2 * 80 * 8192 * 2 * 128 * 2, 2 * 32 * 8192 * 8 * 128 * 2
    assert (left // own, left // (own + of_draft)) == (34, 13)
    weights = f"{2 * LLAMA_8B}B"
    assert kvcalc.capacity("llama-3-70b", reserve={"draft": weights}, **options).sequences == 34
    assert kvcalc.capacity("llama-3-70b", draft="llama-3.1-8b", **options).sequences == 13


@pytest.mark.parametrize(("tp", "draft_tp", "copies"), [(1, None, 1), (4, None, 4), (4, 2, 2), (8, 8, 1)])
def test_each_rank_holds_a_share_of_the_draft_or_a_copy_of_it(tp: int, draft_tp: int | None, copies: int) -> None:
    plain = kvcalc.estimate("llama-3-70b", batch=2, context=8192, tp=tp)
    found = kvcalc.estimate("llama-3-70b", batch=2, context=8192, tp=tp, draft="llama-3.1-8b", draft_tp=draft_tp)
    cache, weights = 2 * 32 * 2 * 8192 * 8 * 128 * 2, 2 * LLAMA_8B
    assert found.cache.bytes - plain.cache.bytes == copies * cache
    assert found.cache.one_copy_bytes - plain.cache.one_copy_bytes == cache
    assert found.cache.bytes_per_rank - plain.cache.bytes_per_rank == cache // (draft_tp or 1)
    assert (found.memory.weights_bytes or 0) - (plain.memory.weights_bytes or 0) == copies * weights
    mine, other = found.memory.per_rank.weights_bytes, plain.memory.per_rank.weights_bytes
    assert (mine or 0) - (other or 0) == weights // (draft_tp or 1)
    assert sum(term.bytes for term in found.cache.terms) == found.cache.bytes
    assert any(term.path.startswith("draft, ") for term in found.cache.terms)


def test_deepseek_v3_keeps_62_latents_however_many_tokens_its_layer_drafts() -> None:
    for tokens in (1, 3):
        found = kvcalc.estimate("deepseek-v3", batch=1, context=8192, tp=8, mtp=tokens)
        assert found.cache.one_copy_bytes == 62 * 8192 * (512 + 64) * 2
        assert found.cache.bytes_per_token == 62 * (512 + 64) * 2
        assert found.cache.bytes == 8 * found.cache.one_copy_bytes


def test_deepseek_v3s_layer_weighs_what_its_tensors_do() -> None:
    """Tensors of model.layers.61 without its copies of embedding and head, as the published index has them."""
    hidden, experts, width = 7168, 256 + 1, 2048
    attention = 1536 * hidden + 128 * 192 * 1536 + 576 * hidden + 128 * 256 * 512 + hidden * 128 * 128
    blocks = [(width, hidden)] * 2 * experts + [(hidden, width)] * experts
    blocks += [(1536, hidden), (24576, 1536), (576, hidden), (32768, 512), (hidden, 16384)]
    scales = sum(-(-rows // 128) * -(-columns // 128) for rows, columns in blocks)
    in_fp8, beside = experts * 3 * hidden * width + attention, 256 * hidden + 256 + 5 * hidden + 1536 + 512
    weights = in_fp8 + 4 * scales + 2 * (2 * hidden * hidden + beside)
    alone, both = (kvcalc.estimate("deepseek-v3", tp=1, mtp=tokens) for tokens in (None, 1))
    assert (both.memory.weights_bytes or 0) - (alone.memory.weights_bytes or 0) == weights


COPIES = {"deepseek-v3": 2, "deepseek-v3.1": 2, "deepseek-v3.2": 2, "deepseek-v3.2-exp": 2}
COPIES |= {"glm-4.5": 2, "glm-4.5-air": 2, "glm-4.7-flash": 2}
"""Tables of vocab_size x hidden_size that the layer's tensors have too: the model's embedding and output head."""
NOT_ITEMISED = {"mimo-v2-flash", "longcat-flash"}


def published() -> dict[str, tuple[int, int]]:
    """What checkpoints have of such layers: elements, and scales where they are elements too."""
    found: dict[str, tuple[int, int]] = {}
    with (DATA / "hub_differences.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            elements, scales = found.get(row["name"], (0, 0))
            if "predict" in row["what"] or row["what"].startswith("layer 61"):
                found[row["name"]] = int(row["elements"]), scales
            elif row["what"] in {"its scales", "fp32 scales of layer 61"}:
                found[row["name"]] = elements, int(row["elements"])
    return found


@pytest.mark.parametrize(("name", "elements"), published().items())
def test_layers_that_draft_have_the_published_elements_and_scales(name: str, elements: tuple[int, int]) -> None:
    if name in NOT_ITEMISED:
        return
    model = kvcalc.load_model(name)
    draft = mtp_model(model)
    tables = COPIES.get(name, 0) * (model.vocab_size or 0) * (model.hidden_size or 0)
    scales = sum(part.parameters for part in draft.weights if part.scales)
    counted = scales if name != "deepseek-v3.2" else 0  # in ue8m0, which the Hub's total leaves out
    assert ((draft.parameters or 0) + tables, counted) == elements


def test_sparse_latents_of_three_layers_that_draft_are_tensorrt_llms_45k_a_token() -> None:
    """https://github.com/NVIDIA/TensorRT-LLM/pull/12683: ~45K bytes a token; ~86K with all 61 layers for 3."""
    model = replace(kvcalc.load_model("deepseek-v3.2"), mtp_layers=3)
    kept = kvcalc.estimate(model, context=1, cache_dtype="fp8", mtp=3, draft_weights="1B").cache.bytes
    assert kept == (61 + 3) * (512 + 64 + 132) == 45_312
    assert (61 + 61) * (512 + 64 + 132) == 86_376


def test_copies_that_sglang_frees_too_late_are_counted_when_it_sizes_its_pool() -> None:
    """https://github.com/sgl-project/sglang/issues/36452: 2 x 248,320 x 5,120 in bf16, about 5.08 GB."""
    model = replace(
        kvcalc.load_model("qwen3-8b"), model_type="glm4_moe", mtp_layers=1, vocab_size=248_320, hidden_size=5120
    )
    asked = kvcalc.make_scenario(
        model, mtp=1, draft_weights="1B", tp=1, engine="sglang", engine_option={"mem-fraction-static": "0.8"}
    )
    found = kvcalc.estimate(asked)
    rows = {leaf.path: leaf.bytes for leaf in leaves(found.memory.per_rank.tree)}
    assert rows["draft, embedding and output head while pools are sized"] == 5_085_593_600


ENGINES = [
    ("vllm", {}, 62 * 8192 * 1152),
    ("tensorrt-llm", {}, (61 + 3) * 8192 * 1152),
    ("sglang", {"mem-fraction-static": "0.85"}, 62 * 8192 * 1152),
]


@pytest.mark.parametrize(("engine", "options", "kept"), ENGINES)
def test_engines_keep_the_layers_that_draft_beside_the_others(engine: str, options: dict[str, str], kept: int) -> None:
    """TensorRT-LLM 1.1 has a cache for each of the three tokens (get_num_spec_layers)."""
    found = kvcalc.estimate("deepseek-v3", context=8192, tp=8, gpu="h200", mtp=3, engine=engine, engine_option=options)
    assert kept <= found.cache.bytes_per_rank < kept * 1.02
    assert (found.memory.per_rank.weights_bytes or 0) > 11_610_068_224 // 8


def test_a_server_of_sglang_that_drafts_runs_48_sequences_where_nobody_says() -> None:
    """sglang/srt/arg_groups/speculative_hook.py: Max running requests is reset to 48 for speculative decoding."""
    asked: dict[str, Any] = {"context": 1024, "engine": "sglang", "gpu": "h200", "draft": "llama-3.2-1b"}
    found = kvcalc.capacity("llama-3.1-8b", **asked)
    assert [each.data["at_once"] for each in found.notes if each.code == "sequences-that-wait"] == [48]
    more = kvcalc.capacity("llama-3.1-8b", **asked, engine_option={"max-running-requests": "200"})
    assert [each.data["at_once"] for each in more.notes if each.code == "sequences-that-wait"] == [200]


def test_llama_cpp_has_a_context_for_a_draft_in_f16() -> None:
    options: dict[str, Any] = {"context": 8192, "engine": "llama-cpp", "gpu": "rtx4090", "cache_dtype": "q8_0"}
    plain = kvcalc.estimate("llama-3.1-8b", **options)
    found = kvcalc.estimate("llama-3.1-8b", draft="llama-3.2-1b", **options)
    assert found.cache.bytes - plain.cache.bytes == 2 * 16 * 8192 * 8 * 64 * 2
    assert found.memory.temporary_bytes > plain.memory.temporary_bytes


REFUSED = [
    ("llama-3-70b", {"mtp": 1}, "--draft MODEL"),
    ("deepseek-v3", {"mtp": 1, "draft": "llama-3.1-8b"}, "give one of them"),
    ("llama-3-70b", {"draft_tp": 2}, "goes with --draft"),
    ("llama-3-70b", {"draft_weights": "1GiB"}, "goes with --draft"),
    ("llama-3-70b", {"draft": "llama-3.1-8b", "tp": 4, "draft_tp": 3}, "does not divide"),
    ("llama-3-70b", {"draft": "llama-3.1-8b", "tp": 4, "draft_tp": 2, "engine": "vllm"}, "has tp 4"),
    ("llama-3-70b", {"draft": "llama-3.1-8b", "engine": "mlx", "gpu": "m3-max"}, "--engine exact"),
    ("deepseek-v3", {"mtp": 2, "engine": "vllm", "engine_option": {"num-speculative-tokens": "1"}}, "says 1"),
    ("llama-3-70b", {"draft": "llama-3.1-8c"}, "^--draft: .*llama-3.1-8b"),
    ("llama-3-70b", {"draft": "llama-3.1-8b", "tp": 2, "draft_tp": 4}, "does not divide"),
    ("deepseek-v3", {"draft": "llama-3.1-8b", "cache_dtype": "c_kv=fp8"}, "^--draft: --cache-dtype"),
    ("minimax-m3", {"mtp": 1}, "--draft-weights"),
    ("deepseek-v3", {"mtp": 1, "engine": "sglang", "tp": 4, "pp": 2}, "pipeline stages"),
    ("exaone-4.5-33b", {"mtp": 1, "draft_weights": "1GB", "engine": "sglang"}, "its class"),
    ("qwen3-next-80b-a3b", {"draft": "qwen3-8b", "engine": "sglang"}, "--draft-tokens N"),
    ("gpt-oss-20b", {"draft": "mimo-v2-flash", "engine": "sglang"}, "pools of windows"),
]


@pytest.mark.parametrize(("model", "options", "said"), REFUSED)
def test_what_cannot_draft_is_refused_with_a_next_step(model: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(KvcalcError, match=said):
        kvcalc.estimate(model, **options)


def test_of_a_deployment_that_is_looked_for_at_most_so_many_ranks_share_the_draft() -> None:
    found = kvcalc.estimate("llama-3-70b", draft="llama-3.1-8b", draft_tp=8, batch=13, context=8192)
    assert (found.answer.deployment.tp, found.answer.fits) == (4, True)
    beside = kvcalc.estimate("llama-3-70b", draft="llama-3.1-8b", draft_tp=4, batch=13, context=8192, tp=4)
    assert found.answer.bytes_per_gpu == beside.answer.bytes_per_gpu


def test_the_engines_own_option_makes_the_models_layers_draft() -> None:
    options: dict[str, Any] = {"context": 8192, "tp": 8, "gpu": "h200", "engine": "vllm"}
    by_option = kvcalc.estimate("deepseek-v3", engine_option={"num-speculative-tokens": "1"}, **options)
    asked = kvcalc.estimate("deepseek-v3", mtp=1, **options)
    assert (by_option.cache, by_option.memory) == (asked.cache, asked.memory)


def test_of_several_stages_the_last_has_a_copy_of_the_embedding_for_layers_that_draft() -> None:
    """DeepSeek-V3's table is 129,280 x 7,168 in bf16."""
    one, two = (kvcalc.estimate("deepseek-v3", tp=8, pp=pp, mtp=1).memory.weights_bytes or 0 for pp in (1, 2))
    plain = [kvcalc.estimate("deepseek-v3", tp=8, pp=pp).memory.weights_bytes or 0 for pp in (1, 2)]
    assert (two - plain[1]) - (one - plain[0]) == 129_280 * 7168 * 2


def test_vllm_loads_one_of_mimo_v2s_three_layers() -> None:
    """vllm/model_executor/models/mimo_v2_mtp.py; each has a window and a dense block."""
    exact = kvcalc.estimate("mimo-v2-flash", mtp=1, context=128, tp=4, gpu="h200")
    plain = kvcalc.estimate("mimo-v2-flash", context=128, tp=4, gpu="h200")
    assert exact.cache.one_copy_bytes - plain.cache.one_copy_bytes == 3 * 128 * 8 * (192 + 128) * 2
    drafted = kvcalc.make_scenario("mimo-v2-flash", mtp=1, tp=4, gpu="h200", engine="vllm").drafting
    assert drafted is not None
    assert drafted.model.num_layers == 1


NVFP4 = [
    ("qwen3.6-35b-a3b-nvfp4", {"mtp": 2}, 21.93),
    ("qwen3.6-35b-a3b-nvfp4", {}, 20.36),
    ("qwen3.6-27b", {"mtp": 1, "weight_dtype": "nvfp4"}, 20.54),
]


@pytest.mark.parametrize(("model", "options", "gib"), NVFP4)
def test_checkpoints_in_nvfp4_leave_layers_that_draft_plain(model: str, options: dict[str, Any], gib: float) -> None:
    """As vLLM 0.22.1 prints of NVIDIA's Qwen3.6-35B-A3B; of the 27B, 0.79 GiB for the layer that drafts."""
    weights = kvcalc.estimate(model, tp=1, context=4096, engine="vllm@0.22", **options).memory.weights_bytes or 0
    assert weights == pytest.approx(gib * 2**30, rel=0.001)


def test_deepseek_v4s_layer_is_like_its_others_without_entries() -> None:
    """vllm/models/deepseek_v4/nvidia/mtp.py. A server on two GB10 printed 75.86 GiB each with it (vLLM 0.21.1rc1)."""
    experts, heads, latents, joining = 256 * 3 * 4096 * 2048, 3 * 2**25 + 3 * 4096 * 2048, 4096 * 1536, 2 * 4096 * 4096
    router, norms = 256 * 4096, 5 * 4096 + 1024 + 512
    mixing = 2 * (24 * (4 * 4096 + 1) + 3) + 4 * (4 * 4096 + 1) + 1
    draft = mtp_model(kvcalc.load_model("deepseek-v4-flash"))
    assert draft.parameters == experts + heads + latents + joining + router + norms + mixing
    found = kvcalc.estimate("deepseek-v4-flash", mtp=2, tp=2, gpu="gb10", engine="vllm@0.22", cache_dtype="fp8")
    assert found.memory.per_rank.weights_bytes == pytest.approx(75.86 * 2**30, rel=0.01)


def test_a_dflash_head_has_its_layers_and_what_joins_hidden_states(tmp_path: Path) -> None:
    """Qwen3-8B's, 1.05 billion: five layers, five hidden states; the target's tables (vLLM's qwen3_dflash.py)."""
    layer = 4096 * (32 + 8 + 8) * 128 + 4096 * 4096 + 3 * 4096 * 12288 + 2 * 4096 + 2 * 128
    file = tmp_path / "config.json"
    file.write_text(
        json.dumps(
            {
                "architectures": ["DFlashDraftModel"],
                "dflash_config": {"mask_token_id": 151669, "target_layer_ids": [1, 9, 17, 25, 33]},
                "model_type": "qwen3",
                "dtype": "bfloat16",
                "hidden_size": 4096,
                "intermediate_size": 12288,
                "head_dim": 128,
                "num_attention_heads": 32,
                "num_key_value_heads": 8,
                "num_hidden_layers": 5,
                "vocab_size": 151936,
                "max_position_embeddings": 40960,
                "attention_bias": False,
                "tie_word_embeddings": False,
            }
        ),
        encoding="utf-8",
    )
    plain, found = kvcalc.estimate("qwen3-8b"), kvcalc.estimate("qwen3-8b", draft=str(file))
    parameters = 5 * layer + 5 * 4096 * 4096 + 2 * 4096
    assert (found.memory.weights_bytes or 0) - (plain.memory.weights_bytes or 0) == 2 * parameters
    assert found.cache.bytes_per_token - plain.cache.bytes_per_token == 2 * 5 * 8 * 128 * 2


def test_a_given_size_is_of_a_file_of_llama_cpp_with_its_layers_that_draft() -> None:
    """Qwen3.6-27B of 18,163.06 MiB on a card with all 66 of 66 layers, of which one drafts (b9849, -ngl all)."""
    options: dict[str, Any] = {"mtp": 2, "context": 8192, "gpu": "h200", "weights": "18163MiB"}
    of_engines = (kvcalc.estimate("qwen3.6-27b", engine=engine, **options) for engine in ("llama-cpp", "vllm"))
    held, more = (found.memory.per_rank.weights_bytes or 0 for found in of_engines)
    assert held == 18163 * 2**20 < more
    told = kvcalc.estimate("qwen3.6-27b", engine="llama-cpp", draft_weights="1GiB", **options)
    assert told.memory.per_rank.weights_bytes == held + 2**30


def test_what_is_assumed_of_a_draft_s_file_is_written_into_a_model_file(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """--assume is of the model's own file: the step after the refusal makes a file that --draft takes."""
    config = {
        "model_type": "llama2x",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": 1024,
        "num_attention_heads": 16,
        "num_key_value_heads": 4,
        "num_hidden_layers": 4,
        "intermediate_size": 2048,
        "vocab_size": 128_256,
        "torch_dtype": "bfloat16",
    }
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(KvcalcError, match=r"then --draft draft\.yaml") as refused:
        kvcalc.estimate("llama-3.1-8b", draft=file)
    step = refused.value.args[1]
    assert step == f"next: kvcalc models import {file} --assume model_type=llama -o draft.yaml"
    draft = tmp_path / "draft.yaml"
    words = step.removeprefix("next: kvcalc ").replace("draft.yaml", str(draft)).split()
    run: Kvcalc = request.getfixturevalue("kvcalc")
    assert run(*words).code == 0
    assert kvcalc.estimate("llama-3.1-8b", draft=draft, context=100).cache.bytes == 100 * (131_072 + 4 * 2 * 4 * 64 * 2)
