"""Finding a model: a file of the user's, a name or a hub id of the catalogue, or a repository of the Hub."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvcalc.catalogue import shipped
from kvcalc.catalogue.address import is_address
from kvcalc.catalogue.found_model import GGUF_ENGINE, FoundModel
from kvcalc.catalogue.hub_ids import paths_with_hub_id
from kvcalc.catalogue.model_files import MAX_SHOWN, holds_model, is_path, is_spelled_as_path, model_at
from kvcalc.errors import NEXT, KvcalcError, UnknownModelError
from kvcalc.files import is_there
from kvcalc.note import note

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kvcalc.model.model import Model

HUB = "hf:"
"""How names on the Hub begin."""


def model_names() -> list[str]:
    """Every model of the catalogue."""
    return shipped.names_in(shipped.MODELS)


def shipped_models(paths: Iterable[Path] | None = None) -> Iterator[FoundModel]:
    """Every model of the catalogue, by name; of files that are given, those."""
    each = (shipped.MODELS / f"{name}.yaml" for name in model_names()) if paths is None else paths
    return (_shipped_model(path) for path in each)


def find_model(text: str, assumed: Mapping[str, Any] | None = None) -> FoundModel:
    """A YAML file, a GGUF file, a config.json or a folder with one; a name or a hub id of the catalogue; hf:ORG/NAME.

    Args:
        text: what names it.
        assumed: keys and values that decide what an imported file does not.

    Raises:
        KvcalcError: no such file or name (the nearest names are in the message), a name that is also a path, or a file
            with mistakes.
    """
    if text.lower().startswith(HUB):
        return _hub_model(text, assumed or {})
    path = Path(text)
    named = None if is_spelled_as_path(text, path) else _named_model(text)
    if named is not None and holds_model(path):
        raise KvcalcError(_both(text, named.model))
    if named is None and not is_path(text, path):
        named = _meant_model(text)
    found = named or _model_at(path, text, assumed or {})
    if assumed and found.imported is None:
        raise KvcalcError(f"--assume: decides what an imported file does not say, and {found.origin} is a model file")
    return found


def named_model(text: str) -> Model | None:
    """The catalogue's model of that name or hub id, whatever files there are here; None where it has none."""
    found = _named_model(text)
    return None if found is None else found.model


def _named_model(text: str) -> FoundModel | None:
    name = (_repository(text) if is_address(text) else text).lower()
    path = shipped.path_of(shipped.MODELS, name)
    found = (path,) if path is not None else paths_with_hub_id(name)
    if len(found) > 1:
        raise KvcalcError(f"model: '{text}' is the name of several: {', '.join(each.stem for each in found)}")
    return _shipped_model(found[0]) if found else None


def _repository(address: str) -> str:
    from kvcalc.catalogue.typed_name import typed_name

    return typed_name(address).repository


def _is_known(text: str) -> bool:
    """Whether a text names a model of the catalogue, to the letter or by what it says."""
    try:
        return _named_model(text) is not None or _meant_model(text) is not None
    except KvcalcError:
        return False


def meant_model(text: str) -> Model | None:
    """The catalogue's model that a name is meant for, whatever the name says of its weights; None where it has none.

    Raises:
        KvcalcError: it may be several that keep different caches.
    """
    from kvcalc.catalogue.by_name import by_name
    from kvcalc.catalogue.same_sizes import path_of_same_sizes
    from kvcalc.catalogue.typed_name import typed_name

    typed = typed_name(text)
    path = path_of_same_sizes(typed.repository)
    if path is not None:
        return shipped.read_model(path)
    found = by_name(typed)
    return None if found is None else shipped.read_model(found.path)


def _meant_model(text: str) -> FoundModel | None:
    """The catalogue's model that a name is meant for, with what it says of the weights."""
    from kvcalc.catalogue.by_name import ByName, by_name
    from kvcalc.catalogue.derived import derived
    from kvcalc.catalogue.same_sizes import path_of_same_sizes
    from kvcalc.catalogue.typed_name import typed_name
    from kvcalc.formats.told import told_format

    typed = typed_name(text)
    path = path_of_same_sizes(typed.repository)
    if path is not None:
        same, stored = _shipped_model(path), told_format(typed.name, typed.organisation)
        if stored.stored is not None:
            return derived(same, ByName(path, stored), text)
        told = f"'{text[:MAX_SHOWN]}' has the sizes of {same.model.name} on the Hub, and is counted as that"
        return same._replace(notes=(note("model-by-name", told, name=same.model.name, others=()),))
    found = by_name(typed)
    return None if found is None else derived(_shipped_model(found.path), found, text)


def _shipped_model(path: Path) -> FoundModel:
    return FoundModel(shipped.read_model(path), f"the catalogue's {path.name}", path)


def _model_at(path: Path, text: str, assumed: Mapping[str, Any]) -> FoundModel:
    if text.lower().startswith(_WEB) and not is_address(text):
        raise KvcalcError(_of_the_web(text))
    if text and is_path(text, path):
        try:
            return model_at(path, text, assumed, _is_known)
        except KvcalcError as error:
            if is_there(path):
                raise
            said = [line for line in error.args if not str(line).startswith(NEXT)]
            raise type(error)(*said, *(_of_its_name(text) or error.args[len(said) :])) from error
    from kvcalc.catalogue.no_such_model import no_such_model  # only where something went wrong

    raise UnknownModelError(*no_such_model(text), typed=text)


_WEB = ("http://", "https://")


def _of_the_web(text: str) -> str:
    """What to do with an address of no site where kvcalc asks for models."""
    step = f"curl -LO {shlex.quote(text)}, and name the file"
    if text.lower().endswith(".gguf"):  # its header and vocabulary
        step = f"its first 32 MiB are enough: curl -L -r 0-33554431 -o part.gguf {shlex.quote(text)}, then part.gguf"
    return f"model: '{text[:100]}' is an address that kvcalc does not ask; {step}"


def _of_its_name(text: str) -> tuple[str, ...]:
    """A command with the model that a path is named after, whose file is not here."""
    from kvcalc.catalogue.elsewhere import name_in_path  # only where something went wrong
    from kvcalc.catalogue.suggestions import step

    name = name_in_path(text)
    return () if name is None or not _is_known(name) else step(f"estimate {shlex.quote(name)}")


def _hub_model(text: str, assumed: Mapping[str, Any]) -> FoundModel:
    from kvcalc.importers.hub import import_hub  # for start-up time, and it needs an extra

    found = import_hub(text, assumed)
    engine = GGUF_ENGINE if ":" in text[len(HUB) :] else None
    return FoundModel(found.model, text[:MAX_SHOWN], None, found, found.notes, engine)


def _both(text: str, model: Model) -> str:
    other = next((each for each in (model.name, *model.hub_ids) if each.lower() != text.lower()), None)
    catalogue = "" if other is None else f", {other} the catalogue's model"
    return f"model: '{text}' is a path here and a name of the catalogue: ./{text} is the path{catalogue}"
