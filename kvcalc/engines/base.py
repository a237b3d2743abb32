"""What an engine is: from a model on a deployment to the bytes that each rank reserves, as terms.

An engine settles a whole model once (`settle`), since real ones form groups over all layers and give every rank as many
blocks as the smallest has. What it settled answers for each stage: what a load takes, what a token costs, what memory
there is for the cache. An engine states only what differs from the plain formulas.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from fractions import Fraction
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from kvcalc.engines.budget import Budget
from kvcalc.engines.content import ContentCounter, RankLoad, contents, rows_bytes, rows_rate
from kvcalc.engines.load import Load
from kvcalc.engines.placement import Placement
from kvcalc.errors import KvcalcError
from kvcalc.noun import Noun, noun
from kvcalc.term import Factor, Sum, leaves

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from kvcalc.deployment import Deployment
    from kvcalc.engines.budget import Pool, Temporary
    from kvcalc.engines.cache_format import CacheFormat
    from kvcalc.engines.content import Rate, TensorRows
    from kvcalc.engines.growth import Stretch
    from kvcalc.engines.lora import Lora
    from kvcalc.engines.parked import Parked
    from kvcalc.formats.element import ElementFormat
    from kvcalc.gpu import Gpu
    from kvcalc.mechanisms import Mechanism
    from kvcalc.model.model import Model
    from kvcalc.model.stages import Stage
    from kvcalc.note import Note
    from kvcalc.term import Product, Term


DEFAULT_UTILIZATION = Fraction(92, 100)
"""vLLM's default since 0.22 (vllm/config/cache.py, gpu_memory_utilization)."""


class Option(NamedTuple):
    """An option of an engine, named as the engine names it.

    Attributes:
        read: from the text of its value and the words that messages call it by, to the value; refuses with KvcalcError.
        default: as text, as the engine's own documentation has it; None where it depends on more than the option.
        help: what it does, in a sentence.
        otherwise: what is taken where nobody gives it and there is no one default, in words.
        source: where the engine has it.
    """

    read: Callable[[str, str], Any]
    default: str | None
    help: str
    otherwise: str = ""
    source: str = ""

    @property
    def default_in_words(self) -> str:
        """What is taken where nobody gives it."""
        return self.otherwise if self.default is None else self.default


class Rule(NamedTuple):
    """A rule of an engine, for people.

    Attributes:
        about: what it decides.
        formula: how, in the engine's own names.
        source: where in the engine.
    """

    about: str
    formula: str
    source: str


class Setup(NamedTuple):
    """What an engine is started with.

    Attributes:
        cache_format: element formats as asked for, else as the model's file has them.
        utilization: share of the accelerator's memory that may be used, where the engine takes such a share.
        counter: counts contents of this format quickly.
        weight_format: what the weights are asked to be in; None: as the model's file has them.
        weights_as: the model that the weights are of, where `model` is what it would keep with another mechanism.
        draft: what drafts tokens, on its share of the same ranks; None where nothing does.
        own_layers: of a draft, whether it is layers of the model's own file, with the model's embedding and head.
        max_model_len: tokens of the longest request that it is to serve: the context asked for.
        cache_format_given: whether a format was asked for. Else an engine may have a default of its own.
        dtype_given: whether a format of computing was asked for.
    """

    model: Model
    deployment: Deployment
    cache_format: CacheFormat
    gpu: Gpu
    utilization: Fraction
    counter: ContentCounter
    max_model_len: int
    weight_format: ElementFormat | None = None
    cache_format_given: bool = False
    dtype_given: bool = False
    weights_as: Model | None = None
    draft: Setup | None = None
    own_layers: bool = False


