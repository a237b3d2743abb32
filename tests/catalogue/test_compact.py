"""The tables that ship say what the YAML files say. UPDATE_GOLDENS=1 writes them anew."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kvcalc.catalogue.compact import NAME, compact, compact_values
from kvcalc.catalogue.shipped import CONFIGS, MODELS, read_model
from kvcalc.verbs.listing import model_rows

TABLE = CONFIGS / NAME


def rows() -> str:
    return model_rows.table(sorted(MODELS.glob("*.yaml")))


@pytest.mark.parametrize(("name", "made"), [(NAME, lambda: compact(CONFIGS)), (model_rows.NAME, rows)])
def test_each_line_is_of_its_file_as_it_is(name: str, made: Callable[[], str]) -> None:
    path, text = CONFIGS / name, made()
    if os.environ.get("UPDATE_GOLDENS"):
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, "UPDATE_GOLDENS=1 pytest tests/catalogue/test_compact.py"


def test_a_file_that_was_changed_is_read_itself(tmp_path: Path) -> None:
    shutil.copy(TABLE, tmp_path)
    model = tmp_path / "models" / "llama-3-70b.yaml"
    model.parent.mkdir()
    text = (CONFIGS / "models" / model.name).read_text(encoding="utf-8")
    model.write_text(text, encoding="utf-8")
    assert compact_values(model)["max_context"] == read_model(model).max_context == 8192

    model.write_text(text.replace("max_context: 8192", "max_context: 8193"), encoding="utf-8")
    assert compact_values(model) is None
    assert read_model(model).max_context == 8193


def test_the_row_of_a_file_that_was_changed_is_worked_out(tmp_path: Path) -> None:
    shutil.copy(CONFIGS / model_rows.NAME, tmp_path)
    model = tmp_path / "models" / "llama-3-70b.yaml"
    model.parent.mkdir()
    text = (MODELS / model.name).read_text(encoding="utf-8")
    for context in (8192, 8193):
        model.write_text(text.replace("max_context: 8192", f"max_context: {context}"), encoding="utf-8")
        [row] = model_rows.shipped_rows([model])
        assert (row.max_context, row.bytes_per_token) == (context, 2 * 80 * 8 * 128 * 2)


def test_a_folder_without_one_is_read_itself(tmp_path: Path) -> None:
    model = tmp_path / "models" / "llama-3-8b.yaml"
    model.parent.mkdir()
    shutil.copy(CONFIGS / "models" / model.name, model)
    assert compact_values(model) is None
    assert read_model(model).num_layers == 32
