"""YAML as model files may hold it: plain values with their places, and everything else refused at once."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

import pytest
import yaml
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st

from kvcalc.catalogue.yaml_reader import MAX_BYTES, MAX_DEPTH, MAX_VALUES, Mark, Value, parse_yaml, read_yaml
from kvcalc.errors import KvcalcError

TOO_DEEP = f"nested more than {MAX_DEPTH} deep|exceeded maximum nesting depth"
"""The second is PyYAML's own limit, which releases from 6.0.4 have: its scanner reads ahead of the events."""


def value_of(text: str) -> Value:
    root = parse_yaml(f"key: {text}", "m.yaml").root
    assert isinstance(root, dict)
    return root["key"]


def refusal(text: str) -> str:
    with pytest.raises(KvcalcError) as refused:
        parse_yaml(text, "m.yaml")
    return str(refused.value)


def refusal_of_file(path: Path) -> str:
    with pytest.raises(KvcalcError) as refused:
        read_yaml(path, "m.yaml")
    return str(refused.value)


def pointed_at(message: str) -> str:
    """What stands above the caret and to its right."""
    _, shown, caret = message.splitlines()
    return shown[caret.index("^") :]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("017", 17),
        ("-017", -17),
        ("0o17", 15),
        ("0x10", 16),
        ("131_072", 131_072),
        ("+1", 1),
        ("1e9", 10**9),
        ("1.0e9", 10**9),
        ("671e9", 671 * 10**9),
        ("1.5e3", 1500),
        ("1e40", 10**40),
        ("12:30:45", "12:30:45"),
        ("2026-01-01", "2026-01-01"),
        ("1_", "1_"),
        ("1__0", "1__0"),
        ("0b11", "0b11"),
        ("\u0661", "\u0661"),
        ("true", True),
        ("FALSE", False),
        ("tRUE", "tRUE"),
        ("null", None),
        ("~", None),
        ("", None),
        ("'1e9'", "1e9"),
        ('"true"', "true"),
        ("'no'", "no"),
        ("''", ""),
        ("|\n  17", "17"),
        (">\n  a\n  b", "a b"),
        ("a b # c", "a b"),
        ("[1, a]", [1, "a"]),
        ("{a: 1}", {"a": 1}),
    ],
    ids=repr,
)
def test_a_value_is_read_as(text: str, value: Value) -> None:
    read = value_of(text)
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(("text", "value"), [("1.5", 1.5), ("1.0", 1.0), (".5", 0.5), ("1.", 1.0), ("1e-3", 0.001)])
def test_a_fraction_is_a_float(text: str, value: float) -> None:
    read = value_of(text)
    assert isinstance(read, float)
    assert read == value


def test_keys_are_words() -> None:
    assert parse_yaml("on: 1\n017: 2\nnull: 3\n", "m.yaml").root == {"on": 1, "017": 2, "null": 3}


def test_every_key_and_value_has_its_place() -> None:
    document = parse_yaml("a:\n  - b: 1\n    c: [x, y]\n", "m.yaml")
    assert document.values[("a", 0, "b")] == Mark(1, 7)
    assert document.keys[("a", 0, "c")] == Mark(2, 4)
    assert document.values[("a", 0, "c", 1)] == Mark(2, 11)


