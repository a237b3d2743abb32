"""DeepSeek-V4 in SGLang: tokens as its own DSV4PoolConfigurator computes them, and what it does not serve."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

import kvcalc
from kvcalc.engines.sglang.layout import SglangLayout
from kvcalc.memory import Ranks

GIB = 2**30
FLASH, PRO, SHARING = "deepseek-v4-flash", "deepseek-v4-pro", "deepseek-v4.1-flash"
COMPUTED = [
    # versions, model, GiB, requests, chunk, radix cache; tokens of the full pool and of that of windows
    (("0.5.15", "0.5.18", "0.5.20"), FLASH, 40, 256, 8192, True, 5_221_376, 521_984),
    (("0.5.15", "0.5.18", "0.5.20"), FLASH, 12, 8, 4096, True, 1_657_088, 165_632),
    (("0.5.15", "0.5.18", "0.5.20"), FLASH, 60, 64, 8192, False, 8_269_568, 826_880),
    (("0.5.15", "0.5.18", "0.5.20"), PRO, 40, 256, 8192, True, 3_523_584, 352_256),
    (("0.5.15", "0.5.18", "0.5.20"), PRO, 12, 8, 4096, True, 1_155_584, 115_456),
    (("0.5.15", "0.5.18", "0.5.20"), PRO, 60, 64, 8192, False, 5_760_768, 576_000),
    (("0.5.21", "0.5.23"), FLASH, 40, 256, 8192, True, 5_360_640, 606_464),
    (("0.5.21", "0.5.23"), FLASH, 12, 8, 4096, True, 3_055_104, 26_880),
    (("0.5.21", "0.5.23"), FLASH, 60, 64, 8192, False, 15_804_160, 65_792),
    (("0.5.21", "0.5.23"), PRO, 40, 256, 8192, True, 2_018_304, 606_464),
    (("0.5.21", "0.5.23"), PRO, 12, 8, 4096, True, 2_056_192, 26_880),
    (("0.5.21", "0.5.23"), PRO, 60, 64, 8192, False, 10_803_200, 65_792),
    (("0.5.21", "0.5.22"), SHARING, 40, 256, 8192, True, 17_639_168, 606_464),
    (("0.5.21", "0.5.22"), SHARING, 12, 8, 4096, True, 7_518_720, 26_880),
    (("0.5.21", "0.5.22"), SHARING, 60, 64, 8192, False, 38_578_688, 65_792),
    (("0.5.23",), SHARING, 40, 256, 8192, True, 17_611_776, 606_464),
    (("0.5.23",), SHARING, 12, 8, 4096, True, 7_506_688, 26_880),
    (("0.5.23",), SHARING, 60, 64, 8192, False, 38_519_040, 65_792),
]
"""Of the class in each wheel, run with the server's arguments put in its place (tests/live/sglang_compressed.py)."""
ALONE_ON_BLACKWELL = [
    (("0.5.23",), SHARING, 40, 256, 8192, True, 33_858_816, 606_464),
    (("0.5.23",), SHARING, 12, 8, 4096, True, 13_838_592, 26_880),
    (("0.5.23",), SHARING, 60, 64, 8192, False, 70_823_424, 65_792),
]
"""The same with a card of compute capability 10 and flashmla_mega, which a rank with all heads has there by default."""
CASES = [
    *((gpu, 8, *each) for each in COMPUTED for gpu in ("h200", "b200")),
    *(("b200", 1, *each) for each in ALONE_ON_BLACKWELL),
    ("h200", 1, *COMPUTED[-1]),
    ("b200", 1, *COMPUTED[6]),
]


def layout(model: str, version: str, gpu: str = "h200", tp: int = 8, **options: str) -> SglangLayout:
    named = {"mem-fraction-static": "0.9", **{name.replace("_", "-"): value for name, value in options.items()}}
    asked = kvcalc.make_scenario(model, engine=f"sglang@{version}", gpu=gpu, tp=tp, engine_option=named)
    settled = Ranks(asked).settled(kvcalc.Deployment(tp=tp))
    assert isinstance(settled, SglangLayout)
    return settled


