"""What llama.cpp leaves in host memory: token embeddings, layers, experts, the cache; and how many layers fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from conftest import Kvcalc
from llama_cpp_shapes import FITTED, SHAPES, Fitted, fitted_model, kvcalc_fits

import kvcalc
from kvcalc.engines import Load
from kvcalc.memory import Ranks
from kvcalc.model.layers import LayerGroup

MIB = 2**20


@pytest.fixture(name="shell")
def _shell(kvcalc: Kvcalc) -> Kvcalc:
    """The command, whose fixture is named as the package is."""
    return kvcalc


def estimate(model: str, **options: Any) -> kvcalc.Estimate:
    return kvcalc.estimate(model, engine="llama-cpp", pp=1, gpu="h200", **options)


def weights(model: str, **options: str) -> int:
    found = estimate(model, engine_option={key.replace("_", "-"): value for key, value in options.items()})
    assert found.memory.per_rank.weights_bytes is not None
    return found.memory.per_rank.weights_bytes


def test_token_embeddings_stay_with_the_host() -> None:
    """load_tensors prints a model buffer of the CPU of 682.03 MiB beside 14,032.23 on the card (b8946, Qwen3.6-27B)."""
    assert weights("llama-3-8b") == 2 * (8_030_261_248 - 128256 * 4096)
    found = estimate("llama-3-8b")
    (told,) = [each for each in found.notes if each.code == "weights-on-host"]
    assert told.data["bytes"] == 2 * 128256 * 4096
    assert found.memory.weights_bytes == found.memory.per_rank.weights_bytes


def test_a_table_that_is_the_output_head_too_is_on_the_card() -> None:
    model = kvcalc.load_model("gemma-2b")
    assert model.tie_word_embeddings
    assert weights("gemma-2b") == 2 * (model.parameters or 0)


@pytest.mark.parametrize(("layers", "on_card", "head"), [(33, 32, True), (4, 3, True), (1, 0, True), (0, 0, False)])
def test_the_last_layers_are_on_the_card(layers: int, on_card: int, head: bool) -> None:
    """Of 8 layers with -ngl 4 llama.cpp b11549 puts the cache of 3 on the card: the output head counts as one."""
    table = 2 * 128256 * 4096
    of_layers = 2 * 8_030_261_248 - 2 * table
    assert weights("llama-3-8b", n_gpu_layers=str(layers)) == of_layers * on_card // 32 + head * table
    found = estimate("llama-3-8b", context=8192, engine_option={"n-gpu-layers": str(layers)})
    assert found.cache.bytes_per_rank == 8192 * on_card * 2 * 8 * 128 * 2


def test_the_first_layers_experts_are_left_with_the_host() -> None:
    model = kvcalc.load_model("qwen3-30b-a3b")
    experts = 3 * 2048 * 768 * 128 * 48
    assert weights("qwen3-30b-a3b") - weights("qwen3-30b-a3b", n_cpu_moe="12") == 2 * experts // 4
    assert weights("qwen3-30b-a3b", n_cpu_moe="48") == 2 * ((model.parameters or 0) - experts - 151936 * 2048)


def test_the_cache_may_stay_with_the_host() -> None:
    found = estimate("llama-3-8b", engine_option={"no-kv-offload": "1"})
    assert found.cache.bytes_per_rank == 0


def test_the_hosts_share_of_the_cache_is_told() -> None:
    """Qwen3.5-27B with -ngl 26: 4,608.00 MiB of KV and 93.52 of RS of the CPU, 3,584.00 and 56.11 of CUDA0.

    Stored file 58671331675.
    """
    found = estimate("qwen3.5-27b", context=131072, engine_option={"n-gpu-layers": "26"})
    (told,) = [each for each in found.notes if each.code == "cache-on-host"]
    assert round(int(str(told.data["bytes"])) / MIB, 2) == 4608 + 93.52
    assert round(found.cache.bytes_per_rank / MIB, 2) == 3584 + 56.11


PRINTED = [
    ("llama-3-70b", "n-gpu-layers", "4", 109600),
    ("llama-3-70b", "n-gpu-layers", "8", 109600),
    ("qwen3-30b-a3b", "n-cpu-moe", "4", 83601),
    ("qwen3-30b-a3b", "n-cpu-moe", "8", 83601),
    ("qwen3-30b-a3b", "n-gpu-layers", "4", 86000),
]
"""Compute buffers of 8 layers of these in f32 at 8,192 tokens, in hundredths of a MiB: b11549 as tests/live runs it."""


@pytest.mark.parametrize(("name", "option", "value", "hundredths"), PRINTED)
def test_a_matrix_of_the_host_is_copied_to_the_card(name: str, option: str, value: str, hundredths: int) -> None:
    shape = SHAPES[name].model
    (group,) = shape.layers
    assert isinstance(group, LayerGroup)
    eight = replace(shape, layers=(replace(group, count=8),), weight_dtype="fp32", tie_word_embeddings=False)
    asked = kvcalc.make_scenario(eight, engine="llama-cpp", engine_option={option: value}, context=8192)
    layout = Ranks(asked).settled(kvcalc.Deployment())
    found = layout.temporary(layout.stages[0], Load(1, 8192))
    assert found is not None
    assert 0 <= 100 * found.term.bytes / MIB / hundredths - 1 < 0.04


CARDS = [
    ("minimax-m2", "b8929", 4, 30000, "512", (202, 396)),
    ("qwen3.5-122b-a10b", "b8929", 1, 32768, "1586", (452.31, 1558.12)),
]
"""Compute buffers of a card in the middle and of the last of four, where experts of each are with the host, as logs
printed them: stored files 43121383699 (MiniMax-M2.1 on RTX 3090, slots that share cells) and 51910220944."""


@pytest.mark.parametrize(("model", "build", "slots", "context", "ubatch", "printed"), CARDS)
def test_the_first_card_alone_multiplies_by_what_the_host_has(
    model: str, build: str, slots: int, context: int, ubatch: str, printed: tuple[float, float]
) -> None:
    own = {"ubatch-size": ubatch, "n-cpu-moe": "40", "kv-unified": "1", "tensor-split": "1,1,1,1"}
    asked = kvcalc.make_scenario(
        model, engine=f"llama-cpp@{build}", engine_option=own, batch=slots, context=context, weight_dtype="q4_k_m"
    )
    layout = Ranks(asked).settled(kvcalc.Deployment(pp=4))
    sizes = [layout.temporary(stage, Load(slots, context)) for stage in layout.stages]
    first, *_, middle, last = [0 if each is None else each.term.bytes / MIB for each in sizes]
    assert (middle, last) == pytest.approx(printed, rel=0.05)
    assert first > 2 * middle


NEMOTRON = [
    ("nvidia-nemotron-3-super-120b-a12b-bf16", "0", 512, 1, 195.51),
    ("nvidia-nemotron-3-super-120b-a12b-bf16", "88", 512, 4, 5575.50),
    ("nvidia-nemotron-3-ultra-550b-a55b-bf16", "0", 2048, 4, 1504.05),
    ("nvidia-nemotron-3-ultra-550b-a55b-bf16", "108", 32, 1, 20504.25),
    ("nvidia-nemotron-3-ultra-550b-a55b-bf16", "108", 512, 1, 20868.00),
    ("nvidia-nemotron-3-ultra-550b-a55b-bf16", "108", 2048, 4, 22032.02),
    ("nvidia-nemotron-3-nano-30b-a3b-bf16", "0", 512, 1, 83.51),
]
"""Compute buffers of all layers in f32 at 4,096 tokens a sequence, in MiB: b11549 as tests/live runs it.

