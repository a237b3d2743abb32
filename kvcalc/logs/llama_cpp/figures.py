"""The figures in llama.cpp's start-up log, and how its sizes, counts and devices are written."""

from __future__ import annotations

from types import MappingProxyType

from kvcalc.logs.dialect import Figure, Unit

TOLD = "told at the end: "
"""Before the name of a figure of the table that is printed at the end, or of what is planned: whole MiB, cut off."""
CONTEXT = "caches and states"
MMPROJ = "mmproj"
"""Towers for images or sound with their compute buffer."""

MIB = r"\d{1,9}(?:\.\d{1,6})?"
COUNT = r"\d{1,12}"
DEVICE = r"[A-Za-z]\w{1,40}(?:\[\w{1,40}\])?"


def _mib(name: str) -> Figure:
    return Figure(name, Unit.MIB, decimals=2)


FIGURES = MappingProxyType(
    {
        "kv": _mib("cache memory"),
        "states": _mib("states"),
        "kv_buffer": _mib("KV buffer"),
        "rs_buffer": _mib("RS buffer"),
        "compute": _mib("compute buffer"),
        "model_buffer": _mib("model buffer"),
        "mmproj": _mib(MMPROJ),
        "cells": Figure("cells", Unit.TOKENS),
        "layers_kv": Figure("layers with KV", Unit.BLOCKS),
        "tokens": Figure("tokens", Unit.TOKENS),
        "vram": Figure("total memory", Unit.MIB),
        "working_set": Figure("working set", Unit.MB, decimals=2),
        "free": Figure("free memory", Unit.MIB),
        "on_cards": Figure("layers on cards", Unit.BLOCKS),
        "of_layers": Figure("layers", Unit.BLOCKS),
        "model_told": Figure(f"{TOLD}model buffer", Unit.MIB),
        "context_told": Figure(f"{TOLD}{CONTEXT}", Unit.MIB),
        "compute_told": Figure(f"{TOLD}compute buffer", Unit.MIB),
        "host_experts": Figure("layer with experts on the host", Unit.BLOCKS),
    }
)
"""Each by the name of its group in the patterns of `lines`. The process of a buffer is its device."""
