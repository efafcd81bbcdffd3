"""One question to the proxy over its control socket: a line of JSON each way."""

from __future__ import annotations

import json
import socket
from typing import Any

TIMEOUT_S = 5.0


def ask(path: str, question: dict[str, Any]) -> dict[str, Any]:
    """Returns the proxy's answer; OSError or ValueError when it gives none."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(TIMEOUT_S)
        client.connect(path)
        client.sendall(json.dumps(question).encode() + b"\n")
        with client.makefile("rb") as stream:
            answer: dict[str, Any] = json.loads(stream.readline())
    return answer
