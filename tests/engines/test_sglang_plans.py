"""SGLang's own settings and pools of drawn models and servers, as its code planned them on a CPU, beside kvcalc's.

`make test-live-sglang` asks SGLang anew, of others too.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from sglang_plans import DATA, differences

KEPT: dict[str, Any] = json.loads((DATA / "plans.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("kind", sorted({record["kind"] for record in KEPT["records"]}))
def test_kvcalc_says_what_sglang_planned(kind: str) -> None:
    of_kind = [record for record in KEPT["records"] if record["kind"] == kind]
    assert len(of_kind) >= 10
    for record in of_kind:
        assert differences(KEPT["version"], KEPT["card"], record) == {}, record["options"]
