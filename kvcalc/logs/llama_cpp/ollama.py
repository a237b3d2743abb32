"""What Ollama prints of its own engine, which 0.6 to 0.24 have beside llama.cpp: sizes with one decimal.

Where llama.cpp serves a model, Ollama prints such lines too, as what it expects: llama.cpp's own figures are taken
then. Since 0.30 it starts llama-server, and passes on what that prints.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from kvcalc.logs.dialect import Figure, Unit, log_line
from kvcalc.logs.llama_cpp.figures import DEVICE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.logs.server_log import Printed

_KINDS = {"model": "model weights", "kv": "kv cache", "graph": "compute graph"}
_AS = {"model": "model buffer", "kv": "KV buffer", "graph": "compute buffer"}
"""What llama.cpp calls them."""
_OWN = {kind: f"Ollama's {message}" for kind, message in _KINDS.items()}
_UNITS = {"GiB": Unit.GIB, "MiB": Unit.MIB}
_UP_TO = "up to b8928: Ollama 0.11 to 0.24, which has llama.cpp of December 2025 at last"

FIGURES = MappingProxyType(
    {
        f"ollama_{kind}_{unit.lower()}": Figure(_OWN[kind], counted, decimals=1)
        for kind in _KINDS
        for unit, counted in _UNITS.items()
    }
    | {"ollama_total_gib": Figure("total memory", Unit.GIB, decimals=1)}
)
"""As those of llama.cpp are, each kind in either unit (format/bytes.go, HumanBytes2)."""

LINES = (
    log_line(
        'msg="inference compute"',
        r'msg="inference compute" .*?(?:description|name)="(?P<device>[^"]{4,80})".*? total="'
        r'(?P<ollama_total_gib>\d{1,5}\.\d) GiB"',
        "any",
        "Ollama, discover/types.go, LogDetails",
    ),
    log_line(
        'msg="starting runner"',
        r'msg="starting runner" cmd=".*? runner (?:--(?P<ollama_new_engine>ollama)-engine )?--model ',
        _UP_TO,
        "Ollama, llm/server.go, StartRunner",
        starts=True,
    ),
    log_line(
        "engine",
        r'msg="starting (?P<ollama_new_engine>ollama) engine"',
        "any",
        "Ollama, runner/ollamarunner/runner.go, Execute",
    ),
    log_line(
        "load request",
        r"msg=load request=\"\{Operation:commit .*?Parallel:(?P<n_seq_max>\d{1,6}) BatchSize:(?P<ubatch_size>\d{1,9}) "
        r"FlashAttention:(?P<flash_attn>\w{1,10}) KvSize:(?P<ctx_size>\d{1,12}) "
        r"KvCacheType:(?P<cache_type_k>\w{0,12}) ",
        _UP_TO,
        "Ollama, llm/server.go, LoadRequest; runner/ollamarunner/runner.go, load",
        anew=tuple(_OWN.values()),
    ),
    log_line(
        "architecture=",
        r'architecture=\w{2,40} file_type=\S{1,40} name="?(?P<model>[\w.+-][\w .+-]{1,80}?)"? description=',
        "any",
        "Ollama, ml/backend/ggml/ggml.go, New",
    ),
    *(
        log_line(
            f'msg="{message}"',
            rf'msg="{message}" device={DEVICE} size="(?:(?P<ollama_{kind}_gib>\d{{1,6}}\.\d) GiB|'
            rf'(?P<ollama_{kind}_mib>\d{{1,6}}\.\d) MiB)"',
            "any",
            "Ollama, ml/device.go, BackendMemory.Log",
        )
        for kind, message in _KINDS.items()
    ),
)


def derived(printed: Mapping[str, tuple[Printed, ...]]) -> Mapping[str, tuple[Printed, ...]]:
    """The figures of its own engine as llama.cpp calls them, where llama.cpp has printed none."""
    own = set(_OWN.values())
    others = {name: values for name, values in printed.items() if name not in own}
    if others.keys() & {*_AS.values(), "cache memory"}:
        return others
    return {**others, **{_AS[kind]: printed[name] for kind, name in _OWN.items() if name in printed}}
