"""The engine `llama-cpp`."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from kvcalc.engines.base import Engine
from kvcalc.engines.llama_cpp.builds import BUILDS, MOST_SLOTS
from kvcalc.engines.llama_cpp.compressed import check_compressed
from kvcalc.engines.llama_cpp.formats import ggml_format
from kvcalc.engines.llama_cpp.indexed import check_indexed
from kvcalc.engines.llama_cpp.options import GIVEN_ELSEWHERE, OPTIONS, settings_of
from kvcalc.engines.llama_cpp.pooled import check_pooled, laid_out, pools_keys
from kvcalc.engines.llama_cpp.rules import RULES
from kvcalc.engines.llama_cpp.settled import MARGIN, SettledLlama
from kvcalc.engines.llama_cpp.windows import drops_windows, with_fixed_windows, without_windows
from kvcalc.engines.option import Option, Rule
from kvcalc.engines.setup import Setup
from kvcalc.errors import KvcalcError
from kvcalc.formats.by_name import find_format
from kvcalc.mechanisms import Compressed, Cross, ShortConv
from kvcalc.note import Note, note, register
from kvcalc.noun import noun

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from fractions import Fraction

    from kvcalc.gpu import Gpu
    from kvcalc.mechanisms import Mechanism
    from kvcalc.model.towers import TowersIn


WITHOUT_BACK_END = ("AWS", "Google")
GAUDI = "Gaudi"
"""What none of llama.cpp's back ends (folders of ggml/src) runs on: Trainium, Inferentia, TPUs, Gaudi."""
OF_MODEL_ALONE = frozenset({"n-gpu-layers", "n-cpu-moe", "tensor-split", "draft-n"})
"""Options for which a draft has others (common/arg.cpp, --gpu-layers-draft and their like)."""

register({"host-cache": "what llama-server keeps of prompts in host memory"})


