"""Tables on narrow terminals: what has no room in columns folds, and no letter of a cell goes."""

from __future__ import annotations

from collections import Counter

import pytest

from kvcalc.render.table import draw
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


@pytest.mark.parametrize("columns", [*range(2, 60), 80, 200])
@pytest.mark.parametrize("grid", [GRID, NUMBERS_LAST], ids=["formulas last", "numbers last"])
def test_no_letter_is_lost(grid: Grid, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = letters("".join(drawn(grid, columns, monkeypatch)))
    wanted = sum((letters(cell) for row in grid.rows for cell in row.cells), letters(grid.columns[0].title))
    assert wanted - shown == Counter()


@pytest.mark.parametrize("columns", [1, *range(2, 60), 80])
def test_no_line_is_longer_than_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = GRID._replace(rows=tuple(row for row in GRID.rows if row.cells[0].isascii()))
    assert max(map(len, drawn(narrow, columns, monkeypatch))) <= columns


def test_a_table_without_room_is_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    assert drawn(GRID, 30, monkeypatch)[:9] == [
        "1 GPU (tp 1)",
        "temporary",
        "  GiB per GPU: 1,234.50",
        "  formula: 0.2 to 5.6 seen in",
        "practice",
        "  communication",
        "    GiB per GPU: 0.10",
        "    formula:",
        "https://example.org/a/very/lon",
    ]


def test_numbers_are_never_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    for columns in range(12, 100):
        assert any("1,234.50" in line for line in drawn(GRID, columns, monkeypatch)), columns


def test_a_table_that_ends_in_numbers_runs_over(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = drawn(NUMBERS_LAST, 100, monkeypatch)
    assert drawn(NUMBERS_LAST, 10, monkeypatch) == [*whole[:2], "", "the end of", "it all"]
