"""What verify answers: records whose field names are the keys of JSON."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, ClassVar, Literal

from kvcalc.noun import noun
from kvcalc.record import Record, Result, under

if TYPE_CHECKING:
    from kvcalc.deployment import Deployment
    from kvcalc.note import Note
    from kvcalc.verbs.question import ModelSummary, WorkloadSummary

Relation = Literal["=", "<=", ">="]


@noun
class Check(Record):
    """One claim.

    Attributes:
        name: what is claimed.
        subject: of what.
        predicted: by kvcalc, exact where the unit is bytes or elements, else a bound.
        measured: what was found; None where nothing could be.
        relation: how measured must stand to predicted.
    """

    name: str
    subject: str
    predicted: int | float
    measured: int | float | None
    unit: str
    ok: bool
    relation: Relation = "="


@noun
class Measurement(Record):
    """Something measured about which nothing is claimed.

    Attributes:
        expected: what kvcalc or the catalogue says of it, for comparison; None where they say nothing.
        measured: None where it could not be.
        about: how it was measured, why it was not, or what to make of it.
    """

    name: str
    subject: str
    expected: int | float | None
    measured: int | float | None
    unit: str
    about: str


@noun
class Rung(Record):
    """One way of proving.

    Attributes:
        ran: whether it did.
        about: what it proves, or why it did not run.
    """

    name: str
    ran: bool
    about: str


@noun
class Unsupported(Record):
    """A kind of layer that could not be verified."""

    subject: str
    reason: str


@noun
class Verification(Result):
    """The answer.

    Attributes:
        verified: whether every check is ok and no kind of layer was left out unasked.
        device: meta, cpu or cuda.
        device_name: as its driver calls it.
        torch: version.
        unsupported: kinds of layers that are not verified; `cache bytes` is then of the others.
        not_proven: what no rung shows.
    """

    command: ClassVar[str] = "verify"

    verified: bool
    device: str
    device_name: str
    torch: str
    model: ModelSummary
    workload: WorkloadSummary
    engine: str = field(metadata=under("deployment"))
    engine_version: str | None = field(metadata=under("deployment"))
    deployment: Deployment
    cache_dtype: str
    checks: tuple[Check, ...]
    measurements: tuple[Measurement, ...]
    rungs: tuple[Rung, ...]
    unsupported: tuple[Unsupported, ...]
    not_proven: tuple[Note, ...]
    notes: tuple[Note, ...]

    @property
    def brief(self) -> str:
        return f"{self.model.name} on {self.device}: {'verified' if self.verified else 'NOT verified'}: {self.summary}"

    @property
    def summary(self) -> str:
        """The verdict in a line."""
        failed = sum(not check.ok for check in self.checks)
        if failed:
            return f"{failed} of {len(self.checks)} checks differ"
        if not self.verified:
            kinds = "; ".join(f"{kind.subject}: {kind.reason}" for kind in self.unsupported)
            others = any(check.name == "bytes of layers" for check in self.checks)
            hint = "--skip-unsupported judges the others alone" if others else "nothing else is left"
            return f"there is no proof for {kinds} ({hint})"
        return f"{len(self.checks)} checks, predicted = measured"


def exactly(name: str, subject: str, predicted: int, measured: int | None, unit: str = "bytes") -> Check:
    """Measured equals predicted, to the last one."""
    return Check(name, subject, predicted, measured, unit, predicted == measured)


def at_most(name: str, subject: str, bound: float, measured: float | None, unit: str) -> Check:
    """Measured is a number and no larger than a bound."""
    return Check(name, subject, bound, measured, unit, measured is not None and measured <= bound, "<=")


def at_least(name: str, subject: str, bound: float, measured: float | None, unit: str) -> Check:
    """Measured is a number and no smaller than a bound."""
    return Check(name, subject, bound, measured, unit, measured is not None and measured >= bound, ">=")
