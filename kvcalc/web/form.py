"""What can be chosen on the page: its fields, each an option of `kvcalc estimate`, and names to choose from."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from kvcalc import __version__
from kvcalc.catalogue import model_names, shipped, shipped_gpus, shipped_models
from kvcalc.catalogue.name_index import paths_named
from kvcalc.catalogue.name_words import spelled
from kvcalc.catalogue.pasted import MOST
from kvcalc.charts.looks import style
from kvcalc.render.screens.answer import size
from kvcalc.render.screens.listing import short
from kvcalc.scenario.option import options_of
from kvcalc.scenario.options import ScenarioOptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvcalc.gpu import Gpu
    from kvcalc.model.model import Model
    from kvcalc.scenario.option import Option

FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "gpu": "Accelerator",
        "engine": "Engine",
        "context": "Context",
        "batch": "Sequences",
        "cache_dtype": "Cache format",
        "weight_dtype": "Weight format",
        "tp": "Tensor parallel",
        "pp": "Pipeline parallel",
        "dp": "Data parallel",
        "ep": "Expert parallel",
        "dp_attention": "DP attention",
        "gpus": "GPUs at most",
        "utilization": "Utilization",
        "gpu_memory": "GPU memory",
        "shared_prefix": "Shared prefix",
        "mtp": "MTP tokens",
        "weights": "Weights",
        "engine_option": "Engine options",
        "assume": "Assume",
    }
)
"""Options that the page has, and how it calls them; those up to `tp` are always in sight."""
IN_SIGHT = 7
START = MappingProxyType({"model": "llama-3-70b", "options": {"context": "8Ki", "batch": "32"}})
"""What the page shows first."""
MOST_NAMES = 12
"""Names that a search lists."""


def form() -> dict[str, Any]:
    """The fields, each with its name, its help and what it may be; what the page begins with; and its limits."""
    options = options_of(ScenarioOptions)
    fields = [
        {
            "name": name,
            "label": label,
            "help": options[name].sentence,
            "switch": not options[name].metavar,
            "placeholder": _placeholder(options[name]),
            "values": list(_values(name)),
            "more": index >= IN_SIGHT,
        }
        for index, (name, label) in enumerate(FIELDS.items())
    ]
    return {
        "version": __version__,
        "fields": fields,
        "start": dict(START),
        "most_characters": MOST,
        "chart_style": style(),
    }


def _placeholder(option: Option) -> str:
    """What is taken where nothing is given: the default, or what the end of its help says of it."""
    told = re.search(r"\(((?:the |\d)[^()]+)\)\.?$", option.help)
    return str(option.default or (told[1] if told else option.metavar))


def _values(name: str) -> Iterator[str]:
    """What a field offers; names of accelerators are searched."""
    values = options_of(ScenarioOptions)[name].values
    return iter(values() if values and name != "gpu" else ())


def models(word: str) -> dict[str, Any]:
    """Models that have a word in one of their names: those that begin with it first, and then the short ones."""
    names = [path.stem for path in paths_named(word)] if spelled(word) else model_names()
    shown = sorted(names, key=lambda name: _rank(word, name))[:MOST_NAMES]
    found = shipped_models([shipped.MODELS / f"{name}.yaml" for name in shown])
    rows = [{"name": each.model.name, "about": _about(each.model)} for each in found]
    return {"found": rows, "told": _told(len(rows), len(names), "model")}


def gpus(word: str) -> dict[str, Any]:
    """Accelerators that have a word in their name, their title or an alias, ranked likewise."""
    key = spelled(word)
    found = {gpu.name: gpu for gpu in shipped_gpus() if any(key in spelled(name) for name in _names(gpu))}
    shown = sorted(found, key=lambda name: _rank(word, name))[:MOST_NAMES]
    rows = [{"name": name, "about": _title(found[name])} for name in shown]
    return {"found": rows, "told": _told(len(rows), len(found), "accelerator")}


def _rank(word: str, name: str) -> tuple[bool, bool, int, str]:
    key, own = spelled(word), spelled(name)
    return not own.startswith(key), key not in own, len(name), name


def _names(gpu: Gpu) -> Iterator[str]:
    yield from (gpu.name, gpu.title or "", *gpu.aliases)


def _title(gpu: Gpu) -> str:
    memory = "" if gpu.memory_bytes is None else size(gpu.memory_bytes, "GiB")
    return ", ".join(each for each in (gpu.title, memory) if each)


def _about(model: Model) -> str:
    """'70.6B parameters, gqa, 80 layers'."""
    kinds = dict.fromkeys(layer.attention.kind for layer in model.distinct())
    parameters = () if model.parameters is None else (f"{short(model.parameters)} parameters",)
    return ", ".join((*parameters, " + ".join(kinds), f"{model.num_layers:,} layers"))


def _told(shown: int, found: int, noun: str) -> str:
    """What a screen reader is told: '12 of 37 models'."""
    if not found:
        return f"no {noun} has such a name"
    plural = noun if found == 1 else f"{noun}s"
    return f"{found:,} {plural}" if shown == found else f"{shown:,} of {found:,} {plural}"
