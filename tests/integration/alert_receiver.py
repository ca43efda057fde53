"""A receiver of webhooks in a process of its own: verifies, sometimes refuses, and writes down each key that it took."""

from __future__ import annotations

import base64
import hashlib
import hmac
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SECRET = bytes(range(32))


class Receiver(BaseHTTPRequestHandler):
    """Every fifth request is refused, before it is looked at."""

    protocol_version = "HTTP/1.1"
    asked = 0

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        Receiver.asked += 1
        self.send_response(503 if Receiver.asked % 5 == 0 else self.taken(body))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def taken(self, body: bytes) -> int:
        key, at = self.headers["webhook-id"], self.headers["webhook-timestamp"]
        signed = hmac.new(SECRET, f"{key}.{at}.".encode() + body, hashlib.sha256).digest()
        if self.headers["webhook-signature"] != "v1," + base64.b64encode(signed).decode():
            return 401
        with Path(sys.argv[1]).open("a") as log:
            log.write(f"{key}\n")
        return 200

    def log_message(self, *_: object) -> None:
        """Say nothing."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    print(server.server_port, flush=True)  # noqa: T201 - its owner reads it
    server.serve_forever()
