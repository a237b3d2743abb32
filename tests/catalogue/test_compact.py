"""The compact form of the catalogue says what the YAML files say. UPDATE_GOLDENS=1 writes it anew."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from kvcalc.catalogue.compact import NAME, compact, compact_values
from kvcalc.catalogue.shipped import CONFIGS, read_model

TABLE = CONFIGS / NAME


def test_each_line_is_of_its_file_as_it_is() -> None:
    text = compact(CONFIGS)
    if os.environ.get("UPDATE_GOLDENS"):
        TABLE.write_text(text, encoding="utf-8")
    assert TABLE.read_text(encoding="utf-8") == text, "UPDATE_GOLDENS=1 pytest tests/catalogue/test_compact.py"


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


def test_a_folder_without_one_is_read_itself(tmp_path: Path) -> None:
    model = tmp_path / "models" / "llama-3-8b.yaml"
    model.parent.mkdir()
    shutil.copy(CONFIGS / "models" / model.name, model)
    assert compact_values(model) is None
    assert read_model(model).num_layers == 32
