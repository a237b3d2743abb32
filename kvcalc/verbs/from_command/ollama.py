"""What Ollama tells llama-server where its user says nothing: the context by the card, the micro-batch by the context.

Ollama 0.30 to 0.33: server/routes.go, Serve; server/sched.go, automaticGenerationBatch; llm/llama_server.go,
PredictServerVRAM. All of a card is taken to be free.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.formats.told import told_format
from kvcalc.formats.weights import find_asked_format
from kvcalc.mechanisms import Role
from kvcalc.note import Note, note
from kvcalc.units import GIB, MIB, parse_count

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvcalc.gpu import Gpu
    from kvcalc.model.model import Model
    from kvcalc.verbs.log_check.model_of_log import LoggedModel

LIBRARY = "q4_k_m"
"""In which Ollama's library has most of its models under a tag that names no format."""
_LATEST = {
    **dict.fromkeys(("llama3", "llama3.1", "qwen3", "deepseek-r1", "hermes3"), "8b"),
    **dict.fromkeys(("llama2", "codellama", "qwen2.5", "qwen2.5-coder", "qwen2", "llava"), "7b"),
    "gemma2": "9b",
    "gemma3": "4b",
    "llama3.2": "3b",
}
"""The size that a name without a tag stands for today, as ollama.com/library has it: the tag `latest`, which moves
(deepseek-r1's was the 7b until May 2025). `ollama list` in public pages prints one ID for qwen2.5:latest and
qwen2.5:7b and one for qwen3:latest and qwen3:8b, and sizes of such a model for the others that were found."""
_ONE_AT_A_TIME = frozenset(
    {"mllama", "qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe", "qwen3_next", "lfm2", "lfm2_moe", "nemotron_h"}
)
"""By model_type of config.json: server/sched.go, load."""
_CONTEXTS = ((47 * GIB, 262144), (23 * GIB, 32768), (0, 4096))
"""Tokens of a request, by the memory of all cards together."""
_BATCHES = ((32768, 2048), (4096, 1024), (0, 512))
"""Tokens of a step, by the context above which they are tried."""
_OF_AVAILABLE = {2048: (60, 2 * GIB), 1024: (75, 768 * MIB)}
"""The percent of memory that weights and cache may take for such a batch, and what it adds to them."""


def with_tag(name: str) -> str:
    """The name with the tag of its size, where it has none or says 'latest', and the library's own is known."""
    bare = name.removeprefix("library/").removesuffix(":latest")
    tag = _LATEST.get(bare.lower())
    return name if tag is None else f"{bare}:{tag}"


def as_ollama_has_it(name: str, known: LoggedModel) -> tuple[LoggedModel, tuple[Note, ...]]:
    """The model with the format of its weights: its tag's, else the file's own, else the library's usual one."""
    told = told_format(name).stored
    if told is not None or known.model.weights:
        return known._replace(weight_format=told, weights_known=True), ()
    text = f"weights in {LIBRARY}, as Ollama's library has most models (--weight-dtype sets it)"
    taken = note("ollama-default", text, weight_dtype=LIBRARY)
    return known._replace(weight_format=LIBRARY, weights_known=True), (taken,)


def completed(settings: Mapping[str, str], known: LoggedModel, gpu: Gpu) -> tuple[dict[str, str], tuple[Note, ...]]:
    """Settings with the context and the micro-batch of Ollama, and what was taken."""
    notes, memory = [], gpu.memory_bytes or 0
    slots = parse_count(settings.get("n_seq_max", "1"), "OLLAMA_NUM_PARALLEL", 10**4)
    given = int(settings["n_ctx"]) // slots if "n_ctx" in settings else None
    if slots > 1 and known.model.model_type in _ONE_AT_A_TIME:
        text = f"Ollama serves one request of {known.model.name} at a time, whatever OLLAMA_NUM_PARALLEL says"
        notes.append(note("ollama-default", text, parallel=1))
        slots = 1
    context = given or next(tokens for least, tokens in _CONTEXTS if memory >= least)
    context = min(context, known.model.max_context or context)
    if given is None:
        text = f"num_ctx is left to Ollama, which takes {context:,} on {gpu.name} (--context sets it)"
        notes.append(note("ollama-default", text, context=context))
    whole = context * slots
    batch = str(next(_batches(whole, _predicted(known, whole), memory)))
    told = {"n_seq_max": str(slots), "n_ctx": str(whole), "ubatch-size": batch, "n_batch": batch}
    return {**settings, **told}, tuple(notes)


def _batches(context: int, predicted: int, memory: int) -> Iterator[int]:
    """From the largest that the context allows on, those that fit; the smallest always does."""
    allowed = next(batch for above, batch in _BATCHES if context > above or not above)
    for batch, (percent, more) in _OF_AVAILABLE.items():
        if batch <= allowed and predicted <= memory * percent // 100 and predicted + more <= memory * 80 // 100:
            yield batch
    yield _BATCHES[-1][1]


def _predicted(known: LoggedModel, context: int) -> int:
    """As Ollama predicts it: the file, and K and V of every layer with the fewest heads of any, hidden / heads wide."""
    model = known.model
    stored = find_asked_format(known.weight_format or model.weight_dtype or model.dtype or "bf16", "--weight-dtype")
    weights = (model.parameters or 0) * stored.block_bytes // stored.block_elems
    return weights + 4 * model.num_layers * _elements(model) * context


def _elements(model: Model) -> int:
    of = [
        (int(getattr(layer.attention, "num_kv_heads", 1) or 1), int(getattr(layer.attention, "num_heads", 1) or 1))
        for layer in model.layout.kinds
        if any(tensor.role is Role.CACHE for tensor in layer.attention.cached())
    ]
    if not of or not model.hidden_size:
        return 0
    return min(kv for kv, _ in of) * (model.hidden_size // max(heads for _, heads in of))
