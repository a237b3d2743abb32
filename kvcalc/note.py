"""What a result says beside its figures: sentences for people, each with a code and its figures for scripts."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from kvcalc.noun import Noun, noun

if TYPE_CHECKING:
    from collections.abc import Mapping

Datum = bool | int | float | str | None | tuple["Datum", ...]

_CODES = {
    # the question: what was assumed or chosen while it was put together
    "computed-in-another-format": "the engine computes in another format than the model is published in",
    "default-context": "no context is given, so a default is used",
    "engine-of-file": "the engine follows from the format of the model's file",
    "older-engine-version": "the engine's version is counted by the rules of an older one",
    "draft-unchanged": "what drafts tokens keeps the same under every mechanism",
    "drafted-tokens": "the engine is not told how many tokens are drafted a step, so a number is used",
    "unused-option": "an option that is given has no effect here",
    "default-mla-dims": "dims of an MLA described on the command line that do not enter the cache have defaults",
    "best-of-gpus": "the best deployment of the GPUs that are given is used",
    "smallest-deployment": "no deployment is given, so the smallest that holds the workload or the weights is used",
    "mix-kinds-left-out": "a batch has too few requests for some kinds of a mix",
    "batch-from-tokens": "the batch is the tokens that are held divided by the context",
    "audio-tokens": "tokens that sound takes in the context of each request",
    "image-tokens": "tokens that images take in the context of each request",
    "batch-from-bound": "the batch is requests a second times the seconds that each takes by the bounds",
    "batch-from-rate": "the batch is requests a second times the seconds that each takes",
    "context-fitted": "the server serves the longest context that fits, which is less than the model's",
    "command-version": "the command line does not say its engine's version, so the newest is used",
    "ollama-default": "what Ollama takes where its user says nothing",
    "launcher-default": "what a program that has llama.cpp in it takes itself, and its line does not say",
    "flags-not-counted": "options of the command line that may change memory beside the cache, which is not counted",
    "flags-not-known": "options of the command line that kvcalc has no rule for",
    "launched-engine": "no engine is given, so that of the launch line is used",
    "launched-limit": "the batch is the server's limit of sequences in its launch line, and memory is counted with it",
    "launched-nodes": "the server is spread over several nodes, and what must run on them",
    "launched-without": "what is given and no option of the server says",
    "gpus-left-out": "accelerators without a known memory are left out",
    # the model's file
    "assumed": "a key of the model's file that the user decided",
    "unknown-keys": "keys of a config.json that kvcalc does not know, and takes as saying nothing of the cache",
    "hub-revision": "the revision of the repository that was read",
    "files-not-read": "the checkpoint's files tell nothing here, and why",
    "unused-window": "the file tells of a window that no layer has",
    "weights-left-out": "bytes of the checkpoint that a server does not load",
    "elements-differ": "the checkpoint's files hold another number of elements than config.json describes",
    "parameters-not-counted": "the parameters do not follow from config.json",
    "draft-counted-whole": "the file tells of a draft, and is counted as a whole model",
    "draft-embedding-not-counted": "a draft's embedding is its target's",
    "quantised-weights": "how the weights of a quantised checkpoint are counted from its settings",
    "quantised-checkpoint": "config.json does not say what each tensor of a quantised checkpoint takes",
    "cache-format-of-checkpoint": "the checkpoint asks for a format of the cache",
    "default-dtype": "the model's file does not say its dtype, so one is used",
    # the model at this context
    "context-above-max-context": "the context is above the model's limit",
    "windows-lower-bound": "layers with windows are counted without what engines keep beside them",
    "states-lower-bound": "layers with states are counted without what engines keep beside them",
    "encoder-context": "each sequence is assumed to have an encoder's tokens",
    "weights-left-in-dtype": "what a format that is asked for the weights leaves in the model's dtype",
    "weights-of-a-mix": "bits of a file type of several formats are those of one model",
    "mmproj-set-aside": "llama-server loads towers for images or sound, for which memory is set aside",
    "towers-apart": "llama.cpp has towers for images or sound in a file of their own, which is not counted",
    "weights-unknown": "the total and the number of GPUs need the weights",
    # the accelerator
    "gpu-memory-from-nvidia-smi": "the memory of an accelerator is nvidia-smi's figure",
    "gpu-memory-as-sold": "the memory of an accelerator is what it is sold with",
    "gpu-unified-memory": "the GPU may use a share of the processor's memory",
    "gpu-smallest-size": "an accelerator is sold with several sizes of memory, and the smallest is used",
    "gpu-slice": "one GPU is a slice of a card: a MIG instance, or a partition",
    "gpu-is-one-device": "one GPU is counted for each of the devices that software sees in an accelerator",
    "gpu-of-several-devices": "software sees several devices where one GPU is counted",
    "process-context-squeezed": "the utilization leaves less than a process's own context takes",
    # the requests of a trace
    "speed-is-a-bound": "no speed of decoding is given, so the bound of one request alone is used",
    "prefill-takes-no-time": "no time is counted for reading prompts",
    "trace-time-unit": "the unit that numbers of time in a trace are assumed to be in",
    "trace-sorted": "requests of a trace are not in the order of their arrival",
    "requests-without-output": "requests of a trace that generate nothing",
    "prefix-hits-not-counted": "the trace tells equal prefixes, and hits are not counted, and why",
    "prefix-hits-beside": "a prefix cache is counted beside what requests hold",
    "hash-ids-of-a-part": "hash_ids name fewer blocks than prompts have",
    # the deployment
    "cache-copied": "tensor-parallel ranks keep copies of some of the cache",
    "sequences-that-wait": "the engine runs fewer sequences at once than are held",
    "tight": "the workload is held only with less temporary memory than the most that was observed",
    "several-replicas": "no single replica holds the batch",
    "weights-on-host": "the engine keeps some of the weights in host memory",
    "weights-of-a-rank": "how the weights are assumed to be split over ranks",
    "blocks-split": "ranks cut rows of quantised weights within a block of elements that share a scale",
    "stage-with-most-memory": "another pipeline stage has more memory in all than the one with the most cache",
    "no-legal-deployment": "nothing legal holds the workload",
    "all-drafted-kept": "a bound takes all drafted tokens to be accepted, since nobody says how many are",
    "no-decode-bound": "there is no bound of decoding, and why",
    "no-pools": "no pools within the limits serve so many requests a second on an accelerator",
    "stages-not-tried": "pipeline stages are not tried, since tensor parallelism is enough",
    "sizes-not-served": "sizes asked for are not tried, since the engine does not spread a model so",
    # capacity
    "longest-context-above-max-context": "memory holds a longer context than the model's limit",
    "no-memory-for-cache": "all but the cache takes more than there is",
    "part-on-gpu": "how much of a model that does not fit an accelerator holds, and what is left to the host",
    "limiting-stage": "another pipeline stage than the one with the most cache limits",
    # start-up logs of servers
    "card-taken": "the log does not name its accelerator, or none that is known, so one is used",
    "model-as-logged": "the log's model is read from the keys of its file, as the log prints them",
    "build-not-known": "the log is of a build beyond those that are known, or of a fork: the nearest is used",
    "each-card": "what each of unlike cards holds of its own memory",
    "draft-of-log": "the log's server drafts tokens, which is not counted unless the draft is given",
    "log-cut": "the log is longer than what is read of it",
    "log-silent": "the log does not say settings that are given",
    "log-overridden": "the log has another value of a setting than the one that is given, which is used",
    "printed-twice": "the log prints two figures of one pool, perhaps of several starts",
    "models-left-out": "how many models a list leaves out, and why",
    "no-model-named": "no model of the catalogue has the word that a list was asked for; names that may be meant",
    "model-by-name": "the model is assumed to be one of the catalogue, by its name",
    "several-starts": "the log holds several starts, of which the last is compared",
    "version-not-logged": "the log does not say its engine's version, so the newest is used",
    "weights-as-printed": "the format of the log's weights is not known, so their bytes are used as printed",
    "weights-by-name": "the format of the weights is told by the model's name, or by the method that a log names",
    # comparisons; their notes have `rows` in their data where they are of some rows only
    "row-left-out": "there is no such row, and why",
    "no-other-mechanism": "no layer would keep something else under another mechanism",
    "what-if-dims": "dims that a mechanism needs and the model does not have",
    "mla-left-out": "the heads have no latent in DeepSeek's proportions",
    "same-weights": "every row has the weights of the model as it is",
    "states-unchanged": "states stay as they are under every mechanism",
    "ratio-to-mha-unknown": "what the model would keep with multi-head attention is not known, and why",
    "given-gpus": "how many GPUs the rows are compared on, where none are given",
    "utilizations-differ": "engines take different shares of the memory",
    "not-on-given-gpus": "a row has no deployment on the given GPUs, and why",
    "not-spilled": "what a row spills is not known, and why",
    "sequences-unbounded": "another sequence costs no memory",
    # verification
    "modules-compute-in-bf16": "torch does not compute in the model's dtype",
    "default-hidden-size": "the model's file has no hidden_size, so one is used",
    # measurements of speed
    "bench-in-fp32": "caches are measured in fp32, since the processor does not multiply bf16 itself",
    "bench-left-out": "a mechanism is not measured, and why",
    "bench-no-feed-forward": "whole layers are not measured, and why",
    "bench-window": "prefill is not measured of layers with a window or chunks",
    "bench-above-bound": "attention is faster than the bound of what was measured of the machine",
    # what a verification does not prove
    "engine-not-proven": "that a serving engine allocates the same",
    "format-not-proven": "that tensors can be kept in the format that was asked for",
    "least-cache-not-proven": "that no smaller cache would do",
    "model-file-not-proven": "that the model's file describes the published model",
    # what is not modelled
    "adapters-and-drafts": "LoRA adapters and draft models",
    "blocks-and-fragmentation": "rounding to blocks, fragmentation, blocks that can be evicted",
    "cache-quality": "what a format of the cache loses in quality",
    "copied-weights": "weights that ranks copy and that are not counted",
    "indexer-computing": "what an indexer computes to choose positions",
    "mechanism-quality": "what another mechanism changes beside the cache",
    "mtp-layers": "layers that predict further tokens",
    "quantised-weights-as-loaded": "padding and repacking of quantised weights as an engine loads them",
    "state-quality": "what a format of states loses in quality",
    "tower-activations": "activations of vision or audio towers",
    "weight-quality": "what a format of the weights loses in quality",
}

CODES: Mapping[str, str] = MappingProxyType(_CODES)
"""Every code, with what it means. Codes are stable: scripts test for them."""


def register(codes: Mapping[str, str]) -> None:
    """Adds codes of one engine, which stand in its own file.

    Raises:
        ValueError: a code has another meaning already.
    """
    for code, meaning in codes.items():
        if _CODES.setdefault(code, meaning) != meaning:
            raise ValueError(f"note code {code} means '{_CODES[code]}' already")


@noun
class Note(Noun):
    """One sentence beside a result. `note` makes one.

    Attributes:
        code: one of CODES.
        text: the sentence.
        figures: the names and values of what the sentence tells.

    Raises:
        ValueError: the code is not registered.
    """

    code: str
    text: str
    figures: tuple[tuple[str, Datum], ...] = ()

    def __post_init__(self) -> None:
        if self.code not in CODES:
            raise ValueError(f"note code {self.code} is not registered in kvcalc.note")

    @property
    def data(self) -> dict[str, Datum]:
        """The figures by name, as JSON has them."""
        return dict(self.figures)

    def __str__(self) -> str:
        return self.text


def note(code: str, text: str, **data: Datum) -> Note:
    """A note: `note("default-context", "context is not given: 8,192 is used", context=8192)`."""
    return Note(code, text, tuple(data.items()))
