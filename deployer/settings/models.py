"""`deploy.yaml` as pydantic models: every key, its default, what it means. Unknown keys are errors.

Durations are seconds as float; the text forms `500ms`, `5s`, `2m`, `1h` and bare numbers are accepted.
"""

from __future__ import annotations

import itertools
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from deployer.agent.model.manifest import below
from deployer.settings import cron, patterns
from deployer.settings.cron import Cron
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

    path: Line = "."
    subdir: Annotated[str, AfterValidator(lambda value: relative_path(value) if value else value)] = ""
    exclude: tuple[Annotated[Line, AfterValidator(patterns.checked)], ...] = ()


class SecretRef(Model):
    """Where a secret's value is found at run time; exactly one of the keys. Values are never in the settings."""

    env: EnvName | None = None
    command: str | None = None
    sops: str | None = None

    @model_validator(mode="after")
    def _one(self) -> SecretRef:
        if sum(value is not None for value in (self.env, self.command, self.sops)) != 1:
            raise ValueError("a secret is exactly one of {env: NAME}, {command: …}, {sops: FILE}")
        return self


class Python(Model):
    """The interpreter and how dependencies get in."""

    version: str | None = None
    installer: Literal["auto", "uv", "pip", "none"] = "auto"
    with_: tuple[Line, ...] = Field(default=(), alias="with")
    extras: tuple[Line, ...] = ()
    groups: tuple[Line, ...] = ()
    env: EnvMap = {}
    secrets: dict[EnvName, SecretRef] = {}
    build: Literal["host", "here"] = "host"

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
            raise ValueError(f'{value!r} is no Python version: write "3.11" or "3.11.4"')
        return value


class Runtime(Model):
    """The server that runs the app, and its tuning. `app` None: inferred from the code."""

    server: Literal["auto", "uvicorn", "gunicorn", "gunicorn+uvicorn", "gunicorn-asgi", "command"] = "auto"
    app: str | None = None
    command: Line | None = None
    worker_class: str = "sync"
    workers: Workers = "auto"
    timeout: Duration = 120.0
    graceful_timeout: Duration = 30.0
    keepalive: Duration = 5.0
    max_requests: Annotated[int, Field(strict=True, ge=0)] = 0
    max_requests_jitter: Annotated[int, Field(strict=True, ge=0)] = 0
    access_log: Literal["off", "plain", "json"] = "plain"
    args: tuple[Line, ...] = ()

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
            raise ValueError(f"{value!r} is no app: write module:attribute, such as shop.main:app")
        return value

    @field_validator("worker_class")
    @classmethod
    def _class(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z_][\w.:]*", value):
            raise ValueError(f"{value!r} is no worker class: write sync, gthread, gevent or a dotted name")
        return value

    @model_validator(mode="after")
    def _command(self) -> Runtime:
        if self.server == "command" and self.command is None:
            raise ValueError(
                'server: command needs the command, such as command: "hypercorn shop:app -b 127.0.0.1:$PORT"'
            )
        if self.command is not None and self.server not in ("command", "auto"):
            raise ValueError(f"command is only for server: command, and the server here is {self.server}")
        return self


class HealthCheck(Model):
    """How an instance shows that it can serve. `path` None: inferred, else `/` with the usual statuses."""

    path: str | None = None
    status: Annotated[int, Field(strict=True, ge=100, le=599)] | None = None
    every: Duration = 0.5
    within: Duration = 30.0
    timeout: Duration = 5.0
    headers: dict[str, Line] = {}
    public_path: str = "/"

    @field_validator("path", "public_path")
    @classmethod
    def _path(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"/[!-~]*", value):
            raise ValueError(f"{value!r} is no path: it begins with / and has no spaces, such as /healthz")
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
                raise ValueError(f"{name!r} is no header name")
        return value


