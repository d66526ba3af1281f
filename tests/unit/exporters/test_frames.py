"""Frames are found whatever pieces they come in, and damage costs nothing but what was damaged."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from exporters.frames import FRAME_BYTES_MAX, HEADER, Damage, Decoder, Frame, Kind, carries_in, frame, head

MARKER = b"\x01mark\xff\x00\x01"
PAYLOADS = [b"first", b"", b"third " * 9, MARKER, frame(MARKER, Kind.RECORD, b"a forged frame"), b"last"]
STREAM = b"".join(frame(MARKER, Kind.RECORD, payload) for payload in PAYLOADS)
BOUNDS = [sum(HEADER.size + len(payload) for payload in PAYLOADS[:count]) for count in range(len(PAYLOADS) + 1)]


def decode(*pieces: bytes) -> list[Frame | Damage]:
    decoder = Decoder(MARKER)
    found = [one for piece in pieces for one in decoder.feed(piece)]
    return found + decoder.finish()


def payloads(found: list[Frame | Damage]) -> list[bytes]:
    return [one.payload for one in found if isinstance(one, Frame)]


WHOLE = decode(STREAM)


def test_frames_come_back_with_their_places() -> None:
    assert payloads(WHOLE) == PAYLOADS
    assert [(one.start, one.end) for one in WHOLE] == list(pairwise(BOUNDS))


def test_every_split_point() -> None:
    for split in range(len(STREAM) + 1):
        assert decode(STREAM[:split], STREAM[split:]) == WHOLE, split


def test_one_byte_at_a_time() -> None:
    assert decode(*(STREAM[at : at + 1] for at in range(len(STREAM)))) == WHOLE


def test_every_flipped_byte_costs_one_frame_only() -> None:
    """All but the last, for which see below: nothing follows it, so a longer length looks like a frame cut short."""
    for at in range(len(STREAM)):
        damaged = bytearray(STREAM)
        damaged[at] ^= 0x41
        hit = max(index for index, bound in enumerate(BOUNDS) if bound <= at)
        found = decode(bytes(damaged))
        kept = PAYLOADS[:hit] + PAYLOADS[hit + 1 :]
        if hit == 4:  # The payload with a frame in it: what is inside a damaged frame is looked at.
            assert [one for one in payloads(found) if one != b"a forged frame"] == kept, at
            continue
        assert payloads(found) == kept, at
        assert [(one.start, one.end) for one in found if isinstance(one, Damage)] == [(BOUNDS[hit], BOUNDS[hit + 1])]


def test_every_cut_is_torn_and_costs_the_last_frame_only() -> None:
    for cut in range(1, len(STREAM)):
        found = decode(STREAM[:cut])
        whole = max(index for index, bound in enumerate(BOUNDS) if bound <= cut)
        assert payloads(found) == PAYLOADS[:whole], cut
        rest = [one for one in found if isinstance(one, Damage)]
        assert rest == ([] if cut in BOUNDS else [Damage(BOUNDS[whole], cut, torn=True)]), cut


def test_an_unfinished_frame_is_waited_for_though_its_payload_holds_another() -> None:
    """A caller can put a frame into a body, but not with the right marker."""
    outer = frame(MARKER, Kind.RECORD, frame(b"othermrk", Kind.RECORD, b"forged") + b"x" * 100)
    decoder = Decoder(MARKER)
    assert decoder.feed(outer[:-1]) == []
    assert decoder.wanted == 1
    assert payloads(decoder.feed(outer[-1:])) == [outer[HEADER.size :]]


def test_damage_is_told_as_soon_as_a_frame_follows() -> None:
    first, second = (bytearray(frame(MARKER, Kind.RECORD, text)) for text in (b"one", b"two"))
    first[-1] ^= 1
    decoder = Decoder(MARKER, 1000)
    assert decoder.feed(bytes(first)) == []
    assert decoder.feed(bytes(second[:-1])) == []
    assert decoder.feed(bytes(second[-1:])) == [
        Damage(1000, 1020, torn=False),
        Frame(Kind.RECORD, b"two", 1020, 1040),
    ]


def test_two_damaged_frames_with_absurd_lengths() -> None:
    absurd = HEADER.pack(MARKER, Kind.RECORD, FRAME_BYTES_MAX + 1, 0) + b"abc"
    promising = HEADER.pack(MARKER, Kind.RECORD, FRAME_BYTES_MAX, 0) + b"abc"
    good = frame(MARKER, Kind.BEGIN, b"good")
    assert payloads(decode(absurd, promising, good)) == [b"good"]
    decoder = Decoder(MARKER)
    assert payloads(decoder.feed(absurd + promising + good)) == [b"good"]
    assert decode(absurd) == [Damage(0, len(absurd), torn=False)], "no frame that was cut short"
    assert decode(promising) == [Damage(0, len(promising), torn=True)]


def test_kinds_of_a_newer_version_are_passed_on() -> None:
    assert decode(frame(MARKER, 200, b"new")) == [Frame(200, b"new", 0, HEADER.size + 3)]


def test_the_kind_is_protected_too() -> None:
    damaged = bytearray(frame(MARKER, Kind.RECORD, b"text"))
    damaged[8] = Kind.BEGIN
    assert payloads(decode(bytes(damaged))) == []


def test_head() -> None:
    (found,) = decode(head(MARKER, 3))
    assert isinstance(found, Frame)
    assert (found.kind, carries_in(found.payload)) == (Kind.HEAD, 3)
    assert carries_in(b"x") == -1


@given(
    st.lists(st.one_of(st.binary(max_size=40), st.just(MARKER), st.just(MARKER[:5])), max_size=6),
    st.lists(st.integers(0, 400), max_size=6),
    st.binary(max_size=30),
)
def test_any_payloads_in_any_pieces_between_any_garbage(texts: list[bytes], cuts: list[int], garbage: bytes) -> None:
    stream = garbage + b"".join(frame(MARKER, Kind.RECORD, text) for text in texts)
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    found = decode(*(stream[start:end] for start, end in pairwise(edges)))
    assert payloads(found) == texts
    assert sum(one.end - one.start for one in found) == len(stream)
