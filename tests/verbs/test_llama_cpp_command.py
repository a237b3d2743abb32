"""Launch lines of llama-server and of the programs that have llama.cpp in them: Ollama, koboldcpp, LM Studio."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import texts
from launch_lines import DRAFT, GGUF

from kvcalc import KvcalcError, estimate
from kvcalc.api import capacity, capacity_from_command
from kvcalc.units import GIB

SLOTS: list[tuple[str, dict[str, Any]]] = [
    ("-c 65536 -np 4 -ngl 99", {"batch": 4, "context": 16384}),
    ("-c 65536 --parallel 4 --kv-unified", {"batch": 4, "context": 16384, "engine_option": {"kv-unified": "1"}}),
    ("-c 65536", {"batch": 4, "context": 16384, "engine_option": {"kv-unified": "1"}}),  # 4 slots of its own choice
    ("-c 0 -np 1", {"batch": 1, "context": 40960}),
    ("-c 8192 -np 1 -ctk q8_0", {"batch": 1, "context": 8192, "cache_dtype": "k=q8_0,v=fp16"}),
    ("-c 8192 -np 1 -ngl 20 -fa", {"context": 8192, "engine_option": {"n-gpu-layers": "20", "flash-attn": "on"}}),
    ("-c 8192 -np 1 -nkvo -ub 1024", {"context": 8192, "engine_option": {"no-kv-offload": "1", "ubatch-size": "1024"}}),
    ("-c 8192 -np 1 -ts 1/1", {"context": 8192, "pp": 2, "engine_option": {"tensor-split": "1,1"}}),
    ("-c 8192 -np 1 -sm none -ts 1,1", {"context": 8192}),
    ("-c 8192 -np 1 -b 256", {"context": 8192, "engine_option": {"ubatch-size": "256"}}),
    ("-c 8192 -np 1 -ub 8192", {"context": 8192, "engine_option": {"ubatch-size": "2048"}}),
    ("-c 8192 -np 1 -b 8192 -ub 0", {"context": 8192, "engine_option": {"ubatch-size": "8192"}}),
    ("-c 8192 -np 1 -nkvo --kv-offload", {"context": 8192}),
    ("-c 8192 -np 1 --draft-max 8 -ngld 99 -ctkd q8_0 -cms 512 -to 60 -lm mlock -nocb", {"context": 8192}),
]


@pytest.mark.parametrize(("flags", "options"), SLOTS)
def test_slots_of_llama_server(flags: str, options: dict[str, Any]) -> None:
    found = capacity_from_command(f"llama-server -hf {GGUF} {flags}", gpu="rtx4090")
    asked = capacity(GGUF, engine="llama-cpp", gpu="rtx4090", **{"pp": 1, **options})
    for name in ("deployment", "workload", "tokens", "sequences", "cache_memory_bytes", "n_gpu_layers"):
        assert getattr(found, name) == getattr(asked, name)


def test_variables_of_llama_server_stand_for_its_flags() -> None:
    container = "docker run -e LLAMA_ARG_CTX_SIZE=8192 --env=LLAMA_ARG_N_PARALLEL=2"
    line = f"{container} ghcr.io/ggml-org/llama.cpp:server-cuda -hf {GGUF}"
    assert capacity_from_command(line, gpu="rtx4090").workload == estimate(GGUF, batch=2, context=4096).workload
    with pytest.raises(KvcalcError, match="LLAMA_ARG_RPC changes memory"):
        capacity_from_command(line.replace("--env=", "-e LLAMA_ARG_RPC=host:50052 --env="))
    drafts = capacity_from_command(line.replace("--env=", f"-e LLAMA_ARG_SPEC_DRAFT_HF_REPO={DRAFT} --env="))
    assert drafts.cache_memory_bytes < capacity_from_command(line).cache_memory_bytes


@pytest.mark.parametrize("flag", ["-cmoe", "--cpu-moe", "-ncmoe 36"])
def test_all_experts_may_stay_with_the_host(flag: str) -> None:
    line = f"llama-server -hf ggml-org/gpt-oss-120b-GGUF -c 16384 -np 1 {flag}"
    said: dict[str, Any] = {"engine": "llama-cpp", "gpu": "rtx4090", "context": 16384, "pp": 1}
    asked = capacity("gpt-oss-120b", **said, weight_dtype="mxfp4_moe", engine_option={"n-cpu-moe": "36"})
    found = capacity_from_command(line, gpu="rtx4090")
    assert found.cache_memory_bytes == asked.cache_memory_bytes > 0


ELSEWHERE = (
    "--spec-default",
    "-otd exps=CPU",
    "-ncmoed 4",
    "--ctx-size-draft 512",
    "-ncffn 10",
    "--moe-cache-mib 4096",
    "-dr gemma3",
    "--gpt-oss-20b-default",
)


@pytest.mark.parametrize("flag", ELSEWHERE)
def test_what_moves_the_memory_of_llama_server_is_refused(flag: str) -> None:
    with pytest.raises(KvcalcError, match=f"{flag.partition(' ')[0]} changes memory"):
        capacity_from_command(f"llama-server -hf {GGUF} -c 8192 -np 1 {flag}")


OLLAMA = [
    # The line, the card; tokens of a request, requests, tokens of a step, formats of weights and cache: routes.go and
    # sched.go of Ollama 0.33's server, llm/llama_server.go. 512 on the RTX 2060 as a log has it (file 61471163053).
    ("ollama run qwen3:8b", "rtx3060-12gb", (4096, 1, 512, "q4_k_m", "fp16")),
    ("ollama run qwen3:8b 'why is the sky blue?' --verbose", "rtx4090", (32768, 1, 1024, "q4_k_m", "fp16")),
    ("ollama run --think high qwen3:8b", "h100", (40960, 1, 2048, "q4_k_m", "fp16")),
    ("OLLAMA_CONTEXT_LENGTH=32768 ollama run llama3.1:8b", "rtx2060-6gb", (32768, 1, 512, "q4_k_m", "fp16")),
    ("OLLAMA_NUM_PARALLEL=2 ollama run llama3.1:8b-instruct-q8_0", "rtx4090", (32768, 2, 1024, "q8_0", "fp16")),
    ("OLLAMA_NUM_PARALLEL=2 ollama run qwen3.5:9b", "rtx4090", (32768, 1, 1024, "q4_k_m", "fp16")),
    (
        "docker exec -e OLLAMA_KV_CACHE_TYPE=q8_0 -it ollama ollama run gpt-oss:20b",
        "rtx4060-ti-16gb",
        (4096, 1, 512, None, "q8_0"),
    ),
]


@pytest.mark.parametrize(("line", "gpu", "told"), OLLAMA)
def test_what_ollama_tells_llama_server(line: str, gpu: str, told: tuple[Any, ...]) -> None:
    scenario = capacity_from_command(line, gpu=gpu).scenario
    weights = scenario.weight_format
    assert scenario.engine.name == "llama-cpp"
    assert (
        scenario.workload.context,
        scenario.workload.batch,
        scenario.engine.option("ubatch-size"),
        None if weights is None else weights.name,
        "q8_0" if "q8_0" in scenario.cache_format.name else "fp16",
    ) == told


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("ollama run", "names no model; put one behind 'ollama run'"),
        ("OLLAMA_CONTEXT_LENGTH=many ollama run qwen3:8b", "OLLAMA_CONTEXT_LENGTH=many is no number"),
        ("OLLAMA_NUM_PARALLEL=2 ollama serve", "names no model; put its variables before 'ollama run MODEL'"),
    ],
)
def test_what_ollama_does_not_tell(line: str, says: str) -> None:
    with pytest.raises(KvcalcError, match=says):
        capacity_from_command(line, gpu="rtx4090")


LIBRARIES = [
    # The line; tokens of a sequence, sequences, options, format of the cache, cards: koboldcpp 1.113, koboldcpp.py and
    # gpttype_adapter.cpp; llama-cpp-python 0.3.35, llama_cpp/server/settings.py; lms, src/subcommands/load.ts.
    (
        "koboldcpp --model gemma-3-12b-q4_k_m --contextsize 16384 --gpulayers 99 --quantkv 1 --usecublas normal 0 mmq",
        (16512, 1, {"swa-full": True, "flash-attn": "on", "ubatch-size": 512, "n-outputs-max": 0}, "q8_0", 1),
    ),
    (
        "python koboldcpp.py -m gemma-3-12b-q4_k_m --gpulayers 20 --useswa --noflashattention --batchsize 256",
        (8320, 1, {"swa-full": False, "flash-attn": "off", "ubatch-size": 256, "n-gpu-layers": 20}, "fp16", 1),
    ),
    (
        "koboldcpp qwen3-30b-a3b-q4_k_m --gpulayers 999 --moecpu 20 --tensor_split 3 1 --lowvram --contbatch 3",
        (2080, 4, {"kv-unified": True, "n-cpu-moe": 20, "no-kv-offload": True, "tensor-split": (3, 1)}, "fp16", 2),
    ),
    (
        "python -m llama_cpp.server --model qwen3-8b-q4_k_m",
        (2048, 1, {"n-gpu-layers": 0, "flash-attn": "off", "swa-full": True, "n-outputs-max": 0}, "fp16", 1),
    ),
    (
        "python3 -m llama_cpp.server --model qwen3-8b-q4_k_m --n_ctx 8192 --n_gpu_layers -1 --type_k 8 --n_batch 256",
        (8192, 1, {"n-gpu-layers": None, "flash-attn": "off", "ubatch-size": 256}, "k=q8_0,v=fp16", 1),
    ),
    (
        "lms load qwen/qwen3-8b@q4_k_m --gpu max --context-length 8192 -y",
        (2048, 4, {"kv-unified": True, "n-outputs-max": None}, "fp16", 1),
    ),
]


@pytest.mark.parametrize(("line", "told"), LIBRARIES)
def test_programs_that_have_llama_cpp_in_them(line: str, told: tuple[Any, ...]) -> None:
    found = capacity_from_command(line, gpu="rtx4090")
    scenario, (context, batch, options, kept_in, cards) = found.scenario, told
    assert (scenario.workload.context, scenario.workload.batch) == (context, batch)
    assert {name: scenario.engine.option(name) for name in options} == options
    assert kept_in in (scenario.cache_format.name if scenario.cache_format_given else "fp16")
    assert found.deployment.pp == cards
    assert [each for each in found.notes if each.code == "launcher-default"]
    assert not [each for each in found.notes if each.code == "flags-not-known"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("koboldcpp --model qwen3-8b-q4_k_m", "--gpulayers is left to koboldcpp.* 999 for all layers"),
        (
            "koboldcpp --model qwen3-8b-q4_k_m --gpulayers 9 --sdmodel x",
            "--sdmodel changes memory.* --reserve NAME=SIZE",
        ),
        ("koboldcpp --model qwen3-8b-q4_k_m --gpulayers 9 --quantkv 9", "--quantkv 9 is none of bf16, f16"),
        ("koboldcpp_cu12.exe --gpulayers 9", "names no model"),
        ("koboldcpp --model qwen3-8b-q4_k_m --gpulayers 9 --contextsize", "--contextsize lacks its value"),
        ("python -m llama_cpp.server --n_ctx 8", "names no model"),
        ("python -m llama_cpp.server --model qwen3-8b-q4_k_m --type_k q8_0", "--type_k q8_0 is none of 0, 1, 2"),
        ("python -m llama_cpp.server --model qwen3-8b-q4_k_m --n_ubatch many", "--n_ubatch many is no number"),
        ("lms load qwen3-8b -c 8192", "put --gpu max there"),
        ("lms load qwen3-8b --gpu 0.5 -c 8192", "--gpu 0.5: which layers that are is LM Studio's choice"),
        ("lms load qwen3-8b --gpu max", "put --context-length N there"),
        ("lms load --gpu max -c 8192", "names no model"),
    ],
)
def test_what_programs_with_llama_cpp_leave_to_themselves(line: str, says: str) -> None:
    with pytest.raises(KvcalcError, match=says):
        capacity_from_command(line, gpu="rtx4090")


@pytest.mark.parametrize("file", ["Qwen3.6-27B-NVFP4.gguf", "Qwen3-8B-FP8.gguf", "Qwen3-32B-AWQ.gguf"])
def test_a_gguf_file_is_not_the_checkpoint_of_its_name(file: str) -> None:
    """llama.cpp has no type of fp8, and none of AWQ's integers (ggml.h); with a format that is given it counts."""
    line = f"llama-server -m /srv/{file} -c 8192"
    with pytest.raises(KvcalcError, match=r"does not know the GGUF file that is served; give its format"):
        capacity_from_command(line, gpu="a100-80-sxm")
    assert capacity_from_command(line, gpu="a100-80-sxm", weight_dtype="q8_0").max_context