class Balancer(Model):
    """What stands before the instances. `kind` None: inferred from the inventory."""

    kind: Literal["haproxy", "nginx", "caddy", "command", "none"] | None = None
    hosts: Line = "balancers"
    manage: bool = True
    backend: Annotated[str, matching(SERVER_NAME, "backend name")] | None = None
    listen: str = ":80"
    listen_tls: str | None = None
    maintenance: Line | None = None
    websocket_timeout: Annotated[Duration, Field(gt=0, le=7 * 86400)] | None = None
    trusted_proxies: tuple[Network, ...] = ()
    socket: AbsolutePath = "/run/haproxy/admin.sock"
    drain: Line | None = None
    admit: Line | None = None
    state: Line | None = None
    timeout: Annotated[Duration, Field(gt=0)] = 30.0

    @field_validator("listen", "listen_tls")
    @classmethod
    def _listen(cls, value: str | None) -> str | None:
        if value is None:
            return None
        match = LISTEN.match(value)
        if not match or not 1 <= int(match[2]) <= 65535:
            raise ValueError(f'{value!r} is no address to listen at: write ":80", "10.0.0.5:8080" or "[::]:8080"')
        return value

    @model_validator(mode="after")
    def _commands(self) -> Balancer:
        missing = [name for name in ("drain", "admit", "state") if getattr(self, name) is None]
        if self.kind == "command" and missing:
            raise ValueError(f"kind: command needs drain, admit and state; missing: {', '.join(missing)}")
        return self


class Probe(Model):
    """A prober beside the run: requests a second, and the gate."""

    url: str
    rate: Annotated[float, Field(ge=0.1, le=1000)] = 20.0
    max_failed: Annotated[int, Field(strict=True, ge=0)] = 0

    @field_validator("url")
    @classmethod
    def _url(cls, value: str) -> str:
        if not re.fullmatch(r"https?://[!-~]+", value):
            raise ValueError(f"{value!r} is no URL: write https://shop.example.com/")
        return value


class Judge(Model):
    """The new instances beside the old, by the balancer's own figures: by how much they may be worse.

    `errors` are percentage points of requests that fail; `slower` a factor such as `3x`, or off.
    """

    errors: Annotated[str, matching(re.compile(r"\d{1,2}(\.\d+)?%"), "margin: write percentage points, such as 1%")] = (
        "1%"
    )
    slower: Annotated[str, matching(re.compile(r"off|[1-9]\d{0,2}(\.\d+)?x"), "factor: write 3x, or off")] = "off"
    min_requests: AtLeastOne = 50

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

    strategy: Literal["auto", "restart", "bluegreen", "reload", "socket"] = "auto"
    waves: Annotated[tuple[Number | str, ...], Field(min_length=1)] = (1, "25%")
    max_unavailable: Number | str = "25%"
    order: Literal["inventory", "reverse", "sorted", "random"] = "inventory"
    drain_timeout: Duration = 30.0
    soak: Duration = 5.0
    max_failures: Number | str = 0
    on_failure: Literal["rollback", "stop", "continue"] = "rollback"
    probe: Probe | None = None
    judge: Judge | Literal["off"] = Judge()

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
            raise ValueError(f"{size!r} is no size: write a number of instances or a percentage such as 25%")
        return value


class Hook(Model):
    """A command at one moment of a run. `rerun: safe` lets a later run repeat it when its outcome is unknown."""

    command: Annotated[str, Field(min_length=1)]
    timeout: Duration = 600.0
    rerun: Literal["safe"] | None = None


class Hooks(Model):
    """The user's commands: here (`build`, `succeeded`, `failed`), on every host (`prepare`), on one (`release`)."""

    build: Hook | None = None
    prepare: Hook | None = None
    release: Hook | None = None
    succeeded: Hook | None = None
    failed: Hook | None = None

    @field_validator("*", mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"command": value} if isinstance(value, str) else value


class Process(Model):
    """A supervised command beside the instances, without a port."""

    command: Program
    count: AtLeastOne = 1
    hosts: Line | None = None
    stop_timeout: Duration = 60.0
    singleton: bool = False

    @model_validator(mode="after")
    def _only_one(self) -> Process:
        if self.singleton and self.count > 1:
            raise ValueError("a singleton is one process: remove count, or singleton")
        return self


