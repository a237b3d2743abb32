"""What vLLM's start-up logs say, whatever has been put around their lines."""

from __future__ import annotations

import html
import json
import re
import textwrap
from fractions import Fraction
from functools import partial
from itertools import product

import pytest
import vllm_start_ups
from each import for_each

from kvcalc.errors import KvcalcError
from kvcalc.logs import DIALECTS, ServerLog, read_log_text
from kvcalc.logs.log_text import MAX_LINE
from kvcalc.logs.reader import read_lines
from kvcalc.verbs.log_check import check_log

GIB = 2**30


def figures(log: ServerLog) -> dict[str, list[str]]:
    """As they were printed, each text once."""
    return {name: list(dict.fromkeys(each.text for each in values)) for name, values in log.printed.items()}


def test_a_log_of_v0() -> None:
    log = read_log_text(vllm_start_ups.V0_6_6)
    assert (log.engine, log.version, log.model) == ("vllm", "0.6.6", "meta-llama/Meta-Llama-3-8B")
    assert log.settings["--utilization"] == "0.9"
    assert log.settings["max-num-seqs"] == "256"
    assert log.settings["enable-prefix-caching"] == "False"
    assert "max-num-batched-tokens" not in log.settings
    assert figures(log) == {
        "weights": ["14.9595 GiB", "14.96 GiB"],
        "total memory": ["23.53 GiB"],
        "utilization": ["0.90"],
        "usable memory": ["21.18 GiB"],
        "non-torch memory": ["0.09 GiB"],
        "temporary": ["1.26 GiB"],
        "cache memory": ["4.87 GiB"],
        "blocks": ["2493"],
        "longest request": ["4096"],
        "concurrency": ["9.74x"],
        "CUDA graphs": ["0.38 GiB"],
    }


def test_a_log_of_0_10_with_colours() -> None:
    log = read_log_text(vllm_start_ups.V0_10_2)
    assert (log.version, log.model) == ("0.10.2", "Qwen/Qwen3-8B")
    assert log.settings["--utilization"] == "0.8"
    assert "max-num-seqs" not in log.settings  # a part of compilation_config is named so
    found = figures(log)
    assert found["tokens"] == ["15,504"]
    assert found["cache memory"] == ["2.13 GiB", "2287070085 bytes"]
    assert found["temporary"] == ["1.4 GiB"]
    assert found["tokens of a step"] == ["2048"]
    assert log.printed["tokens"][0].process == "EngineCore_DP0"


def test_a_log_of_0_19_that_names_its_card() -> None:
    log = read_log_text(vllm_start_ups.V0_19)
    assert (log.version, log.device) == ("0.19.0", "NVIDIA H100 80GB HBM3")
    found = figures(log)
    assert found["CUDA graphs, estimated"] == ["0.74 GiB"]
    assert found["temporary"] == ["2.0 GiB"]
    assert found["utilization"] == ["0.950000"]
    assert found["usable memory"] == ["75.22 GiB"]
    assert found["concurrency"] == ["58.02x"]


def test_a_log_of_0_31_with_a_logo_and_consumed_memory() -> None:
    log = read_log_text(vllm_start_ups.V0_31)
    assert (log.version, log.model) == ("0.31.0", "meta-llama/Meta-Llama-3-8B")
    found = figures(log)
    assert found["weights and non-torch memory"] == ["15.26 GiB"]
    assert found["temporary and CUDA graphs"] == ["1.44 GiB"]
    assert found["tokens"] == ["460,496"]
    assert found["longest request"] == ["131,072"]
    assert found["total memory"] == ["79.25 GiB"]


def test_a_log_tells_its_engines_generation_and_the_versions_that_print_such_lines() -> None:
    assert read_log_text(vllm_start_ups.BOTH).generation == "v0"
    assert read_log_text(vllm_start_ups.V0_10_2).generation == "v1"
    consumed = read_log_text(
        "INFO Actual usage is 15.26 GiB for consumed memory (weights + non-torch), 1.44 GiB for "
        "peak activation, and 0.23 GiB for CUDAGraph memory."
    )
    assert consumed.between == ((0, 27), (0, 33))
    separate = read_log_text(vllm_start_ups.V0_10_2[vllm_start_ups.V0_10_2.index("Free memory") :])
    assert separate.between == ((0, 10), (0, 26))


