"""Virtualenvs: dependencies only, built at their final path, complete when their marker is there.

The marker is written and flushed last, so that an interrupted build is seen and built again. What to install comes as
requirement texts that are complete and pinned; they are installed without looking for further dependencies.

    {"key", "python": "/usr/bin/python3.11", "installer": "uv" | "pip" | "none", "uv": "/usr/bin/uv",
     "requirements": [text …], "env": {}, "secrets": {}, "requires": ["uvicorn"], "timeout": 1800}
"""

from __future__ import annotations

import json
import os
import re
from typing import cast

from deployer.agent.dependencies import pip_settings, uv_cache, venv_integrity
from deployer.agent.dependencies.venv_integrity import MARKER
from deployer.agent.model import failure
from deployer.agent.model.layout import Site
from deployer.agent.model.messages import dependencies as wire
from deployer.agent.operation import Context, OpError, operation
from deployer.agent.site import app_environment
from deployer.agent.system import files, orphans, process_runner, tree

_KEY = re.compile(r"^[0-9a-z][0-9a-z._-]{0,79}$")
_KEPT = (
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "TZ",
    "HOME",
)
_LOG_LINES = 30
_MOST_LINES = 2000  # of an installer's output that are searched for the cause
# A program: tells which of its arguments are distributions that its interpreter does not have.
ABSENT = """
import importlib.metadata as metadata, sys
for name in sys.argv[1:]:
    try: metadata.distribution(name)
    except metadata.PackageNotFoundError: print(name)
"""

_INSPECT = """
import json, os, platform, sys, sysconfig
try: libc = os.confstr("CS_GNU_LIBC_VERSION") or "musl"
except (ValueError, OSError): libc = "musl"
print(json.dumps({"version": platform.python_version(), "implementation": sys.implementation.name, "libc": libc,
    "abi": str(sysconfig.get_config_var("SOABI") or ""), "arch": platform.machine()}))
"""


def complete(site: Site, key: str) -> bool:
    """Whether a virtualenv of this key was built to its end and is still whole."""
    return not venv_integrity.damage(site.venv(venv_integrity.folder_for(site, checked(key))))


def checked(key: str) -> str:
    """The key, if it can name a folder; OpError `invalid` if not."""
    if not _KEY.match(key):
        raise OpError("invalid", f"{key!r} is not the key of a virtualenv")
    return key


def ensure(ctx: Context, site: Site, spec: wire.VenvSpec, wheels: str = "", folder: str = "") -> bool:
    """Builds the virtualenv `spec` describes unless it is whole; True if it was built now.

    Releases whose virtualenv of the same key is damaged are led to the one that is whole.

    Args:
        wheels: a folder with everything that is to be installed, for a host with no way out; empty to use an index.
        folder: the name of its folder, as `venv_integrity.folder_for` gave it; empty to ask for that now.

    Raises:
        OpError `install_failed` with the installer's last lines, `missing_server`. OSError when the disk is full.
        The unfinished folder is gone then.
    """
    key = checked(spec["key"])
    folder = folder or venv_integrity.folder_for(site, key)
    path = site.venv(folder)
    if not venv_integrity.damage(path):
        require(path, spec)
        venv_integrity.relink(site, key, folder)
        return False
    if os.path.isdir(path):
        orphans.kill_under(path)
    tree.remove(path)
    os.makedirs(path, 0o755)
    try:
        installer = Installer(ctx, site, spec, wheels)
        build(ctx, path, spec, installer)
        require(path, spec)
        installer.compile(path)
        tree.flush(path)
        marker = {"key": key, "python": spec["python"], "installer": spec["installer"]}
        marker.update(venv_integrity.describe(path))
        files.write(path + "/" + MARKER, json.dumps(marker).encode(), 0o644)
    except BaseException:
        tree.remove(path)
        raise
    venv_integrity.relink(site, key, folder)
    return True


def build(ctx: Context, path: str, spec: wire.VenvSpec, installer: Installer) -> None:
    """Makes a virtualenv at `path` and installs the texts in it, in their order."""
    ctx.progress("making a virtualenv", step="venv")
    installer.create(path)
    for number, text in enumerate(spec.get("requirements", ())):
        if not text.strip():
            continue
        ctx.progress("installing %d dependencies" % _count(text), step="venv", dependencies=_count(text))
        name = "%s/requirements-%d.txt" % (path, number)
        with open(name, "w", encoding="utf-8") as file:
            file.write(text)
        installer.install(path, name)


