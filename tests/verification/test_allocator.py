"""PyTorch's CUDA caching allocator, against measurements, published figures and closed forms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvcalc.cuda_allocator import Rules, Usage, predict
from kvcalc.verification.allocator_options import NotModelled, rules_from

KIB, MIB = 2**10, 2**20
DEFAULT = Rules()
EXPANDABLE = Rules(expandable_segments=True)

# Measured on an H100 80GB HBM3 with torch 2.11.0+cu130, into an emptied cache: bytes of a tensor, number of tensors,
# growth of memory_allocated, growth of memory_reserved.
MEASURED = [
    (1, 1, 512, 2_097_152),
    (511, 1, 512, 2_097_152),
    (512, 1, 512, 2_097_152),
    (513, 1, 1_024, 2_097_152),
    (1_048_576, 1, 1_048_576, 2_097_152),
    (1_048_577, 1, 1_049_088, 20_971_520),
    (10_485_760, 1, 10_485_760, 10_485_760),
    (10_485_761, 1, 10_486_272, 12_582_912),
    (34_603_008, 1, 35_651_584, 35_651_584),
    (1_073_741_825, 1, 1_073_742_336, 1_075_838_976),
    (67_100_672, 64, 4_294_967_296, 4_294_967_296),
]

# Caches, each a measured list too: bytes of a layer's tensors, layers, requested, allocated beyond that, reserved by
# default and with expandable segments.
CACHES = {
    "GQA 8x128 bf16, 8,192 tokens": ((16_777_216,), 64, 1_073_741_824, 0, 1_073_741_824, 1_090_519_040),
    "GQA 8x128 bf16, 1,000 tokens": ((2_048_000,), 64, 131_072_000, 2_949_120, 146_800_640, 146_800_640),
    "GQA 8x128 bf16, 5,121 tokens": ((10_487_808,), 64, 671_219_712, 0, 805_306_368, 692_060_160),
    "GQA 8x128 bf16, 5,632 tokens": ((11_534_336,), 64, 738_197_504, 67_108_864, 805_306_368, 754_974_720),
    "MHA 32x128 bf16, 4,097 tokens": ((33_562_624,), 64, 2_148_007_936, 0, 2_281_701_376, 2_160_066_560),
    "MQA 1x128 bf16, 4,096 tokens": ((1_048_576,), 64, 67_108_864, 0, 67_108_864, 67_108_864),
    "MQA 1x64 bf16, 511 tokens": ((65_408,), 48, 3_139_584, 6_144, 4_194_304, 4_194_304),
    "MLA 512+64 bf16, 8,192 tokens": ((9_437_184,), 61, 575_668_224, 0, 650_117_120, 587_202_560),
    "MLA 512, 64 bf16, 8,192 tokens": ((8_388_608, 1_048_576), 61, 575_668_224, 0, 715_128_832, 589_299_712),
    "10 GiB and a byte": ((10_737_418_241,), 1, 10_737_418_241, 511, 10_739_515_392, 10_758_389_760),
}

LARGEST = 300 * MIB
EDGES = [512, MIB, 2 * MIB, 10 * MIB, 12 * MIB, 19 * MIB, 20 * MIB]
SIZES = st.one_of(
    st.integers(0, LARGEST),
    st.integers(0, 2 * MIB),
    st.integers(MIB, 20 * MIB),
    st.builds(int.__add__, st.sampled_from(EDGES), st.integers(-513, 513)).map(lambda size: max(size, 0)),
)
LISTS = st.lists(SIZES, max_size=60)
RULES = st.sampled_from([DEFAULT, EXPANDABLE])


def ceil(value: int, multiple: int) -> int:
    return (value + multiple - 1) // multiple * multiple


@pytest.mark.parametrize(("size", "count", "allocated", "reserved"), MEASURED)
def test_measured_on_a_card(size: int, count: int, allocated: int, reserved: int) -> None:
    assert predict([size] * count) == (size * count, allocated, reserved)


@pytest.mark.parametrize(("size", "count", "allocated", "reserved"), MEASURED)
def test_a_small_tensor_held_before_leaves_room_for_small_ones_only(
    size: int, count: int, allocated: int, reserved: int
) -> None:
    before, after = predict([4]), predict([4] + [size] * count)

    assert after.allocated - before.allocated == allocated
    assert after.reserved - before.reserved == (0 if size <= MIB else reserved)


@pytest.mark.parametrize("cache", CACHES)
def test_caches(cache: str) -> None:
    layer, layers, requested, slack, by_default, expandable = CACHES[cache]

    assert predict(layer * layers) == (requested, requested + slack, by_default)
    rounded = sum(ceil(size, 512) for size in layer) * layers
    assert predict(layer * layers, EXPANDABLE) == (requested, rounded, expandable)


@pytest.mark.parametrize(
    ("sizes_mib", "rules", "allocated", "reserved"),
    [
        ([], DEFAULT, 0, 0),
        ([0, 0], EXPANDABLE, 0, 0),
        ([0.5, 3], DEFAULT, 3.5, 22),  # the pools share nothing
        ([0.5, 3], EXPANDABLE, 3.5, 22),
        # 20 - 6 - 9 = 5 and 20 - 9 = 11 are free: 4 takes the 5, of which 1 is not split off, and 11 still fits
        ([6, 9, 9, 4, 11], DEFAULT, 40, 40),
        ([6, 9, 9, 4, 11], EXPANDABLE, 39, 40),
        ([9, 9.5], DEFAULT, 18.5, 20),  # 1.5 is split off ...
        ([9, 9.5, 1.25], DEFAULT, 20, 20),  # ... and taken whole
        ([9, 10], DEFAULT, 20, 20),  # exactly 1 is not split off
        ([10.5, 1.5], DEFAULT, 12, 12),  # a segment of one's own may have a rest
        ([10.5, 1.625], DEFAULT, 12.125, 32),
        ([1, 0.75, 0.25], DEFAULT, 2, 2),  # the small pool splits off whatever it can
        ([1, 0.75, 0.5], DEFAULT, 2.25, 4),
        ([1, 0.75, 0.5, 0.25], DEFAULT, 2.5, 4),
        ([1, 1 - 1 / 2048, 1 / 2048], DEFAULT, 2, 2),  # even 512 bytes
        ([1, 1 - 1 / 2048, 1 / 2048], EXPANDABLE, 2, 2),
        ([30, 25], EXPANDABLE, 55, 60),  # 10 of the second page are free, and 20 are mapped after them
        ([30, 10, 1.5], EXPANDABLE, 41.5, 60),
    ],
)
def test_by_hand(sizes_mib: list[float], rules: Rules, allocated: float, reserved: float) -> None:
    usage = predict([int(size * MIB) for size in sizes_mib], rules)

    assert usage == (sum(sizes_mib) * MIB, allocated * MIB, reserved * MIB)


def batch_norm(channels: int) -> list[int]:
    """Bytes of weight, bias, running_mean, running_var (float32) and num_batches_tracked (int64)."""
    return [4 * channels] * 4 + [8]


def convolution(out: int, into: int, kernel: int) -> list[int]:
    """Bytes of a convolution's weight and of the batch norm behind it."""
    return [4 * out * into * kernel * kernel, *batch_norm(out)]