def test_several_ranks_print_their_own_figures() -> None:
    log = read_log_text(vllm_start_ups.RANKS)
    assert [each.process for each in log.printed["weights"]] == ["Worker_TP0", "Worker_TP1"]
    least = log.least("cache memory")
    assert least is not None
    assert (least.text, least.process) == ("60.47 GiB", "Worker_TP1")
    assert log.version is log.model is None


def test_a_start_that_fails_says_what_it_lacks() -> None:
    found = figures(read_log_text(vllm_start_ups.DOES_NOT_FIT))
    assert found == {
        "longest request": ["131072"],
        "cache of one request": ["16.0 GiB"],
        "cache memory": ["2.13 GiB"],
    }


def test_a_figure_is_known_up_to_its_rounding() -> None:
    kv = read_log_text("INFO Available KV cache memory: 56.2 GiB").printed["cache memory"][0]
    assert kv.value == Fraction("56.2") * GIB
    assert kv.off == Fraction("0.005") * GIB  # round(x, 2) leaves out a last zero


def compose(text: str) -> str:
    return "".join(f"vllm-1  | {line}\n" for line in text.splitlines())


def kubernetes(text: str) -> str:
    stamp = "2026-01-02T10:00:00.123456789Z stdout F"
    return "".join(f"{stamp} {line}\r\n" for line in text.splitlines())


def docker(text: str) -> str:
    return "".join(json.dumps({"log": f"{line}\n", "stream": "stderr"}) + "\n" for line in text.splitlines())


def in_a_field(text: str) -> str:
    return "".join(
        json.dumps({"insertId": "x", "jsonPayload": {"message": line, "pid": 3}}) + "\n" for line in text.splitlines()
    )


def in_an_object_within_one(text: str) -> str:
    """As vLLM logs in JSON, in a container."""
    inner = (json.dumps({"levelname": "INFO", "message": line}) for line in text.splitlines())
    return "".join(json.dumps({"log": f"{each}\n", "kubernetes": {"pod_name": "x"}}) + "\n" for each in inner)


def behind_a_stamp(text: str) -> str:
    return "".join(f"vllm-1  | {json.dumps({'level': 'info', 'msg': line})}\n" for line in text.splitlines())


def in_an_array(text: str) -> str:
    """As Google's console exports it."""
    return json.dumps([{"textPayload": line, "labels": {"a": "b"}} for line in text.splitlines()], indent=2)


def in_part_of_an_array(text: str) -> str:
    return in_an_array(text)[2:-2]


def as_one_string(text: str) -> str:
    return json.dumps(text)


def on_a_page(text: str) -> str:
    return f"<pre><code>{html.escape(text)}</code></pre>".replace("\n", "<br>\n")


def on_one_line_of_a_page(text: str) -> str:
    return f"<p>{html.escape(text)}</p>".replace("\n", "<br>")


def as_lokis_answer(text: str) -> str:
    values = [[str(at), line] for at, line in enumerate(text.splitlines())]
    return json.dumps({"status": "success", "data": {"result": [{"stream": {"pod": "x"}, "values": values}]}})


def in_an_object_with_lines(text: str) -> str:
    return json.dumps({"pod": "x", "lines": text.splitlines()}, indent=2)


def as_a_string_of_an_object(text: str) -> str:
    return json.dumps({"status": "running", "logs": text})


def in_markdown(text: str) -> str:
    escaped = re.sub(r"([_*\[\]])", r"\\\1", text)
    return "".join(f"> **{line}**\n" for line in escaped.splitlines())


def by_a_typesetter(text: str) -> str:
    return text.replace("'", "\u2019").replace(" ", "\u00a0")