By model, n-cpu-moe, ubatch-size and sequences. Nano's has 20 layers, which changes nothing.
"""


@pytest.mark.parametrize(("name", "experts", "ubatch", "slots", "printed"), NEMOTRON)
def test_experts_of_a_latent_space_are_as_narrow_as_it(
    name: str, experts: str, ubatch: int, slots: int, printed: float
) -> None:
    given = {"n-cpu-moe": experts, "ubatch-size": str(ubatch)}
    found = compute_buffer(name, given, slots)
    assert abs(found / MIB / printed - 1) < 0.003


def test_the_heaviest_format_of_a_file_is_that_of_the_copy() -> None:
    """ffn_down of the first layers is in Q6_K of a Q4_K_M (src/llama-quant.cpp, llama_tensor_get_type)."""
    model, experts = "qwen3-30b-a3b", {"n-cpu-moe": "48"}
    sizes = [
        kvcalc.estimate(
            model, engine="llama-cpp", gpu="h200", pp=1, engine_option=own, weight_dtype="q4_k_m"
        ).memory.per_rank.temporary_bytes
        for own in ({}, experts)
    ]
    assert sizes[1] - sizes[0] == 128 * 2048 * 768 // 256 * 210


def test_no_matrix_is_copied_for_fewer_than_32_tokens() -> None:
    """12.61 MiB of Nemotron 3 Super with experts on the host and -ub 31, 5,388.47 with 32: b11549 as above."""
    name, experts = "nvidia-nemotron-3-super-120b-a12b-bf16", {"n-cpu-moe": "88"}
    assert compute_buffer(name, {**experts, "ubatch-size": "31"}) < 13 * MIB
    assert compute_buffer(name, {**experts, "ubatch-size": "32"}) > 5376 * MIB


def compute_buffer(name: str, given: dict[str, str], slots: int = 1) -> int:
    asked = kvcalc.make_scenario(
        name, engine="llama-cpp", engine_option=given, weight_dtype="fp32", context=4096, batch=slots
    )
    layout = Ranks(asked).settled(kvcalc.Deployment())
    found = layout.temporary(layout.stages[0], Load(slots, 4096))
    assert found is not None
    return found.term.bytes


def test_cells_of_a_layer_of_the_host_are_copied_to_the_card() -> None:
    """424.00 MiB of 6 layers in f32 with 3 on the card at 32,768 tokens, 344.00 at 8,192: b11549 as tests/live runs it.

    At 32,768 tokens the K and V of a layer, 128 MiB, are more than what its feed-forward block holds.
    """
    shape = SHAPES["llama-3-8b"].model
    (group,) = shape.layers
    assert isinstance(group, LayerGroup)
    six = replace(shape, layers=(replace(group, count=6),), weight_dtype="fp32", tie_word_embeddings=False)
    for context, printed in ((8192, 344), (32768, 424)):
        asked = kvcalc.make_scenario(six, engine="llama-cpp", engine_option={"n-gpu-layers": "3"}, context=context)
        layout = Ranks(asked).settled(kvcalc.Deployment())
        found = layout.temporary(layout.stages[0], Load(1, context))
        assert found is not None
        assert 0 <= found.term.bytes / MIB / printed - 1 < 0.02
        assert (found.high > found.low) is (context == 32768)


def test_as_many_layers_as_fit_and_not_one_more() -> None:
    asked: dict[str, Any] = {"engine": "llama-cpp", "weight_dtype": "q4_k", "gpu": "rtx4090", "pp": 1, "context": 8192}
    most = kvcalc.capacity("llama-3-70b", **asked).n_gpu_layers
    assert most is not None
    for layers, fits in ((most, True), (most + 1, False)):
        found = kvcalc.estimate("llama-3-70b", **asked, engine_option={"n-gpu-layers": str(layers)})
        assert ((found.memory.per_rank.headroom_bytes or 0) >= 0) is fits
    assert kvcalc.capacity("llama-3-8b", **asked).n_gpu_layers == 33
    assert kvcalc.capacity("llama-3-8b", engine="exact").n_gpu_layers is None


@pytest.mark.parametrize("fitted", FITTED, ids=lambda each: f"{each.name}-{each.gib}-{each.context}-{each.kept_in}")
def test_as_many_layers_or_experts_as_llama_cpp_chooses_itself(fitted: Fitted) -> None:
    """Or one layer fewer, where the compute buffer is counted somewhat too large."""
    found = kvcalc_fits(fitted)
    if fitted.n_cpu_moe is not None:
        assert found.n_cpu_moe == fitted.n_cpu_moe
    else:
        assert found.n_gpu_layers is not None
        assert fitted.n_gpu_layers - (fitted.kept_in == "q8_0") <= found.n_gpu_layers <= fitted.n_gpu_layers


def test_where_all_experts_on_the_host_are_not_enough_layers_go_there_too() -> None:
    """llama.cpp chose 30 layers, two of them with experts (b11549, as tests/live/llama_cpp_fit.py asks it)."""
    asked = Fitted("qwen3-30b-a3b", 8, 65536, "f16", 30)
    found = kvcalc_fits(asked)
    assert found.n_cpu_moe is None
    (told,) = [each.text for each in found.notes if each.code == "part-on-gpu"]
    both = "--engine-option n-cpu-moe=48 --engine-option n-gpu-layers=37"
    assert both in told
    for layers, fits in (("37", True), ("38", False)):
        held = kvcalc.estimate(
            fitted_model(asked.name).model,
            engine="llama-cpp",
            engine_option={"n-cpu-moe": "48", "n-gpu-layers": layers},
            gpu="h100",
            gpu_memory="8GiB",
            context=65536,
            weight_dtype="fp16",
            pp=1,
        )
        assert ((held.memory.per_rank.headroom_bytes or 0) >= 0) is fits


def test_no_number_of_layers_fits_that_gives_each_card_one() -> None:
    """What asks for an answer gets one, and no option that is refused: three cards need six at least."""
    asked: dict[str, Any] = {"engine": "llama-cpp", "pp": 3, "batch": 67, "context": 1048576}
    assert kvcalc.capacity("sarvam-30b", **asked).n_gpu_layers == 0
    found = kvcalc.estimate("sarvam-30b", **asked)
    assert [each for each in found.notes if each.code == "part-on-gpu"] == []
    with pytest.raises(kvcalc.KvcalcError, match="leave that card out"):
        kvcalc.estimate("sarvam-30b", **asked, engine_option={"n-gpu-layers": "5"})
    least = kvcalc.estimate("sarvam-30b", **asked, engine_option={"n-gpu-layers": "6"})
    assert least.gpus.fits is False


def test_as_few_experts_on_the_host_as_it_takes() -> None:
    asked: dict[str, Any] = {"engine": "llama-cpp", "gpu": "rtx4090", "pp": 1, "context": 8192}
    found = kvcalc.capacity("gpt-oss-120b", **asked)
    fewest = found.n_cpu_moe
    assert fewest is not None
    for layers, fits in ((fewest, True), (fewest - 1, False)):
        held = kvcalc.estimate("gpt-oss-120b", **asked, engine_option={"n-cpu-moe": str(layers)})
        assert ((held.memory.per_rank.headroom_bytes or 0) >= 0) is fits
    (told,) = [each for each in found.notes if each.code == "part-on-gpu"]
    assert told.data == {"n_gpu_layers": found.n_gpu_layers, "n_cpu_moe": fewest}
    assert f"n-cpu-moe={fewest}" in told.text
    assert kvcalc.capacity("gpt-oss-20b", engine="llama-cpp", gpu="rtx4090").n_cpu_moe == 0
    assert kvcalc.capacity("llama-3-8b", engine="llama-cpp").n_cpu_moe is None


def test_who_names_no_deployment_is_told_what_one_card_holds(shell: Kvcalc) -> None:
    """Two cards hold it whole; an owner of one asks what that holds."""
    asked = ("capacity", "qwen3-8b", "--engine", "llama-cpp", "--weight-dtype", "q8_0", "--gpu", "rtx4060")
    told = shell(*asked)
    assert told.code == 0
    assert "note: 1 x rtx4060 with the rest in host memory: --engine-option n-gpu-layers=27 has" in told.stderr
    alone = shell(*asked, "--gpus", "1")
    assert alone.code == 1
    assert alone.stderr.rstrip().endswith("--engine-option n-gpu-layers=27 leaves the rest to the host")
    assert shell(*asked, "--gpus", "1", "--engine-option", "n-gpu-layers=27").code == 0


STATES = ["mamba-2.8b", "mamba-codestral-7b-v0.1", "minimax-text-01", "nemotron-nano-9b-v2", "qwen3-next-80b-a3b"]


@pytest.mark.parametrize("name", [*STATES, "lfm2-1.2b", "kimi-linear-48b-a3b"])
def test_a_card_that_holds_no_layer_and_no_sequence_of_states_is_told_so(shell: Kvcalc, name: str) -> None:
    told = shell("capacity", name, "--engine", "llama-cpp", "--gpu", "gtx1070", "--gpu-memory", "100MiB")
    assert told.code == 1
    assert "one sequence does not fit: a rank lacks" in told.stderr