@noun
class LlamaCpp(Engine):
    """llama.cpp: llama-server, and what is built on it."""

    name: ClassVar[str] = "llama-cpp"
    versions: ClassVar[tuple[str, ...]] = tuple(BUILDS)
    about: ClassVar[str] = (
        "The batch is the number of slots (-np), the context the tokens of each: n_ctx is their product. All cells are "
        "reserved at the start, each slot's padded to 256. Layers with windows or chunks have the cells of a window "
        "and of a micro-batch. States are kept for each slot in f32, the inputs of convolutions too. K and V are f16 "
        "unless --cache-dtype says otherwise; MLA's latent and an indexer's keys are of K's type. Compute buffers are "
        "as on an NVIDIA card."
    )
    formula: ClassVar[str] = (
        "layers x slots x cells x bytes of a row; cells = context padded to 256, of a window at most window + "
        "ubatch-size padded to 256"
    )
    source: ClassVar[str] = (
        "llama.cpp b11549, src/llama-kv-cache.cpp, src/llama-kv-cache-iswa.cpp and src/llama-memory-recurrent.cpp"
    )
    rules: ClassVar[tuple[Rule, ...]] = RULES
    options: ClassVar[Mapping[str, Option]] = OPTIONS
    given_elsewhere: ClassVar[Mapping[str, str]] = GIVEN_ELSEWHERE
    places_weights: ClassVar[bool] = True
    unlike_cards: ClassVar[bool] = True
    spreads_by: ClassVar[frozenset[str]] = frozenset({"pp"})
    drafts: ClassVar[bool] = True
    size_has_drafts: ClassVar[bool] = True
    drafting_option: ClassVar[str | None] = "draft-n"
    whole_batch: ClassVar[str | None] = "reserves the whole context of every slot at the start"
    utilization: ClassVar[Fraction | None] = None
    tensor_names: ClassVar[Mapping[str, tuple[str, ...]]] = MappingProxyType(
        {"k": ("k", "c_kv", "k_rope", "index_k", "kv", "compressed_kv"), "v": ("v",)}
    )

    def places_parts_of(self, mechanism: Mechanism) -> bool:
        return isinstance(mechanism, Compressed | ShortConv) or getattr(mechanism, "index_kpool", None) is not None

    def towers_in(self) -> TowersIn:
        """Apart (tools/mtmd), but for Ollama's own engine, whose files have them beside the text model's tensors."""
        return "the file, in its dtype" if self.option("ollama-new-engine") else "a file of their own"

    def draft_tp(self, asked: int | None, tp: int) -> int:
        if asked not in {None, 1}:
            raise KvcalcError(f"--draft-tp: {asked}: llama.cpp puts whole layers on a card, also of a draft")
        return tp

    def for_draft(self) -> LlamaCpp:
        """A draft has options of its own (-ngld, -ctkd): by default all of it lies on the card."""
        return replace(self, given=tuple((name, value) for name, value in self.given if name not in OF_MODEL_ALONE))

    def settle(self, setup: Setup) -> SettledLlama:
        if setup.draft is None or setup.draft.own_layers:
            return self._settle(setup)
        if setup.deployment.pp > 1:
            raise KvcalcError(
                "--draft: kvcalc does not follow over which of several cards llama.cpp shares a draft out; leave --pp "
                "out"
            )
        f16 = setup.draft.cache_format._replace(name="fp16", default=find_format("fp16", "cache"), tensors=())
        return self._settle(setup, self.for_draft().settle(setup.draft._replace(cache_format=f16)))

    def most_usable(self, setup: Setup) -> int | None:
        """All but what fitting leaves free."""
        memory = setup.gpu.memory_bytes
        return None if memory is None else memory - MARGIN

    def _settle(self, setup: Setup, draft: SettledLlama | None = None) -> SettledLlama:
        deployment, settings = setup.deployment, settings_of(self)
        _check_card(setup.gpu)
        option = self.size_refused(deployment)
        if option not in {None, "--dp-attention"}:
            raise KvcalcError(f"{option}: llama.cpp puts whole layers on a card (--split-mode layer); give --pp")
        together = setup.gpu.number_together
        if together is not None and deployment.ranks != together:
            raise KvcalcError(f"--gpu {setup.gpu.name}: {together} cards are as many stages; leave --pp out")
        if settings.tensor_split is not None and len(settings.tensor_split) != deployment.pp:
            cards = f"{deployment.pp} cards" if deployment.pp > 1 else "one card (--pp N, or --gpu NAME+NAME)"
            raise KvcalcError(f"--engine-option tensor-split: {len(settings.tensor_split)} shares for {cards}")
        if option is not None:
            raise KvcalcError(f"{option}: llama.cpp has none")
        if any(isinstance(layer.attention, Cross) for layer in setup.model.layout.kinds):
            raise KvcalcError("--engine llama-cpp: what it keeps of an encoder's tokens is not known to kvcalc")
        check_compressed(setup, settings, self.version or self.versions[-1])
        check_pooled(setup, self.version or self.versions[-1])
        check_indexed(setup, self.asked_version or self.version or self.versions[-1])
        pooled = pools_keys(setup.model)
        if pooled:
            setup = laid_out(setup)
        setup = setup._replace(model=with_fixed_windows(setup.model))
        dropped = drops_windows(setup.model)
        if dropped:
            setup = setup._replace(model=without_windows(setup.model))
        rules = BUILDS[self.version or self.versions[-1]]
        if self.asked_version is not None:  # a build after it may take more slots already
            rules = rules._replace(most_slots=MOST_SLOTS)
        return SettledLlama(
            setup,
            settings,
            ggml_format(setup, settings, rules),
            rules,
            drops_windows=dropped,
            pools_keys=pooled,
            draft=draft,
        )

    def not_modelled(self) -> Iterator[Note]:
        yield note("host-cache", "prompts that llama-server keeps in host memory (--cache-ram), and checkpoints")


def _check_card(gpu: Gpu) -> None:
    if gpu.vendor in WITHOUT_BACK_END or (gpu.architecture or "").startswith(GAUDI):
        raise KvcalcError(f"--gpu: {gpu.name}: llama.cpp has no back end for it; --engine exact counts it")
