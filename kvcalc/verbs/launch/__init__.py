"""`--emit`: the command line, or the file, that starts the server which a result is of."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from kvcalc.engines import ENGINES, engine_asked, version_number
from kvcalc.errors import KvcalcError, NoError, nearest_or_all
from kvcalc.logs.told_version import words_of
from kvcalc.note import Note, note
from kvcalc.scenario.workload import Workload
from kvcalc.verbs.estimate import estimate
from kvcalc.verbs.launch.compose import compose_file
from kvcalc.verbs.launch.helm import helm_values
from kvcalc.verbs.launch.line import Line, Served
from kvcalc.verbs.launch.llama_server import llama_server
from kvcalc.verbs.launch.model_name import model_name
from kvcalc.verbs.launch.sglang import sglang
from kvcalc.verbs.launch.trtllm_serve import trtllm_serve
from kvcalc.verbs.launch.vllm import vllm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from kvcalc.deployment import Deployment
    from kvcalc.model.model import Model
    from kvcalc.scenario import Scenario

OPTION = "--emit"


class Target(NamedTuple):
    """What can be emitted.

    Attributes:
        engine: whose server it starts.
        line: its words.
        file: of them, a file; None where the line itself is wanted.
        limit: the engine's own option that limits the sequences of a replica; None where the line alone has one.
    """

    engine: str
    line: Callable[[Served], Line]
    file: Callable[[Served, Line], str] | None = None
    limit: str | None = None


TARGETS: Mapping[str, Target] = MappingProxyType(
    {
        "vllm": Target("vllm", vllm, limit="max-num-seqs"),
        "sglang": Target("sglang", sglang, limit="max-running-requests"),
        "llama-server": Target("llama-cpp", llama_server),
        "trtllm-serve": Target("tensorrt-llm", trtllm_serve),
        "compose": Target("vllm", vllm, compose_file, limit="max-num-seqs"),
        "helm": Target("vllm", vllm, helm_values, limit="max-num-seqs"),
    }
)
"""By the word that `--emit` takes."""


class Launch(NamedTuple):
    """What starts a server.

    Attributes:
        text: a line, or a file, with its line break.
        notes: what to know of it.
        scenario: the server that it starts.
    """

    text: str
    notes: tuple[Note, ...]
    scenario: Scenario


def target_of(word: str, engine: str | None) -> tuple[str, tuple[Note, ...]]:
    """The engine that a target is of, and what is to be told of that.

    Args:
        word: what is asked for.
        engine: that is asked for beside it, perhaps with a version; None: none is.

    Raises:
        KvcalcError: there is no such target, or another engine is asked for.
    """
    if word not in TARGETS:
        raise KvcalcError(f"{OPTION}: '{word[:40]}' cannot be emitted{nearest_or_all(word, TARGETS)}")
    own = TARGETS[word].engine
    if engine is None:
        what = "line" if TARGETS[word].file is None else "file"
        newest = f"{own} {ENGINES[own].versions[-1]}"
        taken = f"no engine is given: {newest} is used, which the {what} launches (--engine {own}@VERSION sets another)"
        return own, (note("launched-engine", taken, engine=own),)
    asked = engine_asked(engine)[0].name
    if asked != own:
        raise KvcalcError(
            f"{OPTION}: {word} starts {own}, and --engine {asked} is another; leave it out, or --engine {own}"
        )
    return engine, ()


def launch(
    word: str,
    model: Model | str | Path | None,
    scenario: Scenario,
    deployment: Deployment,
    *,
    draft: Model | str | Path | None = None,
    limited: bool,
) -> Launch:
    """The line or the file that starts a scenario's server on a deployment.

    Args:
        word: one of TARGETS.
        model: as it was named.
        scenario: of the target's engine.
        deployment: that it is to run on.
        draft: the model that drafts, as it was named.
        limited: whether the batch was asked for: it is the server's limit then.

    Raises:
        NoError: the deployment does not hold the workload.
        KvcalcError: no line of this engine says what is asked for, with what would help.
    """
    target = TARGETS[word]
    served, notes = _limited(replace(scenario, deployment=deployment, gpu_limit=None), target, limited=limited)
    settled = served.scenario
    name = model_name(model, gguf=target.engine == "llama-cpp")
    _check(settled, deployment)
    drafts = None if draft is None else model_name(draft, gguf=target.engine == "llama-cpp")
    asked = Served(settled, deployment, name, drafts, served.limit)
    line = target.line(asked)
    text = f"{_told_version(asked)}{line.text}" if target.file is None else target.file(asked, line)
    return Launch(text + "\n", (*notes, *line.notes, *_without(settled)), settled)


def _told_version(served: Served) -> str:
    """Words before the line where the version is another than the one that is assumed of a line that tells none."""
    engine = served.scenario.engine
    if served.number == version_number(engine.versions[-1]):
        return ""
    return f"{words_of(engine.name, served.version.removeprefix('v'))} "


class _Limit(NamedTuple):
    """A scenario whose engine has the batch as its limit, and that limit of a replica."""

    scenario: Scenario
    limit: int | None


def _limited(scenario: Scenario, target: Target, *, limited: bool) -> tuple[_Limit, tuple[Note, ...]]:
    """The scenario as a server of its batch would be: an engine's memory may depend on that limit."""
    deployment = scenario.deployment
    if not limited or deployment is None:
        return _Limit(scenario, None), ()
    each = deployment.sequences(scenario.workload.batch)
    if scenario.workload.mix is None:  # replicas have one limit
        scenario = replace(scenario, workload=Workload(each * deployment.dp, scenario.workload.context))
    limit = each * deployment.dp if target.engine == "sglang" and deployment.dp_attention else each
    given = dict(scenario.engine.given)
    if target.limit is None or given.get(target.limit) is not None:
        return _Limit(scenario, each if target.limit is None else None), ()
    engine = replace(scenario.engine, given=tuple(sorted({**given, target.limit: limit}.items())))
    told = f"the batch is the limit of the server, {target.limit} {limit:,}, and memory is counted with it"
    taken = note(
        "launched-limit", f"{told} (--engine-option {target.limit}=N sets another)", option=target.limit, limit=limit
    )
    return _Limit(replace(scenario, engine=engine), None), (taken,)


