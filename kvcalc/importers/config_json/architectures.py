"""What a class has on top of a decoder's layers, by its name in `architectures`: an output head, a classifier, nothing.

A reward model, an embedding model and a draft have the model_type of the family whose layers they share, but not its
output head. A class whose tensors its name does not show is not counted.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from kvcalc.errors import MAX_NAME, one_line
from kvcalc.importers.config_json.families import FAMILIES
from kvcalc.importers.config_json.heads import HIDDEN
from kvcalc.importers.config_json.model_fields import MAX_VOCABULARY, VOCABULARY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kvcalc.importers.config import Config
    from kvcalc.importers.weight_parts import Head


class OutputHead(NamedTuple):
    """A row for each word of the vocabulary, which may be the embedding again."""


class Classifier(NamedTuple):
    """A row for each label; none where a class has the layers alone.

    Attributes:
        labels: how many.
        bias: whether each has one.
        inner: matrices of hidden_size x hidden_size before it, with their biases.
    """

    labels: int
    bias: bool = False
    inner: int = 0


class Eagle3(NamedTuple):
    """A draft of a layer, or several, which reads hidden states of its target and the target's embedding.

    Attributes:
        words: of its own output head.
        target_hidden: width of the hidden states.
        hidden_states: that it reads.
        norms: of them before they are joined: of each (fc_norm), and of all together (norm_before_fc).
        parallel: whether it has a vector for the hidden states that are not there yet (mask_hidden).
        qk_norm: whether queries and keys have norms of a head's width.
    """

    words: int
    target_hidden: int
    hidden_states: int
    norms: int
    parallel: bool = False
    qk_norm: bool = False


class DFlash(NamedTuple):
    """A draft of a family's layers, which reads hidden states of its target, and has the target's tables.

    Attributes:
        hidden_states: that it reads.
        target_hidden: width of each.
    """

    hidden_states: int
    target_hidden: int


class NotCounted(NamedTuple):
    """Something whose tensors are not known.

    Attributes:
        reason: the end of a sentence that begins with 'parameters are not counted: '.
    """

    reason: str


Above = OutputHead | Classifier | Eagle3 | DFlash | NotCounted


def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


_MOST_LABELS = 10**6
_HEAD_OF_WORDS = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
_NAMED: Mapping[str, Above] = {
    **dict.fromkeys(("ChatGLMModel", "AquilaModel", "GritLM"), OutputHead()),
    "InternLM2ForRewardModel": Classifier(1),
    "Qwen2ForRewardModel": Classifier(1, bias=True, inner=1),
    "Qwen2ForProcessRewardModel": Classifier(2, bias=True, inner=1),
}
"""Classes whose names do not show what they hold. Sources: vLLM, vllm/model_executor/models/registry.py, qwen2_rm.py
and internlm2.py; the repositories' own modeling_chatglm.py and modeling_qwen2_rm.py."""

_KINDS: Mapping[str, Callable[[Config, Mapping[str, Any]], Classifier]] = {
    "Model": lambda _, __: Classifier(0),
    "ForSequenceClassification": lambda config, outer: Classifier(_labels(config, outer)),
    "ForTokenClassification": lambda config, outer: Classifier(_labels(config, outer), bias=True),
    "ForQuestionAnswering": lambda _, __: Classifier(2, bias=True),  # where an answer begins, and where it ends
}
"""Endings of names, after a family's."""

_PARALLEL = {"PEagleDraftModel", "PeagleLlamaForCausalLM", "PeagleQwen3ForCausalLM"}
"""Drafts of EAGLE-3's layers that draft all tokens at once (P-EAGLE)."""
_OF_QWEN3 = {"Eagle3Qwen3ForCausalLM", "PeagleQwen3ForCausalLM"}
_EAGLE3 = {
    "LlamaForCausalLMEagle3",
    "Eagle3LlamaForCausalLM",
    "Eagle3MiniMaxM2ForCausalLM",
    "Eagle3Qwen2_5vlForCausalLM",
    "Eagle3Qwen3vlForCausalLM",
    *_PARALLEL,
    *_OF_QWEN3,
}
"""Names of two classes, of Llama's layers and of Qwen3's: vLLM, vllm/model_executor/models/registry.py."""

_DFLASH = {"DFlashDraftModel"}
"""vLLM, vllm/model_executor/models/registry.py and qwen3_dflash.py."""

_OTHER_EAGLE3 = ("mlp_bias", "use_qk_norm")
"""Keys with which such a draft has tensors that are not counted."""
_EAGLE_CONFIG = {
    "use_aux_hidden_state": True,
    "use_input_layernorm_in_first_layer": True,
    "use_last_layernorm": True,
    "use_mtp_layernorm": False,
}
"""Parts of eagle_config that say what every such draft has."""
_READ = "eagle_aux_hidden_state_layer_ids"
_HIDDEN_STATES = 3
"""Where nobody says: of an early, a middle and a late layer."""

