"""Repositories of the Hub that have the very sizes of a model of the catalogue, whatever they are called.

Their config.json has its model type, layers, heads, widths, experts, vocabulary and context. The weights of fine-tunes
and merges are all its parameters; re-quantisations whose format stands in their names are listed where the name alone
would not tell the model. configs/same_sizes.tsv has a line for each model, its name and theirs, of the table that
llmfit 1.1.17 (PyPI, MIT licence) built from the Hub in September 2026. Windows are not in that table: where a model
slides over one that its relatives have not, only those that are known to come from it are listed.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from kvcalc.access import own_files
from kvcalc.catalogue import shipped

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NAME = "same_sizes.tsv"
_SIZE = re.compile(r"(?<![\d.])\d+(?:\.\d+)?[bm](?![a-z\d])")


def path_of_same_sizes(name: str) -> Path | None:
    """The file of the model that a repository has the sizes of.

    Its organisation may be left out where its name says how large it is: zero or fine_tuned_coder may be anything. None
    where it is not listed, or two of that name have different sizes.
    """
    model = _models().get(name.strip().lower())
    return None if model is None else shipped.path_of(shipped.MODELS, model)


@lru_cache(maxsize=1)
def _models() -> Mapping[str, str | None]:
    with own_files():
        text = (shipped.CONFIGS / NAME).read_text(encoding="utf-8")
    found: dict[str, str | None] = {}
    for line in text.splitlines():
        model, _, repositories = line.partition("\t")
        for repository in repositories.lower().split(" "):
            found[repository] = model
            bare = repository.rpartition("/")[2]
            if _SIZE.search(bare):
                found[bare] = model if found.get(bare, model) == model else None
    return found