def _check(scenario: Scenario, deployment: Deployment) -> None:
    """Refuses what would not start, or not hold the workload.

    Raises:
        NoError: it does not.
    """
    model, context = scenario.model, scenario.workload.context
    if model.max_context is not None and context > model.max_context:
        raise KvcalcError(
            f"--context: {context:,} is above the max_context of {model.name}, {model.max_context:,}, and servers "
            f"refuse or cut it; -c {model.max_context} is the most"
        )
    if scenario.spill:
        raise KvcalcError(f"{OPTION}: no server spills its cache as --spill counts it; leave --spill out")
    if scenario.replacements.reserve:
        raise KvcalcError(
            f"{OPTION}: no option of {scenario.engine.name} leaves memory to what --reserve names; leave it out, and "
            "lower the share that the engine takes"
        )
    result = estimate(scenario)
    if result.answer.fits is False and not result.answer.tight:
        enough = result.gpus.deployment
        told = f"; {enough.gpus:,} GPUs do ({enough})" if enough is not None and enough != deployment else ""
        raise NoError(f"{OPTION}: {deployment} does not hold the workload{told}; kvcalc plan looks for what does")


def _without(scenario: Scenario) -> Iterator[Note]:
    """Parts of memory that are stated: a server finds them itself."""
    stated = scenario.replacements
    given: dict[str, Any] = {name: getattr(stated, name) for name in ("weights", "temporary", "overhead")}
    given["draft-weights"] = None if scenario.drafting is None else scenario.drafting.weights
    options = tuple(f"--{name}" for name, value in given.items() if value is not None)
    if scenario.shared_prefix:
        options += ("--shared-prefix",)
    if options:
        text = f"{', '.join(options)}: the server finds that itself, and no option of its line says it"
        yield note("launched-without", text, options=options)
