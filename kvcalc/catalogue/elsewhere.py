"""Models whose files lie on another machine: which repository a path is of, by the names of its folders."""

from __future__ import annotations

import re
from pathlib import Path

from kvcalc.catalogue.model_files import is_spelled_as_path
from kvcalc.catalogue.name_index import known_names

_CACHED = re.compile(r"models--([\w.-]{1,96}?)--([\w.-]{1,96})")
"""A folder of the Hub's cache; huggingface_hub, file_download.py, repo_folder_name."""
_SNAPSHOT = re.compile(r"/snapshots/[\w.-]{1,64}$")
_POINT = "___"
"""What ModelScope writes for a point in the names of its folders (modelscope/hub/snapshot_download.py)."""
_GGUF = ".gguf"
_PART = re.compile(r"-\d{5}-of-\d{5}$")
"""Of a file in several parts (src/llama.cpp, llama_split_path)."""
_BY_ITS_ENDING = re.compile(r"[-_.](?:q\d|b?f16|fp16|f32|mxfp4)$", re.IGNORECASE)
"""A word that tells a format of llama.cpp only where its ending follows: phi-3-mini-4k-instruct-q4.gguf, and
gpt-oss-20b-F16.gguf, whose experts are in mxfp4 all the same."""
_MLX = "mlx-community"
_MAX_PATH = 1024


def name_in_path(path: str) -> str | None:
    """ORG/NAME of a folder of the Hub's cache, else the name of the file or the folder; None where it is no path.

    The folder above is taken for an organisation where the catalogue has models of it.
    """
    text = path.strip()[:_MAX_PATH].replace("\\", "/").rstrip("/").replace(_POINT, ".")
    cached = cached_id(text)
    if cached is not None:
        return cached
    *above, last = _SNAPSHOT.sub("", text).split("/")
    is_file = last.lower().endswith(_GGUF)
    if not is_file and len(above) < 2 and not is_spelled_as_path(path, Path(path)):  # noqa: PLR2004  # ORG/NAME
        return None
    name = _PART.sub("", last[: -len(_GGUF)]) if is_file else last
    if is_file and _BY_ITS_ENDING.search(name):
        return f"{name}-GGUF"
    if not is_file and above and above[-1].lower() in _organisations():
        return f"{above[-1]}/{name}"
    return name or None


def cached_id(path: str) -> str | None:
    """ORG/NAME of a folder of the Hub's cache; None of any other path."""
    found = _CACHED.search(path)
    return None if found is None else f"{found[1]}/{found[2]}"


def _organisations() -> set[str]:
    return {_MLX, *(name.organisation for name in known_names() if name.organisation)}