# torchvision's resnet18() in the order in which Module.to() visits it; from the second stage on a stage's first block
# ends with a 1x1 downsample.
RESNET18 = [
    *convolution(64, 3, 7),
    *convolution(64, 64, 3) * 4,
    *(
        size
        for into, out in [(64, 128), (128, 256), (256, 512)]
        for size in convolution(out, into, 3)
        + convolution(out, out, 3)
        + convolution(out, into, 1)
        + convolution(out, out, 3) * 2
    ),
    4 * 1000 * 512,
    4 * 1000,
]


def test_resnet18_on_a_card_as_published() -> None:
    """Figure: https://github.com/pytorch/pytorch/issues/107667, memory_allocated() after model.to("cuda")."""
    parameters, running = 11_689_512, 2 * 4_800
    assert sum(RESNET18) == 4 * (parameters + running) + 20 * 8

    assert predict(RESNET18).allocated / 2**20 == 44.6904296875
    assert predict(RESNET18, EXPANDABLE).allocated / 2**20 == 44.6435546875  # the roundings to 512 alone


@given(LISTS, RULES)
def test_laws(sizes: list[int], rules: Rules) -> None:
    requested, allocated, reserved = usage = predict(sizes, rules)

    assert requested == sum(sizes) <= allocated <= reserved
    assert allocated % 512 == 0
    assert reserved % (2 * MIB) == 0
    shorter = predict(sizes[:-1], rules)
    assert all(less <= more for less, more in zip(shorter, usage, strict=True))
    assert predict([size for size in sizes if size], rules) == usage


