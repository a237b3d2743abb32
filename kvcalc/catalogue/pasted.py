"""A model whose file's text is given itself: a config.json, or a YAML file of kvcalc."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.catalogue.found_model import FoundModel
from kvcalc.catalogue.models import named_model
from kvcalc.errors import KvcalcError
from kvcalc.model.model import Model

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST = 1_000_000
"""Characters."""


def pasted_model(text: str, shown: str, assumed: Mapping[str, Any] | None = None) -> FoundModel:
    """The model that a text describes: config.json where it begins with a brace, else YAML.

    Args:
        text: of the file.
        shown: its name in messages.
        assumed: keys and values that decide what a config.json does not.

    Raises:
        KvcalcError: it is too long, or not understood.
    """
    if len(text) > MOST:
        raise KvcalcError(f"{shown}: more than {MOST:,} characters: not a model file")
    text = text.lstrip("\ufeff \t\r\n")
    if text.startswith("{"):
        return _imported(text, shown, assumed or {})
    if assumed:
        raise KvcalcError(f"--assume: decides what a config.json does not say, and {shown} is none")
    from kvcalc.catalogue.validation import validated  # pydantic, which is slow to import
    from kvcalc.catalogue.yaml_reader import parse_yaml

    return FoundModel(validated(Model, parse_yaml(text, shown)), shown, None, written=text)


def _imported(text: str, shown: str, assumed: Mapping[str, Any]) -> FoundModel:
    from kvcalc.catalogue.next_step import with_next_step
    from kvcalc.importers.config_json.read import import_config

    def read(more: Mapping[str, Any]) -> Any:
        return import_config(text, shown, "pasted-model", more)

    try:
        found = read(assumed)
    except KvcalcError as error:
        raise with_next_step(error, shown, read, assumed, lambda name: named_model(name) is not None) from error
    return FoundModel(found.model, shown, None, found, found.notes)
