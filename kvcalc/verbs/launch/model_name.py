"""A model as a server finds it: its name on the Hub, or the folder or the file that it is read from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.catalogue import find_model, shipped
from kvcalc.catalogue.address import is_address
from kvcalc.catalogue.typed_name import typed_name
from kvcalc.errors import KvcalcError
from kvcalc.model.model import Model

if TYPE_CHECKING:
    from kvcalc.catalogue.found_model import FoundModel

HUB = "hf:"
NAME_ONE = "name the repository as hf:ORG/NAME, or the folder of a checkpoint"


class ModelName(NamedTuple):
    """What stands in a launch line.

    Attributes:
        text: ORG/NAME, with `:LABEL` of a file in it; or a path.
        is_repository: whether it is the Hub's.
        revision: of the repository; None: the newest.
    """

    text: str
    is_repository: bool
    revision: str | None = None


def model_name(model: Model | str | Path | None, *, gguf: bool) -> ModelName:
    """What a server is told.

    Args:
        model: as it was named to kvcalc.
        gguf: whether the server loads GGUF files, and nothing else.

    Raises:
        KvcalcError: the model has no such name, or is no such file; the message says what to name.
    """
    if model is None:
        raise KvcalcError("--emit: --layers and its like describe no model that a server can load; name one as MODEL")
    if isinstance(model, Model):
        found = _of_ids(model, "")
    else:
        text = str(model)
        found = _from_hub(text) if text.lower().startswith(HUB) else _of(find_model(text), text)
    if not found.text.isprintable():
        raise KvcalcError("--emit: the model's path has characters that no line can hold; rename it")
    if gguf != _is_gguf(found):
        raise KvcalcError(_wrong_kind(found, gguf=gguf))
    return found


def _from_hub(text: str) -> ModelName:
    name, _, revision = text[len(HUB) :].partition("@")
    return ModelName(name, is_repository=True, revision=revision or None)


def _of(found: FoundModel, text: str) -> ModelName:
    if found.path is not None and not _ships(found.path):
        if found.imported is None:
            return _of_ids(found.model, "")
        path = found.path.parent if found.path.name == "config.json" else found.path
        here = "" if path.is_absolute() or str(path).startswith((".", "~")) else "./"
        return ModelName(f"{here}{path}", is_repository=False)
    typed = typed_name(text)
    for each in found.model.hub_ids:
        if text != found.model.name and typed.repository.lower() in {each.lower(), each.lower().rpartition("/")[2]}:
            return ModelName(each, is_repository=True)
    if typed.organisation:
        file = f":{typed.file}" if typed.file else ""
        return ModelName(f"{typed.repository}{file}", is_repository=True)
    if found.engine is not None or (found.written is not None and not is_address(text)):
        shown = text[:60]
        raise KvcalcError(f"--emit: '{shown}' is not the whole name of a repository; {NAME_ONE}")
    return _of_ids(found.model, text)


def _of_ids(model: Model, text: str) -> ModelName:
    """The first name on the Hub that a model has."""
    if not model.hub_ids:
        raise KvcalcError(f"--emit: {model.name}{f' ({text})' if text else ''} has no name on the Hub; {NAME_ONE}")
    return ModelName(model.hub_ids[0], is_repository=True)


def _ships(path: Path) -> bool:
    return path.parent == shipped.MODELS


def _is_gguf(name: ModelName) -> bool:
    if name.is_repository:
        return ":" in name.text or "gguf" in name.text.lower()
    from kvcalc.importers.paths import is_gguf

    return is_gguf(Path(name.text))


def _wrong_kind(name: ModelName, *, gguf: bool) -> str:
    if gguf:
        return (
            f"--emit: llama-server loads GGUF files, and {name.text} is none; name a .gguf file, or its repository as "
            "ORG/NAME-GGUF:Q4_K_M"
        )
    return f"--emit: {name.text} is GGUF, which llama-server loads (--emit llama-server); {NAME_ONE}"
