"""Answers that outlive the process that got them."""

from __future__ import annotations

import resource
from datetime import UTC, datetime
from pathlib import Path

import pytest

from finetune.errors import FinetuneError
from finetune.evaluation.journal import Journal, key_of

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def journal(path: Path) -> Journal:
    return Journal(path, now=lambda: NOW)


def test_what_was_kept_is_there_again_under_the_same_name(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.jsonl"
    with journal(path) as first:
        first.keep("k", {"text": "é"})
        name = first.id
    with Journal(path, now=lambda: datetime.now(UTC)) as again:
        assert (again.get("k"), again.get("other"), len(again)) == ('{"text":"é"}'.encode(), None, 1)
        assert (again.id, again.began) == (name, "2026-11-23T00:00:00+00:00")
        again.done()
    with journal(path) as anew:
        assert len(anew) == 0
        assert anew.id != name
    assert path.stat().st_mode & 0o077 == 0, "answers are nobody else's"


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_line_that_a_kill_cut_off_is_as_if_it_had_never_begun(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "a.jsonl"
    with journal(path) as first:
        first.keep("k", 1)
        whole = path.stat().st_size
        first.keep("l", "a text that is long enough to be cut")
        name = first.id
    data = path.read_bytes()
    path.write_bytes(data[: whole + cut])
    with journal(path) as again:
        assert (again.id, again.get("k"), again.get("l")) == (name, b"1", None)
        again.keep("l", 2)
    with journal(path) as last:
        assert last.get("l") == b"2"


def test_what_was_kept_can_be_asked_for_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with journal(path) as first:
        first.keep("k", 1)
        first.keep("k", None)
        assert first.get("k") is None
    with journal(path) as again:
        assert again.get("k") is None
        again.keep("k", 2)
        assert again.get("k") == b"2"


def test_a_line_that_the_disk_took_half_of_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with journal(path) as first:
        first.keep("k", 1)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, limits[1]))
        try:
            with pytest.raises(FinetuneError, match="cannot be written: File too large"):
                first.keep("l", "a text that is too long for what is left")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        first.keep("m", 3)
    with journal(path) as again:
        assert (again.get("k"), again.get("l"), again.get("m")) == (b"1", None, b"3")


def test_one_process_at_a_time_and_a_damaged_file_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with journal(path), pytest.raises(FinetuneError, match="Another process evaluates into"):
        journal(path).__enter__()
    path.write_text("{}\n")
    with pytest.raises(FinetuneError, match="is damaged"):
        journal(path).__enter__()
    with pytest.raises(FinetuneError, match="cannot be written"):
        journal(path / "below").__enter__()


def test_a_key_is_that_of_the_question_alone() -> None:
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})
    assert key_of({"a": 1}) != key_of({"a": 2})