def test_a_gguf_file_of_16_bits_is_told_by_its_name() -> None:
    line = "llama-server -m /srv/Qwen3-8B-BF16.gguf -c 8192"
    found, own = (capacity_from_command(line, gpu="a100-80-sxm", weight_dtype=each) for each in (None, "bf16"))
    assert found.max_context == own.max_context


@pytest.mark.parametrize(("file", "gib"), [("F16", 11.74), ("Q8_0", 10.67), ("mxfp4", 10.67)])
def test_files_of_gpt_oss_keep_their_experts_in_mxfp4(file: str, gib: float) -> None:
    """ggml-org's gpt-oss-20b-mxfp4.gguf has 12,109,566,624 bytes, 0.57 GiB of them an embedding that stays on the host;
    unsloth's F16 and Q8_0 have the same experts."""
    found = capacity_from_command(f"llama-server -m /srv/gpt-oss-20b-{file}.gguf -c 8192", gpu="rtx4090")
    assert found.at_limit is not None
    assert found.at_limit.parts[0].bytes / GIB == pytest.approx(gib, abs=0.005)


@pytest.mark.parametrize("path", [r"D:\m\Qwen3-8B-Q4_K_M.gguf", r'"D:\my models\Qwen3-8B-Q4_K_M.gguf"'])
@pytest.mark.parametrize("program", ["koboldcpp.exe", r"D:\kobold\koboldcpp_cu12.exe", "./koboldcpp-linux-x64-nocuda"])
def test_lines_of_windows_and_programs_as_releases_name_them(program: str, path: str) -> None:
    found = capacity_from_command(f"{program} --gpulayers 99 --model {path}", gpu="rtx3060-12gb")
    assert (found.scenario.model.name, found.scenario.workload.context) == ("qwen3-8b", 8320)


