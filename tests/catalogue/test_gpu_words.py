"""Accelerators by the names that people type, and the one of the machine that kvcalc runs on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from each import for_each

import kvcalc
from kvcalc.catalogue import shipped_gpus
from kvcalc.catalogue.gpu_table import table
from kvcalc.catalogue.gpu_words import called_by_driver, named
from kvcalc.catalogue.machines import MACHINES
from kvcalc.units import GIB

if TYPE_CHECKING:
    from pathlib import Path

NAMES = {
    "3090": "rtx3090",
    "RTX 6000 Pro": "rtxpro6000-bw",
    "rtx 2070 mobile": "rtx2070-laptop",
    "RTX 5090D V2": "rtx5090-d-v2",
    "AMD Radeon RX 7900 XTX (RADV NAVI31)": "rx7900-xtx",
    "gfx1151": "strix-halo",
    "evo-x2": "strix-halo",
    "4090M": "rtx4090-laptop",
    "1660S": "gtx1660-super",
    "B60": "arc-pro-b60",
    "A100 40gb pcie": "a100-40-pcie",
    "H100 SXM5": "h100-sxm",
    "Radeon 780M": "radeon-780m",
    "rtx-4090": "rtx4090",
    "RTX 5090": "rtx5090",
    "4090 24GB": "rtx4090",
    "4060 ti 16gb": "rtx4060-ti-16gb",
    "GeForce RTX 4070 Ti SUPER": "rtx4070-ti-super",
    "NVIDIA GeForce RTX 3080 Ti Laptop GPU": "rtx3080-ti-laptop",
    "1080ti": "gtx1080-ti",
    "NVIDIA H100 80GB HBM3": "h100-sxm",
    "NVIDIA A100-SXM4-80GB": "a100-80-sxm",
    "a100 80gb": "a100-80-sxm",
    "Tesla T4": "t4",
    "P40": "p40",
    "L20": "l20",
    "RTX 6000 Ada Generation": "rtx6000ada",
    "a6000": "rtx-a6000",
    "7900xtx": "rx7900-xtx",
    "Radeon RX 9070 XT": "rx9070-xt",
    "AMD Instinct MI300X": "mi300x",
    "Arc B580": "arc-b580",
    "b580": "arc-b580",
    "dgx spark": "gb10",
    "strix halo": "strix-halo",
    "Apple M2 Ultra": "m2-ultra",
    "m3 max": "m3-max",
    "GTX 1650": "gtx1650",
    "1070 ti": "gtx1070-ti",
    "RX 6650 XT": "rx6650-xt",
    "RX 580 8GB": "rx580-8gb",
    "Quadro P6000": "quadro-p6000",
    "Tesla V100-SXM2-32GB": "v100-32",
    "Tesla V100-PCIE-16GB": "v100-16-pcie",
    "NVIDIA H200": "h200-sxm",
    "NVIDIA H200 NVL": "h200-nvl",
    "NVIDIA GH200 480GB": "gh200-96",
    "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition": "rtxpro6000-bw",
    "NVIDIA Thor": "jetson-thor",
    "agx orin 64gb": "jetson-agx-orin-64gb",
    "4070s": "rtx4070-super",
    "4090 mobile": "rtx4090-laptop",
    "rtx pro 6000 blackwell": "rtxpro6000-bw",
    "rtx pro 5000 72gb": "rtx-pro-5000-72gb",
    "w7800 48gb": "radeon-pro-w7800-48gb",
    "h20 141gb": "h20-3e",
    "Tesla V100S-PCIE-32GB": "v100s",
    "arc pro b70": "arc-pro-b70",
    "MacBook Pro M3 Max 64GB": "m3-max-64gb",
    "mac studio m2 ultra 192gb": "m2-ultra-192gb",
    "Ryzen AI Max+ 395": "strix-halo",
    "ryzen ai max+ pro 395 128gb": "strix-halo-128gb",
    "trillium": "tpu-v6e",
    "inferentia2": "inf2",
    "3060m": "rtx3060-laptop",
    "RTX 2070S": "rtx2070-super",
    "RTX 5090 FE": "rtx5090",
    "RTX 3090 Founders Edition": "rtx3090",
    "RTX 2050": "rtx2050-laptop",
    "RTX 3000 Ada": "rtx3000-ada-laptop",
    "RTX PRO 4000 SFF": "rtx-pro-4000-sff-blackwell",
    "RTX PRO 1000": "rtx-pro-1000-laptop",
    "RTX 6000 Blackwell": "rtxpro6000-bw",
    "Tesla P100-SXM2-16GB": "p100-16-sxm",
    "Tesla M60": "m60",
    "CMP 40HX": "cmp-40hx",
    "AMD_Instinct_MI300X_OAM": "mi300x",
    "AMD Instinct MI300X VF": "mi300x",
    "AMD Instinct MI308X": "mi308x",
    "NVIDIA B300 SXM6 AC": "b300",
    "NVIDIA H800": "h800-sxm",
    "Radeon 680M": "radeon-680m",
    "Arc 140V": "arc-140v",
    "Vega FE": "vega-frontier",
    "GMKtec EVO-X2": "strix-halo",
    "Ryzen AI Max 385": "ryzen-ai-max-390",
    "Ascend 910B4": "ascend-910b4-32gb",
    "TPU v4": "tpu-v4",
    "TPU v5 lite": "tpu-v5e",  # as jax calls it
    "TPU v6 lite": "tpu-v6e",
    "MI325": "mi325x",
    "HL-225": "gaudi2",
    "Apple M4": "m4",
    "NVIDIA H100": "h100-sxm",
    "H200 141G": "h200-sxm",
    "mbp m4 max 64gb": "m4-max-64gb",
    "Arc B60 24GB": "arc-pro-b60",
    "H100_SXM": "h100-sxm",
    "A100-80GB-SXM": "a100-80-sxm",
    "GTX 4090": "rtx4090",
    "GA102 [GeForce RTX 3090] (rev a1)": "rtx3090",
    "RTX 3070 Max-Q": "rtx3070-laptop",
    "AMD Ryzen AI MAX+ 395 w/ Radeon 8060S": "strix-halo",
    'MacBook Pro 16" M3 Max 128GB': "m3-max-128gb",
    "Apple M2 Ultra (76-core GPU) 192GB": "m2-ultra-192gb",
    "Lenovo ThinkStation PGX": "gb10",
    "RTX_PRO_6000_WS": "rtxpro6000-bw",
    "NVIDIA Jetson AGX Thor Developer Kit": "jetson-thor",
}


@for_each(("typed", "name"), NAMES.items())
def test_as_people_type_them(typed: str, name: str) -> None:
    assert kvcalc.load_gpu(typed).name == name


SIZES = {
    # As llama.cpp printed recommendedMaxWorkingSetSize, in MiB.
    "m1-16gb": 10_922,
    "m2 max 32gb": 21_845,
    "M1 Max 64GB": 49_152,
    "m2-max-96gb": 73_728,
    # The least on sale where no size is given.
    "m4-max": 36 * 1024 * 3 // 4,
    "strix-halo-128gb": 96 * 1024,
}


@pytest.mark.parametrize(("typed", "mib"), SIZES.items())
def test_of_unified_memory_a_gpu_has_a_share(typed: str, mib: int) -> None:
    gpu = kvcalc.load_gpu(typed)
    assert gpu.memory_from == "unified"
    assert (gpu.memory_bytes or 0) // 2**20 == mib


def test_every_line_of_the_table_is_found_by_name_and_alias() -> None:
    for name, gpu in table().items():
        for each in (name, *gpu.aliases):
            assert kvcalc.load_gpu(each) == gpu
        assert (gpu.memory_bytes is None) == (gpu.label_gb is None)
        assert (gpu.memory_bytes or 0) <= (gpu.label_gb or 0) * GIB
        if gpu.is_measured and gpu.vendor != "Huawei":  # ECC takes a sixteenth of some
            assert (gpu.memory_bytes or 0) > 0.93 * (gpu.label_gb or 0) * GIB
        assert gpu.source


REFUSED = {
    "a100": "a100-40-pcie, a100-40-sxm, a100-80-pcie or a100-80-sxm",
    "RTX 3060": "rtx3060-12gb or rtx3060-8gb",
    "rtx 6000": "quadro-rtx-6000 or rtx6000ada",
    "m3-max-70gb": "m3-max is not sold with 70 GB; there is m3-max-36gb",
    "RTX 3080 20GB": "rtx3080-10gb with 10, rtx3080-12gb with 12.*--gpu rtx3080-10gb --gpu-memory 20GiB",
    "mi50": "mi50-16gb or mi50-32gb",
    "m40": "m40-12gb or m40-24gb",
    "RX 580": "rx580-4gb or rx580-8gb",
    "A100 SXM": "a100-40-sxm or a100-80-sxm",
    "RTX 3050 Laptop": "rtx3050-4gb-laptop or rtx3050-6gb-laptop",
    "H800": "h800-pcie or h800-sxm",
    "Ascend 910B": "ascend-910b3 or ascend-910b4-32gb",
    "gfx942": "mi300x or mi325x",
    "Blackwell": "'kvcalc gpus list blackwell' shows",
    "RTX 4050": "did you mean 'rtx4050-laptop'",
    "Groq LPU": "static memory of many chips",
    "4090x2": "--gpu rtx4090 --gpus 2",
    "H100:8": "--gpu h100-sxm --gpus 8",
    "dual 3090": "--gpu rtx3090 --gpus 2",
    "two 3090s": "--gpu rtx3090 --gpus 2",
    "RTX 3090 (2x)": "--gpu rtx3090 --gpus 2",
    "l40sx1": "is 1 accelerator; name one",
    "gpu:h100:4": "--gpu h100-sxm --gpus 4",
    "RTX 1060": "gtx1060-3gb or gtx1060-6gb",
    "Navi 21 [Radeon RX 6800/6800 XT / 6900 XT]": "rx6800, rx6800-xt or rx6900-xt",
    "a10g-small": "--gpu a10g",
    "gpu_8x_h100_sxm5": "--gpu h100-sxm --gpus 8",
    "4090 48 GB": "--gpu rtx4090 --gpu-memory 48GiB",
    "2x3090": "--gpu rtx3090 --gpus 2",
    "3090 x2": "--gpu rtx3090 --gpus 2",
    "4 x H100": "--gpu h100-sxm --gpus 4",
    "48gb": "no accelerator '48gb'",
    "p5.48xlarge": "a machine, whose accelerators are h100-sxm: --gpu h100-sxm --gpus 8",
    "g6.12xlarge": "--gpu l4 --gpus 4",
    "g5.2xlarge": "--gpu a10g --gpus 1",
    "g2-standard-96": "--gpu l4 --gpus 8",
    "a2-highgpu-1g": "--gpu a100-40-sxm --gpus 1",
    "v5p-8": "--gpu tpu-v5p --gpus 4",  # of TensorCores
    "v6e-8": "--gpu tpu-v6e --gpus 8",  # of chips
    "ct5lp-hightpu-4t": "--gpu tpu-v5e --gpus 4",
    "NC A100 v4": "--gpu a100-80-pcie",
    "DGX A100": "a100-40-sxm or a100-80-sxm; name one of them",
    "ml.g5.xlarge": "--gpu a10g",
    "a3-ultragpu-8g": "--gpu h200-sxm",
    "Standard_ND96isr_MI300X_v5": "--gpu mi300x",
    "Standard_NC24ads_A100_v4": "--gpu a100-80-pcie",
    "DGX H100": "--gpu h100-sxm",
    "hgx-b200": "--gpu b200",
    "p9.48xlarge": "no accelerator",
    "p6e-gb200.36xlarge": "--gpu gb200",
    "u-p6e-gb200x72": "--gpu gb200",
    "a4x-highgpu-4g": "--gpu gb200",
    "a4x-maxgpu-4g-metal": "--gpu gb300",
    "g4-standard-48": "--gpu rtxpro6000-bw",
    "g7e.2xlarge": "--gpu rtxpro6000-bw",
    "Standard_NC4as_T4_v3": "--gpu t4",
    "NV36ads_A10_v5": "--gpu a10",
    "NV6ads_A10_v5": "no accelerator",
    "ND128isr_NDR_GB200_v6": "--gpu gb200",
    "BM.GPU.H100.8": "--gpu h100-sxm",
    "BM.GPU4.8": "--gpu a100-40-sxm",
    "CPU": "'CPU' is no accelerator; without --gpu",
    "no such card": "no accelerator 'no such card'",
}


def test_machines_have_accelerators_of_the_catalogue() -> None:
    for name in {name for names in MACHINES.values() for name in names.split()}:
        assert kvcalc.load_gpu(name).name == name


@pytest.mark.parametrize(("typed", "message"), REFUSED.items())
def test_what_is_no_one_accelerator_is_refused(typed: str, message: str) -> None:
    with pytest.raises(kvcalc.KvcalcError, match=message):
        kvcalc.load_gpu(typed)


ROCM = '{"card0": {"Card Series": "Radeon RX 7900 XTX", "VRAM Total Memory (B)": "25753026560"}}'
ROCM_OAM = (
    '{"card0": {"Card Series": "N/A", "Card Model": "AMD Instinct MI300X OAM",'
    ' "VRAM Total Memory (B)": "206141652992"},'
    ' "system": {"Driver version": "6.10.5"}}'
)
TOOLS = {
    "a known card": ("nvidia-smi", "NVIDIA GeForce RTX 3090, 24576", ("rtx3090", 25_318_916_096)),
    "as sold": ("nvidia-smi", "NVIDIA GeForce RTX 4080, 16376", ("rtx4080", 16376 * 2**20)),
    "with error correction": ("nvidia-smi", "Tesla M40, 11448", ("m40-12gb", 11448 * 2**20)),
    "as a runtime tells": ("nvidia-smi", "NVIDIA GeForce RTX 4070, 12282", ("rtx4070", 11866 * 2**20)),
    "with ECC": ("nvidia-smi", "NVIDIA RTX A5000, 23028", ("rtx-a5000", 23028 * 2**20)),
    "two alike": ("nvidia-smi", "NVIDIA L4, 23034\nNVIDIA L4, 23034", ("l4", None)),
    "a card of the future": ("nvidia-smi", "NVIDIA GeForce RTX 9090, 49152", ("this-machine", 48 * GIB)),
    "rocm": ("rocm-smi", ROCM, ("rx7900-xtx", 25_753_026_560)),
    "rocm, all cards and the driver": (
        "rocm-smi",
        ROCM_OAM,
        ("mi300x", 196_592 * 2**20),
    ),
    "no json": ("rocm-smi", "{", "name one"),
    "an odd json": ("rocm-smi", '["card0"]', "name one"),
    "unlike": (
        "nvidia-smi",
        "NVIDIA L4, 23034\nTesla T4, 15360",
        r"NVIDIA L4 and Tesla T4; name one of them, or all for llama.cpp: --gpu l4\+t4",
    ),
    "unlike, and one unknown": (
        "nvidia-smi",
        "NVIDIA L4, 23034\nNVIDIA X9, 15360",
        "NVIDIA L4 and NVIDIA X9; name one of them$",
    ),
    "rebuilt": ("nvidia-smi", "NVIDIA GeForce RTX 4090, 49140", ("rtx4090", 49140 * 2**20)),
    "of several of a name": ("nvidia-smi", "NVIDIA GeForce RTX 3060, 12288", ("rtx3060-12gb", 11906 * 2**20)),
    "divided": (
        "nvidia-smi",
        "NVIDIA H100 80GB HBM3, Enabled",
        "divided into MIG slices here; name one, as in --gpu h100",
    ),
    "not divided": ("nvidia-smi", "NVIDIA H100 80GB HBM3, Disabled", ("h100-sxm", None)),
    "memory that is not told": ("nvidia-smi", "NVIDIA GB10, [N/A]", ("gb10", None)),
    "rocm after a warning": (
        "rocm-smi",
        f"WARNING: a card is in a low-power state\n{ROCM}",
        ("rx7900-xtx", 25_753_026_560),
    ),
    "nothing": ("nvidia-smi", "", "name one"),
    "no tool": ("other", "", "name one"),
}


@pytest.mark.parametrize(("tool", "prints", "found"), TOOLS.values(), ids=TOOLS)
def test_the_accelerator_of_this_machine(
    tool: str, prints: str, found: tuple[str, int | None] | str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / tool
    script.write_text(f"#!/bin/sh\ncat <<'END'\n{prints}\nEND\n", encoding="utf-8")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    if isinstance(found, str):
        with pytest.raises(kvcalc.KvcalcError, match=found):
            kvcalc.load_gpu("auto")
        return
    name, memory = found
    gpu = kvcalc.load_gpu("auto")
    assert gpu.name == name
    assert memory in {None, gpu.memory_bytes}


def test_a_chip_without_cuda_has_no_rows_of_it() -> None:
    overhead = kvcalc.estimate("llama-3-8b", gpu="m4-max-64gb").memory.per_rank.overhead_bytes
    assert overhead == 0


DRIVERS = {
    "NVIDIA GeForce RTX 3060": ["rtx3060-12gb", "rtx3060-8gb"],
    "NVIDIA GeForce RTX 4090 Laptop GPU": ["rtx4090-laptop"],
    "AMD Radeon RX 7900 XTX (RADV NAVI31)": ["rx7900-xtx"],
    "AMD Radeon(TM) 8060S Graphics": ["strix-halo"],
    "Intel(R) Arc(TM) A770 Graphics": ["arc-a770-16gb", "arc-a770-8gb"],
    "Apple M2 Pro (G14S B1)": ["m2-pro"],
    "NVIDIA H100 80GB HBM3": ["h100-sxm"],
    "AMD Instinct MI60 / MI50": ["mi50-16gb", "mi50-32gb", "mi60"],
    "NVIDIA GeForce RTX 3050 6GB Laptop GPU": ["rtx3050-6gb-laptop"],
    "AMD Radeon VII (RADV VEGA20)": ["radeon-vii"],
    "CPU (Intel(R) Core(TM) i7)": [],
}


@pytest.mark.parametrize(("name", "cards"), DRIVERS.items())
def test_what_drivers_call_them(name: str, cards: list[str]) -> None:
    assert [gpu.name for gpu in called_by_driver(name, shipped_gpus())] == cards


def test_a_machine_finds_the_chips_of_its_vendor() -> None:
    assert {gpu.vendor for gpu in named("mac", shipped_gpus())} == {"Apple"}


def test_a_word_is_not_found_within_another() -> None:
    """m3 is no part of HBM3, of SXM3 or of Trainium3."""
    assert {gpu.name for gpu in named("m3", shipped_gpus())} == {"m3", "m3-pro", "m3-max", "m3-ultra"}
    assert named("rdna 3", shipped_gpus()) == named("RDNA3", shipped_gpus()) != []


def test_a_part_of_a_processor_asks_for_the_memory_it_is_given() -> None:
    with pytest.raises(kvcalc.KvcalcError, match="--gpu-memory SIZE"):
        kvcalc.capacity("qwen3-8b", gpu="890m", context=8192)
    assert kvcalc.capacity("qwen3-0.6b", gpu="890m", gpu_memory="16GiB", context=8192, engine="llama-cpp").sequences