def test_a_byte_order_mark_and_line_ends_of_windows_are_no_matter() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m.yaml")
        path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
        assert read_yaml(path).root == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("text", "place", "fragment", "pointed"),
    [
        ("a: 1\nb: 2\na: 3\n", "3:1", "duplicate key 'a' (first at line 1)", "a: 3"),
        ('a: 1\n"a": 2\n', "2:1", "duplicate key 'a' (first at line 1)", '"a": 2'),
        ("a: {b: 1, b: 2}", "1:11", "duplicate key 'b' (first at line 1)", "b: 2}"),
        ("a: *x", "1:4", "alias", "*x"),
        ("*x : 1", "1:1", "key", "*x : 1"),
        ("a: &x 1", "1:4", "anchor", "&x 1"),
        ("&x a: 1", "1:1", "anchor", "&x a: 1"),
        ("a: &x [1]\nb: [*x, *x]", "1:4", "anchor", "&x [1]"),
        ("a: {<<: {b: 1}}", "1:5", "merge key", "<<: {b: 1}}"),
        ("a: {<<: [{b: 1}, {b: 2}]}", "1:5", "merge key", "<<: [{b: 1}, {b: 2}]}"),
        ("a: !!str 1", "1:4", "tag", "!!str 1"),
        ("a: !mine {}", "1:4", "tag", "!mine {}"),
        ("a: !!python/object/apply:os.system [ls]", "1:4", "tag", "!!python/object/apply:os.system [ls]"),
        ("!!str a: 1", "1:1", "tag", "!!str a: 1"),
        ("a: 1\n---\nb: 2", "2:1", "second document", "---"),
        ("[a]: 1", "1:1", "key must be a word", "[a]: 1"),
        ("{a: 1}: 1", "1:1", "key must be a word", "{a: 1}: 1"),
        ("a: .nan", "1:4", "not a finite number", ".nan"),
        ("a: -.inf", "1:4", "not a finite number", "-.inf"),
        ("a: .INF", "1:4", "not a finite number", ".INF"),
        ("a: 1e999999999", "1:4", "out of all proportion", "1e999999999"),
        ("a: 1e-999999999", "1:4", "out of all proportion", "1e-999999999"),
        ("a: 1e99999999999999999999", "1:4", "out of all proportion", "1e99999999999999999999"),
        ("a: b: c", "1:5", "not valid YAML", ": c"),
        ("a: @x", "1:4", "not valid YAML", "@x"),
        ("a: 1\n b: 2", "2:3", "not valid YAML", ": 2"),
        ("a:\n\tb: 1", "2:1", "not valid YAML", " b: 1"),
        ("{a:\t*x}", "1:5", "alias", "*x}"),
        ("{a: 1}}", "1:7", "not valid YAML", "}"),
        ('a: "\\ud800"', "1:7", "not valid YAML", 'd800"'),
        ("\u00e9: *x", "1:4", "alias", "*x"),
        ("\U0001f600\U0001f600: *x", "1:5", "alias", "*x"),
        ("a: 1\u2028b: *x", "2:4", "alias", "*x"),
        ("a: 1\rb: *x", "2:4", "alias", "*x"),
        ("a: [" + "1, " * 200 + "*x]", "1:605", "alias", "*x]"),
        ("a: ['" + "\u00e9" * 500 + "', *x]", "1:509", "alias", "*x]"),
        ("a: b\x00c", "1:5", "character", "?c"),
        ("a: 1\nb: \x1b[31m", "2:4", "character", "?[31m"),
        ("# \u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\na: \x07\nb: 1\nc: 2\nd: 3", "2:4", "character", "?"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_a_mistake_is_shown_at_its_place(text: str, place: str, fragment: str, pointed: str) -> None:
    message = refusal(text)
    assert message.startswith(f"m.yaml:{place}: ")
    assert fragment in message.splitlines()[0]
    assert pointed_at(message) == pointed
    assert all(len(line) < 250 for line in message.splitlines())
    assert message.replace("\n", "").isprintable()


@pytest.mark.parametrize("text", ["", "  \n\n", "# nothing\n" * 1000], ids=["nothing", "spaces", "comments"])
def test_an_empty_file_is_refused(text: str) -> None:
    assert refusal(text) == "m.yaml: the file is empty"


@pytest.mark.parametrize("text", ["a: [1, 2", '"abc', "...", "%YAML 2.0\n--- 1", "[a: b: c]", "? ? a", "- a\nb: 1"])
def test_what_is_no_yaml_is_refused_with_a_place(text: str) -> None:
    assert refusal(text).startswith("m.yaml:")
    assert "m.yaml:" in refusal(text).splitlines()[0]


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("[" * 30_000, TOO_DEEP),
        ("- " * 30_000, f"nested more than {MAX_DEPTH} deep"),
        ("{a: " * 30_000, f"nested more than {MAX_DEPTH} deep"),
        ("{" * 30_000, f"a key must be a word|{TOO_DEEP}"),
        ("? " * 30_000, "a key must be a word"),
        ("\n".join(" " * depth + "a:" for depth in range(1000)), f"nested more than {MAX_DEPTH} deep"),
        ("a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 30)), "an anchor"),
        ("[" + "1," * (MAX_VALUES + 1) + "]", "more than 100,000 values"),
        ("9" * 900_000, "a number of 900000 characters"),
        ("%TAG !a! tag:x,\n--- 1", "a directive"),
        ("".join(f"%TAG !a{n}! x\n" for n in range(60_000)) + "--- 1", "a directive"),
    ],
    ids=[
        "brackets",
        "dashes",
        "mappings",
        "braces",
        "question marks",
        "indentation",
        "alias bomb",
        "values",
        "digits",
        "tag directive",
        "tag directives",
    ],
)
def test_hostile_text_is_refused(text: str, fragment: str) -> None:
    message = refusal(text)
    assert message.startswith("m.yaml:")
    assert re.search(fragment, message.splitlines()[0].lower())
    assert len(message) < 600


def test_the_limits_themselves_are_allowed() -> None:
    deep = "[" * MAX_DEPTH + "1" + "]" * MAX_DEPTH
    assert parse_yaml(deep, "m.yaml").root
    many = parse_yaml("[" + "1," * (MAX_VALUES - 1) + "]", "m.yaml").root
    assert isinstance(many, list)
    assert len(many) == MAX_VALUES - 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a" * (MAX_BYTES + 1), "m.yaml: larger than 1,000,000 bytes"),
        (b"9" * 2 * MAX_BYTES, "m.yaml: larger than 1,000,000 bytes"),
        (b"a: 1\nb: \xff", "m.yaml:2: not UTF-8 text (byte 8)"),
        ("a: 1".encode("utf-16"), "m.yaml:1: not UTF-8 text (byte 0)"),
        (b"a: \xed\xa0\x80", "m.yaml:1: not UTF-8 text (byte 3)"),
        (b"", "m.yaml: the file is empty"),
    ],
    ids=["over a megabyte", "a large number", "latin-1", "utf-16", "a surrogate", "empty"],
)
def test_a_file_that_is_no_model_file_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "m.yaml"
    path.write_bytes(data)
    assert refusal_of_file(path) == message