@pytest.mark.parametrize("file", ["/srv/Qwen3-30B-A3B-Q4_K_M.gguf", r"'D:\m\Qwen3-30B-A3B-Q4_K_M-00001-of-00002.gguf'"])
def test_a_file_on_another_machine_is_known_by_its_name(file: str) -> None:
    found, named = (
        capacity_from_command(f"llama-server -m {model} -c 8192 -np 1 --n-cpu-moe 24", gpu="rtx3060-12gb")
        for model in (file, "Qwen3-30B-A3B-Q4_K_M")
    )
    assert (found.model.name, found.max_context) == (named.model.name, named.max_context)
    assert "Q4_K_M" in texts(found.notes)[0]
    assert "is not on this machine" in texts(found.notes)[0]
    with pytest.raises(KvcalcError, match=r"like-none-12b\.gguf: cannot be read"):
        capacity_from_command("llama-server -m /srv/like-none-12b.gguf -c 8192", gpu="rtx3060-12gb")


@pytest.mark.parametrize(
    ("name", "model"),
    [("llama3.1", "llama-3.1-8b"), ("qwen3:latest", "qwen3-8b"), ("deepseek-r1", "deepseek-r1-0528-qwen3-8b")],
)
def test_a_name_without_a_tag_is_the_librarys_own_size(name: str, model: str) -> None:
    assert capacity_from_command(f"ollama run {name}", gpu="rtx4090").model.name == model


