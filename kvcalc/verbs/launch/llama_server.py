"""`llama-server`: flags of llama.cpp's common/arg.cpp.

-np and -c are always there: without them a server chooses its slots itself, and each slot has its share of n_ctx.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines.llama_cpp.builds import BUILDS
from kvcalc.errors import KvcalcError
from kvcalc.formats.file_types import shown
from kvcalc.formats.weights import is_of_llama_cpp
from kvcalc.verbs.launch.beside import refuse_adapters
from kvcalc.verbs.launch.line import Line, Served, decimal, one_node

if TYPE_CHECKING:
    from kvcalc.engines.cache_format import CacheFormat

ALL_LAYERS = 999
"""More than there are: 'all' is not understood by older builds."""
PLAIN_DRAFTS = 8929
"""A build that takes a draft model alone, and --draft-max: as wheels of xllamacpp have common/arg.cpp."""
TYPED_DRAFTS = 9294
"""A build in which --spec-type says what drafts, and --spec-draft-n-max how many tokens."""
_TYPES = {"fp16": "f16", "fp32": "f32"}
"""kv_cache_types of common/arg.cpp, where they differ from kvcalc's names."""
_SWITCHES = {"swa-full": "--swa-full", "no-kv-offload": "--no-kv-offload", "kv-unified": "--kv-unified"}


def llama_server(served: Served) -> Line:
    """The words of a server.

    Raises:
        KvcalcError: no flag says what is asked for.
    """
    one_node(served, "llama-server")
    refuse_adapters(served, "llama-server")
    deployment, scenario = served.deployment, served.scenario
    if deployment.dp > 1:
        raise KvcalcError("--dp: one llama-server is one replica; emit its line with its share of --batch")
    line = Line(("llama-server", "-hf" if served.model.is_repository else "-m", _file(served)))
    slots = scenario.workload.batch
    line.add("-c", slots * scenario.workload.context)
    line.add("-np", slots)
    given = served.given
    layers = given.get("n-gpu-layers")
    line.add("-ngl", ALL_LAYERS if layers is None else layers)
    _cards(served, line)
    _cache(scenario.cache_format, line, given=scenario.cache_format_given)
    _drafts(served, line)
    _options(served, line)
    return line


def _file(served: Served) -> str:
    """The file: of a repository that is named without one, that of the type that the weights are asked for in."""
    asked, name = served.scenario.weight_format, served.model
    if asked is None:
        return name.text
    repository, _, file = name.text.partition(":")
    kind = shown(asked).upper()
    if name.is_repository and is_of_llama_cpp(asked) and file.upper() in {"", kind}:
        return f"{repository}:{kind}"
    told = f"{repository}:{kind}" if name.is_repository and is_of_llama_cpp(asked) else "another file"
    raise KvcalcError(f"--weight-dtype: llama-server loads weights as their file has them; name {told} as MODEL")


def _cards(served: Served, line: Line) -> None:
    """How the layers are shared out: a server takes every card that it sees unless it is told."""
    shares, stages = served.given.get("tensor-split"), served.deployment.pp
    if stages == 1:
        line.add("-sm", "none")
        return
    if shares is not None:
        line.add("-ts", ",".join(decimal(each) for each in shares))
    elif served.scenario.gpu.number_together is None:  # of unlike cards a server takes all, by their memory
        line.add("-ts", ",".join("1" * stages))


def _cache(kept: CacheFormat, line: Line, *, given: bool) -> None:
    if not given:
        return
    named = {name: each.name for name, each in kept.tensors}
    k = named.get("k", named.get("c_kv", kept.default.name))
    v = named.get("v", "fp16" if "=" in kept.name else kept.default.name)
    if "c_kv" in named and "v" not in named:
        v = k
    for flag, name in (("-ctk", k), ("-ctv", v)):
        if name != "fp16":
            line.add(flag, _TYPES.get(name, name))


def _drafts(served: Served, line: Line) -> None:
    """What drafts tokens, all of it on the card, and how many."""
    drafting = served.scenario.drafting
    if drafting is None:
        return
    build = served.number[0]
    typed = build >= TYPED_DRAFTS
    if not typed and (drafting.own_layers or build > PLAIN_DRAFTS):
        option = "--mtp" if drafting.own_layers else "--draft"
        raise KvcalcError(
            f"{option}: which options of drafts llama-server {served.version} has is not known; "
            f"--engine llama-cpp@b{TYPED_DRAFTS} or later has --spec-type"
        )
    if not drafting.own_layers:
        repository = served.draft is not None and served.draft.is_repository
        line.add("-hfd" if repository else "-md", served.draft_name)
        line.add("-ngld", ALL_LAYERS)
    if typed:
        line.add("--spec-type", "draft-mtp" if drafting.own_layers else "draft-simple")
    line.add("--spec-draft-n-max" if typed else "--draft-max", served.given["draft-n"])


def _options(served: Served, line: Line) -> None:
    given = served.given
    if "ubatch-size" in given:
        size = given["ubatch-size"]
        if size > 2048:  # noqa: PLR2004  # n_batch of common/common.h, which n_ubatch is cut to
            line.add("-b", size)
        line.add("-ub", size)
    if "n-cpu-moe" in given:
        line.add("-ncmoe", given["n-cpu-moe"])
    if given.get("draft-n") and served.scenario.drafting is None:
        raise KvcalcError("--emit: --engine-option draft-n: what drafts the tokens is not said; leave it out")
    asked = BUILDS[served.scenario.engine.version or served.scenario.engine.versions[-1]].flash_asked
    if "flash-attn" in given and not asked:
        line.add("-fa", given["flash-attn"])
    elif given.get("flash-attn") == "on":
        line.add("-fa")
    for name, flag in _SWITCHES.items():
        if given.get(name):
            line.add(flag)
