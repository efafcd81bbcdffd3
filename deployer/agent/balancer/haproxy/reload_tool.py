"""What a balancer host does around every reload of HAProxy. Setup installs this one file; it needs no other of ours.

    python3 -IS haproxy_reload.py join  --folder /etc/haproxy/deploy --socket /run/haproxy/deploy.sock
    python3 -IS haproxy_reload.py hold  --folder /etc/haproxy/deploy --socket /run/haproxy/deploy.sock
    python3 -IS haproxy_reload.py dump  --folder /etc/haproxy/deploy --socket /run/haproxy/deploy.sock
    python3 -IS haproxy_reload.py apply --folder … --socket … --main /etc/haproxy/haproxy.cfg

`dump` writes the state of all our servers where the next HAProxy process reads it: without it every drained server
comes back UP at a reload. The unit runs it in ExecReload, so that it happens whoever asked for the reload.

`join` makes of the apps' routes one map a listen address. The unit runs it before every start, since HAProxy does not
start without a map that its configuration names.

`hold` takes out again what a person or a quarantine holds out, and slots that are not in use. The unit runs it after
every start: the states lie in /run, which a restart of the host empties, and what a run had drained is meant to be
forgotten with it.

`check` lets HAProxy check all that it would load, and changes nothing.

`apply` makes a changed configuration live, or leaves everything as it was and says why: it joins the routes, lets
HAProxy check the whole, reloads, and waits for the new worker to answer. HAProxy's own check misses an address that is
taken: within one process it is silently bound twice (SO_REUSEPORT), and half of the connections then go to the other
frontend.

The folder holds `*.cfg` files, `routes/<app>-<env>.json` and what `apply` makes of them, `hosts-<frontend>.map`.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import ipaddress
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, Callable

DROP_IN = "/etc/systemd/system/haproxy.service.d/deploy.conf"
LONGEST_RELOAD = 15.0  # seconds; HAProxy itself tries for about 2 s to bind an address
PATIENCE = 2.0  # seconds for which a question is put again when its answer was cut off
LONGEST_END = 30.0  # seconds that HAProxy may take to finish requests before it is started again with our folder
BRIDGE = "deploy-haproxy-bridge.service"
MIGRATE = "/proc/sys/net/ipv4/tcp_migrate_req"
ANY_HOST = "*"
BASE = "00-deploy.cfg"
CLOSED = "closed.map"


class Refused(Exception):
    """The configuration cannot be made live; nothing changed. The text is for a person."""


def ask(path: str, command: str, timeout: float = 5.0) -> str:
    """What HAProxy answers to one command on its stats socket.

    Raises:
        OSError: there is no whole answer within `timeout` seconds. HAProxy ends every answer with an empty line.
    """
    chunks = []
    end = time.monotonic() + timeout
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(timeout)
        client.connect(path)
        client.sendall(command.encode("utf-8") + b"\n")
        while True:
            client.settimeout(max(0.001, end - time.monotonic()))
            chunk = client.recv(1 << 16)
            if not chunk:
                break
            chunks.append(chunk)
    answer = b"".join(chunks)
    if answer != b"\n" and not answer.endswith(b"\n\n"):
        raise OSError(f"HAProxy's answer to {command!r} was cut off")
    return answer.decode("utf-8", "replace")


def ask_through_reload(path: str, command: str) -> str:
    """`ask`, tried again for `PATIENCE` seconds: a reload that is under way may replace the worker that was asked.

    Raises:
        OSError: as `ask`; at once where nobody listens.
    """
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return ask(path, command)
        except (FileNotFoundError, ConnectionRefusedError):
            raise
        except OSError:
            if time.monotonic() >= end:
                raise
        time.sleep(0.05)


def write(path: str, text: str) -> None:
    """Replaces a file as a whole, on the disk when this returns: a reader sees the old text or the new one."""
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    temporary = "%s/.%s.%d.new" % (folder, os.path.basename(path), os.getpid())
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def dump(path: str, backend: str, state_file: str) -> None:
    """Writes the state of one backend's servers for the next HAProxy process; OSError when HAProxy does not answer."""
    write(state_file, state_of(path, backend))


