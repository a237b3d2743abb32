"""What a verification takes itself: the caches and little more, no model's weights, and torch only when it begins."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, NamedTuple

import pytest

MIB = 2**20
HALF = 2**29

# Linux hands a process the peak of the one that started it, so a small one stands between the tests and what they
# measure. https://man7.org/linux/man-pages/man2/getrusage.2.html: ru_maxrss is in KiB.
LAUNCHER = """
import os, sys
pid = os.posix_spawn(sys.executable, [sys.executable, *sys.argv[1:]], os.environ)
_, status, usage = os.wait4(pid, 0)
sys.stderr.write(f"{usage.ru_maxrss * 1024}\\n")
sys.exit(os.waitstatus_to_exitcode(status))
"""
IMPORTS = "import kvcalc.cli.verify, kvcalc.verification.run, kvcalc.render.screens.verify"


class Ended(NamedTuple):
    stdout: str
    peak: int


def measured(*words: str) -> Ended:
    """Run Python in a process of its own and give what it printed and the most memory it had."""
    run = subprocess.run([sys.executable, "-S", "-c", LAUNCHER, *words], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return Ended(run.stdout, int(run.stderr.splitlines()[-1]))


def verify(*words: str) -> tuple[dict[str, Any], int]:
    ended = measured("-m", "kvcalc", "verify", *words, "--device", "cpu", "--json")
    return json.loads(ended.stdout), ended.peak


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="peaks are counted as Linux counts them")


@pytest.fixture(scope="module")
def without_caches() -> tuple[dict[str, Any], int]:
    """All that a verification does, of a large model that keeps next to nothing: 5 MiB."""
    return verify("llama-3-70b", "-c", "16")


def test_a_verification_takes_its_caches_and_little_more(without_caches: tuple[dict[str, Any], int]) -> None:
    printed, peak = verify("llama-3-8b", "-c", "4096")
    [whole] = [check["measured"] for check in printed["checks"] if check["name"] == "cache bytes"]
    assert whole == HALF
    [host] = [one for one in printed["measurements"] if one["name"] == "host memory"]
    assert host["expected"] == HALF
    assert HALF * 0.99 <= host["measured"] <= HALF * 1.01
    assert HALF * 0.98 <= peak - without_caches[1] <= HALF * 1.05


def test_no_weights_are_made_where_nothing_is_decoded(without_caches: tuple[dict[str, Any], int]) -> None:
    """One layer's projections alone would be 288 MiB in bf16: 8,192 x (8,192 + 2 x 1,024 + 8,192) elements."""
    printed, peak = without_caches
    assert printed["verified"]
    assert peak - measured("-c", IMPORTS).peak < 144 * MIB


def imports_torch(code: str) -> bool:
    script = f"import sys\n{code}\nsys.stderr.write(f'{{\"torch\" in sys.modules}}')"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return {"True": True, "False": False}[run.stderr.split()[-1]]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("estimate", "deepseek-v3", "--tp", "8", "--json"), 0),
        (("verify", "--help"), 0),
        (("verify", "llama-3-8b", "--device", "tpu"), 2),
        (("verify", "llama-3-7b"), 2),
        (("verify", "llama-3-8b", "-c", "128k"), 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_torch_is_not_imported_before_it_is_needed(words: tuple[str, ...], code: int) -> None:
    assert not imports_torch(f"from kvcalc.cli.app import run\nassert run({list(words)!r}) == {code}")


def test_the_package_and_its_estimate_do_not_import_torch() -> None:
    assert not imports_torch("import kvcalc\nkvcalc.estimate('llama-3-8b')\nkvcalc.verify")


def test_an_import_of_torch_would_be_seen() -> None:
    assert imports_torch("sys.modules['torch'] = sys")
