"""What a vLLM server was started with, by its log, and what it takes by default where the log tells which version."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from kvcalc.deployment import MAX_RANKS
from kvcalc.engines import ENGINES, version_number
from kvcalc.engines.vllm.defaults import ENGINE_V0_GONE, ENGINE_V1, default_batch, runner_of
from kvcalc.engines.vllm.options import CUTLASS, FLASHINFER, GENERATE, POOLING, TRITON
from kvcalc.engines.vllm.profiled.samplers import flashinfer_by_default
from kvcalc.engines.vllm.settings import PROMPTS_WHOLE
from kvcalc.engines.vllm.traits import traits_of
from kvcalc.units import parse_count
from kvcalc.verbs.log_check.engine_of_log import newest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvcalc.gpu import Gpu
    from kvcalc.logs import ServerLog
    from kvcalc.model.model import Model
    from kvcalc.verbs.log_check.card_of_log import LoggedCard
    from kvcalc.verbs.log_check.model_of_log import LoggedModel

TORCH_DTYPES = {"bfloat16": "bf16", "float16": "fp16", "half": "fp16", "float32": "fp32", "float": "fp32"}
"""Formats by torch's names for them, as engines take them."""
_SIZES = {"--tp": "tp", "--pp": "pp", "--dp": "dp", "--dcp": "dcp"}
_TEXTS = {"--utilization": "utilization", "--context": "context"}
_PARALLEL = re.compile(r"(TP|PP|DP)(\d{1,6})")
"""A worker's ranks in its name (vLLM, v1/executor/multiproc_executor.py, setup_proc_title_and_log_prefix)."""
_SAMPLER = "use-flashinfer-sampler"
_EXPERTS = "moe-backend"
FOLLOWED = MappingProxyType(
    {
        "runner": ((GENERATE, POOLING), "vllm/config/model.py, RunnerOption"),
        "gdn-prefill-backend": ((FLASHINFER, TRITON), "vllm/model_executor/layers/mamba/gdn/qwen_gdn_linear_attn.py"),
    }
)
"""Options of which not every value is followed: those that are, and where they are read."""
_TOLD = {"1": "true", "true": "true", "0": "false", "false": "false"}
"""What VLLM_USE_FLASHINFER_SAMPLER says."""
_AUTO_FIT = {"-1", "auto"}
"""What leaves the longest request to vLLM, which prints it then."""
_SWITCHES = {"language-model-only", "skip-mm-profiling"}
_CHUNKED = "enable-chunked-prefill"
COMPILES, _COMPILED = "compiles", "compiled-before"
_LONG = 7
"""Digits of a number of ranks that is none."""


def said_by_vllm(log: ServerLog, known: LoggedModel, card: LoggedCard) -> dict[str, Any]:
    """Options by the log; `engine_option` has vLLM's own."""
    said: dict[str, Any] = {"gpu": card.gpu}
    if card.memory_bytes is not None:
        said["gpu_memory"] = card.memory_bytes
    said |= {name: log.settings[option] for option, name in (_SIZES | _TEXTS).items() if option in log.settings}
    if str(said.get("context", "")).lower() in _AUTO_FIT:
        del said["context"]
    longest = log.least("longest request")
    if "utilization" not in said and (share := _share(log)) is not None:
        said["utilization"] = share
    if longest is not None:
        said["context"] = int(longest.value)
    if "context" not in said and known.model.max_context is not None:
        said["context"] = known.model.max_context
    said |= {name: value for name, value in _formats(log) if value is not None}
    if known.weight_format is not None:
        said["weight_dtype"] = known.weight_format
    said = {"tp": 1, **ranks_in_names(log), **said}
    said |= _experts(log, known.model, said)
    said["engine_option"] = _own(log)
    return said


def _own(log: ServerLog) -> dict[str, str]:
    """The engine's own options."""
    own = {name: value for name, value in log.settings.items() if not name.startswith("--")}
    if (sampler := own.pop(_SAMPLER, None)) is not None:
        own |= _sampler(log, sampler)
    if (experts := own.pop(_EXPERTS, None)) is not None:
        own |= _kernels(log, experts)
    own = {name: value for name, value in own.items() if name not in FOLLOWED or value in FOLLOWED[name][0]}
    if (version_number(log.version or newest(log)) or ())[:2] < PROMPTS_WHOLE:
        own.pop(_CHUNKED, None)  # it decides nothing there beside the tokens of a step, which are counted as printed
    if (compiles := COMPILES in own) or _COMPILED in own:
        loads = own.pop(_COMPILED, None) is not None
        own |= {} if compiles and loads else {_COMPILED: str(loads).lower()}  # which of several graphs is not said
    for switch in _SWITCHES & own.keys():
        own[switch] = _TOLD.get(own[switch].lower(), "false")
    step = log.most("tokens of a step")
    if step is not None and "max-num-batched-tokens" in ENGINES[log.engine].options:
        own.setdefault("max-num-batched-tokens", str(int(step.value)))
    sequences = log.most("sequences of a step")
    if sequences is not None and "max-num-seqs" in ENGINES[log.engine].options:
        own.setdefault("max-num-seqs", str(int(sequences.value)))
    stated = log.most("cache memory, as given")
    if stated is not None:
        own.setdefault("kv-cache-memory-bytes", str(int(stated.value)))
    return {name: value for name, value in own.items() if name in ENGINES[log.engine].options}