def state_of(path: str, backend: str) -> str:
    """What `show servers state` tells of a backend; OSError when HAProxy does not answer, or not as it should."""
    text = ask_through_reload(path, "show servers state " + backend)
    if not text.startswith("1\n"):  # the version of the format, see `show servers state` in HAProxy's management guide
        raise OSError(f"HAProxy did not tell the state of {backend}: {text.strip()[:200]}")
    return text


def carried_over(text: str, configuration: str) -> str:
    """The state for the next process: a server has the state of the one that is where it is, whatever the names.

    A server at a place that no server had before is in maintenance until somebody admits it: HAProxy takes a new
    server for UP until its first check, and would send requests to where nothing listens yet. Where all servers are
    new, nobody else could serve meanwhile, so they are left as they are.
    """
    lines = [line for line in text.split("\n") if line.strip()]
    if len(lines) < 3:
        return text  # nobody serves there yet
    columns = lines[1].lstrip("# ").split(" ")
    before = [dict(zip(columns, line.split(" "))) for line in lines[2:]]
    configured_servers = _servers(configuration)
    kept = _rows_by_name(before, configured_servers)
    if not kept:
        return text
    highest = max(int(row["srv_id"]) for row in before)
    rows = []
    for name, at in configured_servers.items():
        row = dict(kept.get(name) or before[-1])
        if name not in kept:
            highest += 1
            address, _, port = at.rpartition(":")
            row.update(srv_id=str(highest), srv_addr=address.strip("[]"), srv_port=port, srv_fqdn="-")
            row.update(srv_op_state="0", srv_admin_state="1", srv_check_status="1", srv_check_result="0")
            row["srv_check_health"] = "0"
        rows.append(" ".join({**row, "srv_name": name}[column] for column in columns))
    return "\n".join([*lines[:2], *rows]) + "\n"


def _rows_by_name(before: list[dict[str, str]], configured_servers: dict[str, str]) -> dict[str, dict[str, str]]:
    """The line of the state that goes on as each server, where one does: the line of its own name comes first."""
    free = {row["srv_name"]: row for row in before}
    rows = {}
    for name, at in configured_servers.items():
        if name in free and (not _literal(at) or _at(free[name]) == at):
            rows[name] = free.pop(name)
    for name, at in configured_servers.items():
        row = next((candidate for candidate in free.values() if name not in rows and _at(candidate) == at), None)
        if row is not None:
            rows[name] = free.pop(row["srv_name"])
    return rows


def _at(row: dict[str, str]) -> str:
    """Where the server of a line of the state is, as the configuration writes it."""
    return ("[%s]:%s" if ":" in row["srv_addr"] else "%s:%s") % (row["srv_addr"], row["srv_port"])


def _literal(at: str) -> bool:
    """Whether a place is an address. What a name stands for only HAProxy knows."""
    try:
        ipaddress.ip_address(at.rpartition(":")[0].strip("[]"))
    except ValueError:
        return False
    return True


def _servers(configuration: str) -> dict[str, str]:
    """Name → `ADDRESS:PORT` of the servers in the text of a backend."""
    lines = [line.split() for line in configuration.split("\n") if line.strip().startswith("server ")]
    return {words[1]: words[2] for words in lines}


def configured(folder: str, backend: str) -> dict[str, str]:
    """Name → `ADDRESS:PORT` of a backend's servers, as the configuration on the disk says; empty when it has none."""
    return _servers(_configuration(folder, backend))


def routes(folder: str) -> list[dict[str, Any]]:
    """Every app's `{app, listen, frontend, backend, domains, state_file, drained, maintenance, secure, …}`."""
    apps = []
    where = os.path.join(folder, "routes")
    for name in sorted(os.listdir(where) if os.path.isdir(where) else []):
        if name.endswith(".json"):
            with open(os.path.join(where, name), encoding="utf-8") as file:
                apps.append(json.load(file))
    return apps


