"""The parts of a checkpoint: how large each is, in which format, where in the model it sits, how it divides over ranks.

A model's file may list them. Else they follow from its dims (kvcalc/model/apart.py), in a format that is asked for as
checkpoints have it (kvcalc/model/quantised.py).
"""

from __future__ import annotations

from functools import lru_cache, wraps
from typing import TYPE_CHECKING, TypeVar

from kvcalc.errors import KvcalcError
from kvcalc.formats.file_types import EXPERTS_APART, tables_of
from kvcalc.formats.weights import find_weight_format, is_for_layers_alone, is_of_llama_cpp, is_of_mlx
from kvcalc.model.apart import told_apart
from kvcalc.model.model import WeightPart
from kvcalc.model.quantised import NGRAMS, parts_in, plain_format
from kvcalc.model.towers import TITLE, TowersIn, is_tower, without_towers
from kvcalc.named_tuple import NamedTuple
from kvcalc.scenario import checkpoint_format, compute_format
from kvcalc.term import GIVEN, Factor, Product

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kvcalc.formats.element import ElementFormat
    from kvcalc.model.model import Model, Split, WeightPlace
    from kvcalc.scenario import Scenario

T = TypeVar("T")
POSITIONS = "learned positions"


class Part(NamedTuple):
    """Some of the weights.

    Attributes:
        split: over which ranks it divides.
        heads: over how many tensor-parallel ranks it divides at most; further ranks hold copies. None: over any number.
        place: where it sits; None where that is not known, as of a size that the user gives.
        block: elements along a row that must stay together, since they share a scale.
        is_table: whether it is the embedding, which a tied output head uses too.
        parameters: its own, or scales; 0 where the number is not known.
        scales: whether it holds the scales of others.
        projections: whether the layers' projections of keys and values are said to be in it.
        element_format: of the parameters; None where only the size is known.
        used: whether making text reads it.
        ngrams: whether it is tables of n-grams.
    """

    term: Product
    split: Split = "tp"
    place: WeightPlace | None = None
    block: int = 1
    is_table: bool = False
    parameters: int = 0
    element_format: ElementFormat | None = None
    scales: bool = False
    used: bool = True
    heads: int | None = None
    projections: bool = False
    ngrams: bool = False

    @property
    def multiplied(self) -> int:
        """Parameters that a token is multiplied by."""
        return 0 if self.scales else self.parameters

    def ways(self, tp: int) -> int:
        """Over how many of `tp` ranks it divides."""
        return tp if self.heads is None else min(tp, self.heads)


class Weighed(NamedTuple):
    """What decides the parts of a scenario's weights.

    Attributes:
        weight_format: instead of the checkpoint's own.
        given: bytes of one replica, as the user states them.
        towers: where the engine has towers, whatever the format.
    """

    model: Model
    weight_format: ElementFormat | None
    given: int | None
    towers: TowersIn

    @property
    def towers_in(self) -> TowersIn:
        """Where its towers are: no file of llama.cpp's formats has them, whoever loads it."""
        asked = self.weight_format
        in_blocks = asked is not None and is_of_llama_cpp(asked)
        return "a file of their own" if in_blocks and self.towers == "the file" else self.towers


def once_weighed(work: Callable[[Weighed], T]) -> Callable[[Scenario], T]:
    """Something that the weights of a scenario decide alone is worked out once for them."""
    known: Callable[[Weighed], T] = lru_cache(maxsize=64)(work)

    @wraps(work)
    def remembered(scenario: Scenario) -> T:
        towers = scenario.engine.towers_in()
        return known(Weighed(scenario.model, scenario.weight_format, scenario.replacements.weights, towers))

    return remembered


@once_weighed
def whole_parts(weighed: Weighed) -> tuple[Part, ...] | None:
    """The parts as the user, the model's file or its parameters give them, not taken apart. None where not known."""
    model, given = weighed.model, weighed.given
    if given is not None:
        return (Part(Product("weights", (Factor("given", given, "byte"),), GIVEN)),)
    listed = _listed(weighed)
    if listed is not None:
        return tuple(_of_list(listed))
    if model.parameters is None:
        return None
    asked = weighed.weight_format
    if asked is not None and asked.name in EXPERTS_APART and model.is_mixture_of_experts:
        raise KvcalcError(
            f"--weight-dtype: {asked.name} has routed experts in a format of their own, and the model's file does not "
            "tell how many parameters those have; --weights SIZE gives all of them"
        )
    towers = 0 if weighed.towers_in == "the file" else model.tower_parameters or 0
    ngrams, positions = model.ngram_parameters or 0, model.position_parameters or 0
    text = _of_one_format(weighed, "parameters", model.parameters - towers - ngrams - positions)
    parts = (text, _positions(weighed), *_towers(weighed, towers), *_tables_of_ngrams(weighed, ngrams))
    return tuple(part for part in parts if part.parameters)


@once_weighed
def listed_parts(weighed: Weighed) -> tuple[WeightPart, ...] | None:
    """The parts that the model's file lists, or that its dims tell apart for a format of layers alone; else None."""
    return _listed(weighed)


def _listed(weighed: Weighed) -> tuple[WeightPart, ...] | None:
    model, asked = weighed.model, weighed.weight_format
    listed = parts_in(model, asked) if asked is not None and _is_of_parts(model, asked) else model.weights or None
    if listed is None or weighed.towers_in == "the file" or not model.has_towers:
        return listed  # of a GGUF file, whose keys tell of no towers, as the file has it
    if weighed.towers_in == "a file of their own" or not model.tower_parameters:
        return without_towers(listed)
    own = WeightPart(part=TITLE, parameters=model.tower_parameters, format=plain_format(model), place="embedding")
    return (*without_towers(listed), own)


