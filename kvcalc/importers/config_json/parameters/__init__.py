"""Parameters, counted from a config.json: every tensor of a family's layers, or no figure at all."""

from __future__ import annotations

from kvcalc.importers.config_json.parameters.count import (
    Counted,
    count_parameters,
    ngram_parameters,
    position_parameters,
    stream_parameters,
)

__all__ = ["Counted", "count_parameters", "ngram_parameters", "position_parameters", "stream_parameters"]
