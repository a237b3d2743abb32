"""What is kept or sent beside the accelerators that decode."""

from fractions import Fraction
from functools import partial
from typing import Annotated, Any, TypedDict

from kvcalc.errors import KvcalcError
from kvcalc.scenario.option import Option
from kvcalc.scenario.reading import positive, size

of_tiers = partial(Option, panel="Tiers")


def some(value: Any, what: str) -> int:
    """Bytes, and not none."""
    found = size(value, what)
    if not found:
        raise KvcalcError(f"{what}: must be at least 1 byte")
    return found


HANDOFF = of_tiers(
    "SIZE", "What each GPU that reads prompts sends in a second to one that decodes, as 50GB.", read=some
)


class Tiers(TypedDict, total=False):
    host_memory: Annotated[
        int | str | None,
        of_tiers("SIZE", "Host memory of a replica for sequences that pause: how many it keeps.", read=some),
    ]
    disk: Annotated[int | str | None, of_tiers("SIZE", "The same of a disk.", read=some)]
    disk_bandwidth: Annotated[
        int | str | None, of_tiers("SIZE", "What that disk reads in a second, as 7GB.", read=some)
    ]
    handoff: Annotated[int | str | None, HANDOFF]
    rps: Annotated[
        float | str | Fraction | None,
        of_tiers("R", "Requests a second: replicas that read prompts and that decode (--handoff).", read=positive),
    ]
