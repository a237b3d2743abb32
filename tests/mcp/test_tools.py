"""Tools as agents call them, in this process: what they take, what they answer, and what they never tell."""

from __future__ import annotations

import ast
import contextlib
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import ROOT, Kvcalc
from jsonschema import Draft202012Validator
from vllm_start_ups import V0_6_6

from kvcalc.access import Access, limited_to
from kvcalc.cli.app import COMMANDS
from kvcalc.errors import KvcalcError
from kvcalc.mcp.server import call, message_of
from kvcalc.mcp.tools import tools
from kvcalc.scenario.option import options_of
from kvcalc.scenario.options import CompareOptions, PlanOptions, ScenarioOptions
from kvcalc.schema import commands, output_schema

if TYPE_CHECKING:
    from collections.abc import Iterator

YAML = "name: mine\nlayers:\n  - {count: 2, attention: {kind: mha, num_heads: 4, head_dim: 64}}\n"
CONFIG = json.dumps(
    {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "hidden_size": 256,
        "intermediate_size": 512,
        "vocab_size": 1000,
        "torch_dtype": "bfloat16",
    }
)

VLLM = "vllm serve Qwen/Qwen3-8B --max-model-len 32768"

NO_TOOLS = {
    "bench": "keeps a machine busy for minutes",
    "mcp": "is what serves them",
    "web": "serves people",
    "sweep": "has rows for files, not for a conversation",
    "report": "is a document, and each of its answers is a tool",
    "plot": "is a picture, and its figures are a tool's",
}
"""Commands that are none, and why."""


@pytest.fixture(autouse=True)
def _strangers() -> Iterator[None]:
    with limited_to(Access()):
        yield


def refused(tool: str, arguments: dict[str, Any]) -> str:
    with pytest.raises(KvcalcError) as error:
        call(tool, arguments)
    return message_of(error.value)


def test_every_verb_is_a_tool() -> None:
    assert {each.partition("_")[0] for each in tools()} | {*NO_TOOLS} == {*COMMANDS}
    assert {each.command for each in tools().values() if each.gives is None} == {*commands()} - {"bench"}


@pytest.mark.parametrize(
    ("tool", "table"), [("estimate", ScenarioOptions), ("compare", CompareOptions), ("plan", PlanOptions)]
)
def test_a_tool_takes_every_option_of_its_verb(tool: str, table: Any) -> None:
    takes = tools()[tool].takes
    for name, option in options_of(table).items():
        assert takes[name]["description"] == option.sentence
    assert takes["batch"]["type"] == ["integer", "string"]


@pytest.mark.parametrize("tool", tools())
def test_schemas_of_arguments_are_draft_2020_12_and_closed(tool: str) -> None:
    schema = tools()[tool].input_schema
    Draft202012Validator.check_schema(schema)
    assert (schema["type"], schema["additionalProperties"]) == ("object", False)
    assert all("description" in each for each in schema["properties"].values())


@pytest.mark.parametrize(
    ("tool", "arguments", "line"),
    [
        ("estimate", {"model": "llama-3-70b", "batch": 32, "context": "8Ki"}, "estimate llama-3-70b -b 32 -c 8Ki"),
        ("estimate", {"layers": 2, "heads": "4", "head_dim": 64}, "estimate --layers 2 --heads 4 --head-dim 64"),
        ("capacity", {"model": "gemma-3-27b", "cache_memory": "20GiB"}, "capacity gemma-3-27b --cache-memory 20GiB"),
        ("compare", {"model": "llama-3-8b", "batch": None}, "compare llama-3-8b"),
        ("compare", {"models": ["llama-3-8b", "qwen3-8b"]}, "compare llama-3-8b qwen3-8b"),
        (
            "plan",
            {"model": "llama-3-8b", "gpu": ["h100", "l40s"], "prices": {"h100": 3, "l40s": 1.5}},
            "plan llama-3-8b --gpu h100,l40s --price h100=3 --price l40s=1.5",
        ),
        ("explain", {"name": "mla"}, "explain mla"),
        ("models_list", {"word": "qwen", "fits": "h100"}, "models list qwen --fits h100"),
        ("models_show", {"model": "qwen3-8b"}, "models show qwen3-8b"),
        ("estimate", {"model": "llama-3-8b", "context": "4Ki,8Ki"}, "estimate llama-3-8b -c 4Ki,8Ki"),
        ("compare", {"model": "llama-3-8b", "gpu": "h100,l40s"}, "compare llama-3-8b --gpu h100,l40s"),
        ("demand", {"model": "llama-3-8b", "trace": "chat"}, "demand llama-3-8b --trace chat"),
        ("capacity_from_command", {"command": VLLM}, f"capacity --from-command '{VLLM}'"),
        ("gpus_list", {}, "gpus list"),
        ("gpus_show", {"gpu": "h100"}, "gpus show h100"),
        pytest.param("verify", {"model": "gemma-3-1b"}, "verify gemma-3-1b --device meta", marks=pytest.mark.torch),
    ],
)
def test_an_answer_is_what_the_command_prints(tool: str, arguments: dict[str, Any], line: str, kvcalc: Kvcalc) -> None:
    assert call(tool, arguments) == json.loads(kvcalc(*shlex.split(line), "--json").stdout)