def without_escapes(text: str) -> str:
    """Of colours the parameters are left."""
    return text.replace("\x1b", "")


def between_progress_bars(text: str) -> str:
    return "".join(f"Loading:  40%|####   | 2/5\rLoading: 100%|#######| 5/5\r\n{line}\n" for line in text.splitlines())


ALL = [vllm_start_ups.V0_6_6, vllm_start_ups.V0_10_2, vllm_start_ups.V0_19, vllm_start_ups.V0_31, vllm_start_ups.RANKS]


COLLECTORS = [
    compose,
    kubernetes,
    docker,
    in_a_field,
    in_an_object_within_one,
    behind_a_stamp,
    in_an_array,
    in_part_of_an_array,
    as_one_string,
    as_lokis_answer,
    in_an_object_with_lines,
    as_a_string_of_an_object,
    on_a_page,
    on_one_line_of_a_page,
    in_markdown,
    by_a_typesetter,
    without_escapes,
    between_progress_bars,
]


@for_each(("put_around", "text"), product(COLLECTORS, ALL))
def test_what_collectors_put_around_lines_changes_nothing(put_around: object, text: str) -> None:
    assert callable(put_around)
    assert read_log_text(put_around(text)) == read_log_text(text)


@pytest.mark.parametrize("text", ALL)
def test_any_part_of_a_log_is_read(text: str) -> None:
    whole = figures(read_log_text(text))
    for line in text.splitlines():
        try:
            part = figures(read_log_text(line))
        except KvcalcError:
            continue
        assert all(set(found) <= set(whole[name]) for name, found in part.items())


def test_the_last_start_with_figures_counts() -> None:
    again = vllm_start_ups.V0_31.replace("460,496", "111,111").replace("56.21", "13.56")
    log = read_log_text(
        vllm_start_ups.V0_19 + again + "INFO [startup.py:38] vLLM server version 0.31.0, serving model x/y\n"
    )
    assert (log.starts, log.version) == (3, "0.31.0")
    assert figures(log)["tokens"] == ["111,111"]


def test_a_start_that_is_not_over_does_not_count() -> None:
    """One that loads weights after one that has a cache; a start that fails says so, and does."""
    loading = "".join(vllm_start_ups.V0_31.splitlines(keepends=True)[:7]).replace("15.0 GiB", "14.0 GiB")
    log = read_log_text(vllm_start_ups.V0_19 + loading)
    assert (log.starts, log.version) == (2, "0.19.0")
    assert figures(read_log_text(loading)) == {"weights": ["14.0 GiB"]}
    assert read_log_text(vllm_start_ups.V0_19 + vllm_start_ups.DOES_NOT_FIT).refused


@for_each(("width", "text"), product([78, 80, 100, 132, 138, 169], ALL))
def test_lines_that_a_terminal_has_folded_are_read(text: str, width: int) -> None:
    """It breaks words too, and copying drops spaces at its edge."""
    seen = re.sub(r"\x1b\[[0-9;]*m", "", text)
    rows = [line[at : at + width].rstrip() for line in seen.splitlines() for at in range(0, len(line), width)]
    found, whole = read_log_text("\n".join(rows)), read_log_text(seen)
    assert figures(found) == figures(whole)
    assert (found.model, found.version, found.device) == (whole.model, whole.version, whole.device)
    assert found.settings == whole.settings


def wrapped(text: str, width: int) -> str:
    """As a terminal or a person wraps it, between words."""
    fill = partial(textwrap.fill, width=width, break_long_words=False, break_on_hyphens=False)
    return "".join(f"{fill(line)}\n" for line in text.splitlines())


@pytest.mark.parametrize("width", [80, 100, 120, 160])
@pytest.mark.parametrize("text", ALL)
def test_wrapped_lines_are_read(text: str, width: int) -> None:
    found, whole = read_log_text(wrapped(text, width)), read_log_text(text)
    assert figures(found) == figures(whole)
    assert (found.model, found.version, found.device) == (whole.model, whole.version, whole.device)


