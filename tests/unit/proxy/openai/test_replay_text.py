"""Texts cut into pieces."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.openai.replay_text import PIECE_CHARS, PIECES_MAX, pieces, spans


@given(st.text())
def test_pieces_are_the_text(text: str) -> None:
    cut = pieces(text)
    assert "".join(cut) == text
    assert all(cut)
    assert max(map(len, cut), default=0) <= PIECE_CHARS


def test_pieces_begin_between_words() -> None:
    text = "several words of which none is very long, told one after the other until there are none left"
    cut = pieces(text)
    assert len(cut) == 3
    assert all(piece.startswith(" ") for piece in cut[1:])


def test_words_longer_than_a_piece_are_cut() -> None:
    assert [len(piece) for piece in pieces("x" * 70)] == [32, 32, 6]


def test_a_long_text_has_longer_pieces_instead_of_more() -> None:
    for text in ("word " * 40_000, "x" * 200_000):
        assert PIECES_MAX / 3 < len(pieces(text)) <= PIECES_MAX * 1.3
        assert PIECES_MAX / 3 < len(spans(list(text), text)) <= PIECES_MAX * 1.5


@given(st.lists(st.text(max_size=9)))
def test_spans_are_all_tokens_in_order(tokens: list[str]) -> None:
    runs = spans(tokens, "".join(tokens))
    assert [token for start, end in runs for token in tokens[start:end]] == tokens


def test_spans_only_of_tokens_that_spell_the_text() -> None:
    assert spans(["ab", "c"], "abc") == [(0, 2)]
    assert spans(["ab", "d"], "abc") == []
    assert spans(["ab", None], "ab") == []
    assert spans([], "") == []
