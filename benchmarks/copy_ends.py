"""Source and destination of a copy: a host that serves videos of any length, and an S3 that accepts and discards data.

    python -m benchmarks.copy_ends source|sink CERTIFICATE KEY      prints its port, serves until its input ends

Each is a separate process that does as little as possible, because only the copier is measured.
"""

import sys
import threading
from http.server import BaseHTTPRequestHandler
from typing import Any

from benchmarks.cloud import TlsServer

BLOCK = bytes(range(256)) * 4096


def _box(kind: bytes, size: int) -> bytes:
    return (size + 8).to_bytes(4, "big") + kind


class Source(BaseHTTPRequestHandler):
    """Serves ``GET /<bytes>``: an MP4 of that length, complete by its boxes."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        length = int(self.path.strip("/"))
        head = _box(b"ftyp", 16) + bytes(16) + _box(b"moov", 100) + bytes(100)
        head += _box(b"mdat", length - len(head) - 8)
        self.send_response(200)
        self.send_header("Content-Type", "video/mp4")
        self.send_header("Content-Length", str(length))
        self.send_header("ETag", '"1"')
        self.end_headers()
        self.wfile.write(head)
        block, left = memoryview(BLOCK), length - len(head)
        while left:
            self.wfile.write(block[:left])
            left -= min(left, len(block))

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing, because that would take time."""


class Sink(Source):
    """S3's operations for an upload, single or multipart."""

    def do_PUT(self) -> None:
        buffer = memoryview(bytearray(1024 * 1024))
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                self._skip(size + 2, buffer)
            self.rfile.readline()
        else:
            self._skip(int(self.headers["Content-Length"]), buffer)
        self._answer(b"")

    def _skip(self, left: int, buffer: memoryview) -> None:
        while left:
            left -= self.rfile.readinto(buffer[:left])

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "uploadId=" in self.path:
            self._answer(b"<CompleteMultipartUploadResult><ETag>1</ETag></CompleteMultipartUploadResult>")
        else:
            self._answer(b"<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>")

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"1"')
        self.end_headers()
        self.wfile.write(body)

    def handle_expect_100(self) -> bool:
        go_on = super().handle_expect_100()
        self.wfile.flush()
        return go_on


def main() -> None:
    which, certificate, key = sys.argv[1:]
    with TlsServer(Source if which == "source" else Sink, certificate, key) as server:
        print(server.server_address[1], flush=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdin.read()


if __name__ == "__main__":
    main()