def require(path: str, spec: wire.VenvSpec) -> None:
    """OpError `missing_server` when a distribution in `spec["requires"]` is not in the virtualenv."""
    names = list(spec.get("requires", ()))
    if not names:
        return
    done = process_runner.run([path + "/bin/python", "-c", ABSENT, *names], timeout=60, env={"LANG": "C.UTF-8"})
    if not done.ok:
        raise OpError("install_failed", "the virtualenv's python does not run: " + done.why, log=done.log())
    absent = done.stdout.split()
    if absent:
        raise OpError(
            "missing_server",
            f"{' and '.join(absent)} is needed to run this app and is not among its dependencies",
            f"add it to the app's requirements, or to deploy.yaml: python: {{with: [{', '.join(absent)}]}}",
            detail={"distributions": absent},
        )


@operation(wire.INSPECT)
def inspect(ctx: Context, request: wire.InspectPython) -> wire.PythonFacts:
    """Asks an interpreter what it is.

    Raises:
        OpError: `no_python` (it does not run).
    """
    return describe_interpreter(str(request["python"]))


def describe_interpreter(path: str) -> wire.PythonFacts:
    """As the operation `venv.inspect`."""
    done = process_runner.run([path, "-ISc", _INSPECT], timeout=30, env={"LANG": "C.UTF-8", "PATH": os.defpath})
    if not done.ok:
        hint = "deploy setup {env} installs what is missing; or set python: {version: …} in deploy.yaml"
        raise OpError("no_python", f"{path} does not run: {done.why}", hint, log=done.log())
    return cast("wire.PythonFacts", {"path": path, **json.loads(done.stdout)})


@operation(wire.RESOLVE)
def resolve(ctx: Context, request: wire.Resolve) -> wire.Resolved:
    """Finds the exact versions for loose requirements, where the controller could not.

    Raises:
        OpError: `install_failed` with the installer's last lines, `no_versions` (none fit together).
    """
    site = Site.of(request)
    spec = request["venv"]
    path = site.state + "/resolve"
    tree.remove(path)
    os.makedirs(path + "/venv", 0o700)
    try:
        return {"requirements": Installer(ctx, site, spec).resolve(path, spec)}
    finally:
        tree.remove(path)