class Schedule(Model):
    """A command that runs at times. `timeout` ends a run that takes longer."""

    command: Program
    cron: str
    timezone: Annotated[str, matching(re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*"), "time zone")] = "UTC"
    singleton: bool = True
    hosts: Line | None = None
    timeout: Annotated[Duration, Field(ge=1, le=7 * 86400)] = 3600.0

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

    certificate: Line | None = None
    key: EnvName | None = None
    issuer: (
        Annotated[str, matching(ISSUER, "issuer: write internal, or the https:// URL of an ACME directory")] | None
    ) = None
    email: Annotated[str, matching(EMAIL, "address of mail")] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Tls:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together: {certificate: PATH, key: NAME OF A SECRET}")
        if (self.certificate is None) == (self.issuer is None and self.email is None):
            raise ValueError("a certificate of yours ({certificate: …, key: …}), or one that Caddy gets ({issuer: …})")
        return self


class Static(Model):
    """Files that the balancer or the app's host serves from all kept releases."""

    url: str
    dir: ReleasePath

    @field_validator("url")
    @classmethod
    def _url(cls, value: str) -> str:
        if not re.fullmatch(r"/([A-Za-z0-9._-]+/?)+", value) or ".." in value:
            raise ValueError(f"{value!r} is no path of a URL: write /static/")
        return value if value.endswith("/") else value + "/"


class Settings(Model):
    """The whole of `deploy.yaml`, overlays merged."""

    app: str
    default_env: str | None = None
    hosts: Line | None = None
    domains: tuple[Domain, ...] = ()
    tls: Literal["auto", "off"] | Tls | None = None
    source: Source = Source()
    python: Python = Python()
    packages: tuple[Annotated[str, matching(PACKAGE, "package name")], ...] = ()
    runtime: Runtime = Runtime()
    instances: Annotated[int, Field(strict=True, ge=1, le=100)] = 1
    port: Port = 8000
    spare_port: Port | None = None
    bind: Literal["port", "unix"] = "port"
    supervisor: Literal["systemd", "supervisord"] = "systemd"
    unit: dict[Annotated[str, matching(UNIT_KEY, "key of a unit")], bool | int | Line] = {}
    processes: dict[PartName, Process] = {}
    schedules: dict[PartName, Schedule] = {}
    user: UserName | None = None
    root: SiteRoot | None = None
    shared: tuple[ReleasePath, ...] = ()
    static: Static | None = None
    env: EnvMap = {}
    secrets: dict[EnvName, SecretRef] | tuple[EnvName, ...] = {}
    health: HealthCheck = HealthCheck()
    balancer: Balancer = Balancer()
    rolling: Rolling = Rolling()
    hooks: Hooks = Hooks()
    checks: tuple[Line, ...] = ()
    keep: AtLeastOne = 5

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
            raise ValueError(f"{twice[0]} is here twice: names are the same in upper and lower case")
        return value

    @field_validator("shared")
    @classmethod
    def _shared_apart(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one, other in itertools.permutations(value, 2):
            if below(other.rstrip("/"), (one.rstrip("/"),)):
                same = one.rstrip("/") == other.rstrip("/")
                raise ValueError(
                    f"{other} is here twice" if same else f"{other} lies in {one}, which is shared already"
                )
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


class HostOverrides(Model):
    """What a host variable `deploy: {<app>: {…}}` may change for one host.

    `address` is where the balancer reaches the instances of this host, where it is not where SSH does.
    """

    address: (
        Annotated[str, matching(re.compile(r"[A-Za-z0-9.:_%\[\]-]+"), "address: a name or an IP, without a port")]
        | None
    ) = None
    port: Port | None = None
    spare_port: Port | None = None
    instances: Annotated[int, Field(strict=True, ge=0, le=100)] | None = None
    workers: Workers | None = None
    env: EnvMap = {}
    user: UserName | None = None
    root: SiteRoot | None = None