def test_a_log_is_given_as_text(tmp_path: Path, kvcalc: Kvcalc) -> None:
    file = tmp_path / "server.log"
    file.write_text(V0_6_6, encoding="utf-8")
    answer = call("capacity_from_log", {"log": V0_6_6})
    Draft202012Validator(output_schema("capacity")).validate(answer)
    with limited_to(Access((str(tmp_path),))):
        printed = json.loads(kvcalc("capacity", "--from-log", str(file), "--json").stdout)
    assert {**answer, "exact": None} == {**printed, "exact": None}  # its command names the file


@pytest.mark.parametrize("text", [YAML, CONFIG], ids=["yaml", "config.json"])
def test_a_model_is_given_as_text(text: str) -> None:
    assert call("estimate", {"model_text": text, "context": 1024})["model"]["layers"] == 2
    assert "count: 2" in call("models_show", {"model_text": text})["text"]


def test_what_a_config_lacks_is_assumed() -> None:
    lacking = json.loads(CONFIG)
    del lacking["num_attention_heads"]
    lacking["head_dim"] = 64
    told = refused("estimate", {"model_text": json.dumps(lacking)})
    assert "--assume num_attention_heads=" in told
    assert call("estimate", {"model_text": json.dumps(lacking), "assume": {"num_attention_heads": 4}})


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"model": "llama-3-70b", "bach": 2}, "no argument 'bach'; did you mean 'batch'?"),
        ({"model": "llama-3-70b", "batch": 1.5}, "batch: 1.5 is not of type"),
        ({"model": "llama-3-70b", "batch": [1]}, "batch: [1] is not of type"),
        ({"model": "llama-3-70b", "context": "128k"}, "128Ki"),
        ({"model": "llama-3-70b", "reserve": ["x=1"]}, "reserve: ['x=1'] is not of type"),
        ({"model": "llama-3-7b"}, "llama-3-8b"),
        ({"model": 3}, "model: 3 is not of type 'string'"),
        ({"model": "llama-3-8b", "model_text": YAML}, "not both"),
        ({"model_text": YAML + "  - oops\n"}, "model_text:4:5"),
        ({"model_text": "[" * 100_000}, "nesting depth"),
        ({"model_text": "{" * 100_000}, "not JSON"),
        ({"model_text": "x" * 1_000_001}, "more than 1,000,000 characters"),
        ({"model_text": ""}, "model_text: the file is empty"),
        ({"model": "llama-3-70b", "tp": 3}, "1, 2, 4, 8, 16, 32, 64"),
        ({}, "MODEL: missing"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_is_told(arguments: dict[str, Any], told: str) -> None:
    assert told in refused("estimate", arguments)


PATHS = (
    "/etc/passwd",
    "/etc/nothing-there",
    "../../etc/passwd",
    "~/.ssh/id_rsa",
    "./config.json",
    "/dev/stdin",
    "/root",
)


@pytest.mark.parametrize("path", PATHS)
def test_no_file_is_read_and_nobody_learns_whether_it_is_there(path: str) -> None:
    assert refused("estimate", {"model": path}) == (
        f"{path}: files are not read here; give a name of the catalogue, or the text itself"
    )


def test_a_file_without_a_path_is_no_model_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").write_text(YAML, encoding="utf-8")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "config.json").write_text(CONFIG, encoding="utf-8")
    (tmp_path / "secret.yaml").write_text("password: hunter2\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for name in ("mine", "folder", "secret.yaml", "nothing.yaml"):
        told = refused("estimate", {"model": name})
        assert "hunter2" not in told
        assert "no file, name or hub id" in told or "files are not read here" in told


def test_files_of_a_folder_that_is_allowed_are_read_and_no_others(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "inside-not"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "mine.yaml").write_text(YAML, encoding="utf-8")
    (inside / "link.yaml").symlink_to(outside / "mine.yaml")
    with limited_to(Access((str(inside),))):
        assert call("estimate", {"model": str(inside / "mine.yaml"), "context": 8})["model"]["name"] == "mine"
        for path in (outside / "mine.yaml", inside / "link.yaml", inside / ".." / "inside-not" / "mine.yaml"):
            assert "files are not read here" in refused("estimate", {"model": str(path)})


OPTIONS_THAT_NAME_FILES = [
    ("estimate", {"draft": "/etc/passwd"}),
    ("estimate", {"mix": "/etc/passwd"}),
    ("estimate", {"mix": "~/mix.csv"}),
    ("plan", {"prices": "/etc/prices.csv"}),
    ("plan", {"prices": ["/etc/prices.yaml"]}),
    ("demand", {"trace": "/etc/passwd"}),
    ("demand", {"trace": "-"}),
    ("sweep", {"from_file": "/etc/passwd"}),
    ("sweep", {"from_file": "-"}),
    ("sweep", {"model": "/etc/passwd", "strict": True}),
    ("compare", {"models": ["llama-3-8b", "/etc/passwd"]}),
    ("capacity_from_command", {"command": "vllm serve /etc/passwd"}),
    ("capacity_from_command", {"command": "llama-server -m /etc/model.gguf"}),
]


@pytest.mark.parametrize(("tool", "arguments"), OPTIONS_THAT_NAME_FILES, ids=str)
def test_no_option_opens_a_file(tool: str, arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(path: Any, *_: Any) -> Any:
        raise AssertionError(f"opened {path}")

    tools()  # what ships is read before
    with contextlib.suppress(KvcalcError):
        call("estimate", {"model": "llama-3-8b"})
    monkeypatch.setattr("kvcalc.files.os.open", opened)
    takes_a_model = "model" in tools()[tool].takes and not {"model", "models", "from_file"} & {*arguments}
    told = refused(tool, {**({"model": "llama-3-8b"} if takes_a_model else {}), **arguments})
    assert "root:" not in told
    assert "a bug" not in told


def test_a_sweep_answers_with_rows_and_not_with_too_many() -> None:
    answer = call("sweep", {"model": ["llama-3-8b", "no-such"], "batch": "1,8", "context": ["4Ki", 8192]})
    Draft202012Validator(tools()["sweep"].gives).validate(answer)
    assert len(answer["rows"]) == 8
    assert answer["rows"][0]["cache_bytes"] == 4096 * 131072
    assert "no file, name or hub id 'no-such'" in answer["rows"][-1]["error"]
    assert "sweep gives a row for each" in refused("estimate", {"model": "llama-3-8b", "batch": "1..51+1"})
    assert "more than 1,000 scenarios" in refused("sweep", {"model": "llama-3-8b", "batch": "1..1001+1"})


@pytest.mark.parametrize("name", ["hf:Qwen/Qwen3-8B", "HF:Qwen/Qwen3-8B@main", "hf:a/b:Q4_K_M"])
def test_the_hub_is_not_asked(name: str) -> None:
    assert "the Hub is not asked here" in refused("estimate", {"model": name})


def test_this_machine_is_not_looked_at() -> None:
    assert "this machine is not looked at" in refused("estimate", {"model": "llama-3-8b", "gpu": "auto"})
    assert "no argument 'device'" in refused("verify", {"model": "llama-3-8b", "device": "cpu"})


def test_a_bug_is_told_without_what_it_says() -> None:
    assert message_of(ValueError("/home/me/secret")) == "a bug in kvcalc: ValueError; nothing was computed"
    assert message_of(FileNotFoundError(2, "No such file or directory", "/home/me/x")) == (
        "this machine: No such file or directory"
    )


DOORS = {
    "kvcalc/files.py": "the door",
    "kvcalc/catalogue/gpu_slices.py": "a table that ships",
    "kvcalc/catalogue/gpu_table.py": "a table that ships",
    "kvcalc/catalogue/compact.py": "a table that ships",
    "kvcalc/catalogue/same_sizes.py": "a list that ships",
    "kvcalc/catalogue/hub_ids.py": "model files that ship",
    "kvcalc/catalogue/found_model.py": "the text of a file that was read before",
    "kvcalc/importers/config_json/defaults.py": "a table that ships",
    "kvcalc/importers/paths.py": "asks before",
    "kvcalc/verification/devices.py": "tables of the system that nobody names",
    "kvcalc/verification/host_memory.py": "likewise",
    "kvcalc/cli/streams.py": "the null device",
    "kvcalc/cli/verify.py": "the null device",
    "kvcalc/speed/machine.py": "tables of the system that nobody names",
    "kvcalc/speed/offload.py": "likewise",
    "kvcalc/cli/destination.py": "writes",
    "kvcalc/cluster/folder.py": "writes",
    "kvcalc/web/export/downloads.py": "of the command line alone: what it fetched, or a folder that was named for it",
    "kvcalc/web/export/archives.py": "bytes in memory",
    "kvcalc/web/export/folder.py": "of the command line alone: the mark of an export",
}
"""What opens files, and why that needs no leave or asks for it."""


OPENING = {"open", "read_text", "fdopen"}


def test_files_are_opened_at_one_door() -> None:
    opened = set()
    texts = {path: path.read_text(encoding="utf-8") for path in sorted((ROOT / "kvcalc").rglob("*.py"))}
    for path, text in texts.items():
        for node in ast.walk(ast.parse(text if any(name in text for name in OPENING) else "")):
            if isinstance(node, ast.Call) and isinstance(node.func, (ast.Attribute, ast.Name)):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
                if name in OPENING and _opens(node.func):
                    opened.add(path.relative_to(ROOT).as_posix())
    assert opened == {*DOORS}


def _opens(called: ast.expr) -> bool:
    """Not of this package's own functions of that name."""
    return not (isinstance(called, ast.Name) and called.id == "read_text")


def test_closed_streams_are_told(kvcalc: Kvcalc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    run = kvcalc("mcp")
    assert (run.code, run.stderr) == (
        3,
        "error: mcp: standard input and output are closed, on which a client asks and is answered\n",
    )
