"""A small shop: every kind of request that a deployment can disturb."""

import asyncio
import importlib
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import breakage
from fastapi import FastAPI, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.responses import HTMLResponse, StreamingResponse
from release import RELEASE

PAGE = """<!doctype html>
<html lang="en">
<title>shop</title>
<h1>Fresh bread, every morning</h1>
<p>release {release}</p>
</html>
"""


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    breakage.at_boot()
    yield


app = FastAPI(lifespan=lifespan)


@app.middleware("http")
async def name_the_release(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    if request.url.path != "/healthz":
        await asyncio.sleep(breakage.answers.delay())
        if breakage.answers.fails():
            return Response("broken on purpose", 500, {"X-Release": RELEASE})
    response = await call_next(request)
    response.headers["X-Release"] = RELEASE
    return response


@app.get("/healthz")
async def healthz(response: Response) -> dict[str, str]:
    if breakage.MODE == "health":
        response.status_code = 500
    return {"release": RELEASE}


@app.get("/version")
async def version() -> dict[str, object]:
    return {"release": RELEASE, "pid": os.getpid(), "instance": os.environ.get("DEPLOY_INSTANCE", "")}


@app.get("/slow")
async def slow(s: float = 2.0) -> dict[str, object]:
    await asyncio.sleep(min(s, 60.0))
    return {"release": RELEASE, "slept": s}


@app.get("/stream")
async def stream() -> StreamingResponse:
    async def lines() -> AsyncIterator[str]:
        for number in range(10):
            yield f"{RELEASE} {number}\n"
            await asyncio.sleep(0.1)
        yield "END\n"

    return StreamingResponse(lines(), media_type="text/plain")


@app.websocket("/ws")
async def echo_messages(websocket: WebSocket) -> None:
    await websocket.accept(headers=[(b"x-release", RELEASE.encode())])
    try:
        while True:
            await websocket.send_text(await websocket.receive_text())
    except WebSocketDisconnect:
        pass


@app.post("/echo")
async def echo(request: Request) -> Response:
    return Response(await request.body(), media_type="application/octet-stream")


@app.get("/late")
async def late() -> dict[str, str]:
    sys.modules.pop("late", None)
    return {"release": RELEASE, "late_release": importlib.import_module("late").RELEASE}


@app.get("/", response_class=HTMLResponse)
async def page() -> str:
    return PAGE.format(release=RELEASE)
