"""What host memory and disks keep beside the accelerators, and the hand-off of a request: by hand."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import Kvcalc

import kvcalc
from kvcalc import KvcalcError

GIB = 1024**3
OFF = {"enable-prefix-caching": "false"}
LLAMA_3_8B = 2 * 32 * 8 * 128 * 2
"""Bytes of a token: keys and values, 32 layers, 8 heads of 128, 2 bytes."""
PCIE_5 = 64 * 10**9
"""H100 SXM: one direction of PCIe 5 x16."""


def test_exact_keeps_what_layers_hold() -> None:
    """On four ranks each moves a quarter, all at the same time."""
    found = kvcalc.estimate("llama-3-8b", tp=4, context=8192, host_memory="64GiB", disk="1TB", disk_bandwidth="7GB")
    one = 8192 * LLAMA_3_8B
    host, disk = found.tiers
    assert (host.name, host.bytes, host.sequences) == ("host memory", 64 * GIB, 64 * GIB // one)
    assert host.seconds_to_restore == one / 4 / PCIE_5
    assert (disk.name, disk.sequences) == ("disk", 10**12 // one)
    assert disk.seconds_to_restore == one / (7 * 10**9)
    assert found.handoff is None


def test_copies_are_kept_too() -> None:
    """deepseek-v3: 61 layers of (512 + 64) x 2 bytes on each of eight ranks."""
    found = kvcalc.capacity("deepseek-v3", gpu="h200", tp=8, context=1000, host_memory="100GB")
    one = 61 * 576 * 2 * 1000
    assert found.tiers[0].sequences == 100 * 10**9 // (8 * one)
    assert found.tiers[0].seconds_to_restore == one / PCIE_5


VLLM = [
    # 80 layers over two stages and two ranks, each with 4 of 8 heads of 128: a part of each rank in a block
    ("llama-3-70b", (2, 2), 8200, 16 * 80 * 4096, 8200 // 16, 8192 * 40 * 2048),
    # latents over stages of 30 layers: every rank has a part of its own
    ("deepseek-v2-236b", (4, 2), 8192, 64 * 60 * 1152 * 4, 8192 // 64, 8192 * 30 * 1152),
    ("llama-3-8b", 2, 8200, 2 * 16 * LLAMA_3_8B // 2, 8200 // 16, 8192 * LLAMA_3_8B // 2),
    # six groups of nine or eight layers with windows of 1,024 tokens beside one of ten, whose blocks all have
    ("gemma-3-27b", 2, 8192, 2 * 10 * 65_536, 8192 // 16 + 6 * 64, (512 * 10 + 64 * 52) * 65_536),
    # latents: one copy for all ranks, blocks of 64 tokens, rounded up to pages of the host
    ("deepseek-v3", 8, 8192, -(-61 * 576 * 2 * 64 // 4096) * 4096, 8192 // 64, 61 * 576 * 2 * 8192),
    ("llama-3-8b", 1, 15, 16 * LLAMA_3_8B, 0, 0),
]


@pytest.mark.parametrize(("model", "tp", "context", "block", "blocks", "moved"), VLLM)
def test_vllm_keeps_whole_blocks(
    model: str, tp: int | tuple[int, int], context: int, block: int, blocks: int, moved: int
) -> None:
    """vllm/v1/kv_offload/cpu/spec.py: cpu_bytes_to_use // round_up(block of a worker x copies, page)."""
    ranks: Any = dict(zip(("tp", "pp"), (tp,) if isinstance(tp, int) else tp, strict=False))
    found = kvcalc.estimate(model, engine="vllm", gpu="h200", context=context, host_memory="64GiB", **ranks).tiers[0]
    assert found.sequences == (64 * GIB // block // blocks if blocks else 0)
    assert found.seconds_to_restore == (moved / PCIE_5 if blocks else None)


LMCACHE = [
    ("llama-3-8b", 1, 1, 8200, 256 * LLAMA_3_8B, 1, 32),
    # 80 layers over two stages and two ranks, each with 4 of 8 heads of 128
    ("llama-3-70b", 2, 2, 8192, 256 * 2 * 40 * 4 * 128 * 2, 4, 32),
    ("deepseek-v3", 8, 1, 8192, 256 * 61 * 576 * 2, 1, 32),  # latents: an object for all ranks
    ("llama-3-8b", 1, 1, 255, 256 * LLAMA_3_8B, 1, 0),
]


@pytest.mark.parametrize(("model", "tp", "pp", "context", "object_bytes", "objects", "chunks"), LMCACHE)
def test_lmcache_keeps_whole_chunks(
    model: str, tp: int, pp: int, context: int, object_bytes: int, objects: int, chunks: int
) -> None:
    """lmcache 0.5.6: chunk_size 256, align_bytes 4096; its eviction_loop keeps less than trigger_watermark, 0.8."""
    asked: Any = {"tp": tp, "pp": pp, "context": context, "host_memory": "64GiB"}
    backend = {"kv-offloading-backend": "lmcache"}
    (found,) = kvcalc.estimate(model, engine="vllm", gpu="h200", engine_option=backend, **asked).tiers
    chunk = objects * -(-object_bytes // 4096) * 4096
    kept = next(number for number in range(10**6) if (number + 1) * chunk * 5 >= 64 * GIB * 4)
    assert found.sequences == (kept // chunks if chunks else 0)
    assert found.seconds_to_restore == (chunks * object_bytes / PCIE_5 if chunks else None)


SGLANG = [
    # 68 whole gigabytes of 64 GiB, in pages of a token, and one more
    ("llama-3-8b", 1, 1, 1, 8192, "64GiB", (int(68e9) // LLAMA_3_8B + 1) // 8192, 8192 * LLAMA_3_8B),
    # 50 of each of four ranks; a stage has 18 of 36 layers, a rank 4 of 8 heads of 128
    ("qwen3-8b", 2, 2, 64, 8200, "200GB", (int(50e9) // (18 * 2048) // 64 + 1) // 128, 128 * 64 * 18 * 2048),
    # latents on every rank
    ("deepseek-v3", 8, 1, 64, 8192, "1TB", (int(125e9) // (61 * 1152) // 64 + 1) // 128, 8192 * 61 * 1152),
    ("llama-3-8b", 2, 1, 1, 8192, "1.9GB", 0, 8192 * LLAMA_3_8B // 2),  # less than a gigabyte for a rank
]


@pytest.mark.parametrize(("model", "tp", "pp", "page", "context", "memory", "sequences", "moved"), SGLANG)
def test_sglang_keeps_whole_pages(
    model: str, tp: int, pp: int, page: int, context: int, memory: str, sequences: int, moved: int
) -> None:
    """HostKVCache of 0.5.23: size = int(hicache_size x 1e9 // bytes of a token); size // page + 1 pages."""
    asked: Any = {"tp": tp, "pp": pp, "context": context, "host_memory": memory, "block_size": page}
    (found,) = kvcalc.estimate(model, engine="sglang@0.5.23", gpu="h200", **asked).tiers
    assert found.sequences == sequences
    assert found.seconds_to_restore == moved / PCIE_5


UNFOLLOWED = [
    ("gpt-oss-120b", {}, "what its tree of prefixes is cut into"),
    ("qwen3-next-80b-a3b", {}, "as its tree of prefixes has nodes"),
    ("deepseek-v4-flash", {}, "by the pools that the server finds room for"),
    ("deepseek-v3.2", {"engine": "sglang@0.5.22"}, "from sglang 0.5.23"),
    ("deepseek-v3.2", {"tp": 4, "pp": 2}, "unlike pipeline stages"),
    ("deepseek-v3", {"mtp": 1, "engine_option": {"mem-fraction-static": "0.8"}}, "what drafts"),
]


@pytest.mark.parametrize(("model", "options", "why"), UNFOLLOWED)
def test_what_sglang_decides_as_it_runs_is_not_followed(model: str, options: dict[str, Any], why: str) -> None:
    asked = {"engine": "sglang", "gpu": "h200", "tp": 8, "context": 4096, "host_memory": "64GB", **options}
    with pytest.raises(KvcalcError, match=rf"does not follow .*{why}.*; --engine exact counts"):
        kvcalc.estimate(model, **asked)


def test_sglang_keeps_index_keys_beside_its_pool() -> None:
    """DSAIndexerPoolHost of 0.5.23: as many pages as the pool of latents, 128 + 128 // 128 x 4 bytes a token and layer.

    --hicache-size is of latents alone (MLATokenToKVPoolHost), so that fewer gigabytes of it leave room for the others.
    """
    found = kvcalc.estimate("deepseek-v3.2", engine="sglang", gpu="h200", tp=8, context=32_768, host_memory="1TB")
    latents, keys, page = 61 * 576 * 2, 61 * (128 + 4), 64
    size = max(
        each for each in range(125) if (each * 10**9 // latents // page + 1) * page * (latents + keys) <= 125 * 10**9
    )
    assert found.tiers[0].sequences == (size * 10**9 // latents // page + 1) // (32_768 // page)
    assert found.tiers[0].seconds_to_restore == 32_768 * (latents + keys) / PCIE_5


def test_the_handoff_of_a_request() -> None:
    found = kvcalc.estimate("llama-3-8b", tp=2, context=4096, handoff="50GB").handoff
    assert found is not None
    assert (found.bytes, found.bytes_per_rank) == (4096 * LLAMA_3_8B, 4096 * LLAMA_3_8B // 2)
    assert found.seconds == 4096 * LLAMA_3_8B / 2 / (50 * 10**9)


@pytest.mark.parametrize("engine", ["exact", "vllm", "sglang", "tensorrt-llm", "llama-cpp"])
def test_at_least_what_is_attended_to_is_sent(engine: str) -> None:
    """Gemma-3-27B: 10 layers keep all tokens, 52 the last 1,024. Room for tokens in flight or by shares is not sent."""
    found = kvcalc.estimate("gemma-3-27b", engine=engine, gpu="h200", tp=1, context=20_001, handoff="50GB").handoff
    assert found is not None
    assert found.bytes == 2 * 16 * 128 * 2 * (10 * 20_001 + 52 * 1024)


def test_the_handoff_is_of_the_prompt() -> None:
    found = kvcalc.estimate("llama-3-8b", tp=2, input_tokens=4096, output_tokens=1000, handoff="50GB").handoff
    assert found == kvcalc.estimate("llama-3-8b", tp=2, context=4096, handoff="50GB").handoff


def test_nothing_is_said_unasked() -> None:
    found = kvcalc.estimate("llama-3-8b", context=4096)
    assert (found.tiers, found.handoff, found.pools) == ((), None, ())


REFUSED = [
    ({"engine": "sglang@0.5.15", "host_memory": "1GiB"}, "--host-memory: kvcalc does not follow how sglang"),
    ({"engine": "sglang", "host_memory": "1GB", "disk": "1TB"}, "--disk: kvcalc does not follow how sglang"),
    ({"engine": "sglang", "engine_option": {"disable-radix-cache": "true"}, "host_memory": "9GB"}, "does not follow"),
    ({"engine": "vllm@0.19.0", "disk": "1GiB"}, "--disk: kvcalc does not follow how vllm 0.19.0"),
    ({"engine": "vllm@0.28.0", "pp": 2, "host_memory": "1GiB"}, "--engine exact counts the bytes"),
    ({"engine": "vllm", "pp": 3, "host_memory": "1GiB"}, "--engine exact counts the bytes"),
    (
        {"engine": "vllm@0.22.0", "engine_option": {"kv-offloading-backend": "lmcache"}, "host_memory": "1GiB"},
        "--host-memory: kvcalc does not follow how vllm 0.22.0",
    ),
    ({"engine": "vllm", "engine_option": {"kv-offloading-backend": "lm"}, "host_memory": "1GiB"}, "is none of native"),
    ({"gpu": "m4-max", "host_memory": "1GiB"}, "--host-memory: m4-max shares its memory with the processor"),
    ({"host_memory": 0}, "--host-memory: must be at least 1 byte"),
    ({"handoff": "0B"}, "--handoff: must be at least 1 byte"),
    ({"rps": 2}, "--rps: is of GPUs that read prompts and send them to others; give what each sends as --handoff SIZE"),
    ({"rps": 2, "handoff": "9GB"}, "--rps: how much a request generates is not told"),
    ({"disk_bandwidth": "7GB"}, "--disk-bandwidth: is of a disk; give its size too"),
    ({"host_memory": "80G"}, "could mean two sizes"),
]


@pytest.mark.parametrize(("options", "told"), REFUSED)
def test_what_cannot_be_is_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(KvcalcError, match=told):
        kvcalc.estimate("llama-3-8b", **{"context": 4096, **options})


def test_vllm_keeps_the_last_state_of_each_group() -> None:
    """Qwen3-Next: 12 layers of attention and three groups of 12 with states, whose pages are as large.

    Blocks of 320 tokens: 2 x 256 x 2 bytes a token of a rank's one head. MambaSpec needs one chunk
    (get_sliding_window_size_in_chunks), at a boundary of blocks.
    """
    asked: dict[str, Any] = {"engine": "vllm", "gpu": "h200", "tp": 4, "context": 32_768, "host_memory": "64GiB"}
    found = kvcalc.estimate("qwen3-next-80b-a3b", **asked).tiers[0]
    page, blocks = 320 * 1024, 32_768 // 320 + 3
    assert found.sequences == 64 * GIB // (4 * 12 * page) // blocks
    assert found.seconds_to_restore == blocks * 12 * page / PCIE_5
    for options, why in (({"engine": "vllm@0.28.0"}, "from vllm 0.29"), ({"engine_option": OFF}, "prefix-caching")):
        with pytest.raises(KvcalcError, match=why):
            kvcalc.estimate("qwen3-next-80b-a3b", **{**asked, **options})


def test_the_screen_tells_them(kvcalc: Kvcalc) -> None:
    shown = kvcalc("estimate", "llama-3-8b", "-c", "8192", "--host-memory", "64GiB", "--handoff", "50GB").stdout
    assert "host memory of 64.00 GiB: keeps 64 sequences of 8,192 tokens; one is back in 16.8 ms at least" in shown
    assert "hand-off of a request of 8,192 tokens: 1.00 GiB, 1.00 GiB from a GPU, in 21.5 ms at least" in shown
    shown = kvcalc("capacity", "llama-3-8b", "--mix", "50%:8Ki+1Ki,50%:100+5", "--handoff", "50GB", "--tp", "1").stdout
    assert "hand-off of a request of 8,192 tokens: 1.00 GiB," in shown


def test_pools_are_shown_in_whole_requests_and_in_the_number_of_their_replicas(kvcalc: Kvcalc) -> None:
    asked = "capacity llama-3-8b --engine sglang --gpu h100 --input 16 --output 17 --handoff 50GB --rps"
    one, more = (kvcalc(*asked.split(), rate).stdout for rate in ("100", "100000"))
    assert "100 requests/s: at least 1 replica that reads prompts, 1 GPU, each 4,408 requests/s at most" in one
    assert "100 requests/s: at least 1 replica that decodes, 1 GPU, each 4," in one
    assert "100,000 requests/s: at least 23 replicas that read prompts, 23 GPUs, each 4,408 requests/s" in more


@pytest.mark.parametrize("engine", ["exact", "vllm"])
@pytest.mark.parametrize("groups", [1, 4])
def test_a_hand_off_is_without_the_prefix_that_is_there_however_many_there_are(engine: str, groups: int) -> None:
    asked: dict[str, Any] = {
        "engine": engine,
        "gpu": "h100",
        "tp": 1,
        "input_tokens": 8192,
        "output_tokens": 9,
        "rps": 1,
    }
    found = kvcalc.estimate("llama-3-8b", **asked, shared_prefix=6144, prefix_groups=groups, handoff="1GB")
    assert found.handoff is not None
    assert found.handoff.bytes == (8192 - 6144) * LLAMA_3_8B
    assert found.pools[0].requests_per_second == pytest.approx(10**9 / found.handoff.bytes)
