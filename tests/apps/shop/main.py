"""The shop of `examples/`, with the same routes on Starlette: it starts in half of the processor time."""

import asyncio
import importlib
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import breakage
from release import RELEASE
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect


class NameTheRelease:
    """Adds `X-Release` to every response; delays or fails those that `BREAK` says."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-release", RELEASE.encode())]
            await send(message)

        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        if scope["path"] != "/healthz":
            await asyncio.sleep(breakage.answers.delay())
            if breakage.answers.fails():
                return await Response("broken on purpose", 500)(scope, receive, send_named)
        return await self._app(scope, receive, send_named)


async def healthz(_: Request) -> Response:
    return JSONResponse({"release": RELEASE}, 500 if breakage.MODE == "health" else 200)


async def version(_: Request) -> Response:
    return JSONResponse({"release": RELEASE, "pid": os.getpid(), "instance": os.environ.get("DEPLOY_INSTANCE", "")})


async def slow(request: Request) -> Response:
    seconds = float(request.query_params.get("s", 2.0))
    await asyncio.sleep(min(seconds, 60.0))
    return JSONResponse({"release": RELEASE, "slept": seconds})


async def stream(_: Request) -> Response:
    async def lines() -> AsyncIterator[str]:
        for number in range(10):
            yield f"{RELEASE} {number}\n"
            await asyncio.sleep(0.1)
        yield "END\n"

    return StreamingResponse(lines(), media_type="text/plain")


async def echo_messages(websocket: WebSocket) -> None:
    await websocket.accept(headers=[(b"x-release", RELEASE.encode())])
    try:
        while True:
            await websocket.send_text(await websocket.receive_text())
    except WebSocketDisconnect:
        pass


async def echo(request: Request) -> Response:
    return Response(await request.body(), media_type="application/octet-stream")


async def late(_: Request) -> Response:
    sys.modules.pop("late", None)
    return JSONResponse({"release": RELEASE, "late_release": importlib.import_module("late").RELEASE})


async def page(_: Request) -> Response:
    return HTMLResponse(PAGE.format(release=RELEASE))


PAGE = """<!doctype html>
<html lang="en">
<title>shop</title>
<h1>Fresh bread, every morning</h1>
<p>release {release}</p>
</html>
"""


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    breakage.at_boot()
    yield


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/healthz", healthz),
        Route("/version", version),
        Route("/slow", slow),
        Route("/stream", stream),
        Route("/echo", echo, methods=["POST"]),
        Route("/late", late),
        Route("/", page),
        WebSocketRoute("/ws", echo_messages),
    ],
)
app.add_middleware(NameTheRelease)
