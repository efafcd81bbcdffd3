"""`deploy.yaml` as pydantic models: every key, its default, what it means, an example. Unknown keys are errors.

Durations are seconds as float; the text forms `500ms`, `5s`, `2m`, `1h` and bare numbers are accepted.
"""

from __future__ import annotations

import itertools
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from deployer.agent.model.manifest import below
from deployer.registry import BALANCERS, SERVERS, SUPERVISORS
from deployer.settings import cron, patterns
from deployer.settings.cron import Cron
from deployer.settings.reference import setting
from deployer.settings.values import APP_NAME as APP_NAME
from deployer.settings.values import (
    EMAIL,
    HEADER,
    ISSUER,
    LISTEN,
    PACKAGE,
    PYTHON_VERSION,
    SERVER_NAME,
    UNIT_KEY,
    AbsolutePath,
    AtLeastOne,
    Domain,
    EnvMap,
    EnvName,
    Line,
    Misplaced,
    NameIn,
    Network,
    Number,
    PartName,
    Port,
    Program,
    ReleasePath,
    SiteRoot,
    UserName,
    Workers,
    matching,
    relative_path,
    require_free_name,
)
from deployer.settings.values import ENV_NAME as ENV_NAME
from deployer.settings.values import USER_NAME as USER_NAME
from deployer.settings.values import Duration as Duration
from deployer.settings.values import seconds as seconds
from deployer.settings.yaml.document import WrittenFloat


class Model(BaseModel):
    """Base: frozen, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Source(Model):
    """Where the code comes from: a git work tree (a clean checkout of a ref) or any folder."""

    path: Line = setting(".", "a git work tree or any folder, relative to deploy.yaml", ".")
    subdir: Annotated[str, AfterValidator(lambda value: relative_path(value) if value else value)] = setting(
        "", "the folder of the app in it", "services/shop"
    )
    exclude: tuple[Annotated[Line, AfterValidator(patterns.checked)], ...] = setting(
        (), "patterns of files that are not shipped", ["tests/"]
    )


class SecretRef(Model):
    """Where a secret's value is found at run time; exactly one of the keys. Values are never in the settings."""

    env: EnvName | None = setting(None, "an environment variable here", "DATABASE_URL")
    command: str | None = setting(None, "a command here that prints it", "op read op://shop/db/url")
    sops: str | None = setting(None, "a sops file, relative to deploy.yaml", "secrets.yaml")

    @model_validator(mode="after")
    def _one(self) -> SecretRef:
        if sum(value is not None for value in (self.env, self.command, self.sops)) != 1:
            raise ValueError("a secret is exactly one of {env: NAME}, {command: …}, {sops: FILE}")
        return self


Secret = Annotated[SecretRef, Field(description="one source of a secret", examples=[{"env": "DATABASE_URL"}])]


class Python(Model):
    """The interpreter and how dependencies get in."""

    version: str | None = setting(None, "Python version, in quotes", "3.11")
    installer: Literal["auto", "uv", "pip", "none"] = setting("auto", "auto, uv, pip or none", "uv")
    with_: tuple[Line, ...] = setting((), "packages beside the app's own requirements", ["uvicorn"], alias="with")
    extras: tuple[Line, ...] = setting((), "extras of the project to install", ["postgres"])
    groups: tuple[Line, ...] = setting((), "dependency groups to install", ["prod"])
    env: EnvMap = setting({}, "environment at install time only", {"UV_LINK_MODE": "copy"})
    secrets: dict[EnvName, Secret] = setting(
        {}, "secrets at install time only", {"INDEX_TOKEN": {"env": "INDEX_TOKEN"}}
    )
    build: Literal["host", "here"] = setting("host", "where dependencies are built: host or here", "host")

    @field_validator("version", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool):
            written = value.text if isinstance(value, WrittenFloat) else str(value)
            raise ValueError(f'a number loses its last zero (3.10 is 3.1): write it in quotes, version: "{written}"')
        return value

    @field_validator("version")
    @classmethod
    def _version(cls, value: str | None) -> str | None:
        if value is not None and not PYTHON_VERSION.match(value):
            raise ValueError(f'{value!r} is not a valid Python version: write "3.11" or "3.11.4"')
        return value


