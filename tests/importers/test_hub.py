"""Models on the Hub, asked for real over a loopback server: one clear line for each way to fail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import huggingface_hub
import pytest
from conftest import ROOT, texts
from gguf_files import Keys, Type, write
from hub_server import SHA, Server, serving
from prepared import COMMAND_LINE, Prepared

from kvcalc.errors import CannotRunError, KvcalcError
from kvcalc.importers import safetensors
from kvcalc.importers.hub.cache import keep
from kvcalc.importers.hub.client import LIBRARY
from kvcalc.importers.hub.waiting import together, within
from kvcalc.verification import TORCH

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 100,
    "torch_dtype": "bfloat16",
}
BEARER = "hf_of-nobody"
CONFIG = json.dumps(LLAMA).encode()


def tensors(names: dict[str, list[int]], *, padding: int = 0) -> bytes:
    told, at = {}, 0
    for name, shape in names.items():
        size = 2
        for length in shape:
            size *= length
        told[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(told).encode() + b" " * padding
    return len(text).to_bytes(8, "little") + text + b"\0" * at


TABLE, LAYER = {"model.embed_tokens.weight": [100, 64]}, {"model.layers.0.mlp.up_proj.weight": [128, 64]}
INDEX = json.dumps({"weight_map": {**dict.fromkeys(TABLE, "a.safetensors"), **dict.fromkeys(LAYER, "b.safetensors")}})

REPOSITORIES: dict[str, dict[str, bytes] | str] = {
    "org/plain": {"config.json": CONFIG, "model.safetensors": tensors({**TABLE, **LAYER})},
    "org/sharded": {
        "config.json": CONFIG,
        "model.safetensors.index.json": INDEX.encode(),
        "a.safetensors": tensors(TABLE),
        "b.safetensors": tensors(LAYER, padding=300_000),
    },
    "org/config-only": {"config.json": CONFIG, "pytorch_model.bin": b"pickle"},
    "org/missing-shard": {
        "config.json": CONFIG,
        "model.safetensors.index.json": INDEX.encode(),
        "a.safetensors": tensors(TABLE),
    },
    "org/pointer": {"config.json": CONFIG, "model.safetensors": b"version https://git-lfs.github.com/spec/v1\n"},
    "org/large": {"config.json": b" " * 4_000_001},
    "org/gguf": {"README.md": b"", "q4.gguf": b"", "q8.GGUF": b""},
    "org/nothing": {"README.md": b""},
    "org/new": {"config.json": json.dumps({**LLAMA, "model_type": "brand_new"}).encode()},
    "org/gated": "GatedRepo",
    "org/broken": "broken",
    "org/slow": "slow",
}


NEEDS = (
    "kvcalc.cli.estimate",
    "kvcalc.cli.models",
    "kvcalc.importers.config_json",
    "kvcalc.importers.gguf",
    "kvcalc.importers.hub",
    "kvcalc.render.screens.estimate",
    "kvcalc.verbs.estimate",
    "huggingface_hub._commit_api",
    "huggingface_hub.constants",
    "huggingface_hub.errors",
    "huggingface_hub.file_download",
    "huggingface_hub.hf_api",
    "huggingface_hub.utils",
)


@pytest.fixture(scope="module", autouse=True)
def _prepared() -> Iterator[None]:
    with Prepared(NEEDS, without=("HF_",), anew="huggingface_hub.constants") as Answer.process:
        yield


class Answer:
    """What a process printed that asks this server."""

    process: ClassVar[Prepared]

    def __init__(
        self, server: Server, home: Path, *words: str, program: str = COMMAND_LINE, **environment: str
    ) -> None:
        given = {"HF_ENDPOINT": server.address, "HF_HOME": str(home), "HF_HUB_ETAG_TIMEOUT": "20", **environment}
        [run] = self.process.together([given], *words, program=program)
        self.code, self.stdout, self.stderr = run


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def test_a_name_on_the_hub_is_a_model_at_one_revision(home: Path) -> None:
    with serving(REPOSITORIES) as server:
        answer = Answer(server, home, "estimate", "hf:org/plain", "-c", "16", "--json")
        found = json.loads(answer.stdout)
        assert answer.code == 0
        assert found["cache"]["bytes"] == 2 * 16 * 2 * 16 * 2
        assert found["memory"]["weights_bytes"] == 2 * (6400 + 8192)
        assert found["notes"][0] == {
            "code": "hub-revision",
            "text": f"revision {SHA}",
            "data": {"revision": SHA, "from_cache": False},
        }
        assert found["model"]["source"] == f"https://huggingface.co/org/plain/tree/{SHA}"
        assert not any(path.endswith(".safetensors") and not part for _, path, part, _ in server.asked)
        before = len(server.asked)
        text = Answer(server, home, "models", "import", f"hf:org/plain@{SHA}").stdout
        assert f"# read from https://huggingface.co/org/plain/tree/{SHA}" in text
        assert 'hub_ids: ["org/plain"]  # the name asked for' in text or "hub_ids: [org/plain]" in text
        again = [path for _, path, _, _ in server.asked[before:]]
        assert not any(path.endswith("config.json") for path in again)  # the library's cache has it


def quants(folder: Path) -> dict[str, bytes]:
    def one(name: str, tensors: dict[str, tuple[list[int], Type]], **more: Any) -> bytes:
        return write(folder / name, "llama", QUANT, tensors, more=more).read_bytes()

    layers = {f"blk.{index}.attn_q.weight": ([256, 256], Type.Q4_K) for index in range(2)}
    parts = {"split.count": 2, "split.tensors.count": 2}
    return {
        "m-Q4_K_M.gguf": one("a", layers),
        "mmproj-F16.gguf": b"",
        "Q8_0/m-Q8_0-00001-of-00002.gguf": one("b", dict([*layers.items()][:1]), **parts, **{"split.no": 0}),
        "Q8_0/m-Q8_0-00002-of-00002.gguf": one("c", dict([*layers.items()][1:]), **parts, **{"split.no": 1}),
    }


QUANT: Keys = {"block_count": 2, "embedding_length": 256, "attention.head_count": 4, "attention.head_count_kv": 2}


def test_a_gguf_file_is_read_by_its_header_alone(home: Path, tmp_path: Path) -> None:
    with serving({"org/m-GGUF": quants(tmp_path)}) as server:
        for label in ("Q4_K_M", "q8_0"):
            answer = Answer(server, home, "estimate", f"hf:org/m-GGUF:{label}", "-c", "256", "--json")
            found = json.loads(answer.stdout)
            assert found["deployment"]["engine"] == "llama-cpp"
            assert found["cache"]["bytes"] == 2 * 256 * 2 * 2 * 64 * 2
            assert found["memory"]["weights_bytes"] == 2 * 256 * 256 // 256 * 144
        answer = Answer(server, home, "estimate", "hf:org/m-GGUF:Q2_K")
        assert (answer.code, answer.stderr.count("\n")) == (2, 1)
        assert "hf:org/m-GGUF: no GGUF file is called 'Q2_K'; there are q4_k_m, q8_0" in answer.stderr
        assert all(part for _, path, part, _ in server.asked if path.endswith(".gguf"))


def test_shards_are_read_by_ranges_also_where_a_header_is_long(home: Path) -> None:
    with serving(REPOSITORIES) as server:
        answer = Answer(server, home, "estimate", "hf:org/sharded", "-c", "16", "--json")
        assert json.loads(answer.stdout)["memory"]["weights_bytes"] == 2 * (6400 + 8192)
        parts = [part for _, path, part, _ in server.asked if path.endswith("b.safetensors")]
        assert len(parts) == 2
        assert all(part is not None for part in parts)


def test_a_redirect_to_another_host_is_followed_without_the_token(home: Path) -> None:
    with serving(REPOSITORIES) as server, serving(REPOSITORIES) as elsewhere:
        server.elsewhere = elsewhere.address
        answer = Answer(server, home, "estimate", "hf:org/plain", "-c", "16", "--json", HF_TOKEN=BEARER)
        assert json.loads(answer.stdout)["memory"]["weights_bytes"] == 2 * (6400 + 8192)
        assert {token for _, path, _, token in server.asked if "org/plain" in path} == {f"Bearer {BEARER}"}
        assert [token for _, _, _, token in elsewhere.asked] == [None]


def test_a_server_that_sends_whole_files_is_not_read_to_the_end(home: Path) -> None:
    large = tensors({"model.embed_tokens.weight": [100, 64], "model.layers.0.mlp.up_proj.weight": [40_000, 4_000]})
    with serving({"org/whole": {"config.json": CONFIG, "model.safetensors": large}}) as server:
        server.ranges = False
        answer = Answer(server, home, "estimate", "hf:org/whole", "-c", "16", "--json")
        assert json.loads(answer.stdout)["memory"]["weights_bytes"] == 2 * (6400 + 160_000_000)
        assert server.sent < 50_000_000


def test_without_safetensors_the_weights_are_counted(home: Path) -> None:
    with serving(REPOSITORIES) as server:
        answer = Answer(server, home, "estimate", "hf:org/config-only", "-c", "16", "--json")
        assert json.loads(answer.stdout)["memory"]["weights_bytes"] > 2 * 6400
        assert "pytorch_model.bin" not in " ".join(path for _, path, _, _ in server.asked)


FAILURES = {
    "nobody/nothing": (2, "hf:nobody/nothing: not on the Hub, or private ('hf auth login' gives access)"),
    "org/plain@v9": (2, "hf:org/plain: no such revision"),
    "org/gated": (3, "hf:org/gated: gated: accept the terms at https://huggingface.co/org/gated, then 'hf auth login'"),
    "org/broken": (3, "hf:org/broken: the Hub answers 500"),
    "org/slow": (3, "hf:org/slow: "),
    "org/large": (2, "hf:org/large/config.json: larger than 4,000,000 bytes"),
    "org/gguf": (2, "hf:org/gguf: has no config.json; of its 2 GGUF files, name one: hf:org/gguf:Q4_K_M"),
    "org/nothing": (2, "hf:org/nothing: has no config.json"),
    "org/new": (2, "hf:org/new/config.json: model_type 'brand_new' is not known"),
    "org/missing-shard": (2, "names files that are not there (b.safetensors)"),
    "org/pointer": (2, "a Git LFS pointer"),
    "org": (2, "hf:org: not hf:ORG/NAME or hf:ORG/NAME@REVISION"),
    "../../etc/passwd": (2, "not hf:ORG/NAME"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_each_failure_is_one_clear_line(home: Path, name: str) -> None:
    code, message = FAILURES[name]
    with serving(REPOSITORIES) as server:
        limit = "1" if name == "org/slow" else "20"
        answer = Answer(server, home, "estimate", f"hf:{name}", HF_HUB_ETAG_TIMEOUT=limit)
        assert (answer.code, answer.stdout) == (code, "")
        assert answer.stderr.count("\n") == 1
        assert answer.stderr.startswith("error: ")
        assert message in answer.stderr


NOT_THE_HUB = " is not the Hub: its answer: "
HOSTILE_ANSWERS = {
    "endless": NOT_THE_HUB + "larger than 16,000,000 bytes",
    "large": NOT_THE_HUB + "larger than 16,000,000 bytes",
    "bomb": "the answer is compressed, though it was asked for as it is",
    "endless failure": "the Hub answers 500",
    "bomb of a failure": "not on the Hub, or private",
    "endless redirects": "more than 5 redirects",
    "bombs of redirects": "more than 5 redirects",
    "page": NOT_THE_HUB + "not JSON",
    "list": NOT_THE_HUB + "expected keys and values",
    "no commit": " is not the Hub: its answer names no commit (sha)",
    "no such commit": " is not the Hub: its answer names no commit (sha)",
    "not modified": "the Hub answers 304",
}
HOSTILE_FILES = {
    "endless": "config.json: larger than 4,000,000 bytes",
    "large": "config.json: larger than 4,000,000 bytes",
    "bomb": "config.json: the answer is compressed, though it was asked for as it is",
    "endless failure": "the Hub answers 500",
    "endless redirects": "config.json: more than 5 redirects",
    "page": "config.json: not JSON",
    "list": "config.json: expected keys and values",
}
MEASURED = """
import sys
from kvcalc.cli.app import run
code = run(sys.argv[1:])
with open("/proc/self/status") as status:
    print([line.split()[1] for line in status if line.startswith("VmHWM")][0])
