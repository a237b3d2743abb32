"""How vLLM puts layers into groups that share a block table, and makes their pages equal.

Named as in vllm/v1/core/kv_cache_utils.py (from 0.33 vllm/v1/core/kv_cache_planning.py).
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.engines.vllm.cache.packed import packed_buckets
from kvcalc.engines.vllm.cache.padded import PACKED, padded_groups
from kvcalc.engines.vllm.cache.placed import Kept, Placed
from kvcalc.engines.vllm.cache.pooled import pools
from kvcalc.engines.vllm.cache.specs import Spec
from kvcalc.engines.vllm.cache.state_spec import State
from kvcalc.errors import KvcalcError
from kvcalc.mechanisms import Compressed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kvcalc.engines.vllm.cache.specs import Request
    from kvcalc.engines.vllm.defaults import Version
    from kvcalc.mechanisms import Mechanism

HYBRID_MANAGER: Version = (0, 9, 1)
"""Before that every layer keeps every token (get_kv_cache_config of vllm/v1/core/kv_cache_utils.py)."""
PADS_PAGES: Version = (0, 26)
"""Since then pages that do not divide the largest are padded to it, but not those of latents."""
UNLIKE_PAGES: Version = (0, 11)
"""Since then pages of one family may have several sizes, and since 0.12 others are made equal."""
ENLARGES_PAGES: Version = (0, 12)

_ALMOST_AS_MANY: tuple[tuple[Version, Fraction], ...] = (((0, 18), Fraction(3, 2)), ((0, 12), Fraction(5, 4)))


class Group(NamedTuple):
    """Layers with one block table.

    Attributes:
        members: what they keep, and the numbers of the layers that keep it, ascending.
        specs: each once.
    """

    members: Mapping[Kept, Sequence[int]]
    specs: tuple[Spec, ...]

    def held(self, layers: range) -> dict[Kept, int]:
        """What those layers of the model keep, and how many of them."""
        found = {}
        for kept, numbers in self.members.items():
            if count := bisect_left(numbers, layers.stop) - bisect_left(numbers, layers.start):
                found[kept] = count
        return found

    def blocks(self, request: Request) -> int:
        """Of a request: the most that a layer asks for."""
        return max(spec.blocks(request) for spec in self.specs)

    @property
    def family(self) -> str:
        """What its layers keep."""
        return " and ".join(sorted({spec.family for spec in self.specs}))


def groups_of(placed: Sequence[Placed], version: Version) -> tuple[Group, ...]:
    """The groups of a whole model (get_kv_cache_groups).

    Raises:
        KvcalcError: this version cannot keep these layers beside each other.
    """
    if not placed:
        return ()
    if len({each.spec.uniform for each in placed}) == 1:
        if version < UNLIKE_PAGES and len({each.spec.page for each in placed}) > 1:
            raise _unlike(version)
        return (_group(placed),)
    if any(lies_packed(each.kept.layer.attention) for each in placed):
        found = packed_buckets(placed) if version >= PACKED else padded_groups(placed, version)
        return tuple(_group(sorted(each, key=lambda one: one.number)) for each in found)
    return tuple(_of_equal_pages(_unified(placed, version), version))


def lies_packed(attention: Mechanism) -> bool:
    """Whether its backends have pages of unlike sizes side by side in a block (supported_kv_cache_layouts)."""
    return isinstance(attention, Compressed) or pools(attention)


def _group(placed: Sequence[Placed]) -> Group:
    members: dict[Kept, list[int]] = {}
    for each in placed:
        members.setdefault(each.kept, []).append(each.number)
    return Group(members, tuple(dict.fromkeys(kept.spec for kept in members)))


def _unlike(version: Version) -> KvcalcError:
    number = ".".join(map(str, version))
    return KvcalcError(
        f"--engine: vllm {number} cannot keep these layers beside each other: their pages differ "
        "(vllm/v1/core/kv_cache_utils.py, get_kv_cache_groups)"
    )


def _unified(placed: Sequence[Placed], version: Version) -> list[Placed]:
    """With pages of one size: more tokens a block, or padding (unify_kv_cache_spec_page_size).

    Raises:
        KvcalcError: this version does neither.
    """
    largest = max(each.spec.page for each in placed)
    same = {kept: kept._replace(spec=_enlarged(kept.spec, largest, version)) for kept in {each.kept for each in placed}}
    return [each._replace(kept=same[each.kept]) for each in placed]


def _enlarged(spec: Spec, page: int, version: Version) -> Spec:
    if spec.page == page:
        return spec
    if version < ENLARGES_PAGES:
        raise _unlike(version)
    state, latent = isinstance(spec, State), spec.shape.startswith("mla")
    if page % spec.page == 0 and not (state and version >= PADS_PAGES):
        return replace(spec, block_size=spec.block_size * (page // spec.page))
    if version < PADS_PAGES or latent:
        raise _unlike(version)
    return replace(spec, padded=page)


def _of_equal_pages(placed: Sequence[Placed], version: Version) -> list[Group]:
    """Groups of as many layers as the kind with the fewest has (get_kv_cache_groups_uniform_page_size).

    Where the kind with the most has hardly more, of as many as that has, so that fewer are padding. Layers take turns
    over the groups of their kind, but before 0.11 follow each other.
    """
    kinds: dict[object, list[Placed]] = {}
    for each in placed:
        kinds.setdefault((each.spec.uniform, each.spec.shape), []).append(each)
    fewest, most = (of(map(len, kinds.values())) for of in (min, max))
    hardly_more = next((times for since, times in _ALMOST_AS_MANY if version >= since), Fraction(1))
    size = most if most < hardly_more * fewest else fewest
    found = []
    for members in kinds.values():
        number = -(-len(members) // size)
        if version >= UNLIKE_PAGES:
            found += [_group(members[start::number]) for start in range(number)]
        else:
            found += [_group(members[start : start + size]) for start in range(0, len(members), size)]
    return found
