"""Weights that tensor-parallel ranks copy instead of dividing, as far as a model's dims tell them.

A projection with fewer heads than there are ranks is on several ranks, one without heads on all of them: keys and
values beyond num_kv_heads, latents, an indexer, routers, what mixes residual streams, B and C of Mamba-2 beyond
num_groups. Norms and biases are copied too; no dims tell how many there are.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from kvcalc.formats.weights import holds_words
from kvcalc.mechanisms import Projection
from kvcalc.memory.parts import Part, left_alone, states_copies
from kvcalc.model.apart import expert_parameters
from kvcalc.model.quantised import ROUTERS, STREAMS
from kvcalc.named_tuple import NamedTuple
from kvcalc.term import Product

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.deployment import Deployment
    from kvcalc.formats.element import ElementFormat
    from kvcalc.model.model import Model
    from kvcalc.scenario import Scenario


class Copied(NamedTuple):
    """Matrices of which ranks hold more than their share.

    Attributes:
        heads: over how many ranks they divide; others hold the same again.
        matrices: rows, columns, and how many there are.
    """

    name: str
    heads: int
    matrices: tuple[tuple[int, int, int], ...]

    @property
    def parameters(self) -> int:
        return sum(rows * columns * count for rows, columns, count in self.matrices)

    def scales(self, block: int) -> int:
        """One for each block x block, also where a matrix ends within it."""
        return sum(-(-rows // block) * -(-columns // block) * count for rows, columns, count in self.matrices)


def copied_weights(scenario: Scenario, tp: int) -> list[Copied]:
    """What `tp` ranks copy, by the model's dims. What is whole on every rank is left out where its list states it."""
    return list(_copied(scenario.weights_as or scenario.model, tp, states_copies(scenario), bool(left_alone(scenario))))


@lru_cache(maxsize=256)
def _copied(model: Model, tp: int, stated: bool, routers_apart: bool) -> tuple[Copied, ...]:
    """Of a model with its copies stated in the list of its parts or not, and with routers as parts of their own."""
    if model.hidden_size is None:
        return ()
    found: dict[tuple[str, int], list[tuple[int, int, int]]] = {}
    for projection, count in _projections(model, model.hidden_size, routers_apart=routers_apart):
        heads = projection.heads or 1
        if tp > heads and tp % heads == 0 and not (stated and projection.heads is None):
            found.setdefault((projection.name, heads), []).append((projection.rows, projection.columns, count))
    return tuple(Copied(name, heads, tuple(matrices)) for (name, heads), matrices in found.items())


def _projections(model: Model, hidden_size: int, *, routers_apart: bool) -> Iterator[tuple[Projection, int]]:
    """Those that may be copied, and how many layers have them."""
    for layer, count in model.distinct().items():
        keys_only = model.attention_k_eq_v and layer.span is None
        for projection in layer.attention.projections(hidden_size):
            if not (keys_only and projection.makes == "v"):
                yield projection, count
    if model.num_experts and not model.weights and not routers_apart and expert_parameters(model):
        with_experts = model.num_layers - model.first_with_experts
        yield Projection(ROUTERS, model.num_experts, hidden_size), with_experts
    if model.stream_parameters and not model.weights and not routers_apart:
        yield Projection(STREAMS, model.stream_parameters, 1), 1


def with_copies(scenario: Scenario, deployment: Deployment, parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """A replica's parts, and those weights of them that ranks copy as parts of their own.

    Unchanged where nothing is copied, and where it is not known which part has them.
    """
    copied = copied_weights(scenario, deployment.tp)
    home = _home(parts, deployment)
    if not copied or home is None:
        return parts
    taken = [(home, each, each.parameters) for each in copied]
    scales = [part for part in parts if part.scales and (part.split, part.place, part.heads) == ("tp", "layers", None)]
    if scales:
        if len(scales) > 1 or not _are_of_square_blocks(scales[0], home):
            return parts
        taken += [(scales[0], each, each.scales(home.block)) for each in copied]
    left = [part.parameters - sum(count for owner, _, count in taken if owner is part) for part in parts]
    if any(count < 0 for count in left):
        return parts
    rest = (
        part if count == part.parameters else _sized(part, _without(part), count)
        for part, count in zip(parts, left, strict=True)
    )
    return (*rest, *(_copies(owner, each, count) for owner, each, count in taken))


def _home(parts: tuple[Part, ...], deployment: Deployment) -> Part | None:
    """The part that has the projections: the only one that layers divide over tp, or the one that is said to.

    None where that is not told, and where its words hold nobody knows how many parameters.
    """
    places = {"layers", None} if deployment.pp == 1 else {"layers"}
    found = [
        part
        for part in parts
        if part.split == "tp" and part.place in places and part.heads is None and part.used and part.multiplied
    ]
    found = [part for part in found if part.projections] or found
    if len(found) != 1 or found[0].element_format is None or holds_words(found[0].element_format):
        return None
    return found[0]


def _are_of_square_blocks(scales: Part, home: Part) -> bool:
    """Whether there is a scale for each block x block of the part; a few more, where matrices end within a block."""
    return home.block > 1 and home.parameters <= scales.parameters * home.block**2 <= home.parameters * 11 // 10


def _without(part: Part) -> str:
    """The name of what is left of a part; one that was all of the parameters is no longer."""
    return part.term.path if part.place else "other parameters"


def _sized(part: Part, name: str, count: int) -> Part:
    element_format: ElementFormat | None = part.element_format
    if element_format is None:
        raise TypeError(f"{part.term.path} has a size and no format")
    return part._replace(term=Product(name, element_format.parameters(count)), parameters=count)


def _copies(owner: Part, copied: Copied, count: int) -> Part:
    name = f"scales of {copied.name}" if owner.scales else copied.name
    return _sized(owner, name, count)._replace(heads=copied.heads)
