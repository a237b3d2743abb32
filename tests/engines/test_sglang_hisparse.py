"""HiSparse in SGLang: pools, hot sets and host memory, by another derivation from its source (0.5.23), in pages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import kvcalc
from kvcalc.api import capacity_from_command, capacity_from_log
from kvcalc.engines.sglang.hisparse import HiSparse
from kvcalc.errors import KvcalcError

RUN = json.loads((Path(__file__).parents[1] / "data" / "sglang" / "pools.json").read_text(encoding="utf-8"))
LATENT, KEY, LAYERS, PAGE = 1152, 132, 61, 64
"""DeepSeek-V3.2 in bf16: bytes of a token in a layer; its layers; tokens of a page."""
ON = {"enable-hisparse": "true", "disable-radix-cache": "true", "mem-fraction-static": "0.9"}
HOPPER: dict[str, Any] = {"engine": "sglang@0.5.23", "gpu": "h200", "tp": 8}


def allocated(pages: int, ratio: int, latent: int = LATENT, layers: int = LAYERS) -> int:
    """HiSparseDSATokenToKVPool: (size + page) rows of latents, (size x ratio + page + 1) // page pages of keys."""
    keys = (pages * PAGE * ratio + PAGE + 1) // PAGE
    return layers * ((pages + 1) * PAGE * latent + keys * PAGE * KEY)


