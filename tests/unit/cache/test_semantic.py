"""Questions in other words are found; whatever fails is a miss, and counted."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from cache.embedding import Embedder, EmbeddingFailed, EmbeddingSkipped, LocalEmbedder, Vector, normalised
from cache.semantic import SemanticIndex, SemanticUnavailable, open_index
from cache.threads import Threads
from cache.vectors import Vectors


class ByLetters:
    """Counts letters: texts of the same letters are alike."""

    name = "letters"

    def __init__(self) -> None:
        self.fault: EmbeddingFailed | None = None
        self.closed = 0

    async def embed(self, texts: list[str]) -> list[Vector]:
        if self.fault is not None:
            raise self.fault
        return [normalised(np.asarray([1 + text.count(c) for c in "abcdefgh"], dtype=np.float32)) for text in texts]

    async def aclose(self) -> None:
        self.closed += 1


def make(embedder: Embedder, path: Path | None = None) -> SemanticIndex:
    vectors = Vectors(path, rows_max=100, memory_bytes_max=1024 * 1024)
    return SemanticIndex(embedder, vectors, Threads("test", 1, 8), close_within_s=60.0)


async def test_a_question_in_other_words_is_found() -> None:
    index = make(ByLetters())
    await index.add("p", "bad cab", "k1")
    found = await index.find("p", "a bad cab", 0.9)
    assert [key for key, _ in found] == ["k1"]
    assert 0.9 <= found[0][1] < 1
    assert await index.find("p", "ggggggggggg", 0.9) == []
    assert await index.find("q", "bad cab", 0.5) == []
    assert (index.stats.searches, index.stats.found, index.stats.added) == (3, 1, 1)
    await index.aclose()


async def test_what_the_guard_tells_apart_is_not_found() -> None:
    index = make(ByLetters())
    await index.add("p", "bad cab 1", "k1")
    assert await index.find("p", "bad cab 2", 0.5) == []
    assert await index.find("p", "cab bad 1", 0.5) == []
    assert [key for key, _ in await index.find("p", "a bad cab 1", 0.5)] == ["k1"]
    await index.aclose()


async def test_it_is_remembered_while_the_caller_goes_on_and_over_a_restart(tmp_path: Path) -> None:
    index = make(ByLetters(), tmp_path / "s.db")
    index.remember("p", "bad cab", "k1")
    await index.aclose()
    again = make(ByLetters(), tmp_path / "s.db")
    assert [key for key, _ in await again.find("p", "bad cab", 0.99)] == ["k1"]
    await again.aclose()


async def test_a_reply_that_is_gone_is_forgotten() -> None:
    index = make(ByLetters())
    await index.add("p", "bad cab", "k1")
    index.forget("k1")
    while not index.stats.dropped:
        await asyncio.sleep(0)
    assert await index.find("p", "bad cab", 0.5) == []
    await index.aclose()


async def test_models_are_never_mixed(tmp_path: Path) -> None:
    one = make(ByLetters(), tmp_path / "s.db")
    await one.add("p", "bad cab", "k1")
    await one.aclose()
    embedder = ByLetters()
    embedder.name = "other letters"
    other = make(embedder, tmp_path / "s.db")
    assert await other.find("p", "bad cab", 0.5) == []
    await other.aclose()


@pytest.mark.parametrize(("fault", "counts"), [(EmbeddingFailed("down"), (3, 0)), (EmbeddingSkipped("busy"), (0, 3))])
async def test_an_embedder_that_fails_is_a_miss(fault: EmbeddingFailed, counts: tuple[int, int]) -> None:
    embedder = ByLetters()
    index = make(embedder)
    await index.add("p", "bad cab", "k1")
    embedder.fault = fault
    assert await index.find("p", "bad cab", 0.5) == []
    await index.add("p", "bed", "k2")
    index.remember("p", "bed", "k2")
    await asyncio.sleep(0)
    assert (index.stats.failed, index.stats.skipped) == counts
    embedder.fault = None
    assert [key for key, _ in await index.find("p", "bad cab", 0.9)] == ["k1"]
    await index.aclose()


async def test_a_broken_file_is_a_miss_that_is_counted(tmp_path: Path) -> None:
    (tmp_path / "s.db").mkdir()
    index = make(ByLetters(), tmp_path / "s.db")
    assert await index.find("p", "bad cab", 0.5) == []
    assert index.stats.failed == 1
    assert index.stats.failed == 1
    await index.aclose()


async def test_too_much_at_once_is_skipped() -> None:
    index = make(ByLetters())
    for number in range(200):
        index.remember("p", "bad cab", f"k{number}")
    assert index.stats.skipped == 200 - 64
    found = await asyncio.gather(*(index.find("p", "bad cab", 0.5) for _ in range(100)))
    assert len(found) == 100
    await index.aclose()


async def test_closing_again_and_using_it_after_does_no_harm() -> None:
    embedder = ByLetters()
    index = make(embedder)
    await index.aclose()
    await index.aclose()
    assert embedder.closed
    assert await index.find("p", "bad cab", 0.5) == []
    index.remember("p", "bad cab", "k")
    await index.aclose()


async def test_the_local_model_finds_a_paraphrase(tmp_path: Path) -> None:
    index = open_index(tmp_path / "s.db")
    await index.add("p", "How do I reset my password?", "k1")
    assert [key for key, _ in await index.find("p", "How can I reset my password?", 0.9)] == ["k1"]
    assert await index.find("p", "What is the boiling point of water?", 0.5) == []
    assert index.stats.failed == 0
    await index.aclose()


async def test_the_local_model_has_no_vector_for_a_script_it_does_not_know() -> None:
    embedder = LocalEmbedder(Threads("test", 1, 8))
    for text in ("如何重置我的密码？", "Как сбросить пароль?", "パスワードのリセット方法"):
        with pytest.raises(EmbeddingSkipped):
            embedder.embed_now([text])
    (vector,) = embedder.embed_now(["Wie setze ich mein Passwort zurück?"])
    assert vector.shape == (256,)
    assert float(np.linalg.norm(vector)) == pytest.approx(1)


def test_without_the_model_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SemanticUnavailable, match="semantic"):
        open_index(None)
    open_index(None, url="http://127.0.0.1:1/v1/embeddings")


@pytest.mark.parametrize("row", [[], [0.0, 0.0], [float("nan"), 1.0], [float("inf")], [1.0] * 9000])
def test_a_vector_without_direction_is_refused(row: list[float]) -> None:
    with pytest.raises(EmbeddingFailed):
        normalised(np.asarray(row, dtype=np.float32))
