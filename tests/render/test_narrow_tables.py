"""Tables on narrow terminals: text folds between words, columns go by importance, and no word or number is cut."""

from __future__ import annotations

from collections import Counter
from itertools import product

import pytest
from each import for_each
from rich.cells import cell_len

from kvcalc.render.terminal.table import draw
from kvcalc.render.view import Column, Grid, Lines, Row, View, Weight, right

GRID = Grid(
    (Column("1 GPU (tp 1)"), right("GiB per GPU"), Column("formula")),
    (
        Row(("temporary", "1,234.50", "0.2 to 5.6 seen in practice")),
        Row(("  communication", "0.10", "https://example.org/a/very/long/path/that/has/no/space")),
        Row(("a-name-of-many-letters-without-a-space", "1", "")),
        Row(("模型の名前", "7", "層 x 頭")),
        Row(("total", "1,235.60", "54.59 to spare"), Weight.TOTAL),
    ),
)
NUMBERS_LAST = Grid((Column("model"), Column("keeps"), right("bytes")), (Row(("llama-3-70b", "8 x 128", "327,680")),))


def drawn(grid: Grid, columns: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "dumb")
    return draw(View((grid, Lines(("the end of it all",)))), terminal=True).splitlines()


def letters(text: str) -> Counter[str]:
    return Counter(letter for letter in text if not letter.isspace())


@for_each(("columns", "grid"), product([*range(2, 60), 80, 200], [GRID, NUMBERS_LAST]))
def test_no_letter_is_lost(grid: Grid, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = letters("".join(drawn(grid, columns, monkeypatch)))
    wanted = sum((letters(cell) for row in grid.rows for cell in row.cells), letters(grid.columns[0].title))
    assert wanted - shown == Counter()


def overlong(line: str, columns: int) -> bool:
    """Whether a line could have been folded: one word, such as a link, stays whole."""
    return cell_len(line) > columns and len(line.split()) > 1


@for_each(("columns", "grid"), product([*range(20, 60), 80], [GRID, NUMBERS_LAST]))
def test_no_line_is_longer_than_the_terminal(grid: Grid, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [line for line in drawn(grid, columns, monkeypatch) if overlong(line, columns)] == []


@for_each("columns", [*range(20, 60), 80, 200])
def test_no_word_is_cut(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    words = {word for row in GRID.rows for cell in row.cells for word in cell.split()}
    words |= {word for column in GRID.columns for word in f"{column.title} {column.title}:".split()}
    shown = {word for line in drawn(GRID, columns, monkeypatch) for word in line.split()}
    assert shown - words <= {"the", "end", "of", "it", "all"}


def test_a_table_without_space_is_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    assert drawn(GRID, 30, monkeypatch)[:10] == [
        "1 GPU (tp 1)",
        "temporary",
        "  GiB per GPU: 1,234.50",
        "  formula: 0.2 to 5.6 seen in",
        "  practice",
        "  communication",
        "    GiB per GPU: 0.10",
        "    formula:",
        "    https://example.org/a/very/long/path/that/has/no/space",
        "a-name-of-many-letters-without-a-space",
    ]


def test_numbers_are_never_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    for columns in range(12, 100):
        assert any("1,234.50" in line for line in drawn(GRID, columns, monkeypatch)), columns


PLANNED = Grid(
    (right("GPUs"), Column("deployment", at_commas=True), right("GiB", drop=1), right("most"), right("speed", drop=2)),
    (Row(("16", "tp 2 x dp 8, dcp 2, dp-attention", "1,234.50", "32", "1,907")),),
)


@pytest.mark.parametrize(
    ("columns", "lines"),
    [
        (70, ["GPUs  deployment                             GiB  most  speed", None]),
        (50, ["GPUs  deployment                  GiB  most  speed", "      dp-attention"]),
        (40, ["GPUs  deployment                    most", "  16  tp 2 x dp 8, dcp 2,             32"]),
    ],
)
def test_columns_go_by_importance(columns: int, lines: list[str | None], monkeypatch: pytest.MonkeyPatch) -> None:
    shown = drawn(PLANNED, columns, monkeypatch)
    assert [line for line in lines if line is not None and line not in shown] == []


def test_names_end_in_an_ellipsis_where_nothing_else_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    named = Grid((Column("model", shorten=True), right("bytes")), (Row(("a-name-of-many-letters", "327,680,000")),))
    assert drawn(named, 30, monkeypatch)[:2] == ["model                    bytes", "a-name-of-many-l…  327,680,000"]


def test_a_file_has_every_column(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    long = PLANNED._replace(columns=(*PLANNED.columns, right("x" * 150, drop=3)), rows=())
    assert "x" * 150 in draw(View((long,)), terminal=False)
