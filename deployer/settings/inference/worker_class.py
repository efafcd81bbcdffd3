"""Which class gunicorn's workers are of, and what that needs installed."""

from __future__ import annotations

from dataclasses import dataclass

from deployer.errors import SettingsError
from deployer.settings.inference.gunicorn_file import NAME, GunicornFile
from deployer.settings.inference.requirements import Requirements
from deployer.settings.models import Runtime

UVICORN_WORKER = "uvicorn_worker.UvicornWorker"
OLD_UVICORN_WORKER = "uvicorn.workers.UvicornWorker"
PACKAGES = {
    "gevent": "gevent",
    "gevent_wsgi": "gevent",
    "gevent_pywsgi": "gevent",
    "gunicorn.workers.ggevent": "gevent",
    "eventlet": "eventlet",
    "gunicorn.workers.geventlet": "eventlet",
    "tornado": "tornado",
    "gunicorn.workers.gtornado": "tornado",
}
"""A worker class, or its module → the distribution that it is made of."""
_WSGI_ALONE = {"sync", "gthread", *PACKAGES}


@dataclass(frozen=True)
class WorkerClass:
    """`name` is the class as gunicorn takes it; `needs` the distributions that it is made of.

    `refused`: why it cannot be, with the place and the fix; raised before a host is asked.
    """

    name: str = ""
    needs: tuple[str, ...] = ()
    refused: SettingsError | None = None


def worker_class(server: str, runtime: Runtime, own: GunicornFile, requirements: Requirements) -> WorkerClass:
    """The class that a server's workers have, from the settings, the app's own file and its requirements."""
    said = runtime.worker_class if "worker_class" in runtime.model_fields_set else ""
    if server == "gunicorn":
        return _of_gunicorn(said, own, requirements)
    if server == "gunicorn+uvicorn":
        return _of_uvicorn(said, requirements)
    if server == "gunicorn-asgi":
        if said not in ("", "asgi"):
            return _wrong(f"runtime.worker_class is {said}, and gunicorn-asgi has a class of its own")
        return WorkerClass("asgi")
    if said:
        return _wrong(f"runtime.worker_class is {said}, and the server {server} has no worker classes")
    return WorkerClass()


def _of_gunicorn(said: str, own: GunicornFile, requirements: Requirements) -> WorkerClass:
    """Any class for WSGI apps; one that the app's own file names counts where the settings name none."""
    written = own.get("worker_class")
    name = said or (written if isinstance(written, str) else "sync")
    package = PACKAGES.get(name) or PACKAGES.get(name.rpartition(".")[0])
    if name == "asgi" or "uvicorn" in name.lower():
        wrong = ("serves ASGI apps, and this one is WSGI", "take it out, or write gthread")
    elif package == "eventlet" and not requirements.older("gunicorn", "26"):
        fix = "write worker_class: gevent or gthread, or hold gunicorn<26 in the requirements"
        wrong = ("is no more: gunicorn 26 took it out", fix)
    else:
        return WorkerClass(name, (package,) if package else ())
    if said:
        return _wrong(f"runtime.worker_class {name} {wrong[0]}", wrong[1])
    return _wrong(f"worker_class {name} {wrong[0]}", wrong[1], file=NAME, line=own.assigned["worker_class"][0])


def _of_uvicorn(said: str, requirements: Requirements) -> WorkerClass:
    """`uvicorn-worker`'s class, or one of the user's own; uvicorn's former class only where uvicorn is held old."""
    if said in _WSGI_ALONE or said == "asgi":
        return _wrong(f"runtime.worker_class is {said}, which does not run uvicorn")
    if said and said not in (UVICORN_WORKER, OLD_UVICORN_WORKER):
        return WorkerClass(said, ("uvicorn",) if not requirements.names & {"uvicorn", "uvicorn-worker"} else ())
    if "uvicorn-worker" not in requirements.names and requirements.older("uvicorn", "0.30"):
        return WorkerClass(OLD_UVICORN_WORKER)
    return WorkerClass(UVICORN_WORKER, ("uvicorn-worker",))


def _wrong(
    what: str, hint: str = "take worker_class out", *, file: str | None = None, line: int | None = None
) -> WorkerClass:
    wrong = SettingsError(what, file=file, line=line, step="plan", hint=hint, code="worker_class")
    return WorkerClass(refused=wrong)