def test_a_model_is_known_by_the_line_that_loads_it() -> None:
    text = "INFO 03-14 09:12:41 [gpu_model_runner.py:1273] Starting to load model meta-llama/Llama-3.1-8B-Instruct...\n"
    assert read_log_text(text + vllm_start_ups.RANKS).model == "meta-llama/Llama-3.1-8B-Instruct"


def test_a_command_line_tells_settings() -> None:
    text = (
        "$ vllm serve 'Qwen/Qwen3-8B' --max-model-len=4096 -tp 2 --max-num-seqs 64 --enforce-eager "
        "--no-enable-prefix-caching --api-key secret\n" + vllm_start_ups.RANKS
    )
    log = read_log_text(text)
    assert log.model == "Qwen/Qwen3-8B"
    assert log.settings == {
        "--context": "4096",
        "--tp": "2",
        "max-num-seqs": "64",
        "enforce-eager": "True",
        "enable-prefix-caching": "False",
    }


def test_what_an_engine_prints_of_itself_wins_over_the_command_line() -> None:
    text = "vllm serve org/typed --max-model-len 10K --max-num-batched-tokens 8k --max-num-seqs=2K\n"
    typed = read_log_text(text + vllm_start_ups.RANKS)
    assert typed.model == "org/typed"
    assert typed.settings == {"--context": "10240", "max-num-batched-tokens": "8000", "max-num-seqs": "2048"}
    both = read_log_text(text + vllm_start_ups.V0_31)
    assert both.model == "meta-llama/Meta-Llama-3-8B"
    assert both.settings["--context"] == "131072"
    assert both.settings["max-num-seqs"] == "256"


def test_graphs_and_the_share_are_known_by_other_lines_too() -> None:
    text = (
        "INFO CUDA graph pool memory: 0.94 GiB (actual), 1.94 GiB (estimated), difference: 1.01 GiB (107.2%).\n"
        "INFO CUDA graph memory profiling is enabled (default since v0.21.0). The current "
        "--gpu-memory-utilization=0.9200 is equivalent to --gpu-memory-utilization=0.9038 without CUDA graph memory "
        "profiling.\n"
    )
    assert figures(read_log_text(text)) == {
        "CUDA graphs": ["0.94 GiB"],
        "CUDA graphs, estimated": ["1.94 GiB"],
        "utilization": ["0.9200"],
        "utilization without graphs": ["0.9038"],
    }


def test_a_setting_within_another_is_not_the_servers_own() -> None:
    text = (
        "non-default args: {'compilation_config': {'max_num_seqs': 7}, 'speculative_config': {'method': 'mtp', "
        "'model': 'org/draft', 'num_speculative_tokens': 2}, 'model': 'org/model', 'max_num_seqs': 8}"
    )
    log = read_log_text(text)
    assert log.model == "org/model"
    assert log.settings == {"max-num-seqs": "8", "num-speculative-tokens": "2"}


def test_nothing_known_is_refused_with_what_was_looked_for() -> None:
    with pytest.raises(KvcalcError, match="no line of a known start-up log") as told:
        read_log_text("INFO: Uvicorn running on http://0.0.0.0:8000\n" * 10)
    assert "'GPU KV cache size: 174,560 tokens'" in str(told.value)


@pytest.mark.parametrize("engine", DIALECTS)
def test_typical_lines_are_read(engine: str) -> None:
    for line in DIALECTS[engine].typical:
        assert read_lines([line], DIALECTS[engine]) is not None