_DRAFT = re.compile("(?i:assistant|eagle|draft|medusa|dspark|domino|nextn|specul)|(D[Ff]|df)la(sh|re)|MTP|mtp")
_CLASS = re.compile("(?P<family>.+?)(Bidirectional)?(?P<kind>For[A-Z][A-Za-z]+|Model)")
_FAMILIES = {_plain(model_type) for model_type in FAMILIES} | {"rw", "hunyuandensev1", "hunyuanmoev1"}
"""Names of classes, in lower case: the model_type's, and these."""


def above_layers(config: Config, outer: Mapping[str, Any]) -> Above:
    """What the file's class has there; an output head where no class is named.

    Args:
        config: of the text model.
        outer: the file.

    Raises:
        KvcalcError: a number that cannot be.
    """
    config.ignore("architectures")  # whatever class it names, the layers are the family's
    stated = outer.get("architectures") or config.values.get("architectures")
    stated = config.assumed.get("architectures", stated)
    names = [stated] if isinstance(stated, str) else stated or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return NotCounted("architectures is no list of names")
    found = {_of(name, config, outer) for name in names} or {OutputHead()}
    return found.pop() if len(found) == 1 else NotCounted("architectures names classes that differ")


def head_of(above: Above, *, tied: bool) -> Head:
    """Which output head a class loads of its files.

    Args:
        above: what the class has on top of the layers.
        tied: whether the file ties the output head to the embedding; a draft has one of its own all the same.
    """
    if isinstance(above, Classifier | DFlash):
        return "none"
    return "tied" if tied and not isinstance(above, Eagle3) else "own"


def _of(name: str, config: Config, outer: Mapping[str, Any]) -> Above:
    if name in _EAGLE3:
        return _eagle3(name, config, outer)
    if name in _DFLASH and (found := _dflash(config, outer)) is not None:
        return found
    if _DRAFT.search(name):
        return NotCounted(f"{one_line(name, MAX_NAME)} is a draft, whose tensors are others than a whole model's")
    if name in _NAMED or name.endswith(_HEAD_OF_WORDS):
        return _NAMED.get(name, OutputHead())
    match = _CLASS.fullmatch(name)
    kind = _KINDS.get(match["kind"]) if match and _plain(match["family"]) in _FAMILIES else None
    if kind is None:
        return NotCounted(f"what {one_line(name, MAX_NAME)} holds beside its layers is not known")
    return kind(config, outer)


def _eagle3(name: str, config: Config, outer: Mapping[str, Any]) -> Above:
    def said(key: str) -> Any:
        return config.values.get(key, outer.get(key))

    stated = said("eagle_config") or {}
    if not isinstance(stated, dict):
        return NotCounted("eagle_config is no object")
    rest = {key: value for key, value in stated.items() if _EAGLE_CONFIG.get(key, not value) != value}
    read, joined = rest.pop(_READ, None) or said(_READ), rest.pop("norm_before_fc", None) or said("norm_before_fc")
    otherwise = [*(key for key in _OTHER_EAGLE3 if said(key)), *(f"eagle_config.{key}" for key in rest)]
    if read is not None and not (isinstance(read, list) and read):
        otherwise.append(_READ)
    if otherwise:
        return NotCounted(f"{one_line(name, MAX_NAME)} with {otherwise[0]} has tensors that are not known")
    words = config.optional_count("draft_vocab_size", most=MAX_VOCABULARY)
    target = config.optional_count("target_hidden_size")
    number = config.optional_count("num_aux_hidden_states")
    return Eagle3(
        words=int((words or config.count(*VOCABULARY, most=MAX_VOCABULARY)).value),
        target_hidden=int((target or config.count(*HIDDEN)).value),
        hidden_states=int(number.value) if number is not None else len(read) if read else _HIDDEN_STATES,
        norms=bool(said("fc_norm")) + bool(joined),
        parallel=name in _PARALLEL,
        qk_norm=name in _OF_QWEN3,
    )


def _dflash(config: Config, outer: Mapping[str, Any]) -> DFlash | None:
    """None where the file does not tell which hidden states it reads."""
    stated = outer.get("dflash_config")
    read = stated.get("target_layer_ids") if isinstance(stated, dict) else None
    if not isinstance(read, list) or not read or config.get(*HIDDEN) is None:
        return None
    target = config.optional_count("target_hidden_size")
    return DFlash(len(read), int((target or config.count(*HIDDEN)).value))


def _labels(config: Config, outer: Mapping[str, Any]) -> int:
    """Entries of id2label, else num_labels, else two, as transformers' configurations have it."""
    named = config.get("id2label")
    labels = outer.get("id2label") if named is None else named.value
    if isinstance(labels, dict):
        return len(labels)
    number = config.optional_count("num_labels", most=_MOST_LABELS)
    return 2 if number is None else int(number.value)
