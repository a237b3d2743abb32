"""Launch lines read back: to the server that they are of, with what drafts and adapters it has."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import DATA
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st
from launch_lines import DRAFT, GGUF, SAME, flags_of

from kvcalc import KvcalcError, make_scenario
from kvcalc.api import capacity_from_command
from kvcalc.engines import ENGINES
from kvcalc.verbs.capacity import capacity
from kvcalc.verbs.launch import TARGETS
from kvcalc.verbs.launch.of_verbs import launched

MODELS = ("llama-3-70b", "qwen3-8b", "deepseek-v2-lite", "gemma-3-27b", "gpt-oss-120b", "qwen3-next-80b-a3b", GGUF)
SERVERS = ("vllm", "sglang", "llama-server", "trtllm-serve")
OWN = {
    "vllm": ({"enforce-eager": "true"}, {"max-num-batched-tokens": "4096"}, {"enable-prefix-caching": "true"}),
    "sglang": ({"mem-fraction-static": "0.75"}, {"page-size": "16"}, {"disable-radix-cache": "true"}),
    "llama-server": ({"ubatch-size": "1024"}, {"flash-attn": "on"}, {"n-gpu-layers": "20"}, {"kv-unified": "1"}),
    "trtllm-serve": ({"free-gpu-memory-fraction": "0.7"},),
}


@examples(20)
@given(data=st.data())
def test_a_line_reads_back_to_its_server(data: st.DataObject) -> None:
    word = data.draw(st.sampled_from(SERVERS))
    model = data.draw(st.sampled_from(MODELS)) if word != "llama-server" else GGUF
    own = data.draw(st.sampled_from([{}, *OWN[word]]))
    engine = ENGINES[TARGETS[word].engine]
    version = data.draw(st.sampled_from(engine.versions))
    sizes = data.draw(
        st.sampled_from(
            [
                {},
                {"tp": 4},
                {"tp": 2, "pp": 2},
                {"tp": 2, "dp": 2},
                {"pp": 3},
                {"tp": 4, "ep": 4},
                {"tp": 2, "dp": 2, "dp_attention": True, "ep": 4},
                {"tp": 2, "dp": 2, "dp_attention": True},
            ]
        )
    )
    options: dict[str, Any] = {
        "gpu": "h200",
        "engine": f"{engine.name}@{version}",
        "context": data.draw(st.integers(300, 32768)),
        **sizes,
        **({"engine_option": own} if own else {}),
    }
    for name, values in (
        ("batch", (1, 4, 32)),
        ("cache_dtype", ("fp8", "q8_0", "k=q8_0,v=fp16")),
        ("dtype", ("fp16",)),
        ("weight_dtype", ("fp8",)),
        ("utilization", ("0.8",)),
    ):
        value = data.draw(st.sampled_from([None, *values]))
        if value is not None:
            options[name] = value
    try:
        found = launched("capacity", word, model, options)
    except KvcalcError:
        return
    asked, back = capacity(found.scenario), capacity_from_command(found.text, gpu="h200")
    assert {name: getattr(back, name) for name in SAME} == {name: getattr(asked, name) for name in SAME}


BESIDE: list[tuple[str, str, dict[str, Any], str]] = [
    (
        "vllm",
        "deepseek-v3",
        {"mtp": 1, "tp": 8},
        """--speculative-config '{"method": "mtp", "num_speculative_tokens": 1}'""",
    ),
    (
        "vllm",
        "llama-3.1-70b",
        {"draft": "llama-3.1-8b", "tp": 8, "engine_option": {"num-speculative-tokens": "5"}},
        '"model": "meta-llama/Llama-3.1-8B-Instruct", "num_speculative_tokens": 5',
    ),
    (
        "vllm",
        "gemma-3-4b",
        {"engine_option": {"num-speculative-tokens": "3", "speculative-method": "ngram"}},
        """--speculative-config '{"method": "ngram", "num_speculative_tokens": 3}'""",
    ),
    ("vllm", "llama-3.1-8b", {"lora": 12, "max_loras": 4}, "--enable-lora --max-lora-rank 16 --max-loras 4"),
    (
        "vllm",
        "llama-3.1-8b",
        {"lora": 8, "lora_modules": "o_proj,v_proj", "max_loras": 2},
        "--max-lora-rank 8 --lora-target-modules q_proj k_proj v_proj o_proj --max-loras 2",
    ),
    (
        "vllm",
        "phi-3.5-mini",
        {"lora": 8, "lora_modules": "qkv_proj"},
        "--max-lora-rank 8 --lora-target-modules qkv_proj",
    ),
    ("vllm", "qwen3-30b-a3b", {"lora": 8, "tp": 4, "ep": 4}, "--enable-lora --max-lora-rank 8"),
    (
        "vllm",
        "qwen3-30b-a3b",
        {"lora": 8, "tp": 2, "dp": 2, "dp_attention": True},
        "--data-parallel-size 2 --max-model-len 4096 --enable-lora --max-lora-rank 8",
    ),
    (
        "sglang",
        "deepseek-v3",
        {"mtp": 2, "tp": 8, "engine_option": {"mem-fraction-static": "0.8"}},
        (
            "--speculative-algorithm EAGLE --speculative-num-steps 2 --speculative-eagle-topk 1 "
            "--speculative-num-draft-tokens 3"
        ),
    ),
    (
        "sglang",
        "llama-3.1-8b",
        {"lora": 16},
        (
            "--enable-lora --max-lora-rank 16 --lora-target-modules q_proj k_proj v_proj o_proj gate_proj up_proj "
            "down_proj --max-loras-per-batch 8"
        ),
    ),
    (
        "sglang",
        "qwen3-8b",
        {"lora": 16, "max_loras": 2, "lora_modules": "v_proj,q_proj,k_proj"},
        "--max-lora-rank 16 --lora-target-modules q_proj k_proj v_proj --max-loras-per-batch 2",
    ),
    (
        "llama-server",
        GGUF,
        {"draft": DRAFT, "draft_tokens": 5, "batch": 4, "cache_dtype": "q8_0"},
        f"-ctv q8_0 -hfd {DRAFT} -ngld 999 --spec-type draft-simple --spec-draft-n-max 5\n",
    ),
    (
        "llama-server",
        GGUF,
        {"draft": DRAFT, "engine": "llama-cpp@b8929"},
        f" -hfd {DRAFT} -ngld 999 --draft-max 1\n",
    ),
]


@pytest.mark.parametrize(("word", "model", "options", "told"), BESIDE)
def test_drafts_and_adapters_read_back(word: str, model: str, options: dict[str, Any], told: str) -> None:
    found = launched("capacity", word, model, {"context": 4096, "gpu": "h200", **options})
    assert told in found.text
    kept = json.loads((DATA / "flags" / f"{word}.json").read_text())["flags"]
    assert {*flags_of(found.text)} - {"-m"} <= {*kept}
    asked, back = capacity(found.scenario), capacity_from_command(found.text, gpu="h200")
    assert {name: getattr(back, name) for name in SAME} == {name: getattr(asked, name) for name in SAME}


LLAMA = f"llama-server -hf {GGUF} -c 4096 -np 1 -ngl 99"


def test_llama_servers_drafts_are_read() -> None:
    """A draft in f16, all of it on the card, is the weights and the cache of a model more."""
    asked: dict[str, Any] = {"context": 4096, "gpu": "rtx4090", "engine": "llama-cpp", "draft": DRAFT}
    known = capacity(make_scenario(GGUF, **asked, draft_tokens=4))
    for drafts in (
        f"-hfd {DRAFT} --spec-draft-n-max 4",
        f"--spec-draft-hf {DRAFT} -ngld all --spec-type draft-simple --draft-max 4 -ctkd f16",
        f"--model-draft {DRAFT} -ngld 99 --draft-min 1",
    ):
        found = capacity_from_command(f"{LLAMA} {drafts}", gpu="rtx4090")
        assert (found.cache_memory_bytes, found.sequences) == (known.cache_memory_bytes, known.sequences)
    plain = capacity_from_command(f"{LLAMA} --spec-type none", gpu="rtx4090")
    assert plain.cache_memory_bytes - known.cache_memory_bytes > 2**29


@pytest.mark.parametrize(
    ("drafts", "step"),
    [
        (f"-hfd {DRAFT} --draft-max 4 -ngld 3", "give -ngld all"),
        (f"-hfd {DRAFT} --draft-max 4 -ctkd q8_0", "in f16; leave it out"),
        (f"-hfd {DRAFT} --draft-max 4 --spec-type draft-eagle3", "leave it out"),
        (f"-hfd {DRAFT} --draft-max 4 --cpu-moe-draft", "leave it out of the line"),
        ("--spec-type ngram-mod", "kvcalc follows draft-simple with a model"),
        ("--spec-type draft-simple", "put --spec-draft-model there"),
        ("--spec-type draft-mtp", "put --spec-draft-n-max N into the line"),
        ("--spec-type draft-mtp --spec-draft-n-max 2", "--mtp: the file of qwen3-8b has no layers"),
    ],
)
def test_llama_servers_drafts_that_are_not_followed_are_refused(drafts: str, step: str) -> None:
    with pytest.raises(KvcalcError) as refused:
        capacity_from_command(f"{LLAMA} {drafts}", gpu="rtx4090")
    assert step in str(refused.value)
