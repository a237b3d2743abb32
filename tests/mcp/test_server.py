"""The server as a client of the official SDK finds it: a process, standard input and output."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest
from conftest import ROOT

from kvcalc.schema import output_schema

pytestmark = pytest.mark.skipif(
    find_spec("mcp") is None, reason="of the extra mcp, which the oldest pydantic that is allowed is too old for"
)

YAML = "name: mine\nlayers:\n  - {count: 2, attention: {kind: mha, num_heads: 4, head_dim: 64}}\n"
HIDDEN = "hunter2: [nobody sees this"
SERVER = ["-m", "kvcalc", "mcp"]


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one session hears, which a client checks against the schemas that the server gave."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "mine.yaml").write_text(YAML, encoding="utf-8")
    (folder.parent / "secret.yaml").write_text(HIDDEN, encoding="utf-8")
    import anyio  # comes with mcp, whose import takes two seconds: where these tests run, and no other worker

    return dict(anyio.run(_session, folder))


async def _session(folder: Path) -> dict[str, Any]:
    import anyio
    import mcp

    server = mcp.StdioServerParameters(
        command=sys.executable, args=[*SERVER, "--files", str(folder)], env={"PYTHONPATH": str(ROOT)}, cwd=folder.parent
    )
    async with mcp.Client(mcp.stdio_client(server)) as client:
        listed = await client.list_tools()
        calls: dict[str, dict[str, Any]] = {
            "estimate": {"model": "llama-3-70b", "batch": 32, "context": "8Ki"},
            "capacity": {"model": "mine.yaml", "cache_memory": "1GiB"},
            "compare": {"model": "../secret.yaml"},
            "plan": {"model": str(folder.parent / "secret.yaml")},
            "models_show": {"model": str(folder / "mine.yaml")},
            "gpus_show": {"gpu": "h1000"},
            "no_such_tool": {},
        }
        found = {name: await client.call_tool(name, given) for name, given in calls.items()}
        many: list[Any] = []

        async def ask(batch: int) -> None:
            many.append((batch, await client.call_tool("estimate", {"model": "llama-3-8b", "batch": batch})))

        async with anyio.create_task_group() as group:
            for batch in range(1, 9):
                group.start_soon(ask, batch)
    return {**found, "tools": listed.tools, "many": many}


def test_the_tools_are_listed_with_both_schemas(said: dict[str, Any]) -> None:
    listed = {each.name: each for each in said["tools"]}
    assert listed["estimate"].output_schema == output_schema("estimate")
    assert listed["estimate"].input_schema["properties"]["batch"]["type"] == ["integer", "string"]
    assert all(each.description and each.annotations.read_only_hint for each in said["tools"])


def test_an_answer_is_the_object_and_its_text(said: dict[str, Any]) -> None:
    answer = said["estimate"]
    assert not answer.is_error
    assert answer.structured_content["cache"]["bytes"] == 2 * 80 * 32 * 8192 * 8 * 128 * 2
    assert json.loads(answer.content[0].text) == answer.structured_content


def test_a_refusal_is_an_answer_of_the_tool(said: dict[str, Any]) -> None:
    assert said["gpus_show"].is_error
    assert "gpu: no accelerator 'h1000'; did you mean 'h100'" in said["gpus_show"].content[0].text
    assert "no tool 'no_such_tool'; there are estimate" in said["no_such_tool"].content[0].text


def test_files_of_the_folder_alone_are_read(said: dict[str, Any]) -> None:
    assert said["models_show"].structured_content["model"]["name"] == "mine"
    assert said["capacity"].structured_content["model"]["name"] == "mine"
    for name in ("compare", "plan"):
        assert said[name].is_error
        assert "files are not read here" in said[name].content[0].text
        assert "hunter2" not in said[name].content[0].text


def test_calls_at_the_same_time_are_all_answered(said: dict[str, Any]) -> None:
    assert sorted(batch for batch, _ in said["many"]) == [*range(1, 9)]
    for batch, answer in said["many"]:
        assert answer.structured_content["workload"]["batch"] == batch


def test_what_is_no_message_ends_nothing() -> None:
    """Odd lines, then a proper start: the answer comes, stdout holds messages alone, and the end of input ends it."""
    begin = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "by hand", "version": "1"},
        },
    }
    then = [
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "estimate", "arguments": [1]}},
        {"jsonrpc": "2.0", "id": 3, "method": "no/such"},
        {
            "jsonrpc": "2.0",
            "id": 4,
            "method": "tools/call",
            "params": {"name": "gpus_show", "arguments": {"gpu": "t4"}},
        },
    ]
    lines = ["", "{", "[1, 2]", '"a word"', "\x00\ud800".encode("utf-8", "replace").decode(), json.dumps(begin)]
    answers: dict[Any, Any] = {}
    with subprocess.Popen(
        [sys.executable, *SERVER], stdin=PIPE, stdout=PIPE, stderr=PIPE, encoding="utf-8", cwd=ROOT
    ) as server:
        assert server.stdin
        assert server.stdout
        assert server.stderr
        server.stdin.write("\n".join([*lines, *map(json.dumps, then)]) + "\n")
        server.stdin.flush()
        while 4 not in answers:  # an answer that is still computed when input ends is not given
            answer = json.loads(server.stdout.readline())
            answers[answer.get("id")] = answer
        server.stdin.close()
        rest, told = server.stdout.read(), server.stderr.read()
    assert (server.returncode, rest) == (0, "")
    assert answers[1]["result"]["serverInfo"]["name"] == "kvcalc"
    assert "error" in answers[2]
    assert "error" in answers[3]
    assert answers[4]["result"]["structuredContent"]["gpu"]["name"] == "t4"
    assert "Traceback" not in told
