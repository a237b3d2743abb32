"""How vLLM puts layers into groups that share a block table, and makes their pages equal.

Named as in vllm/v1/core/kv_cache_utils.py (from 0.32 vllm/v1/core/kv_cache_planning.py).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.engines.vllm.specs import FullAttention, SlidingWindow, Spec
from kvcalc.errors import KvcalcError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kvcalc.engines.vllm.specs import Request
    from kvcalc.model.layers import Layer


class Placed(NamedTuple):
    """A cache of a layer, and what it asks for.

    Attributes:
        number: of the layer in the model, from 0.
    """

    number: int
    layer: Layer
    spec: Spec


class Group(NamedTuple):
    """Layers with one block table."""

    members: tuple[Placed, ...]

    def blocks(self, request: Request) -> int:
        """Of a request: the most that a layer asks for."""
        return max(spec.blocks(request) for spec in self.specs)

    @property
    def specs(self) -> set[Spec]:
        return {member.spec for member in self.members}

    @property
    def family(self) -> str:
        """What its layers keep."""
        return " and ".join(sorted({spec.family for spec in self.specs}))

    @property
    def shares_prefix(self) -> bool:
        """Whether sequences hold the blocks of a common prefix once, for as long as they run."""
        return all(isinstance(spec, FullAttention) for spec in self.specs)


def groups_of(placed: Sequence[Placed]) -> tuple[Group, ...]:
    """The groups of a whole model (get_kv_cache_groups)."""
    if not placed:
        return ()
    if len({each.spec.uniform for each in placed}) == 1:
        return (Group(tuple(placed)),)
    return tuple(_of_equal_pages(_unified(placed)))


def _unified(placed: Sequence[Placed]) -> list[Placed]:
    """With pages of one size: more tokens a block, or padding (unify_kv_cache_spec_page_size).

    Raises:
        KvcalcError: a latent's page cannot be padded.
    """
    largest = max(each.spec.page for each in placed)
    return [each._replace(spec=_enlarged(each.spec, largest)) for each in placed]


def _enlarged(spec: Spec, page: int) -> Spec:
    times, rest = divmod(page, spec.page)
    if rest:
        raise KvcalcError("--engine: vllm cannot make the pages of this model's layers equal")
    return spec if times == 1 else replace(spec, block_size=spec.block_size * times)


def _of_equal_pages(placed: Iterable[Placed]) -> list[Group]:
    """Groups of as many layers as the kind with the fewest has (get_kv_cache_groups_uniform_page_size)."""
    kinds: dict[object, list[Placed]] = {}
    for each in placed:
        spec = each.spec
        window = spec.window if isinstance(spec, SlidingWindow) else None
        kinds.setdefault((spec.uniform, spec.shape, window), []).append(each)
    fewest, most = (of(map(len, kinds.values())) for of in (min, max))
    size = most if most < 1.5 * fewest else fewest
    found = []
    for members in kinds.values():
        number = -(-len(members) // size)
        found += [Group(tuple(members[start::number])) for start in range(number)]
    return found
