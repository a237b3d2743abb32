"""A speed that was measured, as an estimate tells it."""

from __future__ import annotations

from kvcalc.noun import noun
from kvcalc.record import Record


@noun
class MeasuredSpeed(Record):
    """What a machine took for attention of a decode step, of another run: it says nothing of other machines.

    Attributes:
        machine: its name, device, threads and torch.
        layer: the kind of layer that was measured.
        layers: how many of them the model has.
        seconds_per_layer: the median.
        bound_seconds_per_layer: by the bandwidth and the rate that were measured there.
        seconds: of all of these layers, without weights.
    """

    machine: str
    layer: str
    layers: int
    seconds_per_layer: float
    bound_seconds_per_layer: float
    seconds: float

    @property
    def words(self) -> str:
        """What a person reads of it."""
        each, bound = self.seconds_per_layer, self.bound_seconds_per_layer
        return (
            f"measured on {self.machine}: attention of a step takes {each * 1000:.3g} ms a layer, {each / bound:.2f} "
            f"times the bound of that machine ({bound * 1000:.3g} ms), and {self.seconds * 1000:.4g} ms for "
            f"{self.layers:,} layers of that kind, without weights"
        )
