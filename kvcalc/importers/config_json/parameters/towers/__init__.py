"""Parameters of towers: encoders for images and sound, and what joins them to the text model.

`encoder.py` has what all are made of, `vision.py` and `audio.py` the encoders, `wrappers.py` which of them a model has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.importers.config import Config
from kvcalc.importers.config_json.heads import HIDDEN
from kvcalc.importers.config_json.parameters.towers.around import Around
from kvcalc.importers.config_json.parameters.towers.wrappers import WRAPPERS
from kvcalc.importers.config_json.wrappers import TEXT_PARTS

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["tower_parameters"]

_WITHOUT_TENSORS = {
    *("vision_feature_layer", "vision_feature_select_strategy", "vision_aspect_ratio", "image_seq_length"),
    *("image_grid_pinpoints", "video_seq_length", "use_unified_vision_chunk", "video_placeholder", "image_placeholder"),
}
"""Keys of images and sound that change no encoder."""


def tower_parameters(config: Config, outer: Mapping[str, Any], beside: set[str]) -> int | None:
    """Those of all towers, exactly; None where they are not counted.

    Args:
        config: of the text model.
        outer: the file.
        beside: the keys of what is beside the text model.

    Raises:
        KvcalcError: a size is none.
    """
    count = WRAPPERS.get(str(outer.get("model_type")))
    hidden = config.optional_count(*HIDDEN)
    if count is None or hidden is None:
        return None
    around = Around(config, Config(outer, {}, config.shown, str(outer["model_type"])), int(hidden.value), set())
    total = count(around)
    return total if beside <= around.asked | _WITHOUT_TENSORS | {TEXT_PARTS[0]} else None
