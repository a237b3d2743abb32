"""`trtllm-serve`: flags of tensorrt_llm/commands/serve.py as 1.1 has them, which later versions take too."""

from __future__ import annotations

from kvcalc.errors import KvcalcError
from kvcalc.verbs.launch.beside import refuse_beside
from kvcalc.verbs.launch.formats import quantization
from kvcalc.verbs.launch.line import Line, Served, decimal, one_node

IN_A_FILE = "trtllm-serve reads that from a file alone (--extra_llm_api_options), and kvcalc emits one line"


def trtllm_serve(served: Served) -> Line:
    """The words of a server.

    Raises:
        KvcalcError: no flag says what is asked for.
    """
    one_node(served, "trtllm-serve")
    refuse_beside(served, "trtllm-serve")
    _refuse_unsaid(served)
    deployment, scenario, given = served.deployment, served.scenario, served.given
    line = Line(("trtllm-serve", served.model.text))
    for flag, size in (("--tp_size", deployment.tp), ("--pp_size", deployment.pp), ("--ep_size", deployment.ep)):
        if size > 1:
            line.add(flag, size)
    if served.limit is not None:
        line.add("--max_batch_size", served.limit)
    line.add("--max_seq_len", scenario.workload.context)
    if "free-gpu-memory-fraction" in given:
        line.add("--kv_cache_free_gpu_memory_fraction", decimal(given["free-gpu-memory-fraction"]))
    return line


def _refuse_unsaid(served: Served) -> None:
    """What stands in a file of options alone."""
    deployment, scenario, given = served.deployment, served.scenario, served.given
    if deployment.dp > 1:
        raise KvcalcError(f"--dp: {IN_A_FILE}; emit the line of one replica with its share of --batch")
    if scenario.cache_format_given and scenario.cache_format.default.name != scenario.cache_format.computing.name:
        raise KvcalcError(
            f"--cache-dtype: {IN_A_FILE} (kv_cache_config: dtype: {scenario.cache_format.default.name}); leave "
            "--cache-dtype out"
        )
    if "tokens-per-block" in given:
        raise KvcalcError(f"--emit: --engine-option tokens-per-block: {IN_A_FILE}; leave it out")
    if scenario.dtype_given:
        raise KvcalcError(f"--dtype: {IN_A_FILE} (dtype); leave --dtype out")
    if quantization(scenario, "tensorrt-llm") is not None:
        raise KvcalcError("--weight-dtype: trtllm-serve loads weights as their checkpoint has them; name one in fp8")
    if served.model.revision is not None:
        raise KvcalcError(f"--emit: MODEL@REVISION: {IN_A_FILE}; leave @{served.model.revision[:40]} out")
