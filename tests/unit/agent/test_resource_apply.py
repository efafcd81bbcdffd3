"""`resource.apply`: what is made, what is refused, and what is put back, on real files."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from deployer.agent.model.layout import Site
from deployer.agent.model.resources import Absent, BootUnit, Directory, File, Link, Listener, Package, Resource, to_wire
from deployer.agent.operation import Context, OpError, find


class Host:
    """A folder that stands for a host, to which resources are applied."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.site = Site(app="shop", env="lab", root=f"{folder}/srv/shop", prefix=str(folder))
        self.conf = folder / "etc/shop.conf"
        self.log = folder / "handled"

    def file(self, content: str, **more: Any) -> File:
        return File(path=str(self.conf), content=content, **more)

    def says(self, word: str, *, exit_status: int = 0) -> list[list[str]]:
        """A handler that notes its name and what the configuration says at that moment."""
        script = 'printf "%s: " "$0" >>"$1"; cat "$2" >>"$1" 2>/dev/null || echo >>"$1"; exit "$3"'
        return [["sh", "-c", script, word, str(self.log), str(self.conf), str(exit_status)]]

    def apply(self, *resources: Resource, handlers: Any = None, dry_run: bool = False, replace: bool = False) -> Any:
        args = {
            "site": self.site.to_wire(),
            "resources": [to_wire(resource) for resource in resources],
            "handlers": handlers or {},
            "dry_run": dry_run,
            "replace": replace,
        }
        return find("resource.apply")(Context(), json.loads(json.dumps(args)))

    def refused(self, *resources: Resource, **more: Any) -> OpError:
        with pytest.raises(OpError) as caught:
            self.apply(*resources, **more)
        return caught.value

    @property
    def handled(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_file_is_written_once_and_then_left_alone(host: Host) -> None:
    resources: list[Resource] = [
        Directory(str(host.folder / "etc"), mode="0750"),
        host.file("a\n", mode="0640", notify=("reload",)),
    ]
    first = host.apply(*resources, handlers={"reload": host.says("reload")})
    assert [(item["kind"], item["action"]) for item in first["changed"]] == [
        ("directory", "create"),
        ("file", "create"),
    ]
    assert host.conf.read_text() == "a\n" and host.conf.stat().st_mode & 0o777 == 0o640
    assert (host.folder / "etc").stat().st_mode & 0o777 == 0o750
    assert host.handled == ["reload: a"]
    inode = host.conf.stat().st_ino
    again = host.apply(*resources, handlers={"reload": host.says("reload")})
    assert again == {"changed": [], "refused": [], "handlers": []}
    assert host.conf.stat().st_ino == inode and host.handled == ["reload: a"]


def test_a_dry_run_shows_the_diff_and_changes_nothing(host: Host) -> None:
    host.apply(host.file("old\n"))
    before = sorted(str(path) for path in host.folder.rglob("*"))
    shown = host.apply(host.file("new\n", notify=("r",)), handlers={"r": host.says("r")}, dry_run=True)
    assert "-old\n+new\n" in shown["changed"][0]["diff"] and shown["handlers"] == ["r"]
    assert host.conf.read_text() == "old\n" and host.handled == []
    assert sorted(str(path) for path in host.folder.rglob("*")) == before


def test_sensitive_content_is_in_no_diff(host: Host) -> None:
    host.apply(host.file("password=1\n", sensitive=True))
    shown = host.apply(host.file("password=2\n", sensitive=True), dry_run=True)
    assert shown["changed"][0]["diff"] == "(content hidden)"
    host.conf.write_text("password=3\n")
    error = host.refused(host.file("password=4\n", sensitive=True))
    assert "password" not in json.dumps(error.as_dict())


def test_a_strangers_file_is_refused_and_nothing_at_all_is_changed(host: Host) -> None:
    host.conf.parent.mkdir(parents=True)
    host.conf.write_text("theirs\n")
    other = File(path=str(host.folder / "etc/other.conf"), content="ours\n")
    error = host.refused(other, host.file("ours\n"))
    assert error.code == "refused" and "--replace" in error.hint
    assert error.detail["refused"][0]["name"] == str(host.conf)
    assert "-theirs\n+ours\n" in error.detail["refused"][0]["diff"]
    assert host.conf.read_text() == "theirs\n" and not Path(other.path).exists()
    assert host.apply(other, host.file("ours\n"), dry_run=True)["refused"], "a dry run lists it"
    host.apply(other, host.file("ours\n"), replace=True)
    assert host.conf.read_text() == "ours\n"


def test_a_file_of_ours_that_somebody_changed_is_refused(host: Host) -> None:
    host.apply(host.file("a\n"))
    host.conf.write_text("a\n# an edit by hand\n")
    error = host.refused(host.file("b\n"))
    assert "it was changed since" in error.message
    assert "an edit by hand" in host.conf.read_text()
    host.apply(host.file("b\n"), replace=True)
    host.apply(host.file("c\n"))
    assert host.conf.read_text() == "c\n"


def test_identical_content_is_adopted(host: Host) -> None:
    host.conf.parent.mkdir(parents=True)
    host.conf.write_text("same\n")
    host.conf.chmod(0o644)
    assert host.apply(host.file("same\n"))["changed"] == []
    host.apply(host.file("next\n"))
    assert host.conf.read_text() == "next\n"


def test_an_initial_file_is_written_once_and_then_belongs_to_the_person(host: Host) -> None:
    host.apply(host.file("first\n", initial=True))
    host.conf.write_text("edited\n")
    assert host.apply(host.file("second\n", initial=True))["changed"] == []
    assert host.conf.read_text() == "edited\n"


def test_a_failed_handler_puts_files_back_and_the_old_state_live_again(host: Host) -> None:
    host.apply(host.file("good\n"))
    new = File(path=str(host.folder / "etc/new.conf"), content="x\n", notify=("check",))
    script = 'grep -q good "$0" || { echo "line 1: unknown word" >&2; exit 1; }'
    check = [["sh", "-c", script, str(host.conf)]]
    handlers = {"first": host.says("first"), "check": check, "never": host.says("never")}
    error = host.refused(host.file("bad\n", notify=("first", "check", "never")), new, handlers=handlers)
    assert error.code == "invalid" and error.log == ["line 1: unknown word"] and error.detail["handler"] == "check"
    assert host.conf.read_text() == "good\n" and not Path(new.path).exists()
    assert host.handled == ["first: bad", "first: good"]
    assert host.apply(host.file("good\n", notify=("first",)), handlers=handlers)["handlers"] == []
    host.apply(host.file("good 2\n"), new, handlers={"check": check})
    assert Path(new.path).exists(), "what was put back is still ours to change"


def test_handlers_run_once_each_in_the_order_of_their_map(host: Host) -> None:
    resources = [
        host.file("a\n", notify=("reload",)),
        File(str(host.folder / "etc/b"), "b\n", notify=("check", "reload")),
        File(str(host.folder / "etc/c"), "c\n", notify=("reload",)),
    ]
    handlers = {"check": host.says("check"), "other": host.says("other"), "reload": host.says("reload")}
    assert host.apply(*resources, handlers=handlers)["handlers"] == ["check", "reload"]
    assert host.handled == ["check: a", "reload: a"]


def test_a_crash_between_file_and_handler_is_finished_by_the_next_run(host: Host, tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        die = [["sh", "-c", "kill -KILL $PPID; sleep 60"]]
        try:
            host.apply(host.file("a\n", notify=("reload",)), handlers={"reload": die})
        finally:
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status), "the agent did not die where it should"
    assert host.conf.read_text() == "a\n"
    again = host.apply(host.file("a\n", notify=("reload",)), handlers={"reload": host.says("reload")})
    assert again["changed"] == [] and again["handlers"] == ["reload"]
    assert host.handled == ["reload: a"]
    assert host.apply(host.file("a\n", notify=("reload",)), handlers={"reload": host.says("reload")})["handlers"] == []


def test_what_we_made_is_removed_and_nothing_else(host: Host) -> None:
    host.apply(host.file("a\n"))
    theirs = host.folder / "etc/theirs"
    theirs.write_text("x")
    changed = host.apply(Absent(str(host.conf)), Absent(str(theirs)))["changed"]
    assert [item["name"] for item in changed] == [str(host.conf)]
    assert theirs.exists() and not host.conf.exists()
    assert host.apply(Absent(str(host.conf)))["changed"] == []
    host.conf.write_text("made by a person later\n")
    assert host.apply(Absent(str(host.conf)))["changed"] == []


def test_links_follow_the_same_rules(host: Host) -> None:
    link = host.folder / "etc/link"
    host.apply(Link(str(link), "a"))
    host.apply(Link(str(link), "b"))
    assert os.readlink(link) == "b"
    link.unlink()
    link.symlink_to("by hand")
    assert host.refused(Link(str(link), "c")).code == "refused"
    host.apply(Link(str(link), "c"), replace=True)
    assert os.readlink(link) == "c"


def test_a_link_where_a_file_should_be_is_not_written_through(host: Host) -> None:
    host.conf.parent.mkdir(parents=True)
    target = host.folder / "precious"
    target.write_text("keep\n")
    host.conf.symlink_to(target)
    assert host.refused(host.file("a\n")).code == "refused"
    host.apply(host.file("a\n"), replace=True)
    assert target.read_text() == "keep\n" and not host.conf.is_symlink()


def test_a_folder_where_a_file_should_be_is_never_replaced(host: Host) -> None:
    host.conf.mkdir(parents=True)
    assert host.refused(host.file("a\n"), replace=True).code == "refused"


def test_folders_of_the_app_get_their_mode_and_strangers_folders_keep_theirs(host: Host) -> None:
    ours, theirs = Path(host.site.state), host.folder / "etc/theirs"
    for path in (ours, theirs):
        path.mkdir(parents=True, mode=0o700)
    host.apply(Directory(str(ours), mode="0711"), Directory(str(theirs), mode="0755"))
    assert ours.stat().st_mode & 0o777 == 0o711 and theirs.stat().st_mode & 0o777 == 0o700


def test_a_write_that_fails_puts_back_what_was_written_before_it(host: Host) -> None:
    host.apply(host.file("a\n"))
    impossible = File("/proc/nothing/below", "x")  # only a write shows that nothing can be made there
    error = host.refused(host.file("b\n"), impossible)
    assert error.code == "failed" and "below" in error.message
    assert host.conf.read_text() == "a\n"
    host.apply(host.file("b\n"))


def test_an_unknown_handler_is_found_before_anything_is_changed(host: Host) -> None:
    assert host.refused(host.file("a\n", notify=("typo",))).code == "failed"
    assert not host.conf.exists()


def test_a_name_that_is_no_packages_is_refused(host: Host) -> None:
    assert host.refused(Package("-oAPT::Evil=1")).code == "failed"


def test_an_installed_package_is_no_change(host: Host) -> None:
    import shutil

    if not shutil.which("dpkg-query"):
        pytest.skip("no dpkg here")
    assert host.apply(Package("dpkg"))["changed"] == []
    shown = host.apply(Package("dpkg"), Package("no-such-package-here"), dry_run=True)["changed"]
    assert [(item["name"], item["action"]) for item in shown] == [("no-such-package-here", "install")]


def test_a_package_that_is_too_old_stops_everything_before_anything_is_changed(host: Host) -> None:
    import shutil

    if not shutil.which("dpkg-query"):
        pytest.skip("no dpkg here")
    assert host.apply(Package("dpkg", at_least="1.15"))["changed"] == []
    for dry_run in (True, False):
        error = host.refused(Package("dpkg", at_least="99"), host.file("a\n"), dry_run=dry_run)
        assert error.code == "too_old" and "99 or later is needed" in error.message and error.hint
    assert not host.conf.exists()
    unknown = host.apply(Package("no-such-package-here", at_least="99"), dry_run=True)
    assert len(unknown["changed"]) == 1, "what nobody knows may be there after an update"


def test_a_torn_record_stops_everything_with_the_way_out(host: Host) -> None:
    host.apply(host.file("a\n"))
    Path(host.site.host_state, "created.json").write_text("{")
    error = host.refused(host.file("b\n"))
    assert error.code == "failed" and "created.json" in error.message and error.hint


@pytest.mark.parametrize("replace", [False, True])
def test_the_unit_of_another_app_is_neither_written_over_nor_removed(host: Host, replace: bool) -> None:
    host.apply(host.file("# Written by deploy for the app shop-a; the same for every release.\n"))
    before = host.conf.read_text()
    mine = host.file("# Written by deploy for the app shop; the same for every release.\n")
    refused = host.refused(mine, replace=replace)
    assert "shop-a" in refused.message and "rename the process" in (refused.hint or "")
    assert host.apply(Absent(str(host.conf)), replace=replace)["changed"] == []
    assert host.conf.read_text() == before


# -- what a run changed goes back as a whole ---------------------------------------------------------------------------


def kept(host: Host, *resources: Resource, run: str = "r1", **more: Any) -> Any:
    args = {
        "site": host.site.to_wire(),
        "resources": [to_wire(resource) for resource in resources],
        "handlers": {"reload": host.says("reload")},
        "keep": run,
        **more,
    }
    return find("resource.apply")(Context(), json.loads(json.dumps(args)))


def ended(host: Host, verb: str, run: str = "r1") -> Any:
    args = {"site": host.site.to_wire(), "run": run, "parts": ["units", "pools"]}
    return find(f"resource.{verb}")(Context(), args)["changed"]


def test_files_go_back_to_what_they_were_before_the_run_whatever_it_did_since(host: Host) -> None:
    extra = str(host.folder / "etc/extra.pem")
    kept(host, host.file("a\n", mode="0640", notify=("reload",)), run="r0")
    kept(host, host.file("b\n", notify=("reload",)), File(extra, "key\n", mode="0600"))
    kept(host, host.file("c\n", notify=("reload",)), Absent(extra))
    assert sorted(ended(host, "restore")) == [str(host.conf)]
    assert host.conf.read_text() == "a\n" and host.conf.stat().st_mode & 0o777 == 0o640
    assert host.handled == ["reload: a", "reload: b", "reload: c", "reload: a"]
    assert ended(host, "restore") == [], "once"
    kept(host, host.file("d\n", notify=("reload",)))  # ours still, so nobody is asked for --replace


def test_a_file_that_the_run_made_is_gone_again_and_one_that_it_removed_is_back(host: Host) -> None:
    extra = str(host.folder / "etc/extra.pem")
    kept(host, File(extra, "key\n", mode="0600"), run="r0")
    kept(host, host.file("b\n", notify=("reload",)), Absent(extra))
    assert ended(host, "restore") == [str(host.conf), extra]
    assert not host.conf.exists() and Path(extra).read_text() == "key\n"
    assert Path(extra).stat().st_mode & 0o777 == 0o600


def test_what_has_proven_itself_stays_and_what_another_run_left_is_forgotten(host: Host) -> None:
    kept(host, host.file("a\n"), run="r0")
    kept(host, host.file("b\n"), run="dead")
    kept(host, host.file("c\n"))
    assert ended(host, "restore", "dead") == [], "that run is not the one that ends here"
    kept(host, host.file("d\n"))
    assert ended(host, "settle") is True and ended(host, "settle") is False
    assert ended(host, "restore") == [] and host.conf.read_text() == "d\n"


def test_what_is_kept_is_for_root_alone(host: Host) -> None:
    kept(host, host.file("a\n", sensitive=True, mode="0600"), run="r0")
    kept(host, host.file("b\n", sensitive=True, mode="0600"))
    path = Path(host.site.resources_before("units"))
    assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700


def test_what_cannot_go_back_stays_and_is_an_error(host: Host) -> None:
    kept(host, host.file("a\n"), run="r0")
    refuses = {"reload": host.says("reload", exit_status=1)}
    kept(host, host.file("b\n", notify=("reload",)))
    path = Path(host.site.resources_before("units"))
    path.write_text(json.dumps({**json.loads(path.read_text()), "handlers": refuses}))
    with pytest.raises(OpError, match="files were put back"):
        ended(host, "restore")
    assert host.conf.read_text() == "b\n"


def boot_unit(host: Host, **more: Any) -> BootUnit:
    state = ("sh", "-c", f"cat {host.folder}/enabled; echo active")
    return BootUnit(
        "shop@8000.service",
        f"{host.folder}/link",
        state,
        ("cp", f"{host.folder}/word", f"{host.folder}/enabled"),
        **more,
    )


def test_a_unit_in_use_is_enabled_at_every_run(host: Host) -> None:
    unit = boot_unit(host)
    (host.folder / "word").write_text("enabled\n")
    assert host.apply(unit)["changed"] == []
    os.symlink("nowhere", unit.link)
    step = {"kind": "boot unit", "name": "shop@8000.service", "action": "enable", "diff": ""}
    assert host.apply(unit, dry_run=True)["changed"] == [step]
    assert not (host.folder / "enabled").exists()
    assert host.apply(unit)["changed"] == [step]
    assert host.apply(unit)["changed"] == []
    (host.folder / "enabled").write_text("disabled\n")
    assert host.apply(unit)["changed"] == [step]


def test_a_unit_that_does_not_run_is_left_disabled_if_only_a_running_one_counts(host: Host) -> None:
    os.symlink("nowhere", f"{host.folder}/link")
    running = boot_unit(host, active_only=True)
    assert [step["action"] for step in host.apply(running, dry_run=True)["changed"]] == ["enable"]
    stopped = BootUnit(running.name, running.link, ("echo", "inactive", "disabled"), running.enable, active_only=True)
    assert host.apply(stopped, dry_run=True)["changed"] == []


def test_a_unit_that_cannot_be_enabled_stops_the_run_with_its_name(host: Host) -> None:
    os.symlink("nowhere", f"{host.folder}/link")
    error = host.refused(boot_unit(host))
    assert error.code == "failed" and "shop@8000.service cannot be enabled at boot" in error.message


def test_handlers_bring_a_socket_back_at_which_nobody_answers(host: Host) -> None:
    path = str(host.folder / "s")
    listener, handlers = Listener(path, notify=("open",)), {"open": host.says("open")}
    planned = host.apply(listener, handlers=handlers, dry_run=True)
    assert planned["changed"] == [{"kind": "listener", "name": path, "action": "open", "diff": ""}]
    assert host.handled == []
    assert host.apply(listener, handlers=handlers)["handlers"] == ["open"] and len(host.handled) == 1
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        assert host.apply(listener, handlers=handlers)["handlers"] == ["open"], "bound, and nobody listens"
        server.listen()
        assert host.apply(listener, handlers=handlers)["changed"] == []
        os.unlink(path)
        assert host.apply(listener, handlers=handlers)["handlers"] == ["open"], "nobody can reach it"