@given(LISTS)
def test_expandable_segments_round_sizes_and_then_sums(sizes: list[int]) -> None:
    rounded = [ceil(size, 512) for size in sizes]
    small = sum(size for size in rounded if size <= MIB)
    large = sum(size for size in rounded if size > MIB)

    expected = Usage(sum(sizes), small + large, ceil(small, 2 * MIB) + ceil(large, 20 * MIB))
    assert predict(sizes, EXPANDABLE) == expected


def block_by_block(sizes: list[int]) -> Usage:
    """The default configuration with addresses: segments of blocks, each [bytes, free]."""
    segments: dict[bool, list[list[list[int]]]] = {True: [], False: []}
    for size in (ceil(size, 512) for size in sizes if size):
        pool = segments[small := size <= MIB]
        fitting = [
            (block[0], where, at)
            for where, blocks in enumerate(pool)
            for at, block in enumerate(blocks)
            if block[1] and block[0] >= size
        ]
        if not fitting:
            whole = 2 * MIB if small else 20 * MIB if size < 10 * MIB else ceil(size, 2 * MIB)
            fitting = [(whole, len(pool), 0)]
            pool.append([[whole, True]])
        have, where, at = min(fitting)
        keep = size if have - size >= (512 if small else MIB + 1) else have
        pool[where][at : at + 1] = [[keep, False], *([[have - keep, True]] if have > keep else [])]
    blocks = [block for pool in segments.values() for segment in pool for block in segment]
    return Usage(sum(sizes), sum(size for size, free in blocks if not free), sum(size for size, _ in blocks))


@given(LISTS)
def test_block_by_block(sizes: list[int]) -> None:
    assert predict(sizes) == block_by_block(sizes)


@given(st.integers(10 * MIB, LARGEST), st.integers(0, 200))
def test_equal_tensors_of_10_mib_or_more(size: int, count: int) -> None:
    rounded, segment = ceil(size, 512), ceil(size, 2 * MIB)
    owned = rounded if segment - rounded > MIB else segment

    assert predict([size] * count) == (size * count, owned * count, segment * count)


