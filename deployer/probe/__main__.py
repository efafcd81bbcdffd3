"""`python -m deployer.probe URL`: the probe as a process of its own.

Reads lines from its standard input: `mark LABEL`, `snapshot`, `stop`; its end means that the parent is gone, and ends
the probe at once. Answers with JSON lines: `{"ready": true}`, `{"receipt": {…}}` to each snapshot, and last to `stop`.
Standard library only.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from deployer.probe.accounting import Tally
from deployer.probe.http.target import Target
from deployer.probe.mixes import MIXES
from deployer.probe.proven import ProvenReleases
from deployer.probe.traffic import Traffic


def main() -> int:
    """Parses the command line and probes until told to stop. Returns the exit status: 1 if any request failed."""
    parser = _parser()
    options = parser.parse_args()
    try:
        target = Target.parse(options.url, options.host_header)
    except ValueError as error:
        parser.error(str(error))
    with contextlib.ExitStack() as files:
        log = files.enter_context(options.log.open("a", encoding="utf-8", buffering=1)) if options.log else None
        book = Tally(log, ProvenReleases(options.releases) if options.releases else None)
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_probe(options, target, book))
    _say({"receipt": book.receipt().as_json()})
    return 1 if book.receipt().failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deployer.probe", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--rate", type=float, default=20.0, help="requests per second")
    parser.add_argument("--mix", choices=sorted(MIXES), default="get")
    parser.add_argument("--host-header")
    parser.add_argument("--log", type=Path, help="append one JSON line a request")
    parser.add_argument("--releases", type=Path, help="file of the releases that may answer, one per line")
    parser.add_argument("--limit", type=float, default=10.0, help="seconds until a request is late")
    # A push of many waves takes hours. It ends with whoever started it anyhow.
    parser.add_argument("--max-seconds", type=float, default=86400.0)
    parser.add_argument("--max-requests", type=int, default=500_000)
    return parser


async def _probe(options: argparse.Namespace, target: Target, book: Tally) -> None:
    traffic = Traffic(
        target,
        MIXES[options.mix],
        book,
        rate=options.rate,
        limit=options.limit,
        seconds=options.max_seconds,
        count=options.max_requests,
    )
    running = asyncio.create_task(traffic.run())
    loop = asyncio.get_running_loop()

    def obey(line: str) -> None:
        verb, _, rest = line.strip().partition(" ")
        if verb == "mark":
            book.mark(rest)
        elif verb == "snapshot":
            _say({"receipt": book.receipt().as_json()})
        elif verb == "stop":
            traffic.stop()
        elif not line:
            running.cancel()

    threading.Thread(target=_listen, args=(loop, obey), daemon=True).start()
    _say({"ready": True})
    with contextlib.suppress(asyncio.CancelledError):
        await running


def _listen(loop: asyncio.AbstractEventLoop, obey: Callable[[str], None]) -> None:
    """Hands every line of standard input to the loop, and an empty one at its end."""
    with contextlib.suppress(RuntimeError):  # the loop has ended before its input
        for line in sys.stdin:
            loop.call_soon_threadsafe(obey, line)
        loop.call_soon_threadsafe(obey, "")


def _say(data: object) -> None:
    with contextlib.suppress(OSError):
        sys.stdout.write(json.dumps(data) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
