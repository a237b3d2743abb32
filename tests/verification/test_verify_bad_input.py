"""What verify cannot do: exit code 2 or 3, nothing on stdout, a message that names the mistake and the way out."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT, Kvcalc, Run

import kvcalc as package
from kvcalc.verification import TORCH
from kvcalc.verification.devices import Cpu
from kvcalc.verification.shapes import Observed

NO_TORCH = """
import sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")

sys.meta_path.insert(0, NoTorch())
from kvcalc.cli.app import run
sys.exit(run(sys.argv[1:]))
"""
MIB = 2**20


def assert_refused(run: Run, code: int, *fragments: str) -> None:
    assert run.code == code
    assert run.stdout == ""
    assert run.stderr.startswith("error: ")
    assert "Traceback" not in run.stderr
    assert "a bug in kvcalc" not in run.stderr
    for fragment in fragments:
        assert fragment in run.stderr


def model_file(folder: Path, *layers: str) -> str:
    """A file of a model with such layers."""
    file = folder / "model.yaml"
    groups = "".join(f"  - {layer}\n" for layer in layers)
    file.write_text(f"name: model\nhidden_size: 64\ndtype: bf16\nlayers:\n{groups}", encoding="utf-8")
    return str(file)


# PyTorch


def test_the_message_installs_what_the_extra_installs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["optional-dependencies"]["verify"] == [TORCH]
    assert not [name for name in project["dependencies"] if name.startswith("torch")]


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_without_torch_it_says_how_to_install_it(device: str) -> None:
    command = [sys.executable, "-c", NO_TORCH, "verify", "llama-3-8b", "-c", "16", "--device", device]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert_refused(Run(done.returncode, done.stdout, done.stderr), 3, f"python -m pip install '{TORCH}'")


def test_a_torch_that_does_not_start_is_named(kvcalc: Kvcalc, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def find_spec(self, name: str, _path: object = None, _target: object = None) -> None:
            if name == "torch":
                raise ImportError("libtorch.so: cannot open shared object file")

    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    assert_refused(kvcalc("verify", "llama-3-8b", "-c", "16", "--device", "meta"), 3, "PyTorch", "libtorch.so")


@pytest.mark.parametrize("version", ["2.5.1+cu124", "1.13.0"])
def test_an_old_torch_is_refused(kvcalc: Kvcalc, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(torch, "__version__", version)
    run = kvcalc("verify", "llama-3-8b", "-c", "16", "--device", "meta")
    assert_refused(run, 3, version, f"python -m pip install '{TORCH}'")


@pytest.mark.parametrize("version", ["2.6", "2.10.0a0+git1234567", "3.0.0rc1"])
def test_a_new_enough_torch_is_not(kvcalc: Kvcalc, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(torch, "__version__", version)
    assert kvcalc("verify", "llama-3-8b", "-c", "16", "--device", "meta").code == 0


# Devices


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here that torch can use")
def test_cuda_where_there_is_none_is_refused(kvcalc: Kvcalc) -> None:
    run = kvcalc("verify", "llama-3-8b", "-c", "16", "--device", "cuda")
    assert_refused(run, 3, "--device cuda", torch.__version__, "--device cpu", "--device meta")


@pytest.mark.parametrize(
    ("built_for", "fragment"), [(None, "built without CUDA"), ("13.0", "finds no GPU")], ids=["cpu build", "no driver"]
)
def test_the_reason_for_no_cuda_is_told(
    kvcalc: Kvcalc, monkeypatch: pytest.MonkeyPatch, built_for: str | None, fragment: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", built_for)
    monkeypatch.setattr(torch.version, "hip", None, raising=False)
    run = kvcalc("verify", "llama-3-8b", "-c", "16", "--device", "cuda")
    assert_refused(run, 3, fragment)
    assert ("pip install" in run.stderr) == (built_for is None)


# Words


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        (("--device", "tpu"), ("--device", "'tpu'", "auto, meta, cpu, cuda")),
        (("--device", "xyz"), ("--device", "'xyz'", "auto, meta, cpu, cuda")),
        (("--device", ""), ("--device",)),
        (("--device", "x" * 1000), ("--device",)),
        (("--tp", "3"), ("tp: 3 is illegal", "1, 2, 4, 8, 16, 32")),
        (("--tp", "64"), ("tp: 64 is illegal", "1, 2, 4, 8, 16, 32")),
        (("--tp", "0"), ("--tp: must be at least 1",)),
        (("--pp", "33"), ("pp: 33 is illegal", "1 to 32")),
        (("-b", "0"), ("--batch: must be at least 1",)),
        (("-b", "1e10"), ("--batch", "limit of 1,000,000,000")),
        (("-c", "128k"), ("--context: '128k'", "-c 128000", "-c 128Ki")),
        (("-c", "nan"), ("--context",)),
        (("--cache-dtype", "fp9"), ("--cache-dtype", "'fp9'")),
        (("--cache-dtype", "c_kv=fp8"), ("--cache-dtype", "'c_kv'", "k, v")),
        (("--format", "xml"), ("--format", "'xml'")),
        (("--unit", "G"), ("--unit", "'G'")),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else "",
)
def test_a_mistaken_option_is_refused(kvcalc: Kvcalc, words: tuple[str, ...], fragments: tuple[str, ...]) -> None:
    device = () if "--device" in words else ("--device", "meta")
    run = kvcalc("verify", "llama-3-8b", *device, *words)
    assert_refused(run, 2, *fragments)
    assert len(run.stderr) < 1000


@pytest.mark.parametrize(
    ("words", "fragment"),
    [
        (("llama-3-7b",), "'llama-3-8b'"),
        (("missing.yaml",), "cannot be read"),
        (("",), "model"),
    ],
)
def test_what_is_no_model_is_refused(kvcalc: Kvcalc, words: tuple[str, ...], fragment: str) -> None:
    assert_refused(kvcalc("verify", *words, "--device", "meta"), 2, fragment)


@pytest.mark.parametrize("words", [("--dp", "2"), ("--engine", "exact"), ("--gpus", "8"), ("--layers", "2")])
def test_there_are_no_options_that_a_verification_would_ignore(kvcalc: Kvcalc, words: tuple[str, ...]) -> None:
    run = kvcalc("verify", "llama-3-8b", "--device", "meta", *words)
    assert (run.code, run.stdout) == (2, "")
    assert words[0] in run.stderr


def test_no_model_is_refused(kvcalc: Kvcalc) -> None:
    run = kvcalc("verify")
    assert (run.code, run.stdout) == (2, "")
    assert "MODEL" in run.stderr


def test_replicas_are_refused() -> None:
    scenario = package.make_scenario("llama-3-8b", batch=4, context=16, dp=2)
    with pytest.raises(package.KvcalcError, match="--dp: replicas are alike"):
        package.verify(scenario, device="meta")


def test_blocks_that_do_not_fill_a_row_are_refused(kvcalc: Kvcalc, tmp_path: Path) -> None:
    file = model_file(tmp_path, "{count: 1, attention: {kind: mqa, num_heads: 4, head_dim: 80}}")
    assert_refused(
        kvcalc("verify", file, "-c", "8", "--cache-dtype", "q8_0", "--device", "meta"), 2, "--cache-dtype", "32", "80"
    )


def test_a_file_that_cannot_be_written_is_told(kvcalc: Kvcalc) -> None:
    assert_refused(kvcalc("verify", "llama-3-8b", "-c", "16", "--device", "meta", "-o", "missing/x"), 3, "missing/x")


# Room


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_more_than_torch_can_count_is_refused(kvcalc: Kvcalc, device: str) -> None:
    run = kvcalc("verify", "llama-3-8b", "-b", "1e9", "-c", "1e12", "--device", device)
    assert_refused(run, 2, "1,000,000,000 sequences", "1,000,000,000,000 tokens", "ask for less")


@pytest.fixture
def allocated(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Labels of the layers whose caches were allocated so far."""
    made: list[str] = []
    original = Observed.cache

    def cache(self: Observed, device: torch.device) -> Any:
        made.append(self.layer.label)
        return original(self, device)

    monkeypatch.setattr(Observed, "cache", cache)
    return made