def test_a_file_without_end_is_read_up_to_the_limit() -> None:
    assert refusal_of_file(Path("/dev/zero")) == "m.yaml: larger than 1,000,000 bytes"


def test_a_directory_or_a_missing_file_cannot_be_read(tmp_path: Path) -> None:
    assert refusal_of_file(tmp_path).startswith("m.yaml: cannot be read: ")
    assert refusal_of_file(tmp_path / "missing.yaml").startswith("m.yaml: cannot be read: ")


def test_a_file_is_named_as_it_was_given(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("a: *x", encoding="utf-8")
    with pytest.raises(KvcalcError) as refused:
        read_yaml(path)
    assert str(refused.value).startswith(f"{path}:1:4: ")


_WORDS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn", "Co"], exclude_characters="\ufeff\u2028\u2029"),
    max_size=30,
)
_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(10**35), 10**35)
    | st.floats(-1e15, 1e15).filter(lambda number: number == 0 or abs(number) > 1e-15)
)


def _structures(words: st.SearchStrategy[str]) -> st.SearchStrategy[object]:
    return st.recursive(
        _LEAVES | words,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words.filter(lambda key: key != "<<"), inner),
        max_leaves=20,
    )


@given(_structures(_WORDS))
def test_json_is_read_back_to_the_same_values(values: object) -> None:
    assert parse_yaml(json.dumps(values, ensure_ascii=False), "m.yaml").root == values


@given(_structures(st.from_regex(r"[a-zA-Z][a-zA-Z0-9 _:#'\"\[\]{}.-]{0,20}", fullmatch=True)), st.booleans())
def test_what_pyyaml_writes_is_read_back_to_the_same_values(values: object, in_flow: bool) -> None:
    text = yaml.safe_dump(json.loads(json.dumps(values)), default_flow_style=in_flow)
    assert parse_yaml(text, "m.yaml").root == values


@examples(300)
@given(st.text() | st.text("ab01e9.+-_~:,?[]{}#&*!|>'\"%@`<= \t\n\r\\\u00e9\u2028\ufeff\x00\x1b"))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_yaml(text, "m.yaml")
    except KvcalcError as refused:
        assert str(refused).startswith("m.yaml:")  # noqa: PT017  # either outcome is right, nothing else is


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m.yaml")
        path.write_bytes(data)
        try:
            read_yaml(path, "m.yaml")
        except KvcalcError as refused:
            assert str(refused).startswith("m.yaml:")  # noqa: PT017  # as above
