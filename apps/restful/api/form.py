"""The file in a multipart/form-data body, as it comes: nothing is kept of what went by."""

from collections.abc import AsyncIterator

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from apps.restful.service.errors import InvalidError, MalformedError


class FileForm:
    """One file in a form. Other fields are passed over; a second file is refused."""

    def __init__(self, request: Request) -> None:
        """Read the body of ``request``.

        Raises:
            MalformedError: Its content type names no boundary.
        """
        _, options = parse_options_header(request.headers.get("content-type", ""))
        boundary = options.get(b"boundary", b"")
        if not boundary:
            raise MalformedError.because(
                "multipart/form-data names no boundary", loc="/header/Content-Type"
            )
        self.name = ""
        self.content_type = ""
        self._body = request.stream()
        self._files = 0
        self._in_file = False
        self._header = [b"", b""]
        self._headers: dict[bytes, bytes] = {}
        self._data: list[bytes] = []
        self._ended = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._headers.clear,
                    "on_header_field": self._on_field,
                    "on_header_value": self._on_value,
                    "on_header_end": self._on_header,
                    "on_headers_finished": self._on_headers,
                    "on_part_data": self._on_data,
                    "on_end": self._on_end,
                },
            )
        except FormParserError as exc:
            raise MalformedError.because(f"the form cannot be read: {exc}") from exc

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._header[0] += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1] += data[start:end]

    def _on_header(self) -> None:
        field, value = self._header
        self._headers[field.lower()] = value
        self._header = [b"", b""]

    def _on_headers(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._in_file = b"filename" in options
        if not self._in_file:
            return
        self._files += 1
        if self._files > 1:
            msg = "send one file in a form; upload each by itself"
            raise InvalidError.because(msg, kind="too-many-files")
        self.name = options[b"filename"].decode(errors="replace")
        self.content_type = self._headers.get(b"content-type", b"").decode("latin-1")

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            self._data.append(data[start:end])

    def _on_end(self) -> None:
        self._ended = True

    async def begin(self) -> None:
        """Read up to the file; name and content type are known then.

        Raises:
            MalformedError: It is no form.
            InvalidError: There is no file in it.
        """
        while not self._files and await self._read():
            pass
        if not self._files:
            msg = "the form has no file: curl -F file=@scan.pdf"
            raise InvalidError.because(msg, kind="no-file")

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the file piece by piece, to the end of the form."""
        while True:
            data, self._data = self._data, []
            for piece in data:
                yield piece
            if not await self._read() and not self._data:
                return

    async def _read(self) -> bool:
        """Take the next bytes of the body; False at its end."""
        async for chunk in self._body:
            try:
                self._parser.write(chunk)
            except FormParserError as exc:
                raise MalformedError.because(f"the form cannot be read: {exc}") from exc
            return True
        if not self._ended:
            raise MalformedError.because("the form breaks off before its end")
        return False