@pytest.mark.parametrize(
    ("model", "words", "asked", "mib"),
    [
        ("llama-3-8b", (), (100, 100), 200),
        ("llama-3-8b", ("--tp", "2"), (100, 100), 130),
        ("deepseek-v3", ("--cache-dtype", "fp8_ds_mla"), (100, 100), 100),
        ("gemma-3-1b", ("--cache-dtype", "q8_0"), (4, 20_000), 140),
    ],
)
def test_what_has_no_room_is_refused_before_it_is_allocated(
    kvcalc: Kvcalc,
    monkeypatch: pytest.MonkeyPatch,
    allocated: list[str],
    model: str,
    words: tuple[str, ...],
    asked: tuple[int, int],
    mib: int,
) -> None:
    monkeypatch.setattr(Cpu, "free_bytes", lambda _self: mib * MIB)

    def verify(batch: int, context: int) -> Run:
        return kvcalc("verify", model, *words, "-b", str(batch), "-c", str(context), "--device", "cpu", "--json")

    run = verify(*asked)
    assert_refused(run, 3, f"where {mib * MIB:,} bytes", "--device meta")
    assert allocated == []
    most = re.search(r"--batch (\d+) at this context or --context (\d+) at this batch", run.stderr)
    assert most
    batch, context = map(int, most.groups())
    assert_refused(verify(batch + 1, asked[1]), 3)
    assert_refused(verify(asked[0], context + 1), 3)
    assert allocated == []
    assert verify(batch, asked[1]).code == 0
    assert verify(asked[0], context).code == 0
    assert allocated