def maps(folder: str, apps: list[dict[str, Any]]) -> dict[str, str | None]:
    """What every map, and every list of certificates, should hold, by path; None for what no app needs any more.

    Raises Refused when two apps want the same name, the whole of one address, or one address with TLS and without.
    """
    owners: dict[str, dict[str, dict[str, Any]]] = {}
    certificates: dict[str, list[str]] = {}
    secure: dict[str, bool] = {}
    for app in apps:
        for place in places(app):
            if secure.setdefault(place["frontend"], place is not app) != (place is not app):
                raise Refused(f"{place['listen']} is to speak TLS for one app and plain HTTP for another")
            names = owners.setdefault(place["frontend"], {})
            for name in app["domains"] or [ANY_HOST]:
                if name in names:
                    raise Refused(_clash(name, names[name], app, place))
                names[name] = app
        if app.get("secure"):
            line = " ".join([app["certificate"], *app["domains"]])
            certificates.setdefault(app["secure"]["frontend"], []).append(line + "\n")
    texts: dict[str, str | None] = dict.fromkeys(_generated(folder))
    texts[os.path.join(folder, CLOSED)] = closed(apps)
    for frontend, lines in certificates.items():
        texts[os.path.join(folder, f"certificates-{frontend}.list")] = "".join(lines)
    for frontend, names in owners.items():
        lines = ["{} {}\n".format(name, names[name]["backend"]) for name in sorted(names)]
        texts[map_path(folder, frontend)] = "".join(lines)
        texts.pop(os.path.join(folder, f"40-{frontend}.cfg"), None)
    return texts


def closed(apps: list[dict[str, Any]]) -> str:
    """The map of the backends whose users get the page of maintenance, by the apps' own records."""
    names = [app["backend"] for app in apps if os.path.exists(app.get("maintenance") or "")]
    return "".join(f"{name} closed\n" for name in sorted(names))


def places(app: dict[str, Any]) -> list[dict[str, Any]]:
    """Where an app is served, `{listen, address, port, frontend}`: plain, and with TLS where it has that."""
    return [app, app["secure"]] if app.get("secure") else [app]


def map_path(folder: str, frontend: str) -> str:
    """Where the names of one frontend are mapped to backends."""
    return os.path.join(folder, f"hosts-{frontend}.map")


def _generated(folder: str) -> list[str]:
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    generated = [name for name in names if name.startswith(("hosts-deploy-", "certificates-deploy-", "40-deploy-"))]
    return [os.path.join(folder, name) for name in generated]


def _clash(name: str, first: dict[str, Any], second: dict[str, Any], place: dict[str, Any]) -> str:
    app_names = f"{first['app']} and {second['app']}"
    if name == ANY_HOST:
        return (
            f"{app_names} both want every request at {place['listen']}: give one of them `domains`, or its own "
            "`balancer.listen` (`deploy_listen`, where the inventory sets that)"
        )
    return f"{app_names} both serve {name} at {place['listen']}: take it out of the `domains` of one"


