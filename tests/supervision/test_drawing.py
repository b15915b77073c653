"""Tables for a terminal: columns, colours, and a last column that is broken where it must be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bus.supervision.drawing import Cell, sentence_lines, table_lines

TABLE = [
    [Cell("NAME", "strong"), Cell("N", "strong"), Cell("WHY", "strong")],
    [Cell("broker", "good"), Cell("12"), Cell("the wind was in the north")],
]


def test_columns_stand_below_each_other_and_no_line_ends_with_blanks() -> None:
    assert table_lines(TABLE, 80, colour=False, right={1}) == [
        "NAME     N  WHY",
        "broker  12  the wind was in the north",
    ]


def test_the_last_column_is_broken_at_its_words_below_itself() -> None:
    assert table_lines(TABLE, 24, colour=False, right={1}) == [
        "NAME     N  WHY",
        "broker  12  the wind was",
        "            in the north",
    ]


def test_colours_are_around_texts_and_not_around_blanks() -> None:
    first, second = table_lines(
        [[Cell("a", "bad"), Cell("b")], [Cell("ccc"), Cell("")]], 80, colour=True
    )
    assert first == "\x1b[1;31ma\x1b[0m    b"
    assert second == "ccc"


def test_a_sentence_is_broken_between_its_cells() -> None:
    cells = [Cell("running, well", "good"), Cell("CPU 1%"), Cell("lost 0")]
    assert sentence_lines(cells, 80, colour=False) == ["running, well  CPU 1%  lost 0"]
    assert sentence_lines(cells, 21, colour=True) == [
        "\x1b[32mrunning, well\x1b[0m  CPU 1%",
        "lost 0",
    ]
    assert sentence_lines(cells, 1, colour=False) == ["running, well", "CPU 1%", "lost 0"]


words = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=12)


@given(st.lists(st.tuples(words, st.lists(words, max_size=9)), min_size=1), st.integers(1, 60))
def test_every_word_is_shown_and_no_line_is_wider_than_need_be(
    rows: list[tuple[str, list[str]]], width: int
) -> None:
    table = [[Cell(name), Cell(" ".join(text))] for name, text in rows]
    lines = table_lines(table, width, colour=False)
    shown = "".join("".join(lines).split())
    assert shown == "".join(name + "".join(text) for name, text in rows)
    first = max(len(name) for name, _ in rows)
    assert max(map(len, lines)) <= max(width, first + 3)