def test_a_card_too_small_for_a_step_that_has_all_logits() -> None:
    """No sequence fits, so no step has tokens."""
    own = {"n-outputs-max": "0"}
    found = capacity("gemma-3-27b", engine="llama-cpp", engine_option=own, weights="16GiB", tp=1, gpu="rtx3060-12gb")
    assert found.sequences == 0


def test_a_context_beyond_the_model_is_cut_as_ollama_cuts_it() -> None:
    found = capacity_from_command("OLLAMA_CONTEXT_LENGTH=1000000 ollama run qwen3:8b", gpu="h100")
    assert found.workload.context == 40960
    assert [each.data for each in found.notes if each.code == "ollama-default"] == [{"weight_dtype": "q4_k_m"}]


MOE = "llama-server -hf unsloth/Qwen3-30B-A3B-GGUF:Q4_K_M -c 32768"
ON_HOST = {
    "-ot exps=CPU": 48,
    "-ot '.ffn_.*_exps.=CPU'": 48,
    r"-ot 'blk\.(1[0-9]|2[0-9])\.ffn_.*_exps\.=CPU'": 20,
    r"-ot 'blk\.[0-4]\.ffn_.*_exps=CPU' --override-tensor 'blk\.[5-9]\.ffn_.*_exps=CPU'": 10,
    "-ot nothing=CPU": 0,
}


