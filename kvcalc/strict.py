"""What every noun that is read from a file has in common: exact types, no unknown keys, no changes later."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Strict(BaseModel):
    """A frozen record that refuses unknown keys and converts nothing."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


Dim = Annotated[int, Field(ge=1, le=10**6)]
"""A number of heads or of elements: at least 1, at most a million."""

Text = Annotated[str, Field(min_length=1, max_length=2000)]
"""A line of words."""
