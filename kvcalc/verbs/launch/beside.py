"""What lies beside a model in its server: what drafts its tokens, and adapters."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kvcalc.engines.option_values import AUTO
from kvcalc.engines.vllm.loaded.lora import as_vllm_has
from kvcalc.errors import KvcalcError

if TYPE_CHECKING:
    from kvcalc.verbs.launch.line import Line, Served, Version

MTP: Version = (0, 11)
"""vLLM's method `mtp` since then (vllm/config/speculative.py); each model had its own before."""


def refuse_beside(served: Served, program: str) -> None:
    """Refuses drafts and adapters, of which the program's line says nothing that is known.

    Raises:
        KvcalcError: there are such.
    """
    if served.scenario.drafting is not None:
        raise KvcalcError(f"--draft and --mtp: kvcalc emits no flag of {program} for that; leave it out")
    refuse_adapters(served, program)


def refuse_adapters(served: Served, program: str) -> None:
    """Refuses adapters likewise.

    Raises:
        KvcalcError: there are such.
    """
    if served.scenario.lora is not None:
        raise KvcalcError(f"--lora: kvcalc emits no flag of {program} for that; leave it out")


def drafts_of_vllm(served: Served, line: Line) -> None:
    """--speculative-config, in JSON."""
    drafting, given = served.scenario.drafting, served.given
    method = given.get("speculative-method", AUTO)
    if drafting is None and method == AUTO:
        return
    tokens = given.get("num-speculative-tokens", 1)
    config: dict[str, Any] = {"num_speculative_tokens": tokens}
    if drafting is None or method != AUTO:
        line.add("--speculative-config", json.dumps({"method": method, **config}))
        return
    if drafting.own_layers:
        if served.number < MTP:
            raise KvcalcError(f"--mtp: vllm {served.version} names a method for each model; --engine vllm@0.11 has one")
        config = {"method": "mtp", **config}
    else:
        config = {"model": served.draft_name, **config}
        if drafting.tp is not None:
            config["draft_tensor_parallel_size"] = drafting.tp
    line.add("--speculative-config", json.dumps(config))


def drafts_of_sglang(served: Served, line: Line) -> None:
    """--speculative-algorithm with the steps: a chain of tokens, each from the one before."""
    drafting = served.scenario.drafting
    if drafting is None:
        return
    if not drafting.own_layers:
        raise KvcalcError(
            "--draft: which algorithm of sglang a draft is for (EAGLE, EAGLE3, STANDALONE) its dims do not tell; "
            "leave --draft out, or --emit vllm"
        )
    tokens = drafting.tokens or 1
    line.add("--speculative-algorithm", "EAGLE")
    line.add("--speculative-num-steps", tokens)
    line.add("--speculative-eagle-topk", 1)
    line.add("--speculative-num-draft-tokens", tokens + 1)


def adapters_of_vllm(served: Served, line: Line) -> None:
    """--enable-lora and its sizes."""
    lora, model = served.scenario.lora, served.scenario.model
    if lora is None:
        return
    every = as_vllm_has(lora._replace(modules=None), model, served.number)
    line.add("--enable-lora")
    line.add("--max-lora-rank", lora.rank)
    if lora.modules != every.modules:
        line.add("--lora-target-modules")
        line.words += lora.modules or ()
    if lora.slots != 1:
        line.add("--max-loras", lora.slots)


def adapters_of_sglang(served: Served, line: Line) -> None:
    """--enable-lora; without adapters it must be told their rank and what they change."""
    lora = served.scenario.lora
    if lora is None:
        return
    line.add("--enable-lora")
    line.add("--max-lora-rank", lora.rank)
    line.add("--lora-target-modules")
    line.words += lora.modules or ()
    line.add("--max-loras-per-batch", lora.slots)
