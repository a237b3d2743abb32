"""Adds what the caches of the installed transformers hold to tests/data/transformers/caches.json, under its version.

Run with any version on the path:  PYTHONPATH=tests/engines python tests/live/write_transformers_vectors.py
"""

from __future__ import annotations

import json
from pathlib import Path

import transformers
from transformers_cases import MODELS, built, cache_bytes, filled_cache

PLACE = Path(__file__).parents[1] / "data" / "transformers" / "caches.json"


def measured(name: str) -> dict[str, int | None]:
    """Bytes of each kind of cache; None where this version has no such class, or no such cache for it."""
    found: dict[str, int | None] = {}
    for kind in ("dynamic", "static"):
        try:
            found[kind] = cache_bytes(filled_cache(built(name), static=kind == "static"))
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError):
            found[kind] = None
    return found


def main() -> None:
    known = json.loads(PLACE.read_text(encoding="utf-8")) if PLACE.exists() else {}
    known[transformers.__version__] = {name: measured(name) for name in MODELS}
    ordered = dict(sorted(known.items(), key=lambda pair: [int(part) for part in pair[0].split(".")]))
    PLACE.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
