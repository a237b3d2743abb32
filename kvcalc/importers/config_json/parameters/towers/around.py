"""A wrapper's file, and the parts of it that describe encoders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from kvcalc.importers.config_json.parameters.towers.encoder import tower

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.importers.config import Config

IMAGE, SOUND = "vision_config", "audio_config"
NEVER = 10**6
"""More keys than a part has."""


class Around(NamedTuple):
    """A wrapper's file.

    Attributes:
        config: of the text model.
        outer: the file.
        text: the width of the text model.
        asked: keys of the parts that were asked for.
    """

    config: Config
    outer: Config
    text: int
    asked: set[str]

    def part(
        self, key: str, model_type: str, only_if: Mapping[str, Any] | None = None, least: int = NEVER
    ) -> Config | None:
        """An encoder's part; None where it is not known, or has something that is not counted.

        Args:
            key: of the file.
            model_type: of the class that reads it.
            only_if: keys, and the values with which it is counted.
            least: so many keys of it show that its class's sizes are meant, where it states none.
        """
        self.asked.add(key)
        found = tower(self.config, key, model_type, least)
        if found is None or any(
            (value_of(found, name) or None) != (value or None) for name, value in (only_if or {}).items()
        ):
            return None
        return found

    def size(self, name: str, default: int) -> int:
        """A size that stands around the parts."""
        found = self.outer.optional_count(name)
        return default if found is None else int(found.value)

    def biased(self, *, default: bool) -> bool:
        """Whether matrices that join an encoder to the text model have biases."""
        found = self.outer.get("multimodal_projector_bias")
        return default if found is None else bool(found.value)


def value_of(part: Config, name: str) -> Any:
    """What a part states; None where it does not."""
    found = part.get(name)
    return None if found is None else found.value
