"""What to know of a format that is asked for the weights: which of them it leaves as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.formats.file_types import is_mix, shown
from kvcalc.memory import beside_experts, left_alone
from kvcalc.memory.parts import towers_apart, whole_parts
from kvcalc.model.recipes import recipe_of
from kvcalc.note import Note, note
from kvcalc.scenario import compute_format
from kvcalc.units import format_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.scenario import Scenario

FEW_BITS = 6
"""Of formats in which some checkpoints have their experts alone (Kimi-K2.5, gpt-oss, Qwen3.5 in GPTQ)."""


def weight_notes(scenario: Scenario) -> Iterator[Note]:
    """What the format leaves, or that it is not known."""
    asked, left = scenario.weight_format, left_alone(scenario)
    if asked is not None and is_mix(asked):
        yield note(
            "weights-of-a-mix",
            f"weights in {shown(asked)}: {asked.about}; 152 published files were within 3 %, and a file's own bits "
            "(kvcalc estimate FILE.gguf) are exact",
            format=shown(asked),
        )
    yield from _of_towers(scenario)
    if asked is None or left is None:
        return
    own, more = compute_format(scenario.model).name, 0
    if left:
        more = beside_experts(scenario) if asked.block_bytes * 8 < FEW_BITS * asked.block_elems else 0
        told = "; ".join(
            f"{_listed(names)} stay in {stored}" if stored == own else f"{_listed(names)} are in {stored}"
            for stored in dict.fromkeys(each.name for each in left.values())
            if (names := [name for name, each in left.items() if each.name == stored])
        )
        alone = f"with the experts alone in {asked.name}, {format_size(more, 'GiB')} GiB more; " if more else ""
        recipe = recipe_of(scenario.model, asked.name)
        like = "quantised checkpoints have them" if recipe is None else f"{recipe.checkpoint} has them"
        other = "one that leaves more" if recipe is None else "one that leaves more or less"
        text = f"weights in {asked.name}: {told}, as {like}; {alone}for {other}, its folder or --weights SIZE"
    else:
        text = (
            f"weights in {asked.name}: all of them, since {scenario.origin} does not tell the embedding and the output "
            f"head apart, which quantised checkpoints leave in {own}; --weights SIZE gives what yours takes"
        )
    figures = {"beside_experts_bytes": more} if more else {}
    yield note("weights-left-in-dtype", text, format=asked.name, dtype=own, left=tuple(left), **figures)


def _of_towers(scenario: Scenario) -> Iterator[Note]:
    """What is loaded beside the file of a text model."""
    apart = 0 if "mmproj" in dict(scenario.replacements.reserve) else towers_apart(scenario)
    if apart is None and whole_parts(scenario) is not None:
        told = "counted with the rest, since its size is not known; --weights SIZE gives the file's"
        yield note(
            "towers-apart", f"weights: llama.cpp's file has no tower for images or sound; it is {told}", bytes=None
        )
    elif apart:
        from kvcalc.engines.llama_cpp.mmproj import mmproj_of

        found = mmproj_of(apart)
        size = f"{format_size(found.on_card, 'GiB')}GiB"
        text = (
            "weights: without the tower for images or sound, which llama.cpp has in a file of its own (--mmproj, "
            f"unasked with -hf and in Ollama); --reserve mmproj={size} is {found.told}"
        )
        yield note("towers-apart", text, bytes=found.on_card)


def _listed(names: list[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
