"""Slices of cards: as nvidia-smi lists them, what they may do, and what is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

import kvcalc
from kvcalc.catalogue import find_gpu, shipped_gpus
from kvcalc.catalogue.gpu_slices import slice_names
from kvcalc.units import GIB

if TYPE_CHECKING:
    from conftest import Kvcalc


@pytest.mark.parametrize(
    ("name", "gib", "multiprocessors", "number"),
    [
        # nvidia-smi mig -lgip, which rounds to hundredths
        ("a30:1g.6gb", 5.81, 14, 4),  # NVIDIA MIG User Guide
        ("a100-40-sxm:1g.5gb", 4.75, 14, 7),  # likewise
        ("a100-40-sxm:3g.20gb", 19.5, 42, 2),
        ("h100-nvl:1g.12gb", 10.62, 16, 7),
        ("h200-sxm:1g.18gb", 16, 16, 7),  # NVIDIA/mig-parted#120
        ("h200-sxm:7g.141gb", 139.75, 132, 1),
        ("gh200-144:2g.36gb", 35.25, 32, 3),  # NVIDIA/mig-parted#139
        ("b200:1g.23gb", 20.5, 18, 7),  # NVIDIA/gpu-operator#1351; 22.00 in #1242
        ("gb200:1g.47gb", 45.5, 32, 4),  # NVIDIA/gpu-operator#1303
        ("rtxpro6000-bw:2g.48gb", 46.5, 94, 2),  # bigstack-oss/cubecos#312
    ],
)
def test_memory_and_multiprocessors_are_as_listed(name: str, gib: float, multiprocessors: int, number: int) -> None:
    found = find_gpu(name)
    assert found.memory_bytes is not None
    assert abs(found.memory_bytes / GIB - gib) < 0.006
    assert (found.name, found.multiprocessors, found.slices) == (name, multiprocessors, number)


@pytest.mark.parametrize(
    ("card", "profiles"),
    [
        ("gb300", "1g.35gb 7, 1g.70gb 4, 2g.70gb 3, 3g.139gb 2, 4g.139gb 1, 7g.278gb 1"),  # device 31C2 and below
        ("h200-nvl", "1g.18gb 7, 1g.35gb 4, 2g.35gb 3, 3g.71gb 2, 4g.71gb 1, 7g.141gb 1"),  # 233B, as H200's 2335
        ("b300", "1g.34gb 7, 1g.67gb 4, 2g.67gb 3, 3g.135gb 2, 4g.135gb 1, 7g.269gb 1"),
    ],
)
def test_profiles_are_those_of_mig_parted(card: str, profiles: str) -> None:
    """NVIDIA/mig-parted deployments/systemd/config-default.yaml at bd7160f4."""
    found = [find_gpu(name) for name in slice_names(card)]
    assert ", ".join(f"{each.name.partition(':')[2]} {each.slices}" for each in found) == profiles
    assert all(each.memory_bytes is None for each in found), "nobody has shown what nvidia-smi lists"


@pytest.mark.parametrize(
    ("card", "profiles"),
    [
        ("rtx-pro-5000-48gb", "1g.24gb 2, 2g.48gb 1"),
        ("rtxpro4500-bw", "1g.16gb 2, 2g.32gb 1"),
    ],
)
def test_profiles_are_those_of_the_guide(card: str, profiles: str) -> None:
    """NVIDIA MIG User Guide, "Supported MIG Profiles", of RTX PRO 5000 (48 GB) and 4500: half of the card, and all."""
    found = [find_gpu(name) for name in slice_names(card)]
    assert ", ".join(f"{each.name.partition(':')[2]} {each.slices}" for each in found) == profiles
    assert all(each.memory_bytes is None for each in found), "nobody has shown what nvidia-smi lists"


def test_no_slice_has_more_than_its_share() -> None:
    """Nor do all that a card has of one kind have more than the card; none is part of `all`."""
    names = [name for gpu in shipped_gpus() for name in slice_names(gpu.name)]
    assert len(names) == len(set(names)) > 80
    for name in names:
        found, card = find_gpu(name), find_gpu(name.partition(":")[0])
        assert (found.name, found.slice_of) == (name, card.name)
        assert found.memory_bytes is None or card.memory_bytes is None or found.slices is not None
        if found.memory_bytes and card.memory_bytes and found.slices:
            assert found.memory_bytes * found.slices <= card.memory_bytes
        if found.memory_bandwidth_gb_per_s and card.memory_bandwidth_gb_per_s and found.slices:
            assert found.memory_bandwidth_gb_per_s * found.slices <= card.memory_bandwidth_gb_per_s
    assert not {gpu.name for gpu in shipped_gpus()} & set(names)


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("h100:1g.10gb", "h100-sxm:1g.10gb"),
        (" H100-80GB : 1G.10GB ", "h100-sxm:1g.10gb"),
        ("h100-sxm:1g.10gb+me", "h100-sxm:1g.10gb"),
        ("NVIDIA H100 80GB HBM3 MIG 3g.40gb", "h100-sxm:3g.40gb"),
        ("h100-sxm:mig-7g.80gb", "h100-sxm:7g.80gb"),
        ("mi300x:CPX-NPS4", "mi300x:cpx-nps4"),
    ],
)
def test_names_as_people_type_them(typed: str, name: str) -> None:
    assert find_gpu(typed).name == name


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--gpu h100:1g.5gb", "h100-sxm has no slice '1g.5gb'; known are 1g.10gb, 1g.20gb, 2g.20gb, 3g.40gb"),
        ("--gpu h100:", "h100-sxm has no slice ''; known are 1g.10gb"),
        ("--gpu l40s:1g.6gb", "l40s has no slice '1g.6gb'; none is known of it"),
        ("--gpu h1000:1g.10gb", "no accelerator 'h1000'; did you mean 'h100'"),
        ("--gpu h100:1g.20gb --tp 2", "slices share no model"),
        ("--gpu h100:1g.20gb --pp 2", "(--dp N), or take the whole card (--gpu h100-sxm)"),
        ("--gpu mi300x:cpx-nps4 --tp 8", "slices share no model: no engine is known to"),
        ("--gpu h100:1g.20gb --node-size 8", "--node-size: h100-sxm:1g.20gb is a slice of a card"),
        ("--gpu h100:1g.20gb+h100:1g.20gb --engine llama-cpp", "slices share no model"),
        ("--gpu b200:3g.90gb", "no measured memory is known for 'b200:3g.90gb'"),
    ],
)
def test_what_is_refused_names_what_is_legal(words: str, message: str, kvcalc: Kvcalc) -> None:
    run = kvcalc("estimate", "llama-3-8b", "-c", "8192", *words.split())
    assert (run.code, run.stdout) == (2, "")
    assert message in run.stderr


@pytest.mark.parametrize("engine", ["exact", "vllm"])
@pytest.mark.parametrize("model", ["llama-3-8b", "qwen1.5-moe-a2.7b"])
def test_a_model_is_on_one_slice_or_on_none(model: str, engine: str) -> None:
    """Replicas of its own on each: neither stages nor shared experts."""
    for name in slice_names("h100-sxm"):
        result = kvcalc.plan(model, gpu=name, batch=40, context=8192, engine=engine, allow_pp=True)
        assert all(row.deployment.ranks == 1 and not row.deployment.dp_attention for row in result.deployments)
        told = kvcalc.estimate(model, gpu=name, batch=40, context=8192, engine=engine, allow_pp=True)
        gpus = json.loads(told.to_json())["gpus"]
        assert (gpus["tp"], gpus["pp"]) in {(1, 1), (None, None)}
        assert (gpus["count"] is None) == (not result.deployments) == bool(result.unserved)


def test_nodes_of_slices() -> None:
    """A machine of 8 cards has 16 of them."""
    plan = kvcalc.plan("llama-3-8b", gpu="h100:3g.40gb", batch=17, context=131_072, whole_nodes=True)
    (row,) = plan.deployments
    assert (row.count, row.nodes, row.deployment.ranks) == (32, 2, 1)


def test_slices_beside_cards(kvcalc: Kvcalc) -> None:
    """Each has its rows and its notes; of AMD's no share of the bandwidth is published, so no bound is known."""
    names = "h100:3g.40gb,h100,mi300x:cpx-nps4"
    run = kvcalc("plan", "llama-3-8b", "-b", "8", "-c", "8192", "--gpu", names, "--limit", "3", "--json")
    body = json.loads(run.stdout)
    rows = {row["gpu"]: row["tokens_per_second"] for row in body["deployments"]}
    assert set(rows) == {"h100-sxm", "h100-sxm:3g.40gb", "mi300x:cpx-nps4"}
    assert rows["h100-sxm"] > rows["h100-sxm:3g.40gb"] > 0
    assert rows["mi300x:cpx-nps4"] is None
    assert sum(note["code"] == "gpu-slice" for note in body["notes"]) == 2