class Runtime(Model):
    """The server that runs the app, and its tuning. `app` None: inferred from the code."""

    server: Annotated[str, NameIn(SERVERS)] = setting(
        "auto", "auto, uvicorn, gunicorn, gunicorn+uvicorn, gunicorn-asgi or command", "uvicorn"
    )
    app: str | None = setting(None, "the ASGI or WSGI app", "shop.main:app")
    command: Line | None = setting(
        None, "the command of server: command; it gets $PORT", "hypercorn shop:app -b 127.0.0.1:$PORT"
    )
    worker_class: str = setting("sync", "gunicorn's worker class", "gthread")
    workers: Workers = setting("auto", "a number, or auto, balanced, io or cpu", 4)
    timeout: Duration = setting(120.0, "longest time of one request", "120s")
    graceful_timeout: Duration = setting(30.0, "time that requests get to end at a stop", "30s")
    keepalive: Duration = setting(5.0, "how long an idle connection stays open", "5s")
    max_requests: Annotated[int, Field(strict=True, ge=0)] = setting(
        0, "requests per worker before its replacement; 0: never", 0
    )
    max_requests_jitter: Annotated[int, Field(strict=True, ge=0)] = setting(
        0, "spread of max_requests; half of it unless set", 50
    )
    access_log: Literal["off", "plain", "json"] = setting("plain", "log of requests: off, plain or json", "json")
    args: tuple[Line, ...] = setting((), "more arguments of the server", ["--proxy-headers"])

    @field_validator("access_log", mode="before")
    @classmethod
    def _log_off(cls, value: Any) -> Any:
        return "off" if value is False else value

    @property
    def jitter(self) -> int:
        """Requests, drawn anew for each worker, that it lives beyond `max_requests`: as set, else half of that.

        Workers that started together, here and in other instances, would else all be replaced together.
        """
        is_set = "max_requests_jitter" in self.model_fields_set
        return self.max_requests_jitter if is_set else self.max_requests // 2

    @field_validator("app")
    @classmethod
    def _app(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*(\(\))?", value):
            raise ValueError(f"{value!r} is not a valid app: write module:attribute, such as shop.main:app")
        return value

    @field_validator("worker_class")
    @classmethod
    def _class(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z_][\w.:]*", value):
            raise ValueError(f"{value!r} is not a valid worker class: write sync, gthread, gevent or a dotted name")
        return value

    @model_validator(mode="after")
    def _command(self) -> Runtime:
        if self.server == "command" and self.command is None:
            raise ValueError(
                'server: command needs the command, such as command: "hypercorn shop:app -b 127.0.0.1:$PORT"'
            )
        if self.command is not None and self.server not in ("command", "auto"):
            raise ValueError(f"command is only for server: command, and the server is {self.server}")
        return self


class HealthCheck(Model):
    """How an instance shows that it can serve. `path` None: inferred, else `/` with the usual statuses."""

    path: str | None = setting(None, "path of the health check", "/healthz")
    status: Annotated[int, Field(strict=True, ge=100, le=599)] | None = setting(
        None, "the status that it must return", 200
    )
    every: Duration = setting(0.5, "time between two health checks", "0.5s")
    within: Duration = setting(30.0, "time from start to healthy", "30s")
    timeout: Duration = setting(5.0, "longest time of one health check", "5s")
    headers: dict[str, Line] = setting({}, "headers of the health check", {"X-Health": "deploy"})
    public_path: str = setting(
        "/", "path that each of `domains` must answer through the balancer before a push counts", "/"
    )

    @field_validator("path", "public_path")
    @classmethod
    def _path(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"/[!-~]*", value):
            raise ValueError(f"{value!r} is not a valid path: it begins with / and has no spaces, such as /healthz")
        return value

    @field_validator("every", "timeout", "within")
    @classmethod
    def _some_time(cls, value: float) -> float:
        if value <= 0:
            raise ValueError("must be more than 0")
        return value

    @field_validator("headers")
    @classmethod
    def _headers(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if not HEADER.match(name):
                raise ValueError(f"{name!r} is not a valid header name")
        return value


class Balancer(Model):
    """What stands before the instances. `kind` None: inferred from the inventory."""

    kind: Annotated[str, NameIn(BALANCERS)] | None = setting(None, "haproxy, nginx, caddy, command or none", "haproxy")
    hosts: Line = setting("balancers", "pattern of the balancers' hosts", "balancers")
    manage: bool = setting(True, "false: only drain and admit", True)
    backend: Annotated[str, matching(SERVER_NAME, "backend name")] | None = setting(None, "name of the pool", "shop")
    listen: str = setting(":80", "address it listens at", ":80")
    listen_tls: str | None = setting(None, "address it listens at for https; port 443 of the same by default", ":443")
    maintenance: Line | None = setting(None, "HTML file that users get during maintenance", "closed.html")
    websocket_timeout: Annotated[Duration, Field(gt=0, le=7 * 86400)] | None = setting(
        None, "how long a websocket may be silent; 1h, and without a limit at Caddy", "2h"
    )
    trusted_proxies: tuple[Network, ...] = setting(
        (), "networks of proxies in front, whose X-Forwarded-For counts", ["192.0.2.0/24"]
    )
    socket: AbsolutePath = setting("/run/haproxy/admin.sock", "HAProxy's admin socket", "/run/haproxy/admin.sock")
    drain: Line | None = setting(
        None, "kind command: takes $DEPLOY_SERVER out", "lbctl drain $DEPLOY_ADDRESS:$DEPLOY_PORT"
    )
    admit: Line | None = setting(None, "kind command: puts it back", "lbctl admit $DEPLOY_ADDRESS:$DEPLOY_PORT")
    state: Line | None = setting(
        None, "kind command: prints ready, unhealthy, drain or down", "lbctl state $DEPLOY_ADDRESS"
    )
    timeout: Annotated[Duration, Field(gt=0)] = setting(30.0, "kind command: how long one command may take", "30s")

    @field_validator("listen", "listen_tls")
    @classmethod
    def _listen(cls, value: str | None) -> str | None:
        if value is None:
            return None
        match = LISTEN.match(value)
        if not match or not 1 <= int(match[2]) <= 65535:
            raise ValueError(
                f'{value!r} is not a valid address to listen at: write ":80", "10.0.0.5:8080" or "[::]:8080"'
            )
        return value

    @model_validator(mode="after")
    def _commands(self) -> Balancer:
        missing = [name for name in ("drain", "admit", "state") if getattr(self, name) is None]
        if self.kind == "command" and missing:
            raise ValueError(f"kind: command needs drain, admit and state; missing: {', '.join(missing)}")
        return self


class Probe(Model):
    """A prober beside the run: requests per second, and the gate."""

    url: str = Field(description="URL that receives the test traffic", examples=["https://shop.example.com/"])
    rate: Annotated[float, Field(ge=0.1, le=1000)] = setting(20.0, "requests per second, 0.1 to 1000", 20)
    max_failed: Annotated[int, Field(strict=True, ge=0)] = setting(0, "requests that may fail", 0)

    @field_validator("url")
    @classmethod
    def _url(cls, value: str) -> str:
        if not re.fullmatch(r"https?://[!-~]+", value):
            raise ValueError(f"{value!r} is not a valid URL: write https://shop.example.com/")
        return value


class Judge(Model):
    """The new instances beside the old, by the balancer's own figures: by how much they may be worse.

    `errors` are percentage points of requests that fail; `slower` a factor such as `3x`, or off.
    """

    errors: Annotated[str, matching(re.compile(r"\d{1,2}(\.\d+)?%"), "margin: write percentage points, such as 1%")] = (
        setting("1%", "percentage points of failed requests more", "1%")
    )
    slower: Annotated[str, matching(re.compile(r"off|[1-9]\d{0,2}(\.\d+)?x"), "factor: write 3x, or off")] = setting(
        "off", "how many times as slow, or off", "3x"
    )
    min_requests: AtLeastOne = setting(50, "requests on each side before figures count", 50)

    @field_validator("slower", mode="before")
    @classmethod
    def _off(cls, value: Any) -> Any:
        return "off" if value is False else value

    @property
    def error_margin(self) -> float:
        """`errors` as a share: 0.01 for 1%."""
        return float(self.errors.rstrip("%")) / 100

    @property
    def slow_factor(self) -> float | None:
        """`slower` as a number; None for off."""
        return None if self.slower == "off" else float(self.slower.rstrip("x"))


class Rolling(Model):
    """How a change goes through the fleet."""

    strategy: Literal["auto", "restart", "bluegreen", "reload", "socket"] = setting(
        "auto", "auto, restart, bluegreen, reload or socket", "auto"
    )
    waves: Annotated[tuple[Number | str, ...], Field(min_length=1)] = setting(
        (1, "25%"), "instances or % of the pool; the last repeats", [1, "25%"]
    )
    max_unavailable: Number | str = setting("25%", "instances or % that may be out at once", "25%")
    order: Literal["inventory", "reverse", "sorted", "random"] = setting(
        "inventory", "inventory, reverse, sorted or random", "inventory"
    )
    drain_timeout: Duration = setting(30.0, "time that a drain may take", "30s")
    soak: Duration = setting(5.0, "time to watch a wave before the next", "5s")
    max_failures: Number | str = setting(0, "instances or % that may fail", 0)
    on_failure: Literal["rollback", "stop", "continue"] = setting("rollback", "rollback, stop or continue", "rollback")
    probe: Probe | None = setting(
        None, "URL and rate of test traffic during a run", {"url": "https://shop.example.com/"}
    )
    judge: Judge | Literal["off"] = setting(
        Judge(), "by how much new instances may be worse than the old, or off", {"errors": "1%", "slower": "3x"}
    )

    @field_validator("judge", mode="before")
    @classmethod
    def _judge_off(cls, value: Any) -> Any:
        return "off" if value is False else value

    @field_validator("waves", mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        return value if isinstance(value, list | tuple) else (value,)

    @field_validator("waves")
    @classmethod
    def _someone(cls, value: tuple[int | str, ...]) -> tuple[int | str, ...]:
        if any(size in (0, "0%", "00%", "000%") for size in value):
            raise ValueError("a wave has at least one instance")
        return value

    @field_validator("waves", "max_unavailable", "max_failures")
    @classmethod
    def _sizes(cls, value: Any) -> Any:
        for size in value if isinstance(value, tuple) else (value,):
            if isinstance(size, int) and size >= 0:
                continue
            if isinstance(size, str) and re.fullmatch(r"\d{1,3}%", size) and int(size[:-1]) <= 100:
                continue
            raise ValueError(f"{size!r} is not a valid size: write a number of instances or a percentage such as 25%")
        return value


class Hook(Model):
    """A command at one moment of a run. `rerun: safe` lets a later run repeat it when its outcome is unknown."""

    command: Annotated[str, Field(min_length=1)] = Field(description="the command", examples=["alembic upgrade head"])
    timeout: Duration = setting(600.0, "how long it may take", "10m")
    rerun: Literal["safe"] | None = setting(None, "safe: a later run may repeat it, its outcome being unknown", "safe")


class Hooks(Model):
    """The user's commands: here (`build`, `succeeded`, `failed`), on every host (`prepare`), on one (`release`)."""

    build: Hook | None = setting(None, "here, in the clean checkout", "npm run build")
    prepare: Hook | None = setting(None, "every host, in the new release", "python manage.py collectstatic --no-input")
    release: Hook | None = setting(None, "once, on one host, before the first wave", "alembic upgrade head")
    succeeded: Hook | None = setting(None, "here, at the end", "./announce.sh")
    failed: Hook | None = setting(None, "here, when a run failed", "./alarm.sh")

    @field_validator("*", mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"command": value} if isinstance(value, str) else value


class Process(Model):
    """A supervised command beside the instances, without a port."""

    command: Program = Field(description="the command", examples=["celery -A shop worker"])
    count: AtLeastOne = setting(1, "how many per host", 2)
    hosts: Line | None = setting(None, "pattern of its hosts", "workers")
    stop_timeout: Duration = setting(60.0, "time that it gets to stop", "10m")
    singleton: bool = setting(False, "on one host only", True)

    @model_validator(mode="after")
    def _only_one(self) -> Process:
        if self.singleton and self.count > 1:
            raise ValueError("a singleton is one process: remove count, or singleton")
        return self


class Schedule(Model):
    """A command that runs at times. `timeout` ends a run that takes longer."""

    command: Program = Field(description="the command", examples=["python -m shop.nightly"])
    cron: str = Field(description="when: five fields, or @daily and its like", examples=["0 3 * * *"])
    timezone: Annotated[str, matching(re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*"), "time zone")] = setting(
        "UTC", "time zone of cron", "UTC"
    )
    singleton: bool = setting(True, "on one host only", True)
    hosts: Line | None = setting(None, "pattern of its hosts", "workers")
    timeout: Annotated[Duration, Field(ge=1, le=7 * 86400)] = setting(3600.0, "longest time of one run", "1h")

    @field_validator("cron")
    @classmethod
    def _cron(cls, value: str) -> str:
        cron.read(value)
        return value.strip()

    @field_validator("timezone")
    @classmethod
    def _zone(cls, value: str) -> str:
        cron.zone(value)
        return value

    @property
    def times(self) -> Cron:
        """When it runs, by the clock of its time zone."""
        return cron.read(self.cron)


class Tls(Model):
    """A certificate of the user's own and the secret that is its key, or the issuer that Caddy asks for one.

    `issuer` is `internal` (Caddy's own, for names inside a network) or the URL of an ACME directory; None: Caddy's
    usual ones. `email` is told to the issuer.
    """

    certificate: Line | None = setting(None, "PEM file with the certificate and its chain", "shop.pem")
    key: EnvName | None = setting(None, "the secret that is its key", "SHOP_TLS_KEY")
    issuer: (
        Annotated[str, matching(ISSUER, "issuer: write internal, or the https:// URL of an ACME directory")] | None
    ) = setting(None, "internal, for Caddy's own certificates, or the URL of an ACME directory", "internal")
    email: Annotated[str, matching(EMAIL, "email address")] | None = setting(
        None, "address that the issuer can write to", "ops@example.com"
    )

    @model_validator(mode="after")
    def _one_way(self) -> Tls:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together: {certificate: PATH, key: NAME OF A SECRET}")
        if (self.certificate is None) == (self.issuer is None and self.email is None):
            raise ValueError("a certificate of yours ({certificate: …, key: …}), or one that Caddy gets ({issuer: …})")
        return self


class Static(Model):
    """Files that the balancer or the app's host serves from all kept releases."""

    url: str = Field(description="path of the URL", examples=["/static/"])
    dir: ReleasePath = Field(description="folder in the release", examples=["static/"])

    @field_validator("url")
    @classmethod
    def _url(cls, value: str) -> str:
        if not re.fullmatch(r"/([A-Za-z0-9._-]+/?)+", value) or ".." in value:
            raise ValueError(f"{value!r} is not a valid URL path: write /static/")
        return value if value.endswith("/") else value + "/"


class Settings(Model):
    """The whole of `deploy.yaml`, overlays merged."""

    app: str = Field(description="name of the app, also of its units and folders", examples=["shop"])
    default_env: str | None = setting(None, "environment when the command line names none", "staging")
    hosts: Line | None = setting(None, "pattern of the hosts with instances", "web")
    domains: tuple[Domain, ...] = setting(
        (), "names the balancer serves; the first is the Host of health checks", ["shop.example.com"]
    )
    tls: Literal["auto", "off"] | Tls | None = setting(
        None, "auto, off, {issuer: …} or your own certificate", {"certificate": "shop.pem", "key": "SHOP_TLS_KEY"}
    )
    source: Source = setting(Source(), "where the code comes from", {"path": "."})
    python: Python = setting(Python(), "the interpreter and how dependencies get in", {"version": "3.11"})
    packages: tuple[Annotated[str, matching(PACKAGE, "package name")], ...] = setting(
        (), "packages of the hosts' system that setup installs", ["libpq5"]
    )
    runtime: Runtime = setting(Runtime(), "the server that runs the app", {"app": "main:app"})
    instances: Annotated[int, Field(strict=True, ge=1, le=100)] = setting(1, "supervised servers per host", 1)
    port: Port = setting(8000, "first slot port", 8000)
    spare_port: Port | None = setting(None, "first spare slot port, for blue/green", 8500)
    bind: Literal["port", "unix"] = setting("port", "where instances listen: port, or unix, a socket for each", "unix")
    supervisor: Annotated[str, NameIn(SUPERVISORS)] = setting("systemd", "systemd or supervisord", "systemd")
    unit: dict[Annotated[str, matching(UNIT_KEY, "key of a unit")], bool | int | Line] = setting(
        {}, "options merged into the unit", {"MemoryMax": "1G"}
    )
    processes: dict[PartName, Process] = setting(
        {}, "supervised commands without a port", {"worker": {"command": "celery -A shop worker"}}
    )
    schedules: dict[PartName, Schedule] = setting(
        {}, "commands that run at times", {"nightly": {"command": "python -m shop.nightly", "cron": "0 3 * * *"}}
    )
    user: UserName | None = setting(None, "system user that runs the app", "shop")
    root: SiteRoot | None = setting(None, "folder of the app on its hosts", "/srv/shop")
    shared: tuple[ReleasePath, ...] = setting((), "paths that outlive releases", ["media/"])
    static: Static | None = setting(None, "static files of all kept releases", {"url": "/static/", "dir": "static/"})
    env: EnvMap = setting({}, "environment of the app", {"LOG_LEVEL": "info", "DEBUG": "false"})
    secrets: dict[EnvName, Secret] | tuple[EnvName, ...] = setting(
        {}, "where secrets come from", {"DATABASE_URL": {"env": "DATABASE_URL"}}
    )
    health: HealthCheck = setting(HealthCheck(), "health check of an instance", {"path": "/healthz"})
    balancer: Balancer = setting(Balancer(), "the balancer of the instances", {"kind": "haproxy"})
    rolling: Rolling = setting(Rolling(), "how a change goes through the fleet", {"waves": [1, "25%"]})
    hooks: Hooks = setting(Hooks(), "commands at moments of a run", {"release": "alembic upgrade head"})
    checks: tuple[Line, ...] = setting((), "your testinfra files", ["checks/"])
    keep: AtLeastOne = setting(5, "releases kept per host", 5)

    @property
    def app_secrets(self) -> dict[str, SecretRef] | tuple[EnvName, ...]:
        """The secrets that the app gets: all but the key of its certificate, which is the balancers'."""
        key = self.tls.key if isinstance(self.tls, Tls) else None
        if isinstance(self.secrets, dict):
            return {name: ref for name, ref in self.secrets.items() if name != key}
        return tuple(name for name in self.secrets if name != key)

    @field_validator("app")
    @classmethod
    def _app(cls, value: str) -> str:
        if not APP_NAME.match(value):
            raise ValueError("an app name is a lower-case letter, then up to 30 lower-case letters, digits or dashes")
        return value

    @field_validator("domains")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        lower = [name.lower() for name in value]
        twice = [name for place, name in enumerate(lower) if name in lower[:place]]
        if twice:
            raise ValueError(f"{twice[0]} is repeated: upper and lower case count as the same")
        return value

    @field_validator("shared")
    @classmethod
    def _shared_apart(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one, other in itertools.permutations(value, 2):
            if below(other.rstrip("/"), (one.rstrip("/"),)):
                same = one.rstrip("/") == other.rstrip("/")
                raise ValueError(f"{other} is repeated" if same else f"{other} lies in {one}, which is shared already")
        return value

    @field_validator("env", "secrets")
    @classmethod
    def _not_ours(cls, value: Any) -> Any:
        for name in value:
            require_free_name(name)
        return value

    @field_validator("tls", mode="before")
    @classmethod
    def _tls_off(cls, value: Any) -> Any:
        return "off" if value is False or value in ("no", "false", "none") else value

    @model_validator(mode="after")
    def _names_once(self) -> Settings:
        twice = sorted(set(self.processes) & set(self.schedules))
        if twice:
            raise Misplaced(
                f"{twice[0]} names a process and a schedule: their units would clash, so rename one of them",
                ("schedules", twice[0]),
            )
        shared_names = sorted(set(self.env) & set(self.secrets))
        if shared_names:
            raise Misplaced(f"{shared_names[0]} is in env and in secrets: keep one of them", ("env", shared_names[0]))
        return self


def _as_in(model: type[Model], name: str, default: Any = None) -> Any:
    """Return the key of `model` once more, with another default."""
    field = model.model_fields[name]
    return Field(default=default, description=field.description, examples=field.examples)


class HostOverrides(Model):
    """What a host variable `deploy: {<app>: {…}}` may change for one host."""

    address: (
        Annotated[str, matching(re.compile(r"[A-Za-z0-9.:_%\[\]-]+"), "address: a name or an IP, without a port")]
        | None
    ) = setting(None, "where the balancer reaches the instances of the host, if SSH reaches it elsewhere", "192.0.2.7")
    port: Port | None = _as_in(Settings, "port")
    spare_port: Port | None = _as_in(Settings, "spare_port")
    instances: Annotated[int, Field(strict=True, ge=0, le=100)] | None = _as_in(Settings, "instances")
    workers: Workers | None = _as_in(Runtime, "workers")
    env: EnvMap = _as_in(Settings, "env", {})
    user: UserName | None = _as_in(Settings, "user")
    root: SiteRoot | None = _as_in(Settings, "root")
