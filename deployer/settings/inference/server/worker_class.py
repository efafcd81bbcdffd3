"""Which class gunicorn's workers are of, and what that needs installed."""

from __future__ import annotations

from dataclasses import dataclass

from deployer.errors import SettingsError
from deployer.settings.inference.requirements import Requirements
from deployer.settings.inference.server.gunicorn_file import NAME, GunicornFile
from deployer.settings.models import Runtime
from deployer.settings.validation_errors import nearest

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
_DEPRECATED = (
    f"runtime.worker_class {OLD_UVICORN_WORKER} is deprecated since uvicorn 0.30: take it out, and the class of the "
    "package uvicorn-worker serves"
)
_WSGI_ALONE = {"sync", "gthread", *PACKAGES}
_WORDS = [word for word in ("sync", "gthread", *PACKAGES, "asgi") if "." not in word]


@dataclass(frozen=True)
class WorkerClass:
    """`name` is the class as gunicorn takes it; `needs` the distributions that it is made of.

    `refused`: why it cannot be, with the place and the fix; raised before a host is asked. `warnings` are for the plan.
    """

    name: str = ""
    needs: tuple[str, ...] = ()
    refused: SettingsError | None = None
    warnings: tuple[str, ...] = ()


def worker_class(
    server: str, runtime: Runtime, own: GunicornFile, requirements: Requirements, *, interface_is_known: bool = True
) -> WorkerClass:
    """Return the class that a server's workers have, from the settings, the app's own file and its requirements.

    `interface_is_known`: the interface of the app is known from its code, and not taken to be the one that the
    server serves.
    """
    class_setting = runtime.worker_class if "worker_class" in runtime.model_fields_set else ""
    if server == "gunicorn":
        return _of_gunicorn(class_setting, own, requirements, interface_is_known=interface_is_known)
    if server == "gunicorn+uvicorn":
        return _of_uvicorn(class_setting, requirements)
    if server == "gunicorn-asgi":
        if class_setting not in ("", "asgi"):
            return _wrong(f"runtime.worker_class is {class_setting}, and gunicorn-asgi has a class of its own")
        return WorkerClass("asgi")
    if class_setting:
        return _wrong(f"runtime.worker_class is {class_setting}, and the server {server} has no worker classes")
    return WorkerClass()


def _of_gunicorn(
    class_setting: str, own: GunicornFile, requirements: Requirements, *, interface_is_known: bool
) -> WorkerClass:
    """Any class for WSGI apps; one that the app's own file names counts where the settings name none."""
    written = own.get("worker_class")
    name = class_setting or (written if isinstance(written, str) else "sync")
    if class_setting and "." not in class_setting and ":" not in class_setting and class_setting not in _WORDS:
        near = nearest(class_setting, _WORDS)
        fix = f"did you mean {near}?" if near else "write sync, gthread, gevent, tornado or a dotted name"
        return _wrong(f"runtime.worker_class is {class_setting}, which is not a gunicorn worker class", fix)
    package = PACKAGES.get(name) or PACKAGES.get(name.rpartition(".")[0])
    if name == "asgi" or "uvicorn" in name.lower():
        wrong = ("serves ASGI apps, and this one is WSGI", "take it out, or write gthread")
        if not interface_is_known:
            fix = "write server: gunicorn+uvicorn for an ASGI app; for one that is WSGI take worker_class out"
            wrong = ("serves ASGI apps, and the server gunicorn those that are WSGI", fix)
    elif package == "eventlet" and not requirements.older("gunicorn", "26"):
        fix = "write worker_class: gevent or gthread, or hold gunicorn<26 in the requirements"
        wrong = ("does not exist any more: gunicorn 26 removed it", fix)
    else:
        return WorkerClass(name, (package,) if package else ())
    if class_setting:
        return _wrong(f"runtime.worker_class {name} {wrong[0]}", wrong[1])
    return _wrong(f"worker_class {name} {wrong[0]}", wrong[1], file=NAME, line=own.assigned["worker_class"][0])


def _of_uvicorn(class_setting: str, requirements: Requirements) -> WorkerClass:
    """`uvicorn-worker`'s class, or one of the user's own; uvicorn's former class only where uvicorn is held old."""
    if class_setting in _WSGI_ALONE or class_setting == "asgi":
        return _wrong(f"runtime.worker_class is {class_setting}, which does not run uvicorn")
    old = requirements.older("uvicorn", "0.30")
    if class_setting and class_setting != UVICORN_WORKER:
        needs = () if "uvicorn-worker" in requirements.names and class_setting != OLD_UVICORN_WORKER else ("uvicorn",)
        return WorkerClass(
            class_setting, needs, warnings=() if class_setting != OLD_UVICORN_WORKER or old else (_DEPRECATED,)
        )
    if not class_setting and old and "uvicorn-worker" not in requirements.names:
        return WorkerClass(OLD_UVICORN_WORKER)
    return WorkerClass(UVICORN_WORKER, ("uvicorn-worker",))


def _wrong(
    what: str, hint: str = "take worker_class out", *, file: str | None = None, line: int | None = None
) -> WorkerClass:
    wrong = SettingsError(what, file=file, line=line, step="plan", hint=hint, code="worker_class")
    return WorkerClass(refused=wrong)
