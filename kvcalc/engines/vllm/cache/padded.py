"""Groups of compressed attention before vLLM packed them: windows' pages in places of pages of entries.

vLLM 0.20 to 0.28, vllm/v1/core/kv_cache_utils.py: _get_kv_cache_groups_uniform_groups.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from kvcalc.engines.vllm.cache.packed import approximate_gcd
from kvcalc.engines.vllm.cache.span_specs import SlidingWindow
from kvcalc.errors import KvcalcError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kvcalc.engines.vllm.cache.placed import Placed
    from kvcalc.engines.vllm.defaults import Version

PACKED: Version = (0, 29)
"""_get_packed_kv_cache_groups: not in 0.28, there in 0.29."""
UNPADDED: Version = (0, 27)
"""Pages lie side by side without padding (_get_packed_kv_cache_layout), and concurrency is by blocks."""
BY_SIZE: Version = (0, 23)
"""A block has as many pages of a size as the group with most of them (_bucket_layers_by_page_size); before, as many of
each size as of the commonest (_get_kv_cache_config_deepseek_v4)."""


def padded_groups(placed: Sequence[Placed], version: Version) -> list[list[Placed]]:
    """All entries are one group; each kind of window is split into as many as keep tuples of layers alike.

    Raises:
        KvcalcError: a page of a window is larger than those of entries.
    """
    full = [each for each in placed if not isinstance(each.spec, SlidingWindow)]
    kinds: dict[object, list[Placed]] = {}
    for each in placed:
        if isinstance(each.spec, SlidingWindow):
            kinds.setdefault(each.spec.uniform, []).append(each)
    numbers = [max(Counter(each.spec.page for each in members).values()) for members in (full, *kinds.values())]
    tuples = approximate_gcd(numbers, numbers[0])
    sizes = sorted({each.spec.page for each in full})
    found = [full]
    for members in kinds.values():
        by_size: dict[int, list[Placed]] = {}
        for each in members if version >= UNPADDED else _padded(members, sizes):
            by_size.setdefault(each.spec.page, []).append(each)
        patterns = list(zip(*by_size.values(), strict=True))
        groups = -(-len(patterns) // tuples)
        found += [[each for pattern in patterns[start::groups] for each in pattern] for start in range(groups)]
    return found


def _padded(members: Sequence[Placed], sizes: Sequence[int]) -> list[Placed]:
    if any(each.spec.page > sizes[-1] for each in members):
        raise KvcalcError(
            "--engine: this version of vllm keeps no window whose pages are larger than those of entries "
            "(vllm/v1/core/kv_cache_utils.py, _get_kv_cache_groups_uniform_groups); --engine vllm@0.29"
        )
    least = {each.spec.page: min(size for size in sizes if size >= each.spec.page) for each in members}
    return [
        each._replace(kept=each.kept._replace(spec=replace(each.spec, padded=least[each.spec.page])))
        for each in members
    ]


def padded_block_bytes(pages: Iterable[Mapping[int, int]], version: Version) -> int | None:
    """Bytes of a block, by the pages of each size that each group has in it; None where the widest group tells."""
    if version >= UNPADDED:
        return None
    most: Counter[int] = Counter()
    for group in pages:
        most |= Counter(group)
    if version >= BY_SIZE:
        return sum(size * count for size, count in most.items())
    return sum(most) * max(most.values())
