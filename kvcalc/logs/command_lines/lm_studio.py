"""`lms load MODEL`, as the line of llama-server with the same memory.

LM Studio's command line (lmstudio-ai/lms, src/subcommands/load.ts); the rest of LM Studio is closed. Its requests, 4
unless --parallel says, share the cells of the context: 16,384 MiB and states of 4 slots were printed of Qwen3.6-27B at
262,144 tokens (https://github.com/lmstudio-ai/lmstudio-bug-tracker/issues/1862). What a user sets for a model in the
application is not in the line.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError
from kvcalc.logs.command_lines.relayed import Program, Relayed, Taken, as_table, count

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM_NAME = "lms"
_SLOTS = "4"

PROGRAM = Program(
    "lms load",
    names=as_table("gpu\ncontext_length\nparallel"),
    short=MappingProxyType({"-c": "context_length", "-y": "yes"}),
    switches=frozenset(
        {"yes", "exact", "local", "estimate_only", "speculative_draft_mtp", "speculative_draft_simple", "verbose"}
    ),
    lists=frozenset(),
    refused=frozenset(
        {"speculative_draft_mtp", "speculative_draft_simple", "speculative_draft_model"}
        | {"speculative_draft_max_tokens"}
    ),
    harmless=frozenset(
        {"yes", "exact", "local", "estimate_only", "ttl", "identifier", "host", "port", "log_level", "verbose"}
        | {"speculative_draft_min_tokens", "speculative_draft_min_continue_probability"}
    ),
)


def relayed(arguments: Sequence[str], option: str) -> Relayed:
    """What its line tells llama.cpp.

    Args:
        arguments: behind `lms load`.
        option: of kvcalc, in messages.

    Raises:
        KvcalcError: it names no model, or leaves to LM Studio what memory depends on.
    """
    told, others, further = PROGRAM.told(arguments, option)
    if not others:
        raise KvcalcError(f"{option}: the line names no model; put one behind 'lms load'")
    gpu = told.get("gpu", "").lower()
    layers = {"max": "all", "1": "all", "1.0": "all", "off": "0", "0": "0"}.get(gpu)
    if layers is None:
        left = f"--gpu {gpu[:20]}: which layers that are" if gpu else "--gpu: what it leaves out"
        raise KvcalcError(
            f"{option}: {left} is LM Studio's choice, which kvcalc does not follow; put --gpu max there, and capacity "
            "tells how many layers fit"
        )
    if "context_length" not in told:
        raise KvcalcError(f"{option}: the context is LM Studio's default for the model; put --context-length N there")
    context = count(told["context_length"], "--context-length", option, 1, 10**9)
    slots = count(told.get("parallel", _SLOTS), "--parallel", option, 1, 10**4)
    words = ("-m", others[0].replace("@", "-"), "-c", str(context), "-np", str(slots), "-kvu", "-ngl", layers)
    text = f"lms load: {slots} requests share the context, and all else is as llama-server has it; LM Studio's own "
    return Relayed((*words, *further), taken=(Taken(f"{text}settings of a model are not in the line"),))