@given(st.integers(MIB + 1, 10 * MIB - 512), st.integers(0, 200))
def test_equal_tensors_between_1_and_10_mib(size: int, count: int) -> None:
    """As many as fit share 20 MiB; the last of a full segment owns the tail where that is at most 1 MiB."""
    rounded = ceil(size, 512)
    full, more = divmod(count, 20 * MIB // rounded)
    tail = 20 * MIB % rounded

    allocated = rounded * count + (tail * full if tail <= MIB else 0)
    assert predict([size] * count) == (size * count, allocated, 20 * MIB * (full + (more > 0)))


@given(st.integers(1, MIB), st.integers(0, 200))
def test_equal_tensors_of_1_mib_or_less(size: int, count: int) -> None:
    rounded = ceil(size, 512)
    segments = -(-count // (2 * MIB // rounded))

    assert predict([size] * count) == (size * count, rounded * count, 2 * MIB * segments)


CUDA, UNIFIED, HIP = "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF"


@pytest.mark.parametrize(
    ("environment", "rules"),
    [
        ({}, DEFAULT),
        ({"PATH": "/bin"}, DEFAULT),
        ({CUDA: ""}, DEFAULT),
        ({CUDA: " \t"}, DEFAULT),
        ({CUDA: "expandable_segments:False"}, DEFAULT),
        ({CUDA: "expandable_segments:True"}, EXPANDABLE),
        ({CUDA: " expandable_segments : True , "}, EXPANDABLE),
        ({CUDA: "backend:native"}, DEFAULT),
        ({CUDA: "backend:native,expandable_segments:True"}, EXPANDABLE),
        ({CUDA: "expandable_segments:True,backend:native"}, EXPANDABLE),
        ({CUDA: "expandable_segments:True,expandable_segments:False"}, DEFAULT),
        ({UNIFIED: "", HIP: ""}, DEFAULT),
        ({UNIFIED: "expandable_segments:False"}, DEFAULT),
        ({CUDA: "expandable_segments:True", UNIFIED: "backend:native,expandable_segments:True"}, EXPANDABLE),
        (dict.fromkeys((CUDA, UNIFIED, HIP), "expandable_segments:True"), EXPANDABLE),
    ],
)
def test_rules_of_an_environment(environment: dict[str, str], rules: Rules) -> None:
    assert rules_from(environment) == rules
    assert isinstance(rules_from(environment), Rules)


@pytest.mark.parametrize("variable", [CUDA, UNIFIED, HIP])
@pytest.mark.parametrize(
    ("value", "option"),
    [
        ("max_split_size_mb:128", "max_split_size_mb"),
        ("expandable_segments:True,max_split_size_mb:128", "max_split_size_mb"),
        ("roundup_power2_divisions:[256:1,512:2,>:8]", "roundup_power2_divisions"),
        ("large_segment_size_mb:40", "large_segment_size_mb"),
        ("garbage_collection_threshold:0.8", "garbage_collection_threshold"),
        ("pinned_use_background_threads:True", "pinned_use_background_threads"),
        ("backend:cudaMallocAsync", "backend"),
        ("expandable_segments:true", "expandable_segments"),  # PyTorch refuses this spelling
        ("expandable_segments=True", "expandable_segments=True"),
        ("EXPANDABLE_SEGMENTS:True", "EXPANDABLE_SEGMENTS"),
        (",", ""),
    ],
)
def test_options_that_are_not_modelled(variable: str, value: str, option: str) -> None:
    rules = rules_from({variable: value})

    assert isinstance(rules, NotModelled)
    assert rules.reason.startswith(f"{variable} sets '{option}', and only ")
    assert rules.reason.endswith(f"; unset {variable}")


@pytest.mark.parametrize("alias", [UNIFIED, HIP])
@pytest.mark.parametrize(
    ("cuda", "other"),
    [
        ("expandable_segments:True", "expandable_segments:False"),
        ("expandable_segments:False", "expandable_segments:True"),
        ("expandable_segments:True", ""),
        ("", "expandable_segments:True"),
        (None, "expandable_segments:True"),  # some releases do not read it
    ],
)
def test_variables_that_disagree_are_not_modelled(alias: str, cuda: str | None, other: str) -> None:
    rules = rules_from({alias: other} | ({} if cuda is None else {CUDA: cuda}))

    assert isinstance(rules, NotModelled)
    assert rules.reason.startswith(f"{alias} and {CUDA} ask for different things")
    assert rules.reason.endswith(f"set {CUDA} to the same, or unset {alias}")


@pytest.mark.parametrize(
    ("environment", "backend", "is_rocm", "part"),
    [
        ({}, "cudaMallocAsync", False, "backend is cudaMallocAsync"),
        ({}, "pluggable", False, "backend is pluggable"),
        ({}, "native", True, "ROCm"),
        ({"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}, "native", False, "PYTORCH_NO_CUDA_MEMORY_CACHING is set"),
        ({"PYTORCH_NO_CUDA_MEMORY_CACHING": "0"}, "native", False, "unset it"),
        ({"PYTORCH_NO_CUDA_MEMORY_CACHING": ""}, "native", False, "unset it"),
    ],
)
def test_allocators_that_are_not_modelled(environment: dict[str, str], backend: str, is_rocm: bool, part: str) -> None:
    rules = rules_from(environment, backend, is_rocm)

    assert isinstance(rules, NotModelled)
    assert part in rules.reason