sys.exit(code)
"""


def _most_of(server: Server, home: Path, name: str) -> tuple[str, int, int]:
    """What kvcalc says of a name, the exit code, and the most memory that it took, in KiB."""
    answer = Answer(server, home, "estimate", f"hf:{name}", program=MEASURED)
    return answer.stderr, answer.code, int(answer.stdout.split()[-1])


def _kept(home: Path) -> int:
    return sum(each.stat().st_size for each in home.rglob("*") if each.is_file())


@pytest.mark.parametrize("how", HOSTILE_ANSWERS)
def test_a_hostile_answer_takes_neither_memory_nor_the_disk(home: Path, how: str) -> None:
    with serving({"org/x": how}) as server:
        said, code, most = _most_of(server, home, "org/x")
        assert said.startswith("error: hf:org/x: ")
        assert said.count("\n") == 1
        assert HOSTILE_ANSWERS[how] in said
        assert "cannot be reached" not in said
        assert code == (2 if "private" in said else 3)
        assert most < 250_000
        assert server.sent < 100_000_000
        assert _kept(home) == 0


@pytest.mark.parametrize("how", HOSTILE_FILES)
def test_a_hostile_file_is_not_kept(home: Path, how: str) -> None:
    with serving({"org/x": {"config.json": how.encode()}}) as server:
        said, code, most = _most_of(server, home, "org/x")
        assert said.startswith("error: hf:org/x")
        assert said.count("\n") == 1
        assert HOSTILE_FILES[how] in said
        assert code in {2, 3}
        assert most < 250_000
        assert server.sent < 100_000_000
        assert _kept(home) == 0


@pytest.mark.parametrize("how", ["endless", "bomb", "page"])
def test_hostile_weights_are_a_refusal_or_a_note(home: Path, how: str) -> None:
    with serving({"org/x": {"config.json": CONFIG, "model.safetensors": how.encode()}}) as server:
        said, code, most = _most_of(server, home, "org/x")
        told = {
            "bomb": "note: the headers of its safetensors files could not be read: hf:org/x/model.safetensors: the ",
            "endless": "not a safetensors file",
            "page": "not a safetensors file",
        }
        assert told[how] in said
        assert code == (0 if how == "bomb" else 2)
        assert most < 250_000
        assert server.sent < 100_000_000


def test_what_is_kept_is_where_the_library_looks(home: Path) -> None:
    with serving(REPOSITORIES) as server:
        assert Answer(server, home, "estimate", "hf:org/sharded@refs/pr/1", "-c", "16").code == 2  # no such revision
        assert Answer(server, home, "estimate", "hf:org/sharded", "-c", "16").code == 0
    cache = home / "hub"
    for name in ("config.json", "model.safetensors.index.json"):
        kept = huggingface_hub.try_to_load_from_cache("org/sharded", name, cache_dir=cache)
        assert isinstance(kept, str)
        assert Path(kept).parent.name == SHA


@pytest.mark.parametrize("revision", ["../../../x", "/x", "a/../../x", "..", "v1//x"])
def test_a_revision_leaves_nothing_elsewhere(tmp_path: Path, revision: str) -> None:
    keep(tmp_path / "cache", "org/x", revision, SHA, "config.json", b"{}")
    files = [str(each.relative_to(tmp_path)) for each in tmp_path.rglob("*") if each.is_file()]
    assert files == [f"cache/models--org--x/snapshots/{SHA}/config.json"]


def test_a_cache_that_cannot_be_written_is_no_hindrance(home: Path) -> None:
    home.mkdir()
    (home / "file").write_text("where the cache should be", encoding="utf-8")
    with serving(REPOSITORIES) as server:
        answer = Answer(server, home, "estimate", "hf:org/plain", "-c", "16", HF_HUB_CACHE=str(home / "file"))
        assert answer.code == 0


def test_headers_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safetensors, "MAX_HEADERS", 100)
    sizes = safetensors.HeaderSizes("hf:org/x")
    sizes.add(60)
    with pytest.raises(KvcalcError, match="hf:org/x: headers of more than 100 bytes in all"):
        sizes.add(60)


def test_offline_and_unreachable(home: Path) -> None:
    with serving(REPOSITORIES) as server:
        first = Answer(server, home, "estimate", "hf:org/plain", HF_HUB_OFFLINE="1")
        assert first.code == 3
        assert "the Hub is not asked (HF_HUB_OFFLINE), and the cache does not have it" in first.stderr
        assert Answer(server, home, "estimate", "hf:org/plain", "-c", "16").code == 0
        cached = Answer(server, home, "estimate", "hf:org/plain", "-c", "16", "--json", HF_HUB_OFFLINE="1")
        assert f"revision {SHA}, from the cache: the Hub was not asked" in texts(json.loads(cached.stdout)["notes"])
        gone = Answer(server, home, "estimate", "hf:org/sharded", HF_ENDPOINT="http://127.0.0.1:9")
        assert gone.code == 3
        assert gone.stderr.count("\n") == 1
        assert "the Hub cannot be reached" in gone.stderr


def test_without_the_library_it_says_how_to_get_it(home: Path, tmp_path: Path) -> None:
    (tmp_path / "huggingface_hub.py").write_text("raise ImportError('not here')\n", encoding="utf-8")
    with serving(REPOSITORIES) as server:
        given = {"HF_ENDPOINT": server.address, "HF_HOME": str(home), "PYTHONPATH": str(tmp_path)}
        answer = subprocess.run(
            [sys.executable, "-m", "kvcalc", "estimate", "hf:org/plain"],
            env={**os.environ, **given},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert answer.returncode == 3
        command = "python -m pip install 'huggingface-hub>=1.0'"
        wanted = f"error: hf:org/plain: needs huggingface_hub, which is not installed here: {command}\n"
        assert answer.stderr == wanted


def test_what_to_install_is_what_the_extras_ask_for() -> None:
    project = ROOT / "pyproject.toml"
    extras = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert extras["hub"] == [LIBRARY]
    assert extras["verify"] == [TORCH]


def test_nothing_asks_the_network_unless_it_is_told_to(home: Path) -> None:
    with serving(REPOSITORIES) as server:
        for words in (("estimate", "org/plain"), ("estimate", "Qwen/Qwen3-8B", "-c", "16"), ("models", "list")):
            Answer(server, home, *words)
        assert server.asked == []


def test_waiting_ends() -> None:
    begin = time.perf_counter()
    with pytest.raises(TimeoutError):
        within(0.05, lambda: time.sleep(5))
    assert time.perf_counter() - begin < 4
    assert within(5, lambda: 7) == 7
    with pytest.raises(KvcalcError):
        within(5, lambda: _refuse(1))
    assert together(3, list(range(20)), lambda number: number * number) == [number * number for number in range(20)]
    with pytest.raises(CannotRunError):
        together(3, list(range(20)), lambda number: _refuse(number) if number == 7 else number)


def _refuse(number: int) -> int:
    raise CannotRunError(f"{number}")
