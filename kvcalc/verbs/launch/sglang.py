"""`python -m sglang.launch_server`: flags as the version has them.

sglang/srt/server_args.py, ServerArgs.add_cli_args, and sglang/srt/arg_groups/fields from 0.5.20 on, read in the wheels
of 0.3.6 to 0.5.23.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from kvcalc.engines.sglang.hisparse import config_text
from kvcalc.engines.sglang.served import is_sparse
from kvcalc.errors import KvcalcError
from kvcalc.verbs.launch.beside import adapters_of_sglang, drafts_of_sglang
from kvcalc.verbs.launch.formats import quantization
from kvcalc.verbs.launch.line import DTYPES, Line, Served, Version, decimal, one_node

if TYPE_CHECKING:
    from collections.abc import Mapping

SINCE: Mapping[str, Version] = MappingProxyType(
    {
        "--page-size": (0, 4, 4),
        "--pp-size": (0, 4, 6),
        "--ep-size": (0, 5, 1),
        "--enable-lora": (0, 4, 9, 6),
        "--swa-full-tokens-ratio": (0, 4, 9, 6),
        "--disable-hybrid-swa-memory": (0, 4, 9, 6),
        "--max-mamba-cache-size": (0, 5, 2),
        "--mamba-ssm-dtype": (0, 5, 2),
        "--mamba-full-memory-ratio": (0, 5, 4),
        "--mamba-scheduler-strategy": (0, 5, 9),
        "--disable-piecewise-cuda-graph": (0, 5, 10),
    }
)
"""The first version read that has a flag; all have the others. Before 0.5.1 --ep-size needed --enable-ep-moe too."""
GRAPHS_OF_PHASES: Version = (0, 5, 14)
"""--cuda-graph-max-bs-decode since then; --cuda-graph-max-bs is gone in 0.5.20."""
ATTENTION_DP: Version = (0, 5, 22)
"""--attn-dp-size since then, instead of --dp-size with --enable-dp-attention, which is deprecated."""
BF16_SPELLED: Version = (0, 5, 4)
_CACHE_DTYPES = {"fp8": "fp8_e4m3", "fp8_e5m2": "fp8_e5m2", "fp8_ds_mla": "fp8_e4m3"}
_VALUES = ("page-size", "chunked-prefill-size", "max-running-requests", "max-total-tokens", "max-mamba-cache-size")
_SHARES = ("mem-fraction-static", "swa-full-tokens-ratio", "mamba-full-memory-ratio")
_SWITCHES = (
    *("disable-radix-cache", "disable-hybrid-swa-memory", "disable-cuda-graph", "disable-prefill-cuda-graph"),
    *("disable-overlap-schedule", "enable-hisparse"),
)
OLDER_NAMES = {
    "mamba-radix-cache-strategy": "mamba-scheduler-strategy",
    "disable-prefill-cuda-graph": "disable-piecewise-cuda-graph",
}
"""Flags before GRAPHS_OF_PHASES."""


def sglang(served: Served) -> Line:
    """The words of a server.

    Raises:
        KvcalcError: no flag of this version says what is asked for.
    """
    one_node(served, "sglang")
    line = Line(("python", "-m", "sglang.launch_server", "--model-path", served.model.text))
    version = served.number
    _deployment(served, line, version)
    line.add("--context-length", served.scenario.workload.context)
    _formats(served, line, version)
    if served.model.revision is not None:
        line.add("--revision", served.model.revision)
    _options(served, line, version)
    drafts_of_sglang(served, line)
    adapters_of_sglang(served, line)
    for word in line.words:
        since = SINCE.get(word)
        if since is not None and version < since:
            first = ".".join(map(str, since[:3])) + (f".post{since[3]}" if since[3:] else "")
            raise KvcalcError(f"--emit: sglang {served.version} has no {word}; --engine sglang@{first} or later has")
    return line


def _deployment(served: Served, line: Line, version: Version) -> None:
    deployment = served.deployment
    ranks = deployment.tp * deployment.replicas_joined
    if ranks > 1:
        line.add("--tp-size", ranks)
    if deployment.pp > 1:
        line.add("--pp-size", deployment.pp)
    if deployment.dp > 1 and deployment.dp_attention and version >= ATTENTION_DP:
        line.add("--attn-dp-size", deployment.dp)
    elif deployment.dp > 1:
        line.add("--dp-size", deployment.dp)
        if deployment.dp_attention:
            line.add("--enable-dp-attention")
    if deployment.ep > 1:
        line.add("--ep-size", deployment.ep)


def _formats(served: Served, line: Line, version: Version) -> None:
    scenario = served.scenario
    kept, model = scenario.cache_format, scenario.model
    if scenario.dtype_given and model.dtype is not None:
        line.add("--dtype", DTYPES[model.dtype])
    method = quantization(scenario, "sglang")
    if method is not None:
        line.add("--quantization", method)
    if scenario.cache_format_given:
        name = kept.name if kept.tensors else kept.default.name
        if name in _CACHE_DTYPES:
            line.add("--kv-cache-dtype", _CACHE_DTYPES[name])
        elif name != kept.computing.name or is_sparse(model):
            if kept.tensors or name != "bf16" or version < BF16_SPELLED:
                raise KvcalcError(f"--cache-dtype: kvcalc emits no flag of sglang {served.version} for '{kept.name}'")
            line.add("--kv-cache-dtype", "bf16")
    if kept.conv is not None:
        raise KvcalcError("--conv-dtype: sglang has no flag for the inputs of convolutions; leave it out")
    if kept.state is not None and kept.state.name != "fp32":
        line.add("--mamba-ssm-dtype", DTYPES[kept.state.name])


def _options(served: Served, line: Line, version: Version) -> None:
    given = served.given
    for name in _SHARES:
        if name in given:
            line.add(f"--{name}", decimal(given[name]))
    flags = OLDER_NAMES if version < GRAPHS_OF_PHASES else {}
    for name in (*_VALUES, "mamba-radix-cache-strategy"):
        if given.get(name) is not None:
            line.add(f"--{flags.get(name, name)}", given[name])
    if "cuda-graph-max-bs" in given:
        flag = "--cuda-graph-max-bs-decode" if version >= GRAPHS_OF_PHASES else "--cuda-graph-max-bs"
        line.add(flag, given["cuda-graph-max-bs"])
    if (hisparse := given.get("hisparse-config")) is not None:
        line.add("--hisparse-config", config_text(hisparse))
    for name in _SWITCHES:
        if given.get(name):
            line.add(f"--{flags.get(name, name)}")
        elif given.get(name) is False:
            raise KvcalcError(f"--emit: sglang has no flag that says --engine-option {name}=false; leave it out")
