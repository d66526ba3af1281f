"""An uploaded file on its way in: a multipart form read piece by piece, whatever the size of the file in it."""

from __future__ import annotations

from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from ...errors import ClientFault

_PARTS_MAX: Final = 32
_FIELD_BYTES_MAX: Final = 4096
_FILENAME_CHARS_MAX: Final = 255


class Form:
    """RFC 7578. Feed it the body; what it gives back is the content of the part `file`.

    Raises `ClientFault` (400) for what is no form, has two files, or is otherwise beyond what an upload needs.
    """

    def __init__(self, content_type: bytes) -> None:
        kind, options = parse_options_header(content_type.decode("latin-1"))
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise ClientFault(
                "Send the file as multipart/form-data with a boundary, its content in the field 'file'.",
                code="invalid_content_type",
            )
        self.fields: dict[str, str] = {}
        """The other parts of the form, by name; the last of a name."""
        self.filename: str | None = None
        """None until the part `file` has begun."""
        self._content: list[bytes] = []
        self._field = bytearray()
        self._header = (bytearray(), bytearray())
        self._name = ""
        self._is_file = False
        self._parts = 0
        self._ended = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._part_begun,
                    "on_part_data": self._part_data,
                    "on_part_end": self._part_ended,
                    "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
                    "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
                    "on_header_end": self._header_ended,
                    "on_end": self._form_ended,
                },
            )
        except FormParserError as error:
            raise _malformed(error) from error

    def feed(self, data: bytes) -> bytes:
        """The file's content within these bytes of the body."""
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise _malformed(error) from error
        content, self._content = self._content, []
        return content[0] if len(content) == 1 else b"".join(content)

    def finish(self) -> None:
        """The body is over. Raises `ClientFault` when the form is not, or has no file."""
        if not self._ended:
            raise ClientFault("The form is cut short: its last boundary is missing.", code="malformed_form")
        if self.filename is None:
            raise ClientFault("Missing required parameter: 'file'.", code="missing_required_parameter", param="file")

    def _part_begun(self) -> None:
        self._parts += 1
        if self._parts > _PARTS_MAX:
            raise ClientFault(f"The form has more than {_PARTS_MAX} parts.", code="malformed_form")
        self._name, self._is_file = "", False
        self._field.clear()

    def _header_ended(self) -> None:
        name, value = (bytes(part) for part in self._header)
        for part in self._header:
            part.clear()
        if name.lower() != b"content-disposition":
            return
        _, options = parse_options_header(value.decode("latin-1"))
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        if self._name == "file":
            if self.filename is not None:
                raise ClientFault("Send one file at a time.", code="malformed_form", param="file")
            self._is_file = True
            self.filename = _filename(options.get(b"filename", b""))

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self._content.append(data[start:end])
            return
        self._field += data[start:end]
        if len(self._field) > _FIELD_BYTES_MAX:
            raise ClientFault(f"A field of the form is longer than {_FIELD_BYTES_MAX} bytes.", code="malformed_form")

    def _part_ended(self) -> None:
        if not self._is_file and self._name:
            self.fields[self._name] = self._field.decode("utf-8", "replace")

    def _form_ended(self) -> None:
        self._ended = True


def _filename(raw: bytes) -> str:
    """Without folders and control characters, as it goes back in a header."""
    name = raw.decode("utf-8", "replace").replace("\\", "/").rpartition("/")[2]
    return "".join(letter for letter in name if letter.isprintable())[:_FILENAME_CHARS_MAX] or "upload"


def _malformed(error: Exception) -> ClientFault:
    return ClientFault(f"The form cannot be read: {str(error)[:200]}.", code="malformed_form")
