"""Forms are read alike however they are cut, and what is none is refused."""

from __future__ import annotations

import itertools

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.batching.local.uploads import Form
from proxy.errors import ClientFault

BOUNDARY = b"-----edge"
TYPE = b"multipart/form-data; boundary=" + BOUNDARY


def part(disposition: bytes, content: bytes) -> bytes:
    return b"--" + BOUNDARY + b"\r\nContent-Disposition: form-data; " + disposition + b"\r\n\r\n" + content + b"\r\n"


END = b"--" + BOUNDARY + b"--\r\n"
PURPOSE = part(b'name="purpose"', b"batch")


def read(body: bytes, *cuts: int, content_type: bytes = TYPE) -> tuple[Form, bytes]:
    form = Form(content_type)
    edges = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    content = b"".join(form.feed(body[a:b]) for a, b in itertools.pairwise(edges))
    form.finish()
    return form, content


def test_a_form_is_read_alike_at_every_cut() -> None:
    content = b'{"a": 1}\r\n\r\n--' + BOUNDARY[:4] + b"\r\n--nearly\n"
    body = PURPOSE + part(b'name="file"; filename="in.jsonl"', content) + END
    for cut in range(len(body)):
        form, found = read(body, cut)
        assert (form.fields, form.filename, found) == ({"purpose": "batch"}, "in.jsonl", content)


@given(st.binary(max_size=300), st.lists(st.integers(0, 600), max_size=5))
def test_any_content_comes_out_as_it_went_in(content: bytes, cuts: list[int]) -> None:
    if BOUNDARY in content:
        return
    body = part(b'name="file"; filename="x"', content) + PURPOSE + END
    form, found = read(body, *cuts)
    assert (found, form.fields) == (content, {"purpose": "batch"})


def test_what_the_sdks_client_writes_is_read() -> None:
    name = 'Übung "1".jsonl'
    request = httpx.Request(
        "POST",
        "http://penstock.test",
        data={"purpose": "batch", "expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"},
        files={"file": (name, b"abc")},
    )
    form, found = read(request.read(), content_type=request.headers["content-type"].encode())
    assert found == b"abc"
    assert form.fields["expires_after[seconds]"] == "3600"
    assert form.filename is not None
    assert form.filename.startswith("Übung")


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b"../../etc/passwd", "passwd"),
        (b"C:\\\\data\\\\in.jsonl", "in.jsonl"),
        (b"", "upload"),
        (b"a\x07b", "ab"),
        (b"\xff\xfe", "��"),
        (b"x" * 400, "x" * 255),
    ],
)
def test_names_have_no_folders_and_no_end_of_line(raw: bytes, name: str) -> None:
    form, _ = read(part(b'name="file"; filename="' + raw + b'"', b"1") + END)
    assert form.filename == name


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (PURPOSE + END, "missing_required_parameter"),
        (part(b'name="file"; filename="x"', b"1"), "malformed_form"),
        (part(b'name="file"; filename="x"', b"1") * 2 + END, "malformed_form"),
        (part(b'name="more"', b"1") * 33 + END, "malformed_form"),
        (part(b'name="purpose"', b"x" * 5000) + END, "malformed_form"),
        (b"no form at all", "malformed_form"),
        (b"", "malformed_form"),
        (b"--" + BOUNDARY + b"\r\n" + b"x" * 9000 + b": 1\r\n\r\n", "malformed_form"),
    ],
)
def test_what_is_no_upload_is_refused(body: bytes, code: str) -> None:
    with pytest.raises(ClientFault) as caught:
        read(body)
    assert (caught.value.code, caught.value.http_status) == (code, 400)


@pytest.mark.parametrize(
    "content_type",
    [
        b"",
        b"application/json",
        b"multipart/form-data",
        b"multipart/mixed; boundary=x",
        b"multipart/form-data; boundary=",
    ],
)
def test_only_forms_are_taken(content_type: bytes) -> None:
    with pytest.raises(ClientFault) as caught:
        Form(content_type)
    assert caught.value.code == "invalid_content_type"


def test_a_boundary_without_end_is_refused() -> None:
    with pytest.raises(ClientFault) as caught:
        Form(b"multipart/form-data; boundary=" + b"x" * 10_000)
    assert caught.value.code == "malformed_form"