def pages_of(requests: list[int], buffer: int, ratio: int) -> int:
    """Of the device pool: as each is read after the one before, all others decode (alloc_device_buffer)."""
    logical = device = peak = 0
    for tokens in requests:  # the longest last
        whole = -(-tokens // PAGE)
        peak = max(peak, device + whole)
        size = min(whole * PAGE, buffer)
        device += (size + PAGE if size == buffer else size) // PAGE
        logical += whole
    return max(peak, device, -(-logical // ratio))


@pytest.mark.parametrize("run", RUN["hisparse"], ids=lambda run: f"{run['row']}-{run['host_to_device_ratio']}")
def test_pools_are_as_large_as_its_own_on_the_cpu(run: dict[str, int]) -> None:
    pages, latent = run["size"] // run["page_size"], run["row"] * run["element"]
    own = run["latents"] + run["keys"]
    assert run["page_size"] == PAGE
    assert allocated(pages, run["host_to_device_ratio"], latent, run["layer_num"]) == own


def test_hot_sets_are_as_large_as_its_coordinator_makes_them() -> None:
    for buffer, tokens, on_device in RUN["hot_sets"]["says"]:
        assert HiSparse(buffer).hot(tokens, RUN["hot_sets"]["page_size"]) == on_device, (buffer, tokens)


@pytest.mark.parametrize("cache_dtype", ["bf16", "fp8"])
@pytest.mark.parametrize(("buffer", "ratio"), [(4096, 2), (2048, 5), (6144, 16)])
@pytest.mark.parametrize(("batch", "context"), [(1, 100), (3, 2048), (2, 4095), (2, 4096), (7, 65_537), (40, 131_072)])
def test_a_rank_holds_what_the_pools_allocate(
    batch: int, context: int, buffer: int, ratio: int, cache_dtype: str
) -> None:
    config = f'{{"device_buffer_size": {buffer}, "host_to_device_ratio": {ratio}}}'
    found = kvcalc.estimate(
        "deepseek-v3.2",
        batch=batch,
        context=context,
        cache_dtype=cache_dtype,
        engine_option={**ON, "hisparse-config": config},
        **HOPPER,
    )
    pages, latent = pages_of([context] * batch, buffer, ratio), LATENT if cache_dtype == "bf16" else 656
    assert found.cache.bytes == 8 * allocated(pages, ratio, latent)
    [host] = [each.data for each in found.notes if each.code == "hisparse-host-pool"]
    assert host["bytes"] == (pages * ratio + 1) * PAGE * LAYERS * latent  # HostKVCache: a page more
    assert host["replica_bytes"] == 8 * host["bytes"]


def test_every_byte_beside_hot_sets_and_keys_has_a_name() -> None:
    for model, layers in (("deepseek-v3.2", 61), ("glm-5.2", 78)):
        found = kvcalc.estimate(model, batch=3, context=100_001, engine_option=ON, **HOPPER)
        assert found.cache.bytes == 8 * allocated(pages_of([100_001] * 3, 4096, 2), 2, layers=layers), model
        assert "pools kept in their ratio" not in str(found.to_dict()), model


@pytest.mark.parametrize("ratio", [2, 10])
def test_memory_holds_as_many_requests_as_its_pools(ratio: int) -> None:
    config = f'{{"host_to_device_ratio": {ratio}}}'
    options: dict[str, Any] = {"engine_option": {**ON, "hisparse-config": config}, "context": 32_768}
    sequences = 11
    memory = allocated(pages_of([32_768] * sequences, 4096, ratio), ratio)
    found = kvcalc.capacity("deepseek-v3.2", cache_memory=memory, **options, **HOPPER)
    assert found.sequences == sequences
    assert found.tokens == pages_of([32_768] * sequences, 4096, ratio) * PAGE  # max_total_num_tokens: the device's
    assert found.max_context == found.tokens  # max_req_len
    assert found.concurrency is not None
    assert sequences <= found.concurrency < sequences + 1
    less = kvcalc.capacity("deepseek-v3.2", cache_memory=memory - 1, **options, **HOPPER)
    assert less.sequences == sequences - 1


def test_requests_that_differ_hold_the_longest_prompt_beside_hot_sets() -> None:
    found = kvcalc.estimate("deepseek-v3.2", mix="50%:1000+24,50%:50000+1", batch=4, engine_option=ON, **HOPPER)
    assert found.cache.peak_bytes == 8 * allocated(pages_of([1024, 1024, 50_001, 50_001], 4096, 2), 2)


@pytest.mark.parametrize(
    ("model", "options", "own", "why"),
    [
        ("deepseek-v3.2", {"disable-radix-cache": "false"}, {}, "disable-radix-cache=true"),
        ("deepseek-v3.2", {"hisparse-config": '{"device_buffer_size": 4100}'}, {}, "no multiple of the 64 tokens"),
        ("deepseek-v3.2", {"hisparse-config": '{"device_buffer_size": 1024}'}, {}, "less than top_k 2,048"),
        ("deepseek-v3.2", {"hisparse-config": '{"top_k": 64}'}, {}, "less than the 2,048 positions"),
        ("deepseek-v3.2", {"hisparse-config": '{"host_to_device_ratio": 2.5}'}, {}, "a whole number"),
        ("deepseek-v3.2", {"hisparse-config": '{"algorithm": "quest"}'}, {}, "'algorithm' is none of"),
        ("deepseek-v3.2", {"hisparse-config": "4096"}, {}, "no JSON object"),
        ("deepseek-v3.2", {"hisparse-config": "{}", "enable-hisparse": "false"}, {}, "without enable-hisparse=true"),
        ("deepseek-v3.2", {}, {"engine": "sglang@0.5.22"}, "from 0.5.23 on"),
        ("deepseek-v3.2", {}, {"gpu": "b200"}, "--gpu h200"),
        ("deepseek-v3.2", {}, {"pp": 2}, "--pp 1"),
        ("deepseek-v3.2", {}, {"spill": True}, "leave --spill out"),
        ("deepseek-v3.2", {}, {"host_memory": "1TiB"}, "with disable-radix-cache nothing is kept"),
        ("deepseek-v3", {}, {}, "for latents with an indexer"),
        ("llama-3-8b", {}, {}, "for latents with an indexer"),
    ],
)
def test_what_is_not_followed_is_refused(model: str, options: dict[str, str], own: dict[str, Any], why: str) -> None:
    with pytest.raises(KvcalcError, match=why):
        kvcalc.estimate(model, context=4096, engine_option={**ON, **options}, **{**HOPPER, **own})


def test_a_command_line_is_read_and_written() -> None:
    line = (
        "python -m sglang.launch_server --model-path deepseek-ai/DeepSeek-V3.2 --tp-size 8 --enable-hisparse "
        "--disable-radix-cache --context-length 65536 --hisparse-config "
        """'{"device_buffer_size": 6144, "host_to_device_ratio": 5}'"""
    )
    read = capacity_from_command(line, gpu="h200")
    options = {**ON, "hisparse-config": '{"device_buffer_size": 6144, "host_to_device_ratio": 5}'}
    del options["mem-fraction-static"]
    said = kvcalc.capacity("deepseek-v3.2", context=65_536, engine_option=options, **HOPPER)
    assert read.sequences == said.sequences
    assert read.tokens == said.tokens


def test_a_start_up_log_says_so(tmp_path: Path) -> None:
    config = '{"device_buffer_size": 4096, "host_to_device_ratio": 5}'
    log = (
        "server_args=ServerArgs(model_path='deepseek-ai/DeepSeek-V3.2', context_length=65536, tp_size=8, "
        "mem_fraction_static=0.9, disable_radix_cache=True, enable_hisparse={on}, hisparse_config={config})\n"
        "[TP0] max_total_num_tokens=400000, chunked_prefill_size=8192, context_len=65536, available_gpu_mem=12.0 GB\n"
    )
    options = {**ON, "hisparse-config": config}
    for on, said, engine_option in ((True, repr(config), options), (False, None, {"disable-radix-cache": "true"})):
        path = tmp_path / f"{on}.log"
        path.write_text(log.format(on=on, config=said), encoding="utf-8")
        read = capacity_from_log(path, engine="sglang@0.5.23", gpu="h200")
        asked = kvcalc.capacity(
            "deepseek-v3.2", context=65_536, engine_option={"mem-fraction-static": "0.9", **engine_option}, **HOPPER
        )
        [tokens] = [each.predicted for each in read.rows if each.name == "tokens"]
        assert tokens == asked.tokens
