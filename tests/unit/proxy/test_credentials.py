from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from proxy.credentials import KeyRing, SecretMissing, hash_key, is_reference, resolve_secret


def test_a_secret_from_the_environment() -> None:
    assert resolve_secret("env:TEAM_KEY", {"TEAM_KEY": "s3cret"}) == "s3cret"


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_secret_from_a_file_without_its_line_end(tmp_path: Path, end: str) -> None:
    (tmp_path / "key").write_bytes(b"s3cret" + end.encode())
    assert resolve_secret("file:key", {}, tmp_path) == "s3cret"
    assert resolve_secret(f"file:{tmp_path}/key", {}) == "s3cret"


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("env:ABSENT", "ABSENT is not set"),
        ("env:EMPTY", "EMPTY is empty"),
        ("env:LINES", "more than one line"),
        ("file:absent", "cannot be read: No such file"),
        ("file:.", "cannot be read: Is a directory"),
        ("file:binary", "is not text"),
        ("file:large", "too large"),
        ("s3cret", "env:NAME or file:PATH"),
    ],
)
def test_a_reference_that_leads_nowhere(tmp_path: Path, reference: str, says: str) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "large").write_bytes(b"x" * 70_000)
    environ = {"EMPTY": " ", "LINES": "s3cret\ns3cret"}
    with pytest.raises(SecretMissing, match=says) as raised:
        resolve_secret(reference, environ, tmp_path)
    assert "s3cret" not in str(raised.value)


def test_what_a_reference_is() -> None:
    assert is_reference("env:A_1")
    assert is_reference("file:/run/secrets/a b")
    for text in ("env:", "env:1A", "env:A B", "file:", "sk-123", "ENV:A", "env:A\n"):
        assert not is_reference(text)


class TestKeyRing:
    def test_knows_keys_by_their_hash(self) -> None:
        ring = KeyRing.of([hash_key("alpha"), hash_key("beta").upper().replace("SHA256:", "sha256:")])
        digest = hashlib.sha256(b"beta").hexdigest()
        assert ring.key_id("beta") == digest[:8]
        assert ring.key_id("alpha") != ring.key_id("beta")
        assert len(ring) == 2

    @pytest.mark.parametrize("key", ["", "alph", "alphaa", "Alpha", hash_key("alpha"), "ключ", "\ud800"])
    def test_knows_nothing_else(self, key: str) -> None:
        assert KeyRing.of([hash_key("alpha")]).key_id(key) is None

    def test_takes_hashes_alone(self) -> None:
        with pytest.raises(ValueError, match="not hashed") as raised:
            KeyRing.of(["alpha"])
        assert "alpha" not in str(raised.value)

    def test_cannot_be_changed(self) -> None:
        with pytest.raises(TypeError):
            KeyRing.of([hash_key("alpha")]).ids["x"] = "y"  # type: ignore[index]
