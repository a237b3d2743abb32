"""The words of a launch line, and what all engines' lines are made of."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kvcalc.engines import version_number
from kvcalc.errors import KvcalcError
from kvcalc.note import Note, note

if TYPE_CHECKING:
    from collections.abc import Mapping
    from fractions import Fraction

    from kvcalc.deployment import Deployment
    from kvcalc.scenario import Scenario
    from kvcalc.verbs.launch.model_name import ModelName

DTYPES: Mapping[str, str] = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
"""torch's names of the formats that models compute in, which engines take."""

Version = tuple[int, ...]


@dataclass(frozen=True)
class Served:
    """What a server is to be.

    Attributes:
        scenario: of its engine, with the deployment.
        model: as the engine finds it.
        draft: what drafts its tokens, as the engine finds it; None where no model of its own does.
        limit: sequences of a replica, where the line alone says that; None: the engine's own default, or an option.
    """

    scenario: Scenario
    deployment: Deployment
    model: ModelName
    draft: ModelName | None
    limit: int | None

    @property
    def given(self) -> dict[str, Any]:
        """The engine's own options that were given and have a value, without its defaults."""
        engine = self.scenario.engine
        default = {
            name: None if option.default is None else option.read(option.default, name)
            for name, option in engine.options.items()
        }
        return {name: value for name, value in engine.given if value is not None and value != default[name]}

    @property
    def draft_name(self) -> str:
        """Of what drafts.

        Raises:
            KvcalcError: it has none.
        """
        if self.draft is None:
            raise KvcalcError("--draft: give it as the name or the folder of a checkpoint, which a server can load")
        return self.draft.text

    @property
    def version(self) -> str:
        """The one that is asked for, else the one that is followed."""
        engine = self.scenario.engine
        return engine.asked_version or engine.version or engine.versions[-1]

    @property
    def number(self) -> Version:
        """Of that version."""
        return version_number(self.version) or ()


@dataclass
class Line:
    """A command line while it is written.

    Attributes:
        program: its first words.
        environment: variables before it.
        words: its options.
        notes: what must be known.
    """

    program: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    def add(self, flag: str, value: object = None) -> None:
        """An option, or a switch where there is no value."""
        self.words += [flag] if value is None else [flag, str(value)]

    @property
    def text(self) -> str:
        """On one line, quoted for a POSIX shell."""
        variables = [f"{name}={shlex.quote(value)}" for name, value in self.environment.items()]
        return " ".join([*variables, shlex.join([*self.program, *self.words])])


def decimal(value: Fraction) -> str:
    """A share as people write it."""
    return f"{float(value):.12g}"


def one_node(served: Served, program: str) -> None:
    """Refuses a server over several nodes.

    Raises:
        KvcalcError: it is one.
    """
    gpus, node = served.deployment.gpus, served.scenario.gpu.node_size
    if gpus > node:
        raise KvcalcError(
            f"--emit: {gpus:,} GPUs are more than the {node} of a node of {served.scenario.gpu.name}, and one line of "
            f"{program} starts one node; kvcalc emits no line for several: give --gpus {node}, or an accelerator with "
            "more memory"
        )


def several_nodes(served: Served) -> Note | None:
    """What must run where a server is spread over nodes by Ray; None of one node."""
    gpus, node = served.deployment.gpus, served.scenario.gpu.node_size
    if gpus <= node:
        return None
    nodes = -(-gpus // node)
    text = f"{gpus:,} GPUs are {nodes} nodes of {node}: a Ray cluster must run on all of them, and the line on its head"
    return note("launched-nodes", text, gpus=gpus, nodes=nodes)