class Settled:
    """A model on a deployment as an engine lays it out. The defaults are the plain formulas: nothing is rounded.

    What `held` takes never falls as sequences or tokens are added, and is never less than the content. Stages hold no
    less apart than together on one. The searches rest on that.
    """

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self._rows: dict[int, tuple[TensorRows, ...]] = {}

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """The pipeline stages, of which those that hold the same are one."""
        return self.setup.model.layout.stages(self.setup.deployment.pp)

    @property
    def block_tokens(self) -> int:
        """Tokens after which what a sequence takes has grown by whole blocks: then `rate` is exact."""
        return 1

    @property
    def cache_format(self) -> CacheFormat:
        """The formats that tensors are kept in: as asked for, unless the engine keeps some in a format of its own."""
        return self.setup.cache_format

    def rank_load(self, stage: Stage, load: Load, *, read: bool = False) -> RankLoad:
        """The layers of one rank of a stage with such a load."""
        deployment = self.setup.deployment
        return RankLoad(
            stage.kinds,
            deployment.tp,
            load.sequences,
            load.context,
            self.cache_format,
            deployment.dcp,
            load.shared_prefix,
            read,
            load.mixed,
            load.prefixes,
        )

    def held(self, stage: Stage, load: Load) -> Sum:
        """Bytes that one rank of a stage reserves: what its layers hold, and each excess over it as a row."""
        content = (each.term for each in contents(self.rank_load(stage, load)))
        return Sum("cache", (*content, *self.excess(stage, load)))

    def held_bytes(self, stage: Stage, load: Load) -> int:
        """The bytes of that."""
        return self.content_bytes(stage, load) + sum(term.bytes for term in self.excess(stage, load))

    def excess(self, stage: Stage, load: Load) -> Iterator[Product]:  # noqa: ARG002  # for engines
        """What the engine reserves beyond the content, each with a name and a source: nothing, in plain formulas."""
        yield from ()

    def weights_excess(self, stage: Stage) -> Iterator[Product]:  # noqa: ARG002  # for engines
        """What one rank of a stage loads beyond its share of the checkpoint, each with a name and a source.

        Tables of rotations, copies that are made for kernels, padding. Nothing, in plain formulas.
        """
        yield from ()

    @property
    def placement(self) -> Placement:
        """Which weights lie on accelerators: all of them, unless the engine `places_weights`."""
        return Placement()

    @property
    def reads_host_memory(self) -> bool:
        """Whether a step of decoding reads weights or caches that are not on an accelerator."""
        return False

    def content_bytes(self, stage: Stage, load: Load, *, read: bool = False) -> int:
        """What the layers of a rank hold, or what a step of decoding reads of it."""
        return rows_bytes(self._content_rows(stage), self.rank_load(stage, load, read=read))

    def content_read(self, stage: Stage, load: Load) -> Sum:
        """What a step of decoding reads of what the layers of a rank hold."""
        return Sum("cache", tuple(each.term for each in contents(self.rank_load(stage, load, read=True))))

    def beside_bytes(self, stage: Stage, whole: Load, tokens: int) -> int:  # noqa: ARG002  # for engines
        """What one shorter sequence, of so many tokens, takes at most beside whole ones."""
        return self.held_bytes(stage, Load(1, tokens))

    def rate(self, stage: Stage, load: Load) -> Rate:
        """What a token and a sequence cost on a rank of a stage, at the load's context."""
        return rows_rate(self._content_rows(stage), self.rank_load(stage, load))

    def stretch(self, stage: Stage, load: Load) -> Stretch | None:  # noqa: ARG002  # for engines
        """The contexts around the load's over which what it holds grows evenly, and how; None where nothing is known.

        Only where it is linear in the sequences, and nothing else of a rank depends on the load.
        """
        return None

    def replica(self, load: Load) -> Sum:
        """What all ranks of a replica reserve, every copy on every rank."""
        tp, several = self.setup.deployment.tp, len(self.stages) > 1
        parts: list[Term] = []
        for stage in self.stages:
            ranks = tp * stage.times
            for leaf in leaves(self.held(stage, load)):
                named = leaf._replace(path=f"{leaf.path}, stage {stage.number}") if several else leaf
                parts.append(named.times(Factor("ranks", ranks, "rank")) if ranks > 1 else named)
        return Sum("cache", tuple(parts))

    def budget(self, stage: Stage, weights_bytes: int) -> Budget:  # noqa: ARG002  # for engines
        """What memory a rank of a stage has beside weights of so many bytes, 0 where they are not known.

        Whatever it holds: what grows with that is said by `held` and `temporary`.

        More replicas that share experts leave no more of it for the cache.
        """
        return Budget()

    def temporary(self, stage: Stage, load: Load) -> Temporary | None:  # noqa: ARG002  # for engines
        """Temporary memory of a rank with such a load, where it grows with that; None: as `budget` has it.

        None of its figures falls as sequences or tokens are added.
        """
        return None

    def pool(self, memory: Sequence[int], load: Load) -> Pool | None:  # noqa: ARG002  # for engines
        """The blocks that the engine prints, of so much memory for the cache on a rank of each of `stages`.

        Below zero is what a rank lacks for all but its cache.
        """
        return None

    def parked(self, tokens: int) -> Parked | None:  # noqa: ARG002  # for engines
        """One sequence of so many tokens beside the accelerators of a replica; None where it is not known how."""
        return None

    @property
    def reserves_ahead(self) -> bool:
        """Whether a request has the memory of its last token from its first on."""
        return False

    @property
    def most_at_once(self) -> int | None:
        """Sequences that a replica runs at the same time, whatever its cache holds; None: as many as it holds."""
        return None

    @property
    def most_held(self) -> int | None:
        """Sequences that a replica can be asked to hold, whatever its memory; None: as many as that holds."""
        return None

    def lower_bound(self, load: Load) -> bool:  # noqa: ARG002  # for engines
        """Whether serving engines are known to reserve more than this counts."""
        return False

    def notes(self, load: Load) -> Iterator[Note]:  # noqa: ARG002  # for engines
        """What to know of how the engine lays out this model."""
        yield from ()

    def _content_rows(self, stage: Stage) -> tuple[TensorRows, ...]:
        known = self._rows.get(stage.number)
        if known is None:
            setup, own = self.setup, self.cache_format
            counter = setup.counter if own == setup.cache_format else ContentCounter(own)
            known = self._rows[stage.number] = counter.rows(stage.kinds, setup.deployment.tp)
        return known


