"""Every GPU of the catalogue: memory, rates and names, beside what is published."""

from __future__ import annotations

from pathlib import Path

import pytest
from catalogue_facts import written
from each import for_each

import kvcalc
from kvcalc.catalogue import CONFIGS, find_gpu, gpu_names
from kvcalc.catalogue.gpu_table import table
from kvcalc.catalogue.validation import validated
from kvcalc.catalogue.yaml_reader import read_yaml

MIB = 2**20
GPU_FILES = sorted((CONFIGS / "gpus").glob("*.yaml"))

each_gpu = for_each("path", GPU_FILES)


@each_gpu
def test_a_gpu_built_without_checks_is_the_checked_one(path: Path) -> None:
    gpu = find_gpu(path.stem)

    assert gpu == validated(kvcalc.Gpu, read_yaml(path))
    assert gpu.name == path.stem
    assert gpu.source
    assert gpu.node_size == written(path.read_text(encoding="utf-8")).get("gpus_per_node", 8)


@each_gpu
def test_memory_of_a_gpu_is_near_its_label(path: Path) -> None:
    gpu = find_gpu(path.stem)
    if gpu.memory_bytes is None:
        assert gpu.memory_from is None
        with pytest.raises(kvcalc.KvcalcError, match="--gpu-memory SIZE"):
            kvcalc.estimate("llama-3-8b", gpu=path.stem)
        answer = kvcalc.estimate("llama-3-8b", gpu=path.stem, gpu_memory="64GiB")
        assert answer.gpus.memory_bytes == 64 * 2**30
    else:
        assert gpu.memory_from in {"runtime", "nvidia-smi", "vendor"}
        assert gpu.memory_bytes % MIB == 0 or gpu.memory_from == "runtime"
        assert gpu.label_gb is not None
        assert 0.97 * gpu.label_gb * 10**9 < gpu.memory_bytes <= gpu.label_gb * 2**30
        assert kvcalc.estimate("llama-3-8b", gpu=path.stem).gpus.memory_bytes == gpu.memory_bytes


def test_the_gpus() -> None:
    assert len(GPU_FILES) == 59
    assert len(gpu_names()) == len(set(gpu_names())) == 59 + len(table())
    aliases = [alias for name in gpu_names() for alias in find_gpu(name).aliases]
    assert len(set(aliases)) == len(aliases)
    assert not set(aliases) & set(gpu_names())


@pytest.mark.parametrize(
    ("alias", "name", "mib"),
    [
        ("h100-sxm", "h100-sxm", 81_082),
        ("h100", "h100-sxm", 81_082),
        ("H100-80GB", "h100-sxm", 81_082),
        ("a100-40gb", "a100-40-sxm", 40_335),
        ("a100-80gb", "a100-80-sxm", 81_038),
        ("h200", "h200-sxm", 143_156),
        ("h200-141gb", "h200-sxm", 143_156),
        ("mi300x", "mi300x", 196_592),
        ("b200", "b200", 182_631),
    ],
)
def test_gpus_by_name_and_alias(alias: str, name: str, mib: int) -> None:
    gpu = kvcalc.load_gpu(alias)

    assert gpu.name == name
    assert gpu.memory_bytes is not None
    assert gpu.memory_bytes // MIB == mib
    assert gpu.memory_from == "runtime"


def test_a_links_bandwidth_does_not_depend_on_the_vendor() -> None:
    per_generation = {"PCIe3 x16": 16, "PCIe4 x16": 32, "PCIe5 x16": 64}
    linked = [find_gpu(name) for name in gpu_names() if find_gpu(name).host_link in per_generation]

    assert {gpu.vendor for gpu in linked} == {"NVIDIA", "AMD", "Intel"}
    for gpu in linked:
        assert gpu.host_link_gb_per_s == per_generation[str(gpu.host_link)]


@pytest.mark.parametrize(
    ("name", "bf16", "fp8"),
    [
        # Units x operations of bf16 a clock and unit x GHz, of published architectures; fp8 is 2 or 4 times that.
        ("rtxpro6000-bw", 188 * 1_024 * 2.617, 2),
        ("mi300x", 304 * 2_048 * 2.1, 2),
        ("mi325x", 304 * 2_048 * 2.1, 2),
        ("mi350x", 256 * 4_096 * 2.2, 2),
        ("mi355x", 256 * 4_096 * 2.4, 2),
        ("mi455x", 256 * 8_192 * 2.4, 4),
        # As the vendors print it; NVIDIA with sparsity, which is twice the dense rate.
        ("h100-nvl", 1_671_000 / 2, 3_341 / 1_671),
        ("h100-sxm", 1_979_000 / 2, 2),
        ("h200-sxm", 1_979_000 / 2, 2),
        ("h100-pcie", 1_513_000 / 2, 2),
        ("gaudi3", 1_835_000, 1),
        ("tpu-v5p", 459_000, 1),
        ("h20-3e", 148_000, 2),
    ],
)
def test_rates_are_the_peak(name: str, bf16: float, fp8: float) -> None:
    """In 10^9 operations a second. A bound of decoding with less than the peak is none."""
    gpu = find_gpu(name)

    assert gpu.bf16_dense_tflops == pytest.approx(bf16 / 1000, rel=1e-4)
    assert gpu.fp8_dense_tflops == pytest.approx(fp8 * bf16 / 1000, rel=1e-4)


def test_what_a_processor_takes_of_memory_that_it_shares_is_said() -> None:
    told = [str(each) for each in kvcalc.estimate("llama-3-8b", gpu="jetson-t4000").notes]
    assert any("122.8 of 128 GiB" in each for each in told)


def test_what_logs_of_a_b300_show() -> None:
    memory = kvcalc.load_gpu("b300").memory_bytes

    assert memory is not None
    assert f"{memory / 2**30:.2f}" == "267.69"


def test_a_name_that_fits_several_cards_is_refused_with_them_all() -> None:
    with pytest.raises(kvcalc.KvcalcError, match="a100-40-pcie, a100-40-sxm, a100-80-pcie or a100-80-sxm; name one"):
        find_gpu("A100")


@pytest.mark.parametrize("name", ["mi250x", "tpu-v7x"])
def test_what_a_package_of_several_devices_is_sold_with_is_of_all_of_them(name: str) -> None:
    told = {each.code for each in kvcalc.estimate("llama-3-8b", gpu=name).notes}
    assert {"gpu-memory-as-sold", "gpu-of-several-devices"} <= told
