"""A caller's key can be read with the secret alone, and is nowhere else."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from proxy.batching.database import Database
from proxy.batching.refusal import QueueUnavailable
from proxy.batching.sealing import (
    Sealer,
    Unsealable,
    credential_id,
    decode_credential,
    encode_credential,
    keep,
    kept,
    opened,
)
from proxy.settings import Batch, Server, Settings
from tests.unit.proxy.batching.an_item import credential_ids

HEADERS = [
    (b"Authorization", b"Bearer sk-1"),
    (b"Content-Type", b"application/json"),
    (b"OpenAI-Project", b"proj_1"),
    (b"x-api-key", b"key"),
]


def given(tmp_path: Path, secret: str = "") -> Settings:
    return Settings(server=Server(data_dir=str(tmp_path)), batch=Batch(secret=secret))


def test_the_headers_that_say_who_asks_are_kept_and_no_others() -> None:
    encoded = encode_credential(HEADERS)
    assert decode_credential(encoded) == [
        (b"authorization", b"Bearer sk-1"),
        (b"openai-project", b"proj_1"),
        (b"x-api-key", b"key"),
    ]
    assert encode_credential(HEADERS[::-1]) == encoded
    assert encode_credential([(b"Content-Type", b"application/json")]) == b""
    assert credential_id(b"") == ""
    assert credential_id(encoded) != credential_id(encode_credential(HEADERS[:1]))


@pytest.mark.parametrize("secret", ["", "a secret of sixteen characters"])
def test_what_is_sealed_is_opened_by_all_who_share_the_secret(tmp_path: Path, secret: str) -> None:
    sealer, other = Sealer.of(given(tmp_path, secret)), Sealer.of(given(tmp_path, secret))
    sealed = sealer.seal(b"Bearer sk-1")
    assert other.open(sealed) == b"Bearer sk-1"
    assert b"sk-1" not in sealed
    assert sealer.seal(b"Bearer sk-1") != sealed
    assert (tmp_path / "batch" / "secret.key").exists() == (not secret)


def test_another_secret_does_not_open_it(tmp_path: Path) -> None:
    sealed = Sealer.of(given(tmp_path, "the first of two secrets")).seal(b"key")
    for other in (Sealer.of(given(tmp_path, "the second of two secrets")), Sealer.of(given(tmp_path))):
        with pytest.raises(Unsealable):
            other.open(sealed)
        with pytest.raises(Unsealable):
            other.open(sealed[:-1])


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    Sealer.of(given(tmp_path))
    path = tmp_path / "batch" / "secret.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_all_who_begin_at_once_have_one_secret(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        found = set(threads.map(lambda number: kept(tmp_path / "it", b"%d" % number), range(64)))
    assert len(found) == 1


def test_a_file_that_is_no_key_stops_it_with_one_line(tmp_path: Path) -> None:
    path = tmp_path / "batch" / "secret.key"
    path.parent.mkdir()
    path.write_bytes(b"not a key")
    with pytest.raises(QueueUnavailable, match=r"secret\.key is not a key"):
        Sealer.of(given(tmp_path))
    path.unlink()
    path.mkdir()
    with pytest.raises(QueueUnavailable, match=r"secret\.key: Is a directory"):
        Sealer.of(given(tmp_path))


def test_a_credential_is_kept_once_and_opened_by_its_id(database: Database, tmp_path: Path) -> None:
    sealer = Sealer.of(given(tmp_path))
    data = encode_credential(HEADERS)
    for _ in range(2):
        with database.transaction() as connection:
            keep(connection, {credential_id(data): sealer.seal(data)}, 1)
    assert credential_ids(database) == {credential_id(data)}
    with database.reading() as connection:
        assert opened(connection, credential_id(data), sealer) == decode_credential(data)
        with pytest.raises(Unsealable, match="not in the queue"):
            opened(connection, "another", sealer)