def test_where_nothing_fits_nothing_is_offered(
    kvcalc: Kvcalc, monkeypatch: pytest.MonkeyPatch, allocated: list[str]
) -> None:
    monkeypatch.setattr(Cpu, "free_bytes", lambda _self: 0)
    run = kvcalc("verify", "llama-3-8b", "-c", "8192", "--device", "cpu")
    assert_refused(run, 3, "--device meta")
    assert not re.search(r"--batch \d|--context \d", run.stderr)
    assert allocated == []


def test_a_system_that_does_not_say_what_is_free_is_tried(kvcalc: Kvcalc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cpu, "free_bytes", lambda _self: None)
    assert kvcalc("verify", "llama-3-8b", "-c", "16", "--device", "cpu").code == 0


@pytest.fixture
def broken_at_the_third(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], list[weakref.ref[torch.Tensor]]]:
    """Let the third tensor of a cache fail; the two before it are in the list, as far as they are still there."""

    def prepare(error: BaseException) -> list[weakref.ref[torch.Tensor]]:
        made: list[weakref.ref[torch.Tensor]] = []
        original = torch.empty

        def empty(*args: Any, **kwargs: Any) -> torch.Tensor:
            tensor = original(*args, **kwargs)
            if kwargs.get("device") == torch.device("cpu"):
                if len(made) == 2:
                    raise type(error)(*error.args)  # the test holds on to the other one
                made.append(weakref.ref(tensor))
            return tensor

        monkeypatch.setattr(torch, "empty", empty)
        return made

    return prepare


@pytest.mark.parametrize(
    ("error", "fragment"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.\nmore"), "out of memory"),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: 12 bytes"),
            "out of memory",
        ),
        (MemoryError(), "out of memory"),
    ],
    ids=["cuda", "cpu", "python"],
)
def test_memory_that_runs_out_is_told_and_given_back(
    kvcalc: Kvcalc,
    broken_at_the_third: Callable[[BaseException], list[weakref.ref[torch.Tensor]]],
    error: BaseException,
    fragment: str,
) -> None:
    made = broken_at_the_third(error)
    run = kvcalc("verify", "llama-3-8b", "-c", "16", "--device", "cpu")
    assert_refused(run, 3, fragment)
    assert run.stderr.count("\n") == 1
    assert [tensor() for tensor in made] == [None, None]


