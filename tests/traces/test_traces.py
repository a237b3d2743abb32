"""Traces as they are published, and as strangers write them."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic_traces import FILES, FOLDER

from kvcalc.errors import KvcalcError
from kvcalc.traces import read_trace

AZURE = (
    "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,109\n"
)
AZURE_2024 = (
    "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:00.009930+00:00,2162,5\n2024-05-10 01:00:01+01:00,91,6\n"
)
BURST = (
    "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
    "5,ChatGPT,472,18,490,Conversation log\n"
    "45,GPT-4,1087,0,1087,API log\n"
)
MOONCAKE = (
    '{"timestamp": 0, "input_length": 655, "output_length": 52, "hash_ids": [46, 47]}\n'
    '{"timestamp": 10535, "input_length": 672, "output_length": 26, "hash_ids": [46, 48]}\n'
)
BAILIAN = (
    '{"chat_id": 1, "parent_chat_id": -1, "timestamp": 61.114, "input_length": 21, '
    '"output_length": 13, "type": "text", "turn": 1, "hash_ids": [8, 9]}\n'
)
VIDUR = "arrived_at,num_prefill_tokens,num_decode_tokens\n0.5,100.0,20.0\n1.25e0,50,7\n"
SPLITWISE = (
    "request_id,request_type,application_id,arrival_timestamp,batch_size,prompt_size,token_size\n0,2,0,0.5,1,374,44\n"
)
PLAIN = "\ufeffPrompt Tokens;completion_tokens;arrival_ms\n7;3;1500\n"
LENGTHS = '{"prompt_len": 12, "output_len": 3}\n\n{"prompt_len": 5, "output_len": 1}\n'

KNOWN = [
    (AZURE, "azure", "dates", [0, 4_314_579_000], [374, 396], [44, 109], None),
    (AZURE_2024, "azure", "dates", [0, 990_070_000], [2162, 91], [5, 6], None),
    (BURST, "burstgpt", "s", [0, 40 * 10**9], [472, 1087], [18, 0], None),
    (MOONCAKE, "mooncake", "ms", [0, 10_535 * 10**6], [655, 672], [52, 26], 512),
    (BAILIAN, "qwen-bailian", "s", [0], [21], [13], 16),
    (VIDUR, "columns", "s", [0, 750_000_000], [100, 50], [20, 7], None),
    (SPLITWISE, "columns", "s", [0], [374], [44], None),
    (PLAIN, "columns", "ms", [0], [7], [3], None),
    (LENGTHS, "columns", None, None, [12, 5], [3, 1], None),
]


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "trace"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(("text", "name", "unit", "arrivals", "inputs", "outputs", "block"), KNOWN)
def test_published_formats(
    text: str,
    name: str,
    unit: str | None,
    arrivals: list[int] | None,
    inputs: list[int],
    outputs: list[int],
    block: int | None,
    tmp_path: Path,
) -> None:
    """Their units: dates of seven decimals, seconds, and milliseconds where the publisher has them."""
    found = read_trace(written(tmp_path, text))
    assert (found.format, found.time_unit) == (name, unit)
    assert ([*found.inputs], [*found.outputs]) == (inputs, outputs)
    assert (found.arrivals and [each - found.arrivals[0] for each in found.arrivals]) == arrivals
    assert (found.hashes.block_tokens if found.hashes else None) == block


def test_equal_names_are_equal_blocks(tmp_path: Path) -> None:
    hashes = read_trace(written(tmp_path, MOONCAKE)).hashes
    assert hashes is not None
    assert ([*hashes.ids], [*hashes.ends]) == ([0, 1, 0, 2], [2, 4])


def test_requests_out_of_order_are_sorted_with_their_blocks(tmp_path: Path) -> None:
    first, second = MOONCAKE.splitlines()
    found = read_trace(written(tmp_path, f"{second}\n{first}\n"))
    assert found.disordered == 1
    assert [*found.inputs] == [655, 672]
    assert found.hashes is not None
    assert ([*found.hashes.ids], [*found.hashes.ends]) == ([0, 2, 0, 1], [2, 4])


@pytest.mark.parametrize(("unit", "nanoseconds"), [("s", 40 * 10**9), ("ms", 40 * 10**6), ("ns", 40)])
def test_a_unit_that_is_given(unit: str, nanoseconds: int, tmp_path: Path) -> None:
    found = read_trace(written(tmp_path, BURST), time_unit=unit)
    assert found.arrivals is not None
    assert found.arrivals[1] - found.arrivals[0] == nanoseconds


HEADER = "timestamp,input_tokens,output_tokens\n"
WRONG = [
    ("", "is empty"),
    (HEADER, "has no request"),
    ("0.1,5,6\n", "the first line must name the columns"),
    ("timestamp,ContexTokens,GeneratedTokens\n1,2,3\n", "'ContexTokens' may be meant: spell it 'ContextTokens'"),
    ("timestamp,output_tokens\n1,3\n", "no column says input tokens; it is called ContextTokens"),
    ("input_tokens,prompt_tokens,output_tokens\n1,2,3\n", "both say input tokens"),
    ("input_tokens,input_tokens,output_tokens\n1,2,3\n", "two columns are called 'input_tokens'"),
    (HEADER + "1,2\n", ":2: 2 columns, where the header has at least 3"),
    (HEADER + "1,1,000,3\n", ":2: 4 columns, where the header has 3; a cell that has a comma stands in quotes"),
    (HEADER + "2024-05-10 00:00:00,1,2\n5,1,2\n", ":3: the time 5: times of a trace are all dates or all numbers"),
    (HEADER + "5,1,2\n2024-05-10 00:00:00Z,1,2\n", ":3: the time 2024-05-10 00:00:00Z: times of a trace are all"),
    (HEADER + "1,-2,3\n", ":2: input tokens: not a whole number: '-2'"),
    (HEADER + "1,2,nan\n", ":2: output tokens: not a whole number: 'nan'"),
    (HEADER + "1,\u0661\u0660,3\n", ":2: input tokens: not a whole number"),
    (HEADER + "2023-11-16 18:17:03.1,2,3\n2023-11-16 18:17:03.\u0662,2,3\n", ":3: not a time"),
    (HEADER + "1,2.5,3\n", ":2: input tokens: not a whole number: '2.5'"),
    (HEADER + "1,9999999999999,3\n", ":2: input tokens: 9999999999999 is not from 0 to"),
    (HEADER + "1," + "9" * 5000 + ",3\n", "9 is not from 0 to 1"),
    (HEADER + "-1,2,3\n", ":2: a time must be a number from 0"),
    (HEADER + "nan,2,3\n", ":2: a time must be a number from 0"),
    (HEADER + "1e30,2,3\n", ":2: a time must be a number from 0"),
    (HEADER + "9" * 4000 + ",2,3\n", ":2: the time 999"),
    (HEADER + "yesterday,2,3\n", ":2: not a time: 'yesterday'"),
    (HEADER + "1_0,2,3\n", ":2: not a time: '1_0'"),
    (HEADER + "2023-13-45 00:00:00,2,3\n", ":2: not a time"),
    (HEADER + "1700000000000,2,3\n", ":2: the time 1700000000000 is more than a century in s; --time-unit says"),
    ('{"conversations": [{"from": "human", "value": "hi"}]}\n', "holds texts, whose tokens depend on a tokenizer"),
    (
        "arrival,prompt,answer\n0,10,5\n",
        "'prompt' is taken for text, whose tokens depend on a tokenizer: count them, or",
    ),
    ('[{"input_tokens": 1}]\n', "a list of JSON; write an object a line instead: jq -c '.[]' FILE"),
    ('{"input_tokens": 1, "output_tokens": 2}\n[1]\n', ":2: not an object of JSON"),
    ('{"input_tokens": 1, "output_tokens": 2}\n{"input_tokens": 1}\n', ":2: lacks 'output_tokens'"),
    ('{"input_tokens": true, "output_tokens": 2}\n', ":1: input tokens: not a whole number: True"),
    ('{"input_tokens": 1, "output_tokens": 2, "timestamp": NaN}\n', ":1: a time must be a number"),
    ('{"input_tokens": 1, "output_tokens": ' + "9" * 5000 + "}\n", ":1: not an object of JSON"),
    ("[" * 100_000, "a list of JSON"),
    ('[\n {\n  "id": "a",\n  "conversations": []\n }\n]\n', "holds texts, whose tokens depend on a tokenizer"),
    ('{"a": ' + "[" * 100_000, ":1: not an object of JSON"),
    ('{"timestamp": 0, "input_length": 600, "output_length": 1, "hash_ids": [1, 2, 3]}\n', "--hash-block says how"),
    ('{"timestamp": 0, "input_length": 600, "output_length": 1, "hash_ids": {"a": 1}}\n', "not a list of numbers"),
    ('{"arrival": 0, "input_tokens": 9, "output_tokens": 1, "hash_ids": [1]}\n', "--hash-block N says how many"),
    (b"\xff\xfet\x00i\x00\n", "is UTF-16: iconv -f UTF-16 -t UTF-8 FILE"),
    (b"\x1f\x8b\x08\x00rest", "is compressed: gzip -dc FILE"),
    (HEADER + '1,2,"3\n', ":2: no line of CSV: a quote is not closed"),
    (HEADER + "x" * (1024**2 + 5), ":2: a line of more than 1,048,576 bytes"),
]


@pytest.mark.parametrize(("text", "told"), WRONG)
def test_what_is_wrong_is_told_with_its_line(text: str | bytes, told: str, tmp_path: Path) -> None:
    with pytest.raises(KvcalcError) as refused:
        read_trace(written(tmp_path, text))
    assert told in str(refused.value)


@pytest.mark.parametrize("name", FILES)
def test_what_ships_is_what_its_generator_writes(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8").splitlines() == [*FILES[name]()]
