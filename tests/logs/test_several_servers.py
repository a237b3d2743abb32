"""Logs of several servers are refused, never mixed; what collectors and people do to one log changes nothing."""

from __future__ import annotations

import json
import random
from itertools import product
from typing import TYPE_CHECKING

import pytest
from each import for_each
from vllm_start_ups import BOTH, RANKS, V0_6_6, V0_10_2, V0_19, V0_31

from kvcalc.errors import KvcalcError
from kvcalc.logs import read_log_text

if TYPE_CHECKING:
    from collections.abc import Callable

LOGS = {"0.6.6": V0_6_6, "0.10.0": BOTH, "0.10.2": V0_10_2, "0.19": V0_19, "0.31": V0_31, "ranks": RANKS}
OTHER = V0_19.replace("Meta-Llama-3-8B", "Llama-3.1-70B").replace("pid=9)", "pid=77)").replace("14.96", "33.0")


def after(prefix: str) -> Callable[[str], str]:
    return lambda text: "\n".join(prefix + line for line in text.split("\n"))


def mixed(one: str, other: str, seed: int) -> str:
    """Lines of both in their order, taken at random."""
    rng = random.Random(seed)  # noqa: S311  # an order, no secret
    queues = [one.split("\n"), other.split("\n")]
    lines = []
    while left := [queue for queue in queues if queue]:
        lines.append(rng.choice(left).pop(0))
    return "\n".join(lines)


MUTATIONS: dict[str, Callable[[str], str]] = {
    "docker compose": after("my_stack-vllm-1  | "),
    "kubectl --prefix": after("[pod/vllm-7d9f8c-abcde/vllm] "),
    "stern": after("vllm-7d9f8c-abcde vllm "),
    "containerd": after("2026-03-02T10:00:00.123456789Z stdout F "),
    "journalctl": after("Mar 02 10:00:00 gpu-17 docker[1234]: "),
    "a Ray actor": after("\x1b[36m(ServeReplica:default:VLLM pid=4242, ip=10.0.0.7)\x1b[0m "),
    "srun --label": after("0: "),
    "mpirun": after("[1,0]<stdout>: "),
    "a quotation": after("> "),
    "a patch": after("+"),
    "GitHub Actions": after("2026-03-02T10:00:00.1234567Z "),
    "grep": after("logs/vllm.log:12:"),
    "ends of Windows": lambda text: text.replace("\n", "\r\n"),
    "on one line": lambda text: text.replace("\n", " "),
    "ends written out": lambda text: text.replace("\n", "\\n"),
    "ends written out, with times": lambda text: text.replace("\n", "\\n2026-05-01 21:34:19.039 | "),
    "on one line that ends as JSON does": lambda text: text.replace("\n", " ") + ' {"a": 1}}',
    "a JSON string": lambda text: json.dumps({"logs": text}),
    "JSON in JSON": lambda text: json.dumps({"body": json.dumps({"logs": text})}),
    "deep in JSON": lambda text: json.dumps({"a": [{"b": {"c": {"d": {"e": {"f": [{"text": text}]}}}}}]}, indent=1),
}


@for_each(("log", "name"), product(LOGS, MUTATIONS))
def test_what_is_done_to_a_log_changes_no_figure(log: str, name: str) -> None:
    plain, done = read_log_text(LOGS[log]), read_log_text(MUTATIONS[name](LOGS[log]))
    figures = [
        {key: sorted(each.value for each in values) for key, values in each.printed.items()} for each in (plain, done)
    ]
    assert figures[0] == figures[1]
    assert (plain.version, plain.model, plain.settings) == (done.version, done.model, done.settings)


def test_the_format_of_states_that_a_model_asks_for_is_read() -> None:
    line = "(APIServer pid=1) INFO 03-18 06:54:59 [config.py:506] Updating mamba_ssm_cache_dtype to 'float32' for N\n"
    assert read_log_text(line + V0_19).settings["--state-dtype"] == "float32"


@pytest.mark.parametrize("seed", range(5))
def test_two_servers_in_one_log_are_refused(seed: int) -> None:
    with pytest.raises(KvcalcError, match=r"lines of several servers are mixed in the log \(EngineCore pid (9|77) and"):
        read_log_text(mixed(V0_19, OTHER, seed))


def test_two_services_are_named_and_one_is_read() -> None:
    text = mixed(after("one-1  | ")(V0_19), after("other-1  | ")(OTHER), 1)
    with pytest.raises(KvcalcError, match=r"2 servers \(.*other-1.*grep -F '(one|other)-1  \|' FILE"):
        read_log_text(text)
    own = "\n".join(line for line in text.split("\n") if line.startswith("one-1  |"))
    assert read_log_text(own).printed == read_log_text(V0_19).printed


def test_one_server_after_another_is_a_restart() -> None:
    log = read_log_text(V0_19 + OTHER)
    assert (log.starts, log.model) == (2, "meta-llama/Llama-3.1-70B")


def test_pods_of_one_server_are_one() -> None:
    """A worker's pod has ranks and no engine."""
    leader, worker = (
        after("[pod/vllm-0/vllm] ")(V0_19),
        after("[pod/vllm-0-1/vllm] ")(RANKS.rpartition("(EngineCore")[0]),
    )
    assert len(read_log_text(leader + worker).printed["cache memory"]) == 3  # the engine's and two ranks'
