"""A model as transformers lays it out: tensors of a whole batch, layer by layer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kvcalc.engines.budget import Budget
from kvcalc.engines.content import contents
from kvcalc.engines.load import Load
from kvcalc.engines.rank_load import RankLoad
from kvcalc.engines.settled import Settled
from kvcalc.engines.transformers.kept import averages
from kvcalc.engines.transformers.rules import CACHE_UTILS
from kvcalc.engines.transformers.temporary import prompt_and_step
from kvcalc.gpu import CUDA_CONTEXT_BYTES
from kvcalc.mechanisms import Role, ShortConv
from kvcalc.model.layers import Layer
from kvcalc.note import Note, note, register
from kvcalc.term import Factor, Product, Sum

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.engines.budget import Temporary
    from kvcalc.engines.cache_format import CacheFormat
    from kvcalc.engines.content_counter import Rate
    from kvcalc.engines.setup import Setup
    from kvcalc.engines.transformers.options import Settings
    from kvcalc.mechanisms import Mechanism
    from kvcalc.model.stages import Stage

register(
    {
        "prefix-in-every-sequence": "transformers keeps a prefix that sequences share once for each of them",
        "device-map": "transformers shares layers out over GPUs by a device_map",
        "prompt-of-states": "what kernels of recurrences hold while they read a prompt is not counted",
    }
)

_FP8 = f"{CACHE_UTILS}, Fp8QuantizedLayer"
_CONV = f"{CACHE_UTILS}, LinearAttentionLayer.update_conv_state"
_QSA = "transformers, models/qwen4_exp/modeling_qwen4_exp.py, Qwen4ExpTextModel.forward: indexer_position_ids"
_NGRAMS = "transformers, models/qwen4_exp/modeling_qwen4_exp.py, Qwen4ExpTextNGramEmbedding.forward: state_idx=2"
_PLACE = (Factor("axes", 3), Factor("int64", 8, "byte"))
_PER_TOKEN = ("bytes_per_token", "bytes_per_token_at_context")
_CONTEXT = "a process on an NVIDIA GPU: 426 to 614 MiB as total minus free in start-up logs of vLLM"


class TransformersLayout(Settled):
    """The plain formulas of what the cache classes hold, and an input of each convolution more.

    Args:
        setup: of the model as it is kept, not as it is published.
        kept_in: the formats of its tensors.
        places: whether the places of tokens are kept beside keys that are averaged.
    """

    def __init__(self, setup: Setup, settings: Settings, kept_in: CacheFormat, *, places: bool) -> None:
        super().__init__(setup)
        self._places = places
        self.settings, self._format = settings, kept_in

    @property
    def reserves_ahead(self) -> bool:
        return self.settings.static

    @property
    def cache_format(self) -> CacheFormat:
        return self._format

    def rank_load(self, stage: Stage, load: Load, *, read: bool = False) -> RankLoad:
        return super().rank_load(stage, load._replace(shared_prefix=0), read=read)

    def excess(self, stage: Stage, load: Load) -> Iterator[Product]:
        for layer, count in stage.kinds.items():
            yield from self._convolutions(layer, count, load.sequences)
            yield from _words_of_ngrams(layer, count, load.sequences)
            if self._format.default.name == "fp8" and layer.attention.elements_per_token and load.sequences:
                factors = (Factor("k_and_v", 2, "scale"), Factor("layers", count, "layer"), Factor("scale", 4, "byte"))
                yield Product(f"{layer.label}: scales of keys and of values", factors, _FP8)
        if load.tokens and self._keeps_places(stage):
            yield Product(
                "places of tokens, for an indexer's keys", (Factor("tokens", load.tokens, "token"), *_PLACE), _QSA
            )

    def _convolutions(self, layer: Layer, count: int, sequences: int) -> Iterator[Product]:
        """The input beyond those that the next token reads."""
        attention = _one_input(layer.attention)
        if attention is None or not sequences:
            return
        for content in contents(RankLoad({Layer(attention, None, None): count}, 1, sequences, 0, self._format)):
            if content.tensors[0].role is Role.CONV:
                names = [tensor.name for tensor in content.tensors]
                alike = (Factor("_and_".join(names), len(names)),) if len(names) > 1 else ()
                further = Factor("further_inputs", 1, "input")
                held = (Factor("layers", count, "layer"), Factor("sequences", sequences, "sequence"), further)
                path = f"{layer.label}: {'+'.join(names)}, the input that leaves the kernel next"
                yield Product(path, (*alike, *held, *content.row), _CONV)

    def _keeps_places(self, stage: Stage) -> bool:
        """Whether the first layer with a key averaged over several tokens is here: it has the places of all tokens."""
        for number, caches in enumerate(self.setup.model.layout.layers if self._places else ()):
            if any(averages(each.attention) for each in caches):
                return number in stage.layers
        return False

    def rate(self, stage: Stage, load: Load) -> Rate:
        plain = super().rate(stage, load)
        each = sum(
            row.bytes
            for layer, count in stage.kinds.items()
            for row in (*self._convolutions(layer, count, sequences=1), *_words_of_ngrams(layer, count, sequences=1))
        )
        if self._keeps_places(stage):
            place = Product("place", _PLACE).bytes
            each_token = {name: getattr(plain, name) + place for name in _PER_TOKEN}
            of_context = plain.bytes_per_sequence + place * load.context
            plain = plain._replace(**each_token, bytes_per_sequence=of_context)
        return plain._replace(
            state_bytes_per_sequence=plain.state_bytes_per_sequence + each,
            bytes_per_sequence=plain.bytes_per_sequence + each,
        )

    def budget(self, stage: Stage, weights_bytes: int) -> Budget:  # noqa: ARG002  # the interface's
        """All of the memory: nothing is set aside at the start."""
        gpu = self.setup.gpu
        context = Product("cuda context", (Factor("seen_in_practice", CUDA_CONTEXT_BYTES, "byte"),), _CONTEXT)
        return Budget(gpu.memory_bytes, overhead=Sum("overhead", (context,) if gpu.vendor == "NVIDIA" else ()))

    def temporary(self, stage: Stage, load: Load) -> Temporary | None:
        return prompt_and_step(self, self.settings, stage, load)

    def notes(self, load: Load) -> Iterator[Note]:
        if load.shared_prefix:
            yield note(
                "prefix-in-every-sequence",
                f"sequences share no tensors: the {load.shared_prefix:,} tokens of the prefix are kept by each",
                shared_prefix=load.shared_prefix,
            )
        if self.setup.deployment.pp > 1:
            yield note(
                "device-map",
                "layers are shared out evenly over the GPUs, as by a device_map written out; device_map='auto' fills "
                "the first ones more",
            )
        if any(tensor.role is Role.STATE for tensor in self.setup.model.cached_tensors):
            yield note(
                "prompt-of-states", "what the kernels of recurrences hold while they read a prompt is not counted"
            )


def _of_ngrams(attention: Mechanism) -> bool:
    return isinstance(attention, ShortConv) and attention.whole


def _words_of_ngrams(layer: Layer, count: int, sequences: int) -> Iterator[Product]:
    """The last tokens themselves, of which the next n-grams are made: a convolution skips as many as n-grams have."""
    if (
        sequences
        and isinstance(layer.attention, ShortConv)
        and _of_ngrams(layer.attention)
        and layer.attention.dilation > 1
    ):
        factors = (
            Factor("layers", count, "layer"),
            Factor("sequences", sequences, "sequence"),
            Factor("tokens", layer.attention.dilation - 1, "token"),
            Factor("int64", 8, "byte"),
        )
        yield Product(f"{layer.label}: tokens that the next n-grams begin with", factors, _NGRAMS)


def _one_input(attention: Mechanism) -> Mechanism | None:
    """The same layer with a kernel that keeps one input; None where it has no convolution."""
    if not hasattr(attention, "conv_kernel") or _of_ngrams(attention):
        return None
    of_its_kind: Any = attention
    kept: Mechanism = replace(of_its_kind, conv_kernel=2)
    return kept
