"""A small notebook: every kind of request that a deployment can disturb, as far as WSGI goes (no websocket)."""

import importlib
import os
import sys
import time
from collections.abc import Iterator

import breakage
from flask import Flask, Response, request
from release import RELEASE

PAGE = """<!doctype html>
<html lang="en">
<title>notes</title>
<h1>Buy bread</h1>
<p>release {release}</p>
</html>
"""

app = Flask(__name__)

# WSGI has no start-up hook. $PORT is only there where the app is about to serve, not where it is merely looked at.
if "PORT" in os.environ:
    breakage.at_boot()


@app.before_request
def as_broken_on_purpose() -> tuple[str, int] | None:
    if request.path == "/healthz":
        return None
    time.sleep(breakage.answers.delay())
    return ("broken on purpose", 500) if breakage.answers.fails() else None


@app.after_request
def name_the_release(response: Response) -> Response:
    response.headers["X-Release"] = RELEASE
    return response


@app.get("/healthz")
def healthz() -> tuple[dict[str, str], int]:
    return {"release": RELEASE}, 500 if breakage.MODE == "health" else 200


@app.get("/version")
def version() -> dict[str, object]:
    return {"release": RELEASE, "pid": os.getpid(), "instance": os.environ.get("DEPLOY_INSTANCE", "")}


@app.get("/slow")
def slow() -> dict[str, object]:
    seconds = min(request.args.get("s", 2.0, type=float), 60.0)
    time.sleep(seconds)
    return {"release": RELEASE, "slept": seconds}


@app.get("/stream")
def stream() -> Response:
    def lines() -> Iterator[str]:
        for number in range(10):
            yield f"{RELEASE} {number}\n"
            time.sleep(0.1)
        yield "END\n"

    return Response(lines(), mimetype="text/plain")


@app.post("/echo")
def echo() -> Response:
    return Response(request.get_data(), mimetype="application/octet-stream")


@app.get("/late")
def late() -> dict[str, str]:
    sys.modules.pop("late", None)
    return {"release": RELEASE, "late_release": importlib.import_module("late").RELEASE}


@app.get("/")
def page() -> str:
    return PAGE.format(release=RELEASE)
