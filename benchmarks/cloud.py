"""A server for everything that a function calls in its first invocation, over TLS: AWS and the provider.

It is small and the same for every contender. DynamoDB stores what is put and updated; all other responses are fixed.

    python -m benchmarks.cloud CERTIFICATE KEY      prints its port, serves until its input ends
"""

import json
import re
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

JPEG = (Path(__file__).parents[1] / "local/sample/product.jpg").read_bytes()


def _box(kind: bytes, size: int) -> bytes:
    return (size + 8).to_bytes(4, "big") + kind + bytes(size)


VIDEO = _box(b"ftyp", 16) + _box(b"moov", 100) + _box(b"mdat", 64 * 1024)
_SNS = "<PublishResponse><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>"


class Table:
    """A minimal DynamoDB table with one string key, ``job_id`` or ``id``."""

    def __init__(self, items: dict[str, Any]) -> None:
        self.items = items

    def call(self, operation: str, body: dict[str, Any]) -> dict[str, Any]:
        """The response to an operation."""
        match operation:
            case "GetItem":
                item = self.items.get(_key(body["Key"]))
                return {"Item": item} if item else {}
            case "BatchGetItem":
                return {
                    "Responses": {
                        table: [self.items[key] for wanted in asked["Keys"] if (key := _key(wanted)) in self.items]
                        for table, asked in body["RequestItems"].items()
                    },
                    "UnprocessedKeys": {},
                }
            case "Forget":  # not an operation of DynamoDB: empties the table for the next contender
                self.items.clear()
            case "PutItem":
                self.items[_key(body["Item"])] = body["Item"]
                return {}
            case "UpdateItem":
                return {"Attributes": self._update(body)}
            case "TransactWriteItems":
                for part in body["TransactItems"]:
                    if "Update" in part:
                        self._update(part["Update"])
                return {}
        return {}

    def _update(self, body: dict[str, Any]) -> dict[str, Any]:
        item = dict(self.items.get(_key(body["Key"]), body["Key"]))
        names = body.get("ExpressionAttributeNames", {})
        for path, value in re.findall(r"(\S+) = (:\w+)", body["UpdateExpression"]):
            *steps, last = [names.get(step, step) for step in path.split(".")]
            where = item
            for step in steps:
                where = where.setdefault(step, {"M": {}})["M"]
            where[last] = body["ExpressionAttributeValues"][value]
        for name, value in re.findall(r"(\S+) = list_append\(\S+ \S+ (:\w+)\)", body["UpdateExpression"]):
            listed = item.get(names[name], {"L": []})["L"]
            item[names[name]] = {"L": [*listed, *body["ExpressionAttributeValues"][value]["L"]]}
        self.items[_key(body["Key"])] = item
        return item


def _key(item: dict[str, Any]) -> str:
    return str((item.get("job_id") or item["id"])["S"])


class Handler(BaseHTTPRequestHandler):
    """One request to any of the services."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # sends headers and body together
    disable_nagle_algorithm = True
    table: ClassVar[Table]

    def handle_expect_100(self) -> bool:
        go_on = super().handle_expect_100()
        self.wfile.flush()
        return go_on

    def do_GET(self) -> None:
        if self.path.startswith("/v2/requests/"):
            self._json({"request_id": "r-1", "status": "PROCESSING"})
        elif self.path.startswith("/media/"):
            self._answer(200, VIDEO, "video/mp4")
        else:
            self._answer(200, JPEG, "image/jpeg", {"ETag": '"1"'})

    def do_PUT(self) -> None:
        self._body()
        self._answer(200, b"", "application/xml", {"ETag": '"1"'})

    def do_POST(self) -> None:
        body = self._body()
        operation = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        if self.path.startswith(("/v1/", "/v2/")):
            self._json({"request_id": "r-1", "status": "QUEUED", "status_url": "-", "response_url": "-"})
        elif operation == "GetSecretValue":
            self._json({"Name": "segmind", "SecretString": "SG_0000000000000000"})
        elif operation == "StartExecution":
            self._json({"executionArn": "arn:aws:states:eu-central-1:123456789012:execution:m:e", "startDate": 1.0})
        elif operation:
            self._json(self.table.call(operation, json.loads(body)), "application/x-amz-json-1.0")
        else:
            self._answer(200, _SNS.encode(), "text/xml")

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing, because that would take time."""

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _json(self, answer: dict[str, Any], media_type: str = "application/json") -> None:
        self._answer(200, json.dumps(answer).encode(), media_type)

    def _answer(self, status: int, body: bytes, media_type: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class TlsServer(ThreadingHTTPServer):
    """An HTTPS server on a free port. TLS handshakes run in the connection's thread, so they don't block others."""

    daemon_threads = True

    def __init__(self, handler: type[BaseHTTPRequestHandler], certificate: str, key: str) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)

    def finish_request(self, request: Any, client_address: Any) -> None:
        with self._context.wrap_socket(request, server_side=True) as connection:
            super().finish_request(connection, client_address)


def main() -> None:
    certificate, key = sys.argv[1:]
    Handler.table = Table({})
    with TlsServer(Handler, certificate, key) as server:
        print(server.server_address[1], flush=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdin.read()


if __name__ == "__main__":
    main()