HOSTILE = [
    "Available KV cache memory: " + "9" * 10_000 + " GiB",
    "Available KV cache memory: nan GiB",
    "GPU KV cache size: " + "1," * 5_000 + " tokens",
    "Initializing a V1 LLM engine (v0.19.0) with config: " + "model=" * 10_000,
    "non-default args: " + "{'a': " * 20_000,
    "\x1b[" * 20_000 + "Available KV cache memory: 1 GiB",
    '{"log": ' + "[" * 5_000,
    "vllm serve " + "'" * 3_001,
    "vllm serve " + "\\" * 3_001,
    "args: Namespace(" + "max_model_len=" + "1" * 5_000,
    "\x00\x01\ufffd GPU KV cache size: 1 tokens\x00",
    "ree memory on device (" + "1" * 30_000,
    "total_gpu_memory=" * 5_000 + " Memory profiling results",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_line_does_no_harm(text: str) -> None:
    log = read_log_text(text + "\n" + vllm_start_ups.RANKS)
    assert figures(log)["weights"] == ["7.6 GiB"]
    assert all(each.value < 10**30 for values in log.printed.values() for each in values)


def test_a_line_is_read_up_to_a_limit() -> None:
    log = read_log_text("x" * MAX_LINE + "Available KV cache memory: 1.0 GiB\n" + vllm_start_ups.RANKS)
    assert figures(log)["cache memory"] == ["60.51 GiB", "60.47 GiB"]


def test_a_card_under_windows_is_whole() -> None:
    """24.0 GiB of an RTX 3090 (github.com/sridhar1804/local-ai), of which Linux gives 23.58."""
    line = "WARNING 04-28 11:13:47 [interface.py:525] Using 'pin_memory=False' as WSL is detected. This may slow down\n"
    asked = {"gpu": "rtx3090", "engine_option": {}}
    whole, part = (
        check_log(read_log_text(text), "phi-3-mini-4k", asked)
        for text in (line + vllm_start_ups.V0_19, vllm_start_ups.V0_19)
    )
    assert whole.gpus is not None
    assert part.gpus is not None
    assert (whole.gpus.memory_bytes, part.gpus.memory_bytes) == (24 * 1024**3, 25_318_916_096)


def test_what_is_served_and_left_out_is_read() -> None:
    text = vllm_start_ups.V0_19 + (
        "(APIServer pid=1) INFO 03-02 10:00:00 [utils.py:299] non-default args: {'language_model_only': True}\n"
        "(APIServer pid=1) INFO 03-02 10:00:01 [model.py:869] Resolved `--runner auto` to `--runner pooling`. Pass\n"
    )
    log = read_log_text(text)
    assert (log.settings["language-model-only"], log.settings["runner"]) == ("True", "pooling")


_LOADED = (
    "(EngineCore pid=7) INFO 03-02 10:00:00 [backends.py:286] Directly load the compiled graph(s) for compile range\n"
)
_COMPILED = (
    "(EngineCore pid=7) INFO 03-02 10:00:00 [backends.py:391] Compiling a graph for compile range (1, 2048) takes\n"
)


@pytest.mark.parametrize(
    ("lines", "lowest", "highest"),
    [("", 0, 1), (_LOADED, 0, 0), (_COMPILED, 0, 1), (_COMPILED + _LOADED, 0, 1), (_LOADED + _COMPILED, 0, 1)],
)
def test_a_log_that_loads_what_was_compiled_before_has_one_figure(lines: str, lowest: int, highest: int) -> None:
    """Of several graphs, or of a model and its draft, one may be loaded and one compiled: which is not said."""
    without, while_compiling = (
        check_log(read_log_text(line + vllm_start_ups.V0_19), "phi-3-mini-4k", {"gpu": "rtx3090", "engine_option": {}})
        for line in (_LOADED, _COMPILED)
    )
    found = check_log(
        read_log_text(lines + vllm_start_ups.V0_19), "phi-3-mini-4k", {"gpu": "rtx3090", "engine_option": {}}
    )
    ends = [each.row("temporary") for each in (without, while_compiling)]
    row = found.row("temporary")
    assert row is not None
    known = [each.predicted for each in ends if each is not None]
    assert known[0] is not None
    assert known[1] is not None
    assert known[1] - known[0] > 0
    assert (row.predicted_low, row.predicted_high) == (known[lowest], known[highest])