@noun
class Engine(Noun, ABC):
    """A serving engine of one version with its options: a frozen value, so that scenarios can be compared and pickled.

    Attributes:
        name: as `--engine` takes it.
        versions: those whose rules are known, the newest last; none of a plain formula.
        about: what it counts, in a sentence or two.
        formula: how, in symbols that `about` or the engine's documentation explains.
        source: where that is documented.
        options: each by the engine's own name for it.
        given_elsewhere: its options that kvcalc has as options of its own, and which.
        rules: what it does beside the formula, for people.
        block_option: the one that `--block-size` is short for; None where it has no blocks.
        utilization: the share of an accelerator's memory that it uses where nobody says, unless
            `default_utilization` says otherwise; None where it takes no such share, and `--utilization` is refused.
        tensor_names: what the engine calls tensors, each with those that this means of a model (`--cache-dtype k=F`).
        one_length: why sequences that are held together are all as long as the longest; empty where they are not.
        unlike_cards: whether one deployment may be over cards that are not alike.
        places_weights: whether it keeps some of the weights in host memory.
        drafts: whether it is known what it keeps of a model that drafts tokens.
        drafting_option: the option that says how many tokens are drafted a step; None where it has none.
        whole_batch: why requests do not come and go, each with a cache that grows, in words; None where they do.
        plain: whether it is nothing but formulas: it rounds nothing, serves every legal deployment, has no budget of
            its own, and the accelerator plays no part. Searches are shorter then.
        version: the one whose rules are followed; None of a plain formula.
        given: values of the options that were given.
        asked_version: the version that was asked for, where its rules are those of the older `version`.
    """

    name: ClassVar[str]
    versions: ClassVar[tuple[str, ...]] = ()
    about: ClassVar[str]
    formula: ClassVar[str]
    source: ClassVar[str]
    options: ClassVar[Mapping[str, Option]] = MappingProxyType({})
    given_elsewhere: ClassVar[Mapping[str, str]] = MappingProxyType({})
    rules: ClassVar[tuple[Rule, ...]] = ()
    block_option: ClassVar[str | None] = None
    utilization: ClassVar[Fraction | None] = DEFAULT_UTILIZATION
    tensor_names: ClassVar[Mapping[str, tuple[str, ...]]] = MappingProxyType({})
    one_length: ClassVar[str] = ""
    places_weights: ClassVar[bool] = False
    unlike_cards: ClassVar[bool] = False
    drafts: ClassVar[bool] = False
    drafting_option: ClassVar[str | None] = None
    whole_batch: ClassVar[str | None] = None
    plain: ClassVar[bool] = False

    version: str | None = None
    given: tuple[tuple[str, Any], ...] = ()
    asked_version: str | None = None

    def as_loaded(self, model: Model) -> Model:
        """A model as the engine loads it where nobody says in which format it computes: as its file has it."""
        return model

    def places_parts_of(self, mechanism: Mechanism) -> bool:  # noqa: ARG002  # for engines
        """Whether it is known how it lays out this mechanism's rows for several tokens, rings, or keys beside heads."""
        return False

    def check_parts(self, model: Model) -> None:
        """Refuses layers with parts that it is not known to place (`Mechanism.has_parts`).

        Raises:
            KvcalcError: the model has such layers.
        """
        for layer in model.layout.kinds:
            if layer.attention.has_parts and not self.places_parts_of(layer.attention):
                raise KvcalcError(
                    f"--engine: kvcalc does not follow how {self.name} lays out layers of kind "
                    f"'{layer.attention.kind}' ({layer.attention.label}); --engine exact counts what they keep"
                )

    @abstractmethod
    def settle(self, setup: Setup) -> Settled:
        """Lays the whole model out, once.

        Raises:
            KvcalcError: the engine does not serve this model, or not in this way.
        """

    def divides_towers(self, model: Model, deployment: Deployment) -> bool:  # noqa: ARG002  # for engines
        """Whether tensor-parallel ranks of the first stage share what a model's file has whole on every rank.

        Those are towers for images or sound, `split: all` of its list of weights.
        """
        return False

    def adapters(self, asked: Lora, model: Model) -> Lora:  # noqa: ARG002  # for engines
        """The adapters that it has memory for where so many are asked for.

        Raises:
            KvcalcError: it is not known which.
        """
        return asked._replace(slots=asked.slots or 1)

    def mtp_layers_loaded(self, model: Model) -> int | None:  # noqa: ARG002  # for engines
        """How many of a model's layers that predict further tokens it loads; None: all."""
        return None

    def for_draft(self) -> Engine:
        """The engine as it lays a draft out: without options that are of the model alone."""
        return self

    def draft_tp(self, asked: int | None, tp: int) -> int:
        """Tensor-parallel ranks, of a model's `tp`, that share a model of its own that drafts.

        Raises:
            KvcalcError: so many cannot.
        """
        if asked not in {None, tp}:
            raise KvcalcError(
                f"--draft-tp: {asked}: {self.name} shares a draft out over the ranks of the model, which has tp {tp}"
            )
        return tp

    def not_modelled(self) -> Iterator[Note]:
        """What the engine does with the cache that is left out."""
        yield from ()

    def option(self, name: str) -> Any:
        """The value of an option: as given, else the engine's default; None where that depends on more."""
        option = self.options[name]
        given = dict(self.given)
        if name in given:
            return given[name]
        return None if option.default is None else option.read(option.default, name)

    @property
    def label(self) -> str:
        """Its name and the version that was asked for, else the one that is followed."""
        version = self.asked_version or self.version
        return self.name if version is None else f"{self.name} {version}"

    def default_utilization(self, gpu: Gpu) -> Fraction | None:  # noqa: ARG002  # for engines
        """The share of this accelerator's memory that this version uses where nobody says."""
        return self.utilization
