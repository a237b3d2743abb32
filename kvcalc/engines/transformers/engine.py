"""The engine `transformers`."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from kvcalc.engines.base import Engine
from kvcalc.engines.option import Option, Rule
from kvcalc.engines.setup import Setup
from kvcalc.engines.transformers.formats import kept_format
from kvcalc.engines.transformers.kept import as_kept
from kvcalc.engines.transformers.layout import TransformersLayout
from kvcalc.engines.transformers.options import GIVEN_ELSEWHERE, OPTIONS, settings_of
from kvcalc.engines.transformers.rules import CACHE_UTILS, PLACES, RULES, VERSIONS, parse_version
from kvcalc.errors import KvcalcError
from kvcalc.mechanisms import GQA, MLA, ShortConv
from kvcalc.note import Note, note, register
from kvcalc.noun import noun

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from fractions import Fraction

    from kvcalc.mechanisms import Mechanism

register({"torch-allocator": "blocks that torch's allocator keeps while tensors of other sizes are asked for"})


@noun
class Transformers(Engine):
    """transformers: `generate` of a model's own class."""

    name: ClassVar[str] = "transformers"
    versions: ClassVar[tuple[str, ...]] = VERSIONS
    about: ClassVar[str] = (
        "The batch is the sequences of one generate, beams too; each keeps its own tensors. A dynamic cache holds the "
        "tokens so far, of a window one less than its length; a static one is allocated for the whole context. All is "
        "in the format of computing, states of recurrences in fp32, and a convolution keeps conv_kernel inputs. MLA "
        "keeps its latent since 5.15, expanded heads before."
    )
    formula: ClassVar[str] = (
        "layers x sequences x tokens kept x bytes of a row; tokens kept = context, of a window min(context, window - 1)"
    )
    source: ClassVar[str] = f"{CACHE_UTILS}; what each model's class gives it"
    options: ClassVar[Mapping[str, Option]] = OPTIONS
    given_elsewhere: ClassVar[Mapping[str, str]] = GIVEN_ELSEWHERE
    rules: ClassVar[tuple[Rule, ...]] = RULES
    utilization: ClassVar[Fraction | None] = None
    spreads_by: ClassVar[frozenset[str]] = frozenset({"pp"})
    whole_batch: ClassVar[str | None] = "keeps one batch, whose sequences begin and end together"
    one_length: ClassVar[str] = (
        "transformers pads a batch to its longest prompt, and generates for all of it until the last request ends"
    )

    def places_parts_of(self, mechanism: Mechanism) -> bool:
        pools = isinstance(mechanism, MLA | GQA) and mechanism.index_kpool is not None
        return pools or isinstance(mechanism, ShortConv)

    def settle(self, setup: Setup) -> TransformersLayout:
        deployment, settings = setup.deployment, settings_of(self)
        if (option := self.size_refused(deployment)) is not None:
            raise KvcalcError(
                f"{option}: kvcalc counts transformers with whole layers on each GPU (device_map), not its tp_plan; "
                "give --pp"
            )
        version = parse_version(self.version or VERSIONS[-1])
        kept = as_kept(setup.model, version, static=settings.static)
        kept_in = kept_format(setup, version, static=settings.static)
        return TransformersLayout(setup._replace(model=kept), settings, kept_in, places=version >= PLACES)

    def not_modelled(self) -> Iterator[Note]:
        yield note(
            "torch-allocator",
            "what torch's allocator keeps beside live tensors: a growing cache asks for another size at every step",
        )
