"""What an engine is: a value of one version with its options, which settles a whole model once.

Real ones form groups over all layers and give every rank as many blocks as the smallest has, so a model is settled
whole (`settle`, see kvcalc/engines/settled.py).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from fractions import Fraction
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from kvcalc.errors import KvcalcError
from kvcalc.noun import Noun, noun

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping

    from kvcalc.deployment import Deployment
    from kvcalc.engines.lora import Lora
    from kvcalc.engines.option import Option, Rule
    from kvcalc.engines.settled import Settled
    from kvcalc.engines.setup import Setup
    from kvcalc.gpu import Gpu
    from kvcalc.mechanisms import Mechanism
    from kvcalc.model.model import Model
    from kvcalc.model.towers import TowersIn
    from kvcalc.note import Note


DEFAULT_UTILIZATION = Fraction(92, 100)
"""vLLM's default since 0.22 (vllm/config/cache.py, gpu_memory_utilization)."""

SIZES = ("tp", "pp", "dcp", "ep", "dp_attention")
"""What a deployment spreads a replica by, and whether replicas share experts; beside dp."""


@noun
class Engine(Noun, ABC):
    """A serving engine of one version with its options: a frozen value, so that scenarios can be compared and pickled.

    Attributes:
        name: as `--engine` takes it.
        versions: those whose rules are known, the newest last; none of a plain formula.
        usual_version: the one that is followed where nobody says; None: the newest.
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
        spreads_by: the sizes of a deployment, beside dp, that may be above one in it, whatever the model: a search
            tries no others. Of them `dp_attention` says whether replicas may share the experts.
        places_weights: whether it keeps some of the weights in host memory.
        drafts: whether it is known what it keeps of a model that drafts tokens.
        size_has_drafts: whether a given size of weights has the model's own layers that draft in it, as a file's has.
        drafting_option: the option that says how many tokens are drafted a step; None where it has none.
        adapters_left_out: what adapters take in it beside their weights, which is not counted; None: nothing.
        whole_batch: why requests do not come and go, each with a cache that grows, in words; None where they do.
        plain: whether it is nothing but formulas: it rounds nothing, serves every legal deployment, has no budget of
            its own, and the accelerator plays no part. Searches are shorter then.
        version: the one whose rules are followed; None of a plain formula.
        given: values of the options that were given.
        asked_version: the version that was asked for, where its rules are those of the older `version`.
        ran: whether a server with this model is known to have run: then it had a class for it, whatever the tables say.
    """

    name: ClassVar[str]
    versions: ClassVar[tuple[str, ...]] = ()
    usual_version: ClassVar[str | None] = None
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
    spreads_by: ClassVar[frozenset[str]] = frozenset(SIZES)
    places_weights: ClassVar[bool] = False
    unlike_cards: ClassVar[bool] = False
    drafts: ClassVar[bool] = False
    size_has_drafts: ClassVar[bool] = False
    drafting_option: ClassVar[str | None] = None
    adapters_left_out: ClassVar[str | None] = None
    whole_batch: ClassVar[str | None] = None
    plain: ClassVar[bool] = False

    version: str | None = None
    given: tuple[tuple[str, Any], ...] = ()
    asked_version: str | None = None
    ran: bool = False

    def as_loaded(self, model: Model) -> Model:
        """A model as the engine loads it where nobody says in which format it computes: as its file has it."""
        return model

    def parts_loaded(self, model: Model) -> Model:
        """A model less what the engine was told to leave out of it."""
        return model

    def copies_towers_on_first_stage(self, model: Model) -> bool:  # noqa: ARG002  # for engines
        """Whether the ranks of the first pipeline stage have towers whole, and others none."""
        return False

    def loads_unused(self, model: Model) -> bool:  # noqa: ARG002  # for engines
        """Whether it loads projections that a checkpoint has and nothing reads, as of layers that share a cache."""
        return True

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

    def size_refused(self, deployment: Deployment) -> str | None:
        """The first size of a deployment that the engine never spreads a model by, as the option is named."""
        for name in SIZES:
            asked = getattr(deployment, name)
            if name not in self.spreads_by and (asked is True or asked > 1):
                return f"--{name.replace('_', '-')}"
        return None

    @abstractmethod
    def settle(self, setup: Setup) -> Settled:
        """Lays the whole model out, once.

        Raises:
            KvcalcError: the engine does not serve this model, or not in this way.
        """

    def made_of_longest(self, setup: Setup) -> Hashable:
        """What is made of the longest request: models for which it is the same are laid out alike.

        And nothing on their ranks but the cache grows with what they hold, so that these may stand for each other.

        Raises:
            KvcalcError: the engine does not serve this model with such a request.
        """
        return setup.max_model_len

    def most_usable(self, setup: Setup) -> int | None:  # noqa: ARG002  # for engines
        """What no rank of a deployment uses more of, where that is known before the model is laid out; None: all.

        More replicas that share experts use no more. 0 of a deployment that is not served, where that is known.
        """
        return None

    def divides_towers(self, model: Model, deployment: Deployment) -> bool:  # noqa: ARG002  # for engines
        """Whether tensor-parallel ranks of the first stage share what a model's file has whole on every rank.

        Those are towers for images or sound, `split: all` of its list of weights.
        """
        return False

    def towers_in(self) -> TowersIn:
        """Where the towers for images or sound are that it loads."""
        return "the file"

    def adapters(self, asked: Lora, model: Model) -> Lora:  # noqa: ARG002  # for engines
        """The adapters that it has memory for where so many are asked for.

        Raises:
            KvcalcError: it is not known which.
        """
        return asked._replace(slots=asked.slots or 1)

    def mtp_layers_loaded(self, model: Model) -> int | None:  # noqa: ARG002  # for engines
        """How many of a model's layers that predict further tokens it loads; None: all."""
        return None

    def own_draft(self, model: Model) -> Model | None:
        """What drafts where its option asks for tokens and nobody says what drafts them; None where nothing is loaded.

        Raises:
            KvcalcError: what the model's own layers keep is not known.
        """
        from kvcalc.model.mtp import mtp_model  # only where something drafts

        return mtp_model(model, self.mtp_layers_loaded(model)) if model.mtp_layers else None

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
        return self._values[name]

    @cached_property
    def _values(self) -> Mapping[str, Any]:
        """Of all options: read once, since every deployment that is looked at asks for them."""
        defaults = {
            name: None if option.default is None else option.read(option.default, name)
            for name, option in self.options.items()
        }
        return defaults | dict(self.given)

    @property
    def label(self) -> str:
        """Its name and the version that was asked for, else the one that is followed."""
        version = self.asked_version or self.version
        return self.name if version is None else f"{self.name} {version}"

    def default_utilization(self, gpu: Gpu) -> Fraction | None:  # noqa: ARG002  # for engines
        """The share of this accelerator's memory that this version uses where nobody says."""
        return self.utilization