class Installer:
    """uv or pip, with a clean environment; what it says is streamed, secrets taken out.

    Args:
        wheels: a folder with everything that is to be installed; empty to use an index.
    """

    def __init__(self, ctx: Context, site: Site, spec: wire.VenvSpec, wheels: str = "") -> None:
        self._ctx = ctx
        self._wheels = wheels
        self._python = str(spec["python"])
        self._name = str(spec["installer"])
        self._uv = str(spec.get("uv") or "uv")
        self._timeout = float(spec.get("timeout", 1800))
        self._redact = app_environment.Redactor(dict(spec.get("secrets", {})).values())
        self._environ = {key: os.environ[key] for key in _KEPT if key in os.environ}
        self._environ.update(LANG="C.UTF-8", PATH=os.environ.get("PATH", os.defpath), PIP_NO_INPUT="1")
        self._environ.update(PIP_DISABLE_PIP_VERSION_CHECK="1", UV_NO_PROGRESS="1", PYTHONDONTWRITEBYTECODE="1")
        self._environ.update({**spec.get("env", {}), **spec.get("secrets", {})})
        self._options: list[str] = []
        if self._name == "uv":
            self._options = pip_settings.options_for_uv(self._environ)
            self._environ.update(pip_settings.for_uv(self._environ))
            self._environ.setdefault("UV_CACHE_DIR", uv_cache.path(site))
            self._environ.setdefault("UV_PYTHON_DOWNLOADS", "never")  # the interpreter is named; there is no other

    def create(self, path: str) -> None:
        """An empty virtualenv at `path`; with `installer: none` one that sees the host's own packages."""
        if self._name == "uv":
            argv = [self._uv, "venv", "--quiet", "--python", self._python, path]
            self._run(path, argv, "uv could not make a virtualenv")
            return
        options = ["--system-site-packages", "--without-pip"] if self._name == "none" else []
        hint = "install the host's venv package (packages: [python3-venv] in deploy.yaml, then deploy setup {env})"
        self._run(path, [self._python, "-m", "venv", *options, path], "python could not make a virtualenv", hint)

    def install(self, path: str, requirements: str) -> None:
        """Installs a complete, pinned requirements file."""
        source = ["--no-index", "--find-links", self._wheels] if self._wheels else self._options
        if self._name == "uv":
            argv = [self._uv, "pip", "install", "--python", path + "/bin/python"]
        else:
            argv = [path + "/bin/python", "-m", "pip", "install", "--no-compile", "--progress-bar", "off"]
        argv += ["--no-deps", *source, "-r", requirements]
        self._run(path, argv, f"{self._name} could not install the dependencies")

    def compile(self, path: str) -> None:
        """Compiles the bytecode of what is installed; a file that is no valid Python is left as it is."""
        if self._name == "none":
            return
        argv = [path + "/bin/python", "-m", "compileall", "-q", "-j", "2", path + "/lib"]
        process_runner.run(argv, timeout=self._timeout, env={**self._environ, "PYTHONDONTWRITEBYTECODE": ""})

    def resolve(self, path: str, spec: wire.VenvSpec) -> str:
        """A pinned text for the loose `requirements` of `spec`, within its `constraints`."""
        requirements, constraints = path + "/wanted.txt", path + "/settled.txt"
        for name, text in (
            (requirements, "\n".join(spec["requirements"])),
            (constraints, str(spec.get("constraints", ""))),
        ):
            with open(name, "w", encoding="utf-8") as file:
                file.write(text + "\n")
        failed = f"{self._name} could not find versions that fit together"
        if self._name == "uv":
            argv = [self._uv, "pip", "compile", "--quiet", "--python", self._python, "--no-header", "--no-annotate"]
            return self._run(
                path, [*argv, *self._options, "-c", constraints, requirements], failed, code="no_versions"
            ).stdout
        # A pip of ten years' standing can do this; `--report` is younger than what Debian 11 has.
        self.create(path + "/venv")
        pip = [path + "/venv/bin/python", "-m", "pip"]
        argv = [*pip, "install", "--no-compile", "--progress-bar", "off", "-c", constraints, "-r", requirements]
        self._run(path, argv, failed, code="no_versions")
        return self._run(path, [*pip, "freeze"], failed).stdout

    def _run(
        self, path: str, argv: list[str], failed: str, hint: str = "", code: str = "install_failed"
    ) -> process_runner.Finished:
        """Runs in `path`, where the next attempt looks for it should this agent die.

        OpError `install_failed`, or `code` where no versions fit together.
        """
        lines: list[str] = []

        def heard(line: str) -> None:
            lines.append(self._redact(line))
            del lines[:-_MOST_LINES]
            self._ctx.output(lines[-1])

        done = process_runner.run(
            ["/bin/sh", "-c", 'umask 022; exec "$@"', "sh", *argv],
            timeout=self._timeout,
            cwd=path,
            env=self._environ,
            on_line=heard,
            cancelled=self._ctx.cancelled,
        )
        if done.ok:
            return done
        if any("No space left on device" in line for line in lines):
            message = "the disk became full while the dependencies were installed"
            raise OpError("no_space", message, log=lines[-_LOG_LINES:])
        raise _explained(failed, done.why, hint, lines, code)


def _explained(failed: str, why: str, hint: str, lines: list[str], code: str) -> OpError:
    """The error for an installer that failed: the package and the cause where its lines name them.

    `code` is that of versions that do not fit together.
    """
    log = failure.telling(lines)[-_LOG_LINES:]
    unfitting = failure.unfitting(lines)
    if unfitting:
        message, hint = f"{failed}: {unfitting}", "change one of these requirements"
        return OpError(code, message, hint, log=log)
    package, cause, needs = failure.unbuilt(lines)
    if not package:
        return OpError("install_failed", f"{failed}: {why}", hint, log=log)
    packages = needs or "build-essential, python3-dev, and the libraries that it needs"
    hint = f"packages: [{packages}] in deploy.yaml, then deploy setup {{env}}; or take a version that has a wheel"
    return OpError("install_failed", f"{package} could not be built: {cause or why}", hint, log=log)


def _count(text: str) -> int:
    return len([line for line in text.splitlines() if re.match(r"[A-Za-z0-9./]", line)])
