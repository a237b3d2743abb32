"""A name as people type or paste it: an address of the Hub, ORG/NAME, a tag of a registry."""

from __future__ import annotations

import re

from kvcalc.catalogue.address import path_of_address
from kvcalc.errors import KvcalcError
from kvcalc.named_tuple import NamedTuple

_BEFORE_NAMES = frozenset({"models", "library", "api"})
"""Parts of a path that come before a repository's name: of ModelScope, Ollama and the Hub's own interface."""

_SERVED = re.compile(
    r"(?:(?:us|eu|apac|jp|au|global|us-gov)\.)?"
    r"(?P<maker>ai21|amazon|anthropic|deepseek|google|meta|minimax|mistral|moonshot|moonshotai|nvidia|openai|qwen|zai)\."
    r"(?P<name>[\w.-]+?)(?:-v?\d+:\d+(?::\d+k)?)?",
    re.IGNORECASE,
)
"""A model of Amazon Bedrock: region, maker, name, version of the service (us.meta.llama3-1-70b-instruct-v1:0)."""

_BEFORE_SERVED = re.compile(
    r"(?:nvcr\.io/nim|(?:fireworks(?:_ai)?/)?accounts/fireworks/models|openrouter|together_ai|deepinfra|nvidia_nim|bedrock)/"
    r"(?P<name>.+)",
    re.IGNORECASE,
)
"""What those who serve models, and gateways to them, write before a name."""

_IMAGE = re.compile(r"nvcr\.io/", re.IGNORECASE)
_POINT_AS_P = re.compile(r"(?<=\d)p(?=\d)", re.IGNORECASE)
_LLAMA_V = re.compile(r"(?<=llama-)v(?=\d)", re.IGNORECASE)
"""llama-v3p1 of Fireworks is Llama 3.1, and qwen2p5 is Qwen2.5."""

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


def typed_name(text: str) -> TypedName:
    """The parts of a name.

    Raises:
        KvcalcError: an address of something else than a model.
    """
    stripped = _published(text.strip()[:_MAX_NAME])
    address = path_of_address(stripped)
    path = stripped if address is None else re.split(r"[?#]", address, maxsplit=1)[0]
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


def _published(name: str) -> str:
    """The name as its maker has it, of one by those who serve it."""
    before = _BEFORE_SERVED.fullmatch(name)
    if before is not None:
        served = before["name"].partition(":")[0] if _IMAGE.match(name) else before["name"]
        return _published(_LLAMA_V.sub("", _POINT_AS_P.sub(".", served)))
    found = _SERVED.fullmatch(name)
    if found is None:
        return name
    maker, bare = found["maker"], found["name"]
    return bare if maker.lower() in bare.lower() or len(bare.split("-")) > 1 else f"{maker}-{bare}"