def test_another_failure_is_called_a_bug(
    kvcalc: Kvcalc, broken_at_the_third: Callable[[BaseException], list[weakref.ref[torch.Tensor]]]
) -> None:
    made = broken_at_the_third(RuntimeError("something else"))
    run = kvcalc("verify", "llama-3-8b", "-c", "16", "--device", "cpu")
    assert (run.code, run.stdout) == (3, "")
    assert "a bug in kvcalc: RuntimeError: something else" in run.stderr
    assert [tensor() for tensor in made] == [None, None]


def test_an_interrupt_ends_it_at_once(
    kvcalc: Kvcalc, broken_at_the_third: Callable[[BaseException], list[weakref.ref[torch.Tensor]]]
) -> None:
    made = broken_at_the_third(KeyboardInterrupt())
    assert kvcalc("verify", "llama-3-8b", "-c", "16", "--device", "cpu") == Run(130, "", "")
    assert [tensor() for tensor in made] == [None, None]


def test_a_closed_pipe_ends_it_quietly() -> None:
    command = [sys.executable, "-m", "kvcalc", "verify", "llama-3-8b", "-c", "16", "--device", "meta", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode


# Kinds of layers that cannot be verified

PLAIN = "{count: 2, attention: {kind: gqa, num_heads: 4, num_kv_heads: 2, head_dim: 32}}"
TOO_MANY = "{count: 3, attention: {kind: mqa, num_heads: 16385, head_dim: 32}, cache_dtype: q5_1}"
TOO_MANY_LABEL = "mqa 16385/1 x 32, q5_1"


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_a_kind_that_cannot_be_verified_is_named_and_the_rest_verified(
    kvcalc: Kvcalc, tmp_path: Path, device: str
) -> None:
    words = ("verify", model_file(tmp_path, PLAIN, TOO_MANY), "-c", "10", "--device", device, "--json")
    run = kvcalc(*words)
    assert run.code == 1
    assert TOO_MANY_LABEL in run.stderr
    assert "--skip-unsupported" in run.stderr
    printed = json.loads(run.stdout)
    assert printed["verified"] is False
    [unsupported] = printed["unsupported"]
    assert unsupported["subject"] == f"3 x {TOO_MANY_LABEL}"
    assert "16,384 heads" in unsupported["reason"]
    [whole] = [check for check in printed["checks"] if check["name"] == "cache bytes"]
    assert "without the layers that are not verified" in whole["subject"]
    assert whole["predicted"] == whole["measured"] == 2 * 10 * 256
    assert all(check["ok"] for check in printed["checks"])

    run = kvcalc(*words, "--skip-unsupported")
    assert (run.code, run.stderr) == (0, "")
    printed = json.loads(run.stdout)
    assert printed["verified"] is True
    assert [one["subject"] for one in printed["unsupported"]] == [f"3 x {TOO_MANY_LABEL}"]


def test_a_kind_that_is_skipped_is_named_in_the_table(kvcalc: Kvcalc, tmp_path: Path) -> None:
    words = ("verify", model_file(tmp_path, PLAIN, TOO_MANY), "-c", "10", "--device", "meta", "--skip-unsupported")
    for how in ("table", "markdown"):
        assert "not verified: 3 x mqa 16385/1 x 32, q5" in kvcalc(*words, "--format", how).stdout


@pytest.mark.parametrize("flags", [(), ("--skip-unsupported",)], ids=["", "skipped"])
@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_where_nothing_can_be_verified_nothing_is(
    kvcalc: Kvcalc, tmp_path: Path, device: str, flags: tuple[str, ...]
) -> None:
    run = kvcalc("verify", model_file(tmp_path, TOO_MANY), "-c", "16", "--device", device, "--json", *flags)
    assert run.code == 1
    printed = json.loads(run.stdout)
    assert printed["verified"] is False
    assert [one["subject"] for one in printed["unsupported"]] == [f"3 x {TOO_MANY_LABEL}"]


def test_more_heads_than_a_proof_has_time_for_are_named(kvcalc: Kvcalc, tmp_path: Path) -> None:
    file = model_file(tmp_path, "{count: 1, attention: {kind: mqa, num_heads: 16385, head_dim: 8}}", PLAIN)
    run = kvcalc("verify", file, "-c", "10", "--device", "meta")
    assert run.code == 1
    assert "16,384 heads" in run.stderr