@pytest.mark.parametrize(("patterns", "layers"), ON_HOST.items())
def test_patterns_of_tensors_move_experts(patterns: str, layers: int) -> None:
    found = capacity_from_command(f"{MOE} {patterns}", gpu="rtx3090")
    assert found.scenario.engine.option("n-cpu-moe") == layers


@pytest.mark.parametrize(
    "patterns",
    [
        "-ot ffn=CPU",
        r"-ot 'blk\.[0-9]\.ffn_up_exps=CPU'",
        "-ot exps=CUDA1",
        "-ot '((a+)+)+=CPU'",
        "-ot '.*.*.*.*x=CPU'",
        "-ot '(exps=CPU'",
        "-ot exps=CPU -ncmoe 4",
        "-sm none",
    ],
)
def test_patterns_that_move_other_tensors_are_refused(patterns: str) -> None:
    with pytest.raises(KvcalcError, match=r"-ot|--split-mode none"):
        capacity_from_command(f"{MOE} {patterns}", gpu="rtx3090+rtx3090")


GEMMA_TOWER = 2 * 423_060_336 + 2 * 5_119_344 + 127_139_840
"""Bytes: at 16 bits, what of it is in f32, and a buffer of 121.25 MiB."""


@pytest.mark.parametrize(
    ("line", "set_aside"),
    [
        ("llama-server -hf ggml-org/gemma-3-27b-it-GGUF:Q4_K_M -c 8192", True),
        ("ollama run gemma3:27b", True),
        ("llama-server -hf ggml-org/gemma-3-27b-it-GGUF:Q4_K_M -c 8192 --no-mmproj", False),
        ("llama-server -hf ggml-org/gemma-3-27b-it-GGUF:Q4_K_M -c 8192 --no-mmproj-offload", False),
        ("llama-server -hf Qwen/Qwen3-8B-GGUF:Q8_0 -c 8192", False),
    ],
)
def test_a_tower_that_llama_server_loads_unasked_is_set_aside(line: str, set_aside: bool) -> None:
    found = capacity_from_command(line, gpu="rtx5090")
    assert dict(found.scenario.replacements.reserve) == ({"mmproj": GEMMA_TOWER} if set_aside else {})
    told = {each.code for each in found.notes} & {"mmproj-set-aside", "towers-apart"}
    assert told == ({"mmproj-set-aside"} if set_aside else {"towers-apart"} if "gemma" in line else set())
    named = capacity_from_command(line, gpu="rtx5090", reserve={"mmproj": 10**9})
    assert dict(named.scenario.replacements.reserve) == {"mmproj": 10**9}


def test_a_tower_of_a_file_that_is_named_is_set_aside() -> None:
    line = "llama-server -m gemma-3-27b --mmproj mmproj-model-f16.gguf -c 8192"
    found = capacity_from_command(line, gpu="rtx5090", weight_dtype="q4_k_m")
    assert dict(found.scenario.replacements.reserve) == {"mmproj": GEMMA_TOWER}
