"""The tables of rotations that engines keep: how many positions, and how much of a head, where not max_context and all.

Source: vLLM 0.33.0, vllm/model_executor/layers/rotary_embedding/__init__.py, get_rope: one table for each set of
parameters, linear_scaling_rope.py with factor times the positions, mrope.py with four times.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from kvcalc.importers.config_json.spellings import BART, BERT, T5
from kvcalc.importers.sourced import Sourced

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kvcalc.importers.config import Config
    from kvcalc.importers.imported_layer import ImportedLayer

_PARAMETERS = ("rope_parameters", "rope_scaling")
_OTHER_BASES = ("rope_local_base_freq", "swa_rope_theta")
"""Keys of another base, by which sliding layers rotate."""

_WITH_OTHER_BASE = {"gemma3_text", "gemma3n_text"}
"""Families that have it also where a file leaves it out."""

MULTIMODAL_POSITIONS = 4
"""Times the positions, for those of images and video (mrope.py, cache_max_position_num)."""

_HALF = {"chatglm"}
"""Families whose heads rotate half of their elements, which their files do not say (chatglm.py, GLMAttention)."""

_UNROTATED = {
    *("gpt2", "opt", "bloom", "biogpt", "ctrl", "git", "xglm", "gpt_neo", "gpt_bigcode", "mpt", "cpmant", "prophetnet"),
    *("jamba", "zamba", "kosmos_2_text_model", "kosmos_2_5_text_model"),
    *BART.split(),
    *T5.split(),
    *(set(BERT.split()) - {"roformer"}),
}
"""Families whose heads are not rotated."""

_SHARES = ("partial_rotary_factor", "rotary_pct", "rotary_dim", "rope_pct", "rotary_emb_fraction")
"""Keys by which a part of a head is rotated."""

MOST = 10**4
"""A factor beyond this is none."""


def refuse_odd(config: Config, layers: Sequence[ImportedLayer]) -> None:
    """Refuse rotated heads of an odd width: halves of them are rotated, so that torch would widen or refuse keys.

    Raises:
        KvcalcError: there are such heads.
    """
    if config.model_type in _UNROTATED:
        return
    partial = any(config.values.get(key) is not None for key in _SHARES)
    for block in (each for layer in layers for each in layer.blocks):
        name = "qk_rope_head_dim" if block.kind == "mla" else "head_dim"
        odd = block.sizes.get(name, 0) % 2
        if odd and (block.kind == "mla" or (block.kind in _OF_HEADS and not partial)):
            raise config.refusal(f"{name} is {block.sizes[name]}, which is odd, and this family rotates halves of it")


_OF_HEADS = {"mha", "gqa", "mqa"}


def rotary_fields(
    config: Config, layers: Sequence[ImportedLayer], max_context: Sourced | None
) -> Iterator[tuple[str, Sourced]]:
    """`rotary_positions` and `rotary_dim`, where the file tells of others than max_context and a head's width."""
    tables, key = _tables(config)
    widths = {block.sizes["head_dim"] for layer in layers for block in layer.blocks if "head_dim" in block.sizes}
    if max_context is not None and len(widths) < 2:  # noqa: PLR2004  # else each width has a table of its own
        positions = sum(math.ceil(max_context.value * _times(table)) for table in tables)
        if positions != max_context.value:
            yield "rotary_positions", Sourced(positions, f"of {max_context.value} each, by {key}")
    shares = {_number(table.get("partial_rotary_factor")) for table in tables}
    given = config.values.get("rotary_dim")
    if type(given) is int and 0 < given < min(widths, default=0):
        yield "rotary_dim", Sourced(given, "rotary_dim")
        return
    share = _number(config.values.get("partial_rotary_factor")) or (shares.pop() if len(shares) == 1 else None)
    if share is None and config.model_type in _HALF:
        share = 0.5
    if share is not None and share < 1 and len(widths) == 1:
        (width,) = widths
        if (rotated := int(width * share)) >= 1:
            yield "rotary_dim", Sourced(rotated, f"partial_rotary_factor {share:g} x head_dim {width}")


def _tables(config: Config) -> tuple[list[Mapping[str, Any]], str]:
    """The parameters of each table, and the key that has them."""
    key = next((each for each in _PARAMETERS if isinstance(config.values.get(each), dict)), _PARAMETERS[0])
    found = config.values.get(key)
    stated = found if isinstance(found, dict) else {}
    nested = [each for each in stated.values() if isinstance(each, dict)]
    if nested and len(nested) == len(stated):
        return [each for index, each in enumerate(nested) if each not in nested[:index]], key
    other = next((each for each in _OTHER_BASES if config.values.get(each) is not None), None)
    if other is None and config.model_type not in _WITH_OTHER_BASE:
        return [stated], key
    return [stated, {}], f"{key} and {other or _OTHER_BASES[0]}"


def _times(table: Mapping[str, Any]) -> float:
    """Positions of a table for each position of the model."""
    kind = table.get("rope_type", table.get("type"))
    times = (_number(table.get("factor")) or 1.0) if kind == "linear" else 1.0
    return times * (MULTIMODAL_POSITIONS if "mrope_section" in table else 1)


def _number(value: Any) -> float | None:
    return float(value) if type(value) in {int, float} and 0 < value < MOST else None
