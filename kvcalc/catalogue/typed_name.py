"""A name as people type or paste it: an address of the Hub, ORG/NAME, a tag of a registry."""

from __future__ import annotations

import re

from kvcalc.errors import KvcalcError
from kvcalc.named_tuple import NamedTuple

_ADDRESS = re.compile(
    r"(?:https?://)?(?:www\.)?(?P<host>huggingface\.co|hf\.co|hf-mirror\.com|modelscope\.(?:cn|ai)|ollama\.com)/(?P<path>.+)",
    re.IGNORECASE,
)
_BEFORE_NAMES = frozenset({"models", "library", "api"})
"""Parts of a path that come before a repository's name: of ModelScope, Ollama and the Hub's own interface."""

_OTHER = frozenset({"datasets", "spaces", "collections", "docs", "papers", "blog"})
_MAX_NAME = 200


class TypedName(NamedTuple):
    """What a name says.

    Attributes:
        organisation: before the slash; empty without one.
        name: after it, with the tag of a registry.
        file: of a GGUF file that an address is of; empty without one.
    """

    organisation: str
    name: str
    file: str = ""

    @property
    def repository(self) -> str:
        """ORG/NAME, or the name alone."""
        return f"{self.organisation}/{self.name}" if self.organisation else self.name


def is_address(text: str) -> bool:
    """Whether it is an address on a site where models are, not a path."""
    return _ADDRESS.fullmatch(text.strip()) is not None


def typed_name(text: str) -> TypedName:
    """The parts of a name.

    Raises:
        KvcalcError: an address of something else than a model.
    """
    stripped = text.strip()[:_MAX_NAME]
    address = _ADDRESS.fullmatch(stripped)
    path = stripped if address is None else re.split(r"[?#]", address["path"], maxsplit=1)[0]
    parts = [part for part in path.split("/") if part]
    if address is not None:
        if parts and parts[0].lower() in _OTHER:
            raise KvcalcError(f"model: '{stripped[:100]}' is an address of {parts[0].lower()}, not of a model")
        while len(parts) > 1 and parts[0].lower() in _BEFORE_NAMES:
            parts = parts[1:]
        file = parts[-1] if len(parts) > 2 and parts[-1].lower().endswith(".gguf") else ""  # noqa: PLR2004  # ORG, NAME and a file
        parts = parts[:2] if len(parts) > 1 and parts[1] not in {"tree", "blob", "resolve"} else parts[:1]
    else:
        file = ""
        if len(parts) > 2:  # noqa: PLR2004  # a path of files, and none is there
            return TypedName("", path)
    organisation = parts[-2] if len(parts) > 1 else ""
    return TypedName(organisation, parts[-1] if parts else "", file)