def _sampler(log: ServerLog, told: str) -> dict[str, str]:
    """Whose sampler it takes: as the server is told, or as a line of its log says where its version takes another."""
    if told.lower() in _TOLD:
        return {_SAMPLER: _TOLD[told.lower()]}
    taken, number = told.startswith("Using"), version_number(log.version or newest(log))
    return {} if number is None or flashinfer_by_default(number[:3]) == taken else {_SAMPLER: str(taken).lower()}


def _kernels(log: ServerLog, told: str) -> dict[str, str]:
    """What computes experts, as the server is told or says, where it is counted otherwise and can be asked for."""
    number = version_number(log.version or newest(log)) or ()
    return {_EXPERTS: CUTLASS} if told.lower() in {CUTLASS, "vllm_cutlass"} and number[:2] >= (0, 17) else {}


def starts_so(log: ServerLog, model: Model, gpu: Gpu) -> bool:
    """Whether the tokens of a step that the log prints are the default on that card."""
    step, longest = log.most("tokens of a step"), log.least("longest request")
    if log.engine != "vllm" or step is None or "max-num-batched-tokens" in log.settings:
        return True
    context = int(longest.value) if longest is not None else model.max_context or 0
    return _default_tokens_of_a_step(log.version or newest(log), gpu, model, context) in {None, int(step.value)}


def ranks_in_names(log: ServerLog) -> dict[str, int]:
    """As many ranks of each kind as the names of the workers tell."""
    workers = {each.process for values in log.printed.values() for each in values}
    ranks = [(kind.lower(), int(rank)) for worker in workers for kind, rank in _PARALLEL.findall(worker)]
    return {kind: 1 + max(rank for each, rank in ranks if each == kind) for kind in dict(ranks)}


def tensor_ranks(log: ServerLog, given: Mapping[str, Any]) -> int:
    said = str(given.get("tp") or log.settings.get("--tp", ""))
    return int(said) if said.isdecimal() and len(said) < _LONG else ranks_in_names(log).get("tp", 1)


def _share(log: ServerLog) -> str | None:
    """The share of the memory that is used, as printed, or as its figures tell where it is rounded."""
    share, total, usable = (log.most(name) for name in ("utilization", "total memory", "usable memory"))
    if share is None or not 0 < share.value <= 1:
        return None
    if total is None or usable is None or total.value <= 0:
        return share.text
    off = usable.off + total.off * share.value
    if abs(share.value * total.value - usable.value) <= off:
        return share.text
    told = usable.value / total.value
    return f"{float(told):.4f}" if abs(told - share.value) <= share.off + off / total.value else share.text


def _formats(log: ServerLog) -> Iterator[tuple[str, str | None]]:
    dtype = log.settings.get("--dtype", "").removeprefix("torch.")
    yield "dtype", TORCH_DTYPES.get(dtype)
    cache = log.settings.get("--cache-dtype", "").lower()
    yield "cache_dtype", TORCH_DTYPES.get(cache, cache) or None
    yield "state_dtype", TORCH_DTYPES.get(log.settings.get("--state-dtype", ""))


def _experts(log: ServerLog, model: Model, said: Mapping[str, Any]) -> dict[str, Any]:
    """Of vLLM, which shares experts over all replicas: whole ones with enable_expert_parallel, else a part of each.

    vllm/model_executor/layers/fused_moe/config.py, FusedMoEParallelConfig.make.
    """
    tp, dp = (parse_count(str(said.get(name, 1)), f"--{name}", MAX_RANKS) for name in ("tp", "dp"))
    if not model.num_experts:
        return {}
    shared: dict[str, Any] = {"dp_attention": True} if dp > 1 else {}
    if log.settings.get("--ep", "").lower() == "true" and tp * dp > 1:
        shared["ep"] = tp * dp
    return shared


def v0_options(version: str) -> dict[str, str]:
    """What asks for V0 where V1 is the default beside it, as from 0.8 to 0.10, and a log says which serves."""
    number = version_number(version)
    return {"use-v1": "false"} if number is not None and ENGINE_V1 <= number[:2] < ENGINE_V0_GONE else {}


def _default_tokens_of_a_step(version: str, gpu: Gpu, model: Model, context: int) -> int | None:
    """max_num_batched_tokens of a server on that card; None of a version that is no number."""
    number = version_number(version)
    if number is None:
        return None
    traits = traits_of(model, None)
    runner = runner_of(number[:3], gpu, 1, model.model_type, traits)
    return default_batch(number[:3], gpu, runner, "server", context, traits).tokens
