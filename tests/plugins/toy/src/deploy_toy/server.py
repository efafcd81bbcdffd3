"""A WSGI server of the standard library, which runs in the release: `server.py MODULE:APP ADDRESS PORT`."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server


class Server(ThreadingMixIn, WSGIServer):
    """A thread for each request. Closing it waits for the requests that it has accepted."""

    daemon_threads = False
    block_on_close = True
    request_queue_size = 512


class Quiet(WSGIRequestHandler):
    """Logs nothing."""

    def log_message(self, *_: object) -> None:
        """Logs nothing."""


def main(target: str, address: str, port: str) -> None:
    """Serves until SIGTERM, and then until the requests in flight have ended."""
    sys.path.insert(0, os.getcwd())
    module, _, name = target.partition(":")
    app = getattr(importlib.import_module(module), name)
    with make_server(address, int(port), app, Server, Quiet) as server:
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
        server.serve_forever(poll_interval=0.05)


if __name__ == "__main__":
    main(*sys.argv[1:])
