"""Pictures: the same bytes for the same numbers, and none of what there are no numbers for."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import msgspec
import pytest

from exporters.datasets.describing.manifest import Manifest, TokenCounts
from exporters.datasets.describing.plots import FUNNEL, TIMELINE, TOKENS, draw

from ..made import made, row


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return made(tmp_path_factory.mktemp("root"), [row(number) for number in range(40)])[1]


def chunks(data: bytes) -> dict[str, bytes]:
    found, place = {}, 8
    while place < len(data):
        length, kind = struct.unpack(">I4s", data[place : place + 8])
        found[kind.decode()] = data[place + 8 : place + 8 + length]
        place += 12 + length
    return found


def test_the_same_numbers_give_the_same_bytes(manifest: Manifest, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        draw(manifest, tmp_path / name)
    for path in (FUNNEL, TOKENS, TIMELINE):
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes()


def test_a_picture_names_no_program_and_no_time(manifest: Manifest, tmp_path: Path) -> None:
    for path in draw(manifest, tmp_path):
        assert set(chunks(path.read_bytes())) <= {"IHDR", "pHYs", "IDAT", "IEND"}


def test_settings_of_the_process_do_not_show(manifest: Manifest, tmp_path: Path) -> None:
    import matplotlib

    (tmp_path / "own").mkdir()
    draw(manifest, tmp_path)
    with matplotlib.rc_context({"font.size": 30, "savefig.facecolor": "red"}):
        draw(manifest, tmp_path / "own")
        assert matplotlib.rcParams["font.size"] == 30
    assert (tmp_path / TOKENS).read_bytes() == (tmp_path / "own" / TOKENS).read_bytes()


def test_other_numbers_give_another_picture(manifest: Manifest, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    draw(manifest, tmp_path)
    dropped = {"refused": 7, "prefix": 11}
    draw(msgspec.structs.replace(manifest, selected=manifest.selected + 18, dropped=dropped), tmp_path / "more")
    assert (tmp_path / FUNNEL).read_bytes() != (tmp_path / "more" / FUNNEL).read_bytes()
    assert zlib.decompress(chunks((tmp_path / "more" / FUNNEL).read_bytes())["IDAT"])


def test_what_has_no_numbers_is_not_drawn(manifest: Manifest, tmp_path: Path) -> None:
    empty = msgspec.structs.replace(manifest, tokens=TokenCounts(), timeline=[], written=0)
    assert [path.name for path in draw(empty, tmp_path)] == ["funnel.png"]
