from __future__ import annotations

import logging
import os
import socket
from pathlib import Path

import pytest
import tiktoken
import tiktoken.load
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.metering import tokenizer as module
from proxy.metering.tokenizer import CHARACTERS_MAX, PIECE_CHARACTERS, Tokenizer, by_length, encoding_name, unpack


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tokenizer")


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Tokenizer:
    return Tokenizer(folder)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt-4o-mini", "o200k_base"),
        ("gpt-4", "cl100k_base"),
        ("gpt-3.5-turbo-0125", "cl100k_base"),
        ("text-embedding-3-small", "cl100k_base"),
        ("gpt-6-luna", "o200k_base"),
        ("ft:gpt-5-2025-08-07:acme::x", "o200k_base"),
        ("ft:gpt-4.1-mini-2025-04-14:acme::x", "o200k_base"),
        ("ft:gpt-3.5-turbo-0125:acme::x", "cl100k_base"),
        ("gpt-oss:20b", "o200k_base"),
        ("gpt-oss-120b", "o200k_base"),
        ("codex-mini-latest", "o200k_base"),
        ("openai/gpt-4o", "o200k_base"),
        ("openai/gpt-4-turbo", "cl100k_base"),
        ("openai/gpt-4:extended", "cl100k_base"),
        ("davinci", "cl100k_base"),  # its own encoding is not bundled
        ("Qwen/Qwen3-8B", "o200k_base"),
        ("", "o200k_base"),
    ],
)
def test_the_encoding_of_a_model(model: str, name: str) -> None:
    assert encoding_name(model) == name


@pytest.mark.parametrize(
    ("model", "text", "count"),
    [
        # Counts published with tiktoken's cookbook, for cl100k_base and o200k_base.
        ("gpt-4", "tiktoken is great!", 6),
        ("gpt-4", "お誕生日おめでとう", 9),
        ("gpt-4o", "antidisestablishmentarianism", 6),
        ("gpt-4o", "2 + 2 = 4", 7),
        ("gpt-4o", "お誕生日おめでとう", 8),
        ("gpt-4o", "", 0),
        ("gpt-4o", "<|endoftext|>", 7),  # text, not the special token
    ],
)
def test_counts(tokenizer: Tokenizer, model: str, text: str, count: int) -> None:
    assert tokenizer.count(model, text) == count


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("no_network")
def test_it_never_asks_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first start on a machine without a network, with an empty directory and a user's own setting elsewhere."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setattr(tiktoken.registry, "ENCODINGS", {})
    assert Tokenizer(tmp_path / "ranks").count("gpt-4o", "hello world") == 2
    assert os.environ["TIKTOKEN_CACHE_DIR"] == str(tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("broken", [b"", b"half a file"])
def test_a_broken_file_is_written_anew(tmp_path: Path, broken: bytes) -> None:
    path = unpack("cl100k_base", tmp_path)
    assert path.name == "9b5ad71b2ce5302211f9c61530b329a4922fc6a4"
    whole = path.read_bytes()
    path.write_bytes(broken)
    assert unpack("cl100k_base", tmp_path) == path
    assert path.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [path]


def test_a_whole_file_is_left_alone(folder: Path, tokenizer: Tokenizer) -> None:
    tokenizer.count("gpt-4o", "a")
    path = unpack("o200k_base", folder)
    before = path.stat()
    unpack("o200k_base", folder)
    assert path.stat() == before


def test_a_directory_that_cannot_be_written_gives_estimates_and_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(tiktoken.registry, "ENCODINGS", {})
    blocked = Tokenizer(tmp_path / "file")
    with caplog.at_level(logging.WARNING):
        assert blocked.count("gpt-4o", "x" * 10) == 3
        assert blocked.count("gpt-4o", "x" * 4) == 1
    assert [one.name for one in caplog.records].count(module.__name__) == 1
    assert "estimated by length" in caplog.text


@pytest.mark.usefixtures("no_network")
def test_a_file_that_is_not_tiktokens_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_bundled", lambda name: b"another version")
    monkeypatch.setattr(tiktoken.registry, "ENCODINGS", {})
    assert Tokenizer(tmp_path).count("gpt-4o", "x" * 400) == 100
    assert list(tmp_path.iterdir()) == []


def test_what_overflows_tiktoken_is_counted(tokenizer: Tokenizer) -> None:
    """A million spaces at once make it panic; `except Exception` would let that through."""
    assert 0 < tokenizer.count("gpt-4o", " " * 1_000_000) < 20_000


def test_a_panic_is_estimated_and_an_interrupt_is_not(tokenizer: Tokenizer) -> None:
    class PanicException(BaseException):
        pass

    class Broken:
        def __init__(self, error: BaseException) -> None:
            self.error = error

        def encode_ordinary(self, text: str) -> list[int]:
            raise self.error

    for error in (PanicException(), ValueError()):
        assert module._encode(Broken(error), "x" * 40) == 10  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        module._encode(Broken(KeyboardInterrupt()), "x")  # type: ignore[arg-type]


def test_long_texts_are_extrapolated(tokenizer: Tokenizer) -> None:
    text = "hello world " * (CHARACTERS_MAX // 12)
    assert tokenizer.count("gpt-4o", text * 5) == pytest.approx(5 * tokenizer.count("gpt-4o", text), rel=1e-3)


def test_a_cut_between_pieces_costs_next_to_nothing(tokenizer: Tokenizer) -> None:
    text = "the quick brown fox " * (PIECE_CHARACTERS // 10)
    exact = len(tiktoken.get_encoding("o200k_base").encode_ordinary(text))
    assert abs(tokenizer.count("gpt-4o", text) - exact) <= 2


@given(text=st.text(st.characters(), max_size=200))
@settings(deadline=None, max_examples=50)
def test_any_text_has_a_count(tokenizer: Tokenizer, text: str) -> None:
    count = tokenizer.count("gpt-4o", text)
    assert (count == 0) == (text == "")
    assert count <= len(text.encode("utf-8", "surrogatepass")) * 2


def test_by_length() -> None:
    assert [by_length("x" * n) for n in (0, 1, 4, 5)] == [0, 1, 1, 2]
