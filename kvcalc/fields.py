"""Types of fields that files give, with their limits.

Nouns are plain frozen dataclasses, so that the catalogue loads in milliseconds; the limits here are given to pydantic
when a user's file is checked against them (kvcalc/catalogue/validation.py), and only then is pydantic imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, cast

from kvcalc.units import MAX_CONTEXT, MAX_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema


CHECKED: dict[str, Any] = {"strict": True, "extra": "forbid"}
"""pydantic's settings for a noun that is read from a file: exact types, no unknown keys."""


class Limits:
    """Limits as pydantic names them: ge, le, gt, min_length, max_length, pattern."""

    def __init__(self, **limits: Any) -> None:
        self.limits = limits

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema: Any = handler(source)  # which keys it may have depends on the type
        schema.update(self.limits)
        return cast("CoreSchema", schema)


class Tagged:
    """Which member of a union a mapping describes: by a key, or by a function that gives the member's tag."""

    def __init__(self, discriminator: str | Callable[[Any], str], **tags: Any) -> None:
        self.discriminator, self.tags = discriminator, tags

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema  # only where a file is checked

        choices: dict[Any, CoreSchema] = {tag: handler.generate_schema(member) for tag, member in self.tags.items()}
        return core_schema.tagged_union_schema(choices, self.discriminator)


PRINTABLE = r"^[^\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]*$"
"""No control characters, and none that hide or turn text: a file's words are printed on terminals."""

Dim = Annotated[int, Limits(ge=1, le=10**6)]
"""A number of heads or of elements."""

DimOrNone = Annotated[int, Limits(ge=0, le=10**6)]
"""A number of elements, of which there may be none."""

Tokens = Annotated[int, Limits(ge=1, le=MAX_CONTEXT)]
MAX_PARAMETERS = 10**16
Parameters = Annotated[int, Limits(ge=1, le=MAX_PARAMETERS)]
Size = Annotated[int, Limits(ge=1, le=MAX_SIZE)]
Rate = Annotated[float, Limits(gt=0, le=10**9)]

Name = Annotated[str, Limits(min_length=1, max_length=100, pattern=PRINTABLE)]
"""A short name."""

Text = Annotated[str, Limits(min_length=1, max_length=2000, pattern=PRINTABLE)]
"""A line of words."""