@pytest.mark.parametrize(
    ("gpu", "tp", "versions", "model", "gib", "requests", "chunk", "radix", "tokens", "windows"), CASES
)
def test_pools_are_as_computed(  # a record
    gpu: str,
    tp: int,
    versions: tuple[str, ...],
    model: str,
    gib: int,
    requests: int,
    chunk: int,
    radix: bool,  # likewise
    tokens: int,
    windows: int,
) -> None:
    given = {"max_running_requests": str(requests), "chunked_prefill_size": str(chunk)}
    if not radix:
        given["disable_radix_cache"] = "true"
    for version in versions:
        settled = layout(model, version, gpu, tp, **given)
        sizes = settled.pools_of(settled.stages[0]).sizes(gib * GIB)
        assert (sizes.tokens, sizes.window_tokens) == (tokens, windows)


PRINTED = [
    # model, page, share of windows, bytes of a token; GiB that is available, requests, tokens and tokens of windows
    (FLASH, 128, None, "7705.45", 11.89, 8, 1_641_472, 164_096),  # stored file 57382202304
    (FLASH, 128, None, "7705.45", 1.57, 4, 209_280, 20_864),  # stored file 57615238133
    (PRO, 256, "0.15", "13735.04", 118.93, 64, 9_217_792, 1_382_656),  # stored file 62447426110
]
"""Start-up logs of August 2026 on Ascend's cards, whose pages are of 128 tokens, and of 0.5.15 on MI355X: what is fixed
is 0.11, 0.07 and 1.01 GiB there, which the requests follow from."""


@pytest.mark.parametrize(("model", "page", "share", "token", "gib", "requests", "tokens", "windows"), PRINTED)
def test_tokens_are_those_that_servers_printed(
    model: str, page: int, share: str | None, token: str, gib: float, requests: int, tokens: int, windows: int
) -> None:
    given = {} if share is None else {"swa_full_tokens_ratio": share}
    settled = layout(model, "0.5.15", "h200", 8, max_running_requests=str(requests), **given)
    pools = settled.pools_of(settled.stages[0])._replace(page=page)
    assert f"{float(pools.cell):.2f}" == token
    least, most = (pools.sizes(round((gib + each) * GIB)) for each in (-0.005, 0.005))
    assert least.tokens <= tokens <= most.tokens
    assert least.window_tokens <= windows <= most.window_tokens


def test_a_token_of_v41_on_blackwell_is_as_published() -> None:
    """https://arxiv.org/abs/2609.19969: 890 bytes."""
    settled = layout(SHARING, "0.5.23", gpu="b200", tp=1)
    assert settled.pools_of(settled.stages[0]).cell == 890


def test_replicas_of_one_rank_have_the_layout_of_their_own() -> None:
    """A rank has all heads in each of 8 replicas that share the experts, as it has not with tp 8."""
    asked: dict[str, Any] = {"engine": "sglang@0.5.23", "gpu": "b200", "context": 20_000, "batch": 8}
    shared = kvcalc.estimate(SHARING, tp=1, dp=8, dp_attention=True, ep=8, **asked)
    assert shared.cache.bytes_per_token == 890
    assert kvcalc.estimate(SHARING, tp=8, **asked).cache.bytes_per_token > 1600


def test_a_token_of_v41_is_priced_as_a_server_printed() -> None:
    """1,670.75 bytes with a draft's share (x 41 / 40) on a card of sm121: stored file 69412325477."""
    settled = layout(SHARING, "0.5.22")
    assert settled.pools_of(settled.stages[0]).cell * 41 / 40 == Fraction("1670.75")


