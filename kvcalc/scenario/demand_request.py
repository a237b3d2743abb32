"""What `demand` is asked for: a model as it is served, the requests of a trace, and how they come and go."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kvcalc.access import own_files
from kvcalc.catalogue.shipped import trace_names, trace_path
from kvcalc.errors import KvcalcError
from kvcalc.files import is_there
from kvcalc.scenario.make import make_scenario
from kvcalc.scenario.option import read_options, split_options
from kvcalc.scenario.options import ServedOptions, TraceOptions
from kvcalc.traces import read_trace

if TYPE_CHECKING:
    from collections.abc import Mapping
    from fractions import Fraction

    from kvcalc.model.model import Model
    from kvcalc.scenario.scenario import Scenario
    from kvcalc.traces import Trace


class Serving(NamedTuple):
    """How the requests of a trace come and go.

    Attributes:
        tokens_per_second: of each request; None: the bound of decoding.
        concurrency: requests at most at the same time; None: all that are there.
        rate: requests a second, of a Poisson process instead of the trace's arrivals; None: as the trace has them.
        seed: of that process.
        prefix_cache: bytes for blocks of prefixes; None: what requests leave.
    """

    tokens_per_second: Fraction | None = None
    concurrency: int | None = None
    rate: Fraction | None = None
    seed: int = 0
    prefix_cache: int | None = None


class DemandRequest(NamedTuple):
    """The demand that is asked for.

    Attributes:
        scenario: the model, and where and how it is served; its workload plays no part.
        trace: the requests.
        serving: how they come and go.
    """

    scenario: Scenario
    trace: Trace
    serving: Serving


def make_demand_request(model: Model | str | Path | None, options: Mapping[str, Any]) -> DemandRequest:
    """What `demand` is asked for, from its options as people write them.

    Raises:
        KvcalcError: a trace that cannot be read, or anything else that cannot be, with the option named.
    """
    given = read_options(TraceOptions, split_options(TraceOptions, options)[0])
    served, _ = split_options(ServedOptions, options)
    if given["trace"] is None:
        raise KvcalcError("--trace: is needed: a file of requests, CSV or JSON Lines (- is stdin)")
    if served.get("gpus") is not None:
        raise KvcalcError("--gpus: demand finds the fewest; leave it out, or give --tp, --pp and --dp")
    scenario = make_scenario(model, context=1, **served)
    file, time_unit, hash_block = (given.pop(name) for name in ("trace", "time_unit", "hash_block"))
    shipped = _shipped_trace(file)
    with own_files() if shipped else nullcontext():
        trace = read_trace(shipped or file, time_unit, hash_block)
    return DemandRequest(scenario, trace, Serving(**given))


def _shipped_trace(file: str | Path) -> Path | None:
    """A trace that ships, where there is no file of that name."""
    if str(file) == "-" or is_there(Path(file)):
        return None
    shipped = trace_path(str(file))
    if shipped is None:
        names = ", ".join(trace_names())
        raise KvcalcError(f"--trace: there is no file {str(file)[:120]}; these ship with kvcalc: {names}")
    return shipped
