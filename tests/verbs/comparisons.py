"""Rows of comparisons, and what they keep."""

from __future__ import annotations

from typing import Any

from conftest import texts

import kvcalc
from kvcalc.mechanisms import Attention
from kvcalc.model.layers import LayerGroup
from kvcalc.verbs.comparing.result import ComparedRow, Comparison

H100_USABLE = 85_020_639_232 * 92 // 100


def rows_of(answer: Comparison) -> dict[str, ComparedRow]:
    names = [row.name for row in answer.rows]
    assert len(names) == len(set(names))
    return dict(zip(names, answer.rows, strict=True))


def caches(model: kvcalc.Model | str, **options: Any) -> dict[str, int]:
    return {row.name: row.cache_bytes for row in kvcalc.compare(model, **options).rows}


def elements(model: kvcalc.Model | str, **options: Any) -> dict[str, int | None]:
    return {row.name: row.elements_per_token_per_layer for row in kvcalc.compare(model, **options).rows}


def one_kind(attention: Attention, **fields: Any) -> kvcalc.Model:
    return kvcalc.Model(name="m", layers=(LayerGroup(count=2, attention=attention),), **fields)


def notes_with(words: str, answer: Comparison) -> list[str]:
    return [note for note in texts(answer.notes) if words in note]