def _is_of_parts(model: Model, asked: ElementFormat) -> bool:
    """Whether a checkpoint in that format has parts of the model in others."""
    return bool(model.weights or is_for_layers_alone(asked) or is_of_mlx(asked) or tables_of(asked.name))


def _towers(weighed: Weighed, parameters: int) -> tuple[Part, ...]:
    """What is loaded with the other weights of the towers."""
    if weighed.towers_in == "a file of their own":
        return ()
    if weighed.towers_in == "the file, in its dtype":
        weighed = weighed._replace(weight_format=find_weight_format(plain_format(weighed.model), "weight_dtype"))
    return (_of_one_format(weighed, TITLE, parameters, place="embedding"),)


@once_weighed
def towers_apart(weighed: Weighed) -> int | None:
    """Parameters of towers that are in a file of their own; None where they are not known, and lie with the others."""
    model = weighed.model
    formats = (find_weight_format(part.format, "format") for part in model.weights)
    apart = weighed.towers_in == "a file of their own" or any(map(is_of_llama_cpp, formats))
    if not model.has_towers or weighed.given is not None or not apart or any(map(is_tower, _listed(weighed) or ())):
        return 0
    listed = sum(part.parameters for part in model.weights if is_tower(part) and not part.scales)
    return model.tower_parameters or listed or None


def states_copies(scenario: Scenario) -> bool:
    """Whether the list of parts states what each rank of a stage holds a copy of."""
    if scenario.replacements.weights is not None:
        return False
    return any(part.split == "stage" for part in listed_parts(scenario) or ())


@once_weighed
def placed_parts(weighed: Weighed) -> tuple[Part, ...] | None:
    """The parts, each with its place in the model; None where the model's file does not tell them apart."""
    if weighed.given is not None:
        return None
    listed = _listed(weighed)
    if listed is not None:
        return tuple(_of_list(listed)) if any(part.place == "embedding" for part in listed) else None
    apart = told_apart(weighed.model)
    if apart is None:
        return None
    parts = (
        _of_one_format(weighed, "embedding", apart.table, place="embedding", is_table=True),
        *_tables_of_ngrams(weighed, apart.ngrams),
        _positions(weighed),
        *_towers(weighed, apart.towers),
        _of_one_format(weighed, "output head", apart.head, place="head"),
        _of_one_format(weighed, "routed experts", apart.experts, place="layers", split="ep"),
        _of_one_format(weighed, "layers", apart.of_layers - (weighed.model.position_parameters or 0), place="layers"),
    )
    return tuple(part for part in parts if part.parameters)


def parts_of_layers(scenario: Scenario) -> tuple[Part, ...] | None:
    """The parts of a model that has layers and no tables, as those of a file that predict further tokens do."""
    listed = None if scenario.replacements.weights is not None else listed_parts(scenario)
    return None if listed is None else tuple(_of_list(listed))


def left_alone(scenario: Scenario) -> dict[str, ElementFormat] | None:
    """The parts that are not in the asked format, and theirs: none where the parts are not told apart.

    None where no format is asked for, or one for all weights, and where the weights are not known.
    """
    asked, parts = scenario.weight_format, whole_parts(scenario)
    if asked is None or parts is None or scenario.replacements.weights is not None or not is_for_layers_alone(asked):
        return None
    return {part.term.path: part.element_format or asked for part in parts if part.element_format != asked}


def beside_experts(scenario: Scenario) -> int:
    """Bytes more that a checkpoint takes whose format is that of its experts alone; 0 without experts."""
    parts, asked = whole_parts(scenario) or (), scenario.weight_format
    if asked is None or not any(part.split == "ep" and part.element_format == asked for part in parts):
        return 0
    own = compute_format(scenario.model).block_bytes
    others = [part for part in parts if part.element_format == asked and part.split != "ep" and part.place == "layers"]
    return sum(part.parameters * own - part.term.bytes for part in others)


def _of_list(parts: tuple[WeightPart, ...]) -> Iterator[Part]:
    table_seen = False
    for part in parts:
        element_format = find_weight_format(part.format, "format")
        is_table = part.place == "embedding" and not (part.ngrams or table_seen)
        table_seen = table_seen or is_table
        yield Part(
            Product(part.part, element_format.parameters(part.parameters)),
            "tp" if part.split == "stage" else part.split,
            part.place,
            part.weight_block_size or element_format.kept_together,
            is_table,
            part.parameters,
            element_format,
            scales=part.scales,
            used=part.used and part.split != "all",
            heads=1 if part.split == "stage" else None,
            projections=part.projections,
            ngrams=part.ngrams,
        )


def _tables_of_ngrams(weighed: Weighed, parameters: int) -> tuple[Part, ...]:
    return (_of_one_format(weighed, NGRAMS, parameters, place="embedding")._replace(ngrams=True),)


def _positions(weighed: Weighed) -> Part:
    """Learned positions: a row for each token is looked up, and ranks do not divide them (nn.Embedding in vLLM)."""
    count = weighed.model.position_parameters or 0
    return _of_one_format(weighed, POSITIONS, count, place="embedding")._replace(heads=1)


def _of_one_format(
    weighed: Weighed,
    name: str,
    parameters: int,
    *,
    split: Split = "tp",
    place: WeightPlace | None = None,
    is_table: bool = False,
) -> Part:
    element_format = weighed.weight_format or checkpoint_format(weighed.model)
    term = Product(name, element_format.parameters(parameters))
    return Part(term, split, place, element_format.kept_together, is_table, parameters, element_format)
