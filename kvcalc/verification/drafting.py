"""A model and what drafts its tokens: each is verified, and their caches together are what estimate counts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvcalc.deployment import Deployment
from kvcalc.engines.side_by_side import DRAFT
from kvcalc.scenario.draft_of import draft_copies, draft_deployment, draft_scenario
from kvcalc.verbs.estimate import estimate
from kvcalc.verification.result import Check, exactly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kvcalc.scenario import Scenario
    from kvcalc.verification.result import Verification

WHOLE = "cache bytes"


def verify_both(scenario: Scenario, verify: Callable[[Scenario], Verification]) -> Verification:
    """What is found of the model, and of one copy of what drafts.

    Args:
        scenario: with a draft or without one.
        verify: of a model alone.
    """
    deployment, draft = scenario.deployment or Deployment(), draft_scenario(scenario)
    own = verify(replace(scenario, drafting=None))
    if draft is None:
        return own
    found = verify(replace(draft, deployment=draft_deployment(scenario, deployment)))
    checks = (
        *(_renamed(check, "bytes of model") for check in own.checks),
        *(replace(_renamed(check, "bytes of draft"), subject=f"{DRAFT}, {check.subject}") for check in found.checks),
        *_together(scenario, own, found, draft_copies(scenario, deployment)),
    )
    return replace(
        own,
        verified=own.verified and found.verified and all(check.ok for check in checks),
        checks=checks,
        measurements=(
            *own.measurements,
            *(replace(each, subject=f"{DRAFT}, {each.subject}") for each in found.measurements),
        ),
        unsupported=(
            *own.unsupported,
            *(replace(each, subject=f"{DRAFT}, {each.subject}") for each in found.unsupported),
        ),
    )


def _renamed(check: Check, name: str) -> Check:
    """What is said of a whole cache is said of a part of it here."""
    return replace(check, name=name) if check.name == WHOLE else check


def _together(scenario: Scenario, own: Verification, found: Verification, copies: int) -> Iterator[Check]:
    """The cache that estimate counts, where all of it was allocated by the plain formulas."""
    if own.unsupported or found.unsupported or not scenario.engine.plain:
        return
    held = [check.measured for each in (own, found) for check in each.checks if check.name == WHOLE]
    model, draft = (int(each or 0) for each in held)
    times = f" of {copies:,} copies" if copies > 1 else ""
    subject = f"{own.model.name} and {DRAFT} {found.model.name}{times}"
    yield exactly(WHOLE, subject, estimate(scenario).cache.bytes, model + copies * draft)
