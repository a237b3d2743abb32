"""The table that llama.cpp prints as it ends, and where it plans a fit: all that logs at the usual level hold.

Its figures are whole MiB, cut off, and the last table of a device counts.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from kvcalc.logs.llama_cpp.figures import CONTEXT, TOLD
from kvcalc.units import MIB

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.logs.server_log import Printed

_PRINTED = {
    "model buffer": ("model buffer",),
    "compute buffer": ("compute buffer",),
    CONTEXT: ("cache memory", "KV buffer", "states", "RS buffer"),
}
"""The lines of a start that say more exactly what a column of the table does."""


def derived(printed: Mapping[str, tuple[Printed, ...]]) -> Mapping[str, tuple[Printed, ...]]:
    """The table's figures under the names of those of a start, where the log has none of these."""
    found = {name: values for name, values in printed.items() if not name.startswith(TOLD)}
    for name, others in _PRINTED.items():
        last = {each.process: each for each in printed.get(f"{TOLD}{name}", ())}
        if last and not any(other in printed for other in others):
            half = Fraction(MIB, 2)
            found[name] = tuple(each._replace(value=each.value + half, off=half) for each in last.values())
    return found
