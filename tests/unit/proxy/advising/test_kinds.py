"""What varies in a place is named for what it is."""

from __future__ import annotations

import pytest

from proxy.advising.kinds import Sample, classify, common_ends


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        ("timestamp", ["Now: 2026-11-23 07:29", "Now: 2026-11-24 08:30", "Now: 2026-12-01 09:41"]),
        ("timestamp", ["Today is Monday, November 23.", "Today is Tuesday, November 24."]),
        ("timestamp", ["at 1795400000 s", "at 1795403600 s"]),
        ("timestamp", ["7:29 pm", "8:30 am"]),
        ("random_id", ["id 3f2b8c1e-9d4a-4b7e-8f10-2c6d5e4a3b21", "id a01b8c1e-9d4a-4b7e-8f10-2c6d5e4a3b22"]),
        ("random_id", ["trace req_8fK2mQ91xz.", "trace req_91hPq02Lmw."]),
        ("counter", ["Call 7.", "Call 8.", "Call 11."]),
        ("variable_text", ["Tone: kind.", "Tone: stern.", "Tone: dry."]),
    ],
)
def test_kinds(kind: str, texts: list[str]) -> None:
    assert classify([Sample(text, "", "") for text in texts]).kind == kind


def test_text_that_goes_with_the_user_is_about_the_user() -> None:
    samples = [Sample(f"Plan: {plan}.", user, "") for user, plan in [("a", "gold"), ("b", "free"), ("a", "gold")]]
    assert classify(samples).kind == "user_text"
    assert classify([sample._replace(user="") for sample in samples]).kind == "variable_text"


def test_what_texts_share_ends_with_a_whole_word() -> None:
    assert common_ends(["It is 2026-11-23T07:29 now", "It is 2026-11-23T07:31 now"]) == (6, 4)
    assert common_ends(["abc", "abc"]) == (3, 0)
    assert common_ends(["", "x"]) == (0, 0)