class Swap:
    """Files replaced together, that can be put back together."""

    def __init__(self, texts: dict[str, str | None]) -> None:
        self._before = {path: self._read(path) for path in texts}
        self._texts = texts

    def do(self) -> None:
        """Writes what is wanted."""
        self._write(self._texts)

    def undo(self) -> None:
        """Puts back what was there."""
        self._write(self._before)

    @staticmethod
    def _read(path: str) -> str | None:
        try:
            with open(path, encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError:
            return None

    @staticmethod
    def _write(texts: dict[str, str | None]) -> None:
        for path, text in texts.items():
            if text is not None:
                write(path, text)
            elif os.path.exists(path):
                os.unlink(path)


class Service:
    """HAProxy under systemd, or under supervisord when `supervisorctl` is given: that command, as words."""

    def __init__(self, folder: str, main: str, supervisorctl: list[str]) -> None:
        self._folder = folder
        self._main = main
        self._supervisorctl = supervisorctl

    def pid(self) -> int:
        """The master's process id, 0 when it does not run."""
        if self._supervisorctl:
            text = self._control("pid", "haproxy", check=False)
        else:
            text = _run(["systemctl", "show", "--property=MainPID", "--value", "haproxy.service"], check=False)
        if not text.strip().isdigit():
            raise Refused("it is not known whether HAProxy runs: %s" % (text.strip() or "its supervisor is silent"))
        return int(text)

    def loads_folder(self) -> bool:
        """Whether the running master was started with our folder: a reload keeps its command line."""
        return self._folder in self._files(self.pid())

    def configuration(self) -> list[str]:
        """The files and folders to check together: the user's own first, as the service loads them."""
        user_files = [name for name in self._files(self.pid()) if name != self._folder]
        if not user_files and self._main:
            user_files = [self._main]
        return [*user_files, self._folder]

    def reload(self) -> None:
        """Asks for a reload. That it returns says nothing about the new worker."""
        if self._supervisorctl:
            self._control("signal", "USR2", "haproxy")
        else:
            if (
                _run(["systemctl", "show", "--property=NeedDaemonReload", "--value", "haproxy.service"]).strip()
                == "yes"
            ):
                _run(["systemctl", "daemon-reload"])
            _run(["systemctl", "reload", "haproxy.service"])

    def start(self) -> None:
        """Starts it, or starts it again to take up a new command line."""
        if self._supervisorctl:
            self._control("restart" if self.pid() else "start", "haproxy")
        else:
            _run(["systemctl", "daemon-reload"])
            _run(["systemctl", "reset-failed", "haproxy.service"], check=False)
            with self._bridged() as ended:
                # Once it has ended, its unit may have started it again by itself, and it serves already.
                _run(["systemctl", "start" if ended else "restart", "haproxy.service"])
                self.wait_active()

    def wait_active(self) -> None:
        """Waits until systemd says that it runs, a moment at most."""
        deadline = time.monotonic() + LONGEST_RELOAD
        while "active" not in _run(["systemctl", "is-active", "haproxy.service"], check=False).split():
            if time.monotonic() > deadline:
                raise Refused(f"HAProxy did not start; its last lines:\n{self.log().rstrip()}")
            time.sleep(0.05)

    @contextlib.contextmanager
    def _bridged(self) -> Iterator[bool]:
        """What HAProxy serves already is served by a second one beside it while it is started again.

        A reload keeps the command line, so our folder can only come with a start. Both listen at the same addresses
        (SO_REUSEPORT), and Linux hands what waits at the one that ends to the other (`tcp_migrate_req`, 5.14). Each
        ends as at a reload: requests under way are finished first. Yields whether the first one has ended.
        """
        old, files = self.pid(), self._files(self.pid())
        if not old or self._folder in files or not any(map(_binds, files)):
            yield False
            return
        migrate = _setting(MIGRATE, "1")
        command = ["systemd-run", "--quiet", "--collect", "--unit=" + BRIDGE, "--property=Type=notify"]
        command += [_haproxy(), "-Ws", *(word for name in files for word in ("-f", name))]
        ended = False
        try:
            if subprocess.run(command, stdin=subprocess.DEVNULL, timeout=60).returncode == 0:
                os.kill(old, signal.SIGUSR1)
                deadline = time.monotonic() + LONGEST_END
                while not ended and time.monotonic() < deadline:
                    time.sleep(0.05)
                    ended = self.pid() != old
            yield ended
        finally:
            _run(["systemctl", "kill", "--kill-who=main", "--signal=USR1", BRIDGE], check=False)
            if migrate is not None:
                time.sleep(0.5)  # until the bridge has closed its sockets
                _setting(MIGRATE, migrate)

    def start_without_us(self) -> None:
        """Brings back what the host served before we came, when it would not start with our folder."""
        if not self._supervisorctl and os.path.exists(DROP_IN):
            os.unlink(DROP_IN)
            with contextlib.suppress(Refused):
                self.start()

    def log(self) -> str:
        """The last lines HAProxy wrote."""
        if self._supervisorctl:
            channels = ("stdout", "stderr")  # where its messages are depends on `redirect_stderr`
            return "".join(self._control("tail", "-2000", "haproxy", channel, check=False) for channel in channels)
        return _run(["journalctl", "-u", "haproxy.service", "-n", "15", "-o", "cat", "--no-pager"], check=False)

    def _control(self, *words: str, check: bool = True) -> str:
        return _run([*self._supervisorctl, *words], check=check)

    @staticmethod
    def _files(pid: int) -> list[str]:
        if not pid:
            return []
        try:
            with open("/proc/%d/cmdline" % pid, "rb") as file:
                words = file.read().decode("utf-8", "replace").split("\0")
        except OSError:
            return []
        return [words[at + 1] for at, word in enumerate(words[:-1]) if word == "-f"]


def _binds(name: str) -> bool:
    """Whether a file of HAProxy's configuration, or one of a folder, has it listen anywhere."""
    paths = [os.path.join(name, entry) for entry in os.listdir(name)] if os.path.isdir(name) else [name]
    for path in paths:
        with open(path, encoding="utf-8", errors="replace") as file:
            if any(line.split()[:1] == ["bind"] for line in file):
                return True
    return False


def _setting(path: str, value: str) -> str | None:
    """Sets a setting of the kernel and returns what it was; None where there is none, or it is so already."""
    try:
        with open(path, "r+", encoding="ascii") as file:
            before = file.read().strip()
            if before == value:
                return None
            file.seek(0)
            file.write(value)
        return before
    except OSError:
        return None


def apply(folder: str, path: str, service: Service) -> str:
    """Makes the folder's configuration live; returns what was done in a word. Raises Refused, with all put back."""
    apps = routes(folder)
    swap = Swap(maps(folder, apps))
    swap.do()
    try:
        _check(service.configuration())
        if service.loads_folder() and worker(path) is None:
            _open_again(folder, path, service)
        _refuse_taken(path, apps)
        if not service.loads_folder():
            _start(path, service)
            return "started"
        before = worker(path)
        if before is not None:
            dump_all(folder, path)
        _reload(path, service, before)
        return "reloaded"
    except (Refused, OSError) as error:
        swap.undo()
        raise Refused(str(error)) from error


def _start(path: str, service: Service) -> None:
    try:
        service.start()
        _wait("HAProxy did not start", service, lambda: worker(path) is not None)
    except Refused:
        service.start_without_us()
        raise


def _reload(path: str, service: Service, before: int | None) -> None:
    """Reloads, and waits until another worker than `before` answers."""
    service.reload()
    _wait(
        "HAProxy refused the new configuration; the old one goes on serving",
        service,
        lambda: worker(path) not in (None, before),
    )


def _open_again(folder: str, path: str, service: Service) -> None:
    """Brings back the stats socket whose file was removed while HAProxy runs, without closing any other.

    A new worker takes over the sockets of the one before it by their names, and so also one that nobody can reach. By
    another spelling of its path it is a new one. The next reload, with the usual spelling, opens it once more.
    """
    base = os.path.join(folder, BASE)
    with open(base, encoding="utf-8") as file:
        text = file.read()
    where, name = os.path.split(path)
    os.makedirs(where, exist_ok=True)
    other = Swap({base: text.replace(path, f"{where}/./{name}")})
    other.do()
    try:
        _reload(path, service, None)
    finally:
        other.undo()


def dump_all(folder: str, path: str) -> None:
    """`dump` for every app whose backend runs."""
    running = set(ask_through_reload(path, "show backend").split("\n"))
    for app in routes(folder):
        if app["backend"] in running:
            text = state_of(path, app["backend"])
            write(app["state_file"], carried_over(text, _configuration(folder, app["backend"])))


def _configuration(folder: str, backend: str) -> str:
    """The file that defines a backend of ours, as it is now on the disk; empty when there is none."""
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        if name.startswith("50-") and name.endswith(".cfg"):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                text = file.read()
            if f"\nbackend {backend} from " in text:
                return text
    return ""


def hold(folder: str, path: str) -> None:
    """Takes out what the apps' records say that somebody other than a run holds out, and the slots not in use."""
    for app in routes(folder):
        try:
            with open(app["drained"], encoding="utf-8") as file:
                records = json.load(file)
        except FileNotFoundError:
            continue
        now = configured(folder, app["backend"])
        for name, record in records.items():
            if record["by"] != "run" and record.get("at") in (None, now.get(name)):
                state = "maint" if record["by"] == "spare" else "drain"
                ask_through_reload(path, f"set server {app['backend']}/{name} state {state}")


def worker(path: str) -> int | None:
    """The process id of the worker that answers now; None when nobody does."""
    try:
        lines = ask(path, "show info", timeout=2.0).split("\n")
    except OSError:
        return None
    return next((int(line[5:]) for line in lines if line.startswith("Pid: ")), None)


def _check(configuration: list[str]) -> None:
    command = [_haproxy(), "-c"]
    for name in configuration:
        command += ["-f", name]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        lines = done.stderr.splitlines()
        alerts = [line for line in lines if line.startswith("[ALERT]")]
        raise Refused("HAProxy refuses the configuration:\n" + "\n".join((alerts or lines)[:20]))


def _refuse_taken(path: str, apps: list[dict[str, Any]]) -> None:
    """Refused if someone else listens where a frontend of ours is to listen."""
    try:
        running_frontends = {
            line.split(",", 1)[0] for line in ask_through_reload(path, "show stat -1 1 -1").split("\n")
        }
    except OSError:
        running_frontends = set()
    for app in apps:
        for place in places(app):
            if place["frontend"] not in running_frontends and _taken(place["address"], place["port"]):
                key = "listen" if place is app else "listen_tls"
                raise Refused(
                    f"{place['listen']} is taken on this host, by another program or by HAProxy's own "
                    f"configuration: free it, or choose another `balancer.{key}` for {app['app']}"
                )


def _taken(address: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:  # what else is wrong with an address, HAProxy says itself
            return error.errno == errno.EADDRINUSE
    return False


def _wait(failure: str, service: Service, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONGEST_RELOAD
    while not done():
        if time.monotonic() > deadline:
            raise Refused(f"{failure}; its last lines:\n{service.log().rstrip()}")
        time.sleep(0.05)


def _haproxy() -> str:
    return shutil.which("haproxy") or "/usr/sbin/haproxy"


def _run(command: list[str], check: bool = True) -> str:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    if check and done.returncode != 0:
        output = (done.stderr.strip() or done.stdout.strip())[-4000:]
        raise Refused("`%s` ended with status %d:\n%s" % (" ".join(command), done.returncode, output))
    return done.stdout if done.returncode == 0 else done.stdout + done.stderr


def main(argv: list[str]) -> int:
    """Runs `join`, `hold`, `dump`, `check` or `apply`; 0 when done, 1 when refused (why is on stderr)."""
    parser = argparse.ArgumentParser(prog="haproxy_reload")
    parser.add_argument("verb", choices=("join", "hold", "dump", "check", "apply"))
    parser.add_argument("--folder", required=True)
    parser.add_argument("--socket", required=True)
    parser.add_argument("--main", default="")
    parser.add_argument("--supervisorctl", default=[], type=json.loads, help="a JSON list of words")
    args = parser.parse_args(argv)
    try:
        if args.verb == "join":
            Swap(maps(args.folder, routes(args.folder))).do()
        elif args.verb == "hold":
            hold(args.folder, args.socket)
        elif args.verb == "dump":
            dump_all(args.folder, args.socket)
        elif args.verb == "check":
            _check(Service(args.folder, args.main, args.supervisorctl).configuration())
        else:
            print(apply(args.folder, args.socket, Service(args.folder, args.main, args.supervisorctl)))
    except (Refused, OSError, subprocess.SubprocessError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main(sys.argv[1:]))