@pytest.mark.parametrize(("model", "version"), [(FLASH, "0.5.18"), (FLASH, "0.5.23"), (SHARING, "0.5.23")])
@pytest.mark.parametrize("batch", [1, 64, 256])
@pytest.mark.parametrize("gpu", ["h200", "b200"])
def test_what_is_in_excess_is_listed(model: str, version: str, batch: int, gpu: str) -> None:
    found = kvcalc.estimate(
        model,
        engine=f"sglang@{version}",
        engine_option={"mem-fraction-static": "0.9"},
        gpu=gpu,
        tp=8,
        batch=batch,
        context=20_000,
        block_size=256,
    )
    assert found.cache.bytes == sum(each.bytes for each in found.cache.terms)
    assert min(each.bytes for each in found.cache.terms) >= 0


@pytest.mark.parametrize("version", ["0.5.18", "0.5.23"])
def test_memory_is_the_least_that_has_the_tokens(version: str) -> None:
    settled = layout(FLASH, version)
    pools = settled.pools_of(settled.stages[0])
    for batch in (1, 200):
        need = settled.need(kvcalc.engines.Load(batch, 30_000))
        memory = pools.memory(need)
        assert pools.sizes(memory).tokens >= need.tokens
        assert pools.sizes(memory).window_tokens >= need.window_tokens
        assert pools.sizes(memory - 1).tokens < pools.tokens_for(need)


def test_a_share_of_windows_that_is_given_is_taken() -> None:
    """0.8 is the default, which before 0.5.21 a server takes for not given."""
    ratios = {version: layout(FLASH, version, swa_full_tokens_ratio="0.8").settings for version in ("0.5.18", "0.5.23")}
    assert [float(each.swa_full_tokens_ratio) for each in ratios.values()] == [0.1, 0.8]
    settled = layout(FLASH, "0.5.23", swa_full_tokens_ratio="0.25")
    sizes = settled.pools_of(settled.stages[0]).sizes(40 * GIB)
    assert sizes.window_tokens == sizes.tokens // 4 // 256 * 256


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        (FLASH, {"engine": "sglang@0.5.14"}, "from 0.5.15 on; --engine sglang@0.5.15"),
        (FLASH, {"gpu": "mi300x"}, "compressed attention on mi300x"),
        (FLASH, {"gpu": "rtxpro6000-bw"}, "compressed attention on rtxpro6000"),
        (FLASH, {"gpu": "rtxpro6000-bw", "engine": "sglang@0.5.18"}, "compressed attention on rtxpro6000"),
        (FLASH, {"cache_dtype": "bf16"}, "keeps DeepSeek-V4's entries in fp8"),
        (FLASH, {"block_size": 128}, "pages are of 256 tokens"),
        (FLASH, {"mtp": 1}, "--mtp"),
        (SHARING, {"engine": "sglang@0.5.20"}, "serves DeepSeek-V4.1 since 0.5.21"),
        (SHARING, {"pp": 2}, "DeepSeek-V4.1 on one stage"),
    ],
)
def test_what_is_not_followed_is_refused(model: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(kvcalc.KvcalcError, match=said):
        kvcalc.estimate(model, **{"engine": "sglang", "gpu": "h200", "tp": 8, **options})


def test_more_requests_than_run_have_no_rings() -> None:
    with pytest.raises(kvcalc.KvcalcError, match="256"):
        kvcalc.estimate(FLASH, engine="sglang", gpu="h200", tp=8, batch=257)
    assert layout(FLASH, "0.5.23", max_running_requests="300").most_held == 300


def test_the_tower_of_v41_does_not_lower_the_default_share() -> None:
    """DeepseekV41Config of three wheels keeps no vision_config, which adjust_mem_fraction_for_vlm looks at."""
    shares = []
    for model in (FLASH, SHARING):
        asked = kvcalc.make_scenario(model, engine="sglang@0.5.23", gpu="h200", tp=8)
        settled = Ranks(asked).settled(kvcalc.Deployment(tp=8))
        assert isinstance(settled, SglangLayout)
        shares.append(float(settled.settings.mem_fraction_static))
    assert shares[0] == shares[1]
