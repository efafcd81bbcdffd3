"""A program of somebody else's supervisord: known by its process, stopped for good, and the others are left alone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.balanced import until

from deployer.agent.system import procfs
from deployer.agent.takeover import supervisord_programs

MAIN = """
[unix_http_server]
file={folder}/s.sock
[supervisord]
logfile={folder}/log
pidfile={folder}/pid
childlogdir={folder}
nodaemon=true
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{folder}/s.sock
[program:inside]
command=/bin/sleep 600
[include]
files = conf.d/*.conf  ; as Debian has it
"""
SHOP = """
[program:shop]
command=/bin/sh -c "/bin/sleep 600 & wait"
numprocs=2
process_name=%(program_name)s_%(process_num)02d
stopasgroup=true
"""
BOTH = "[program:one]\ncommand=/bin/sleep 600\n[program:two]\ncommand=/bin/sleep 600\n"


class Supervised:
    """A real supervisord with programs that nobody of us wrote."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.main, self.shop = folder / "supervisord.conf", folder / "conf.d/shop.conf"
        (folder / "conf.d").mkdir()
        (folder / "bin").mkdir()
        self.main.write_text(MAIN.format(folder=folder))
        self.shop.write_text(SHOP)
        (folder / "conf.d/both.conf").write_text(BOTH)
        for name in ("supervisord", "supervisorctl"):
            program = folder / "bin" / name
            program.write_text(f"#!{sys.executable}\nfrom supervisor.{name} import main\nmain()\n")
            program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}/bin:{os.environ['PATH']}")
        started = [str(folder / "bin/supervisord"), "-c", str(self.main)]
        self.daemon = subprocess.Popen(started, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until("all programs run", lambda: self.status().count("RUNNING") == 5)

    def status(self) -> str:
        asked = ["supervisorctl", "-c", str(self.main), "status"]
        return subprocess.run(asked, capture_output=True, text=True).stdout

    def pid(self, name: str) -> int:
        (line,) = (line for line in self.status().splitlines() if line.split()[0] == name)
        return int(line.split("pid ")[1].split(",")[0])


@pytest.fixture
def supervised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervised]:
    made = Supervised(tmp_path, monkeypatch)
    try:
        yield made
    finally:
        made.daemon.terminate()
        made.daemon.wait(30)


def test_it_is_known_by_any_of_its_processes_and_stopped_for_good(supervised: Supervised) -> None:
    roots = {supervised.pid("shop:shop_00"), supervised.pid("shop:shop_01")}
    child = next(pid for pid in procfs.pids() if pid not in roots and roots.intersection(procfs.ancestors(pid)))
    found = supervisord_programs.program_of(child)
    assert (found.name, found.file, set(found.roots)) == ("shop", str(supervised.shop), roots)
    (supervised.shop.parent / "other.conf").write_text("[program:other]\ncommand=/bin/sleep 600\n")
    one = supervised.pid("one")
    for _ in range(2):  # a crash between the act and its note makes a second call of it
        assert supervisord_programs.stop_for_good(found.wire) is None
        assert "shop" not in supervised.status() and "other" not in supervised.status()
    assert supervised.pid("one") == one, "and nobody else notices"
    assert not supervised.shop.exists() and Path(f"{supervised.shop}{supervisord_programs.RETIRED}").read_text() == SHOP
    words = supervisord_programs.way_back(found).replace("supervisorctl", f"supervisorctl -c {supervised.main}")
    subprocess.run(words, shell=True, check=True, capture_output=True)
    until("it is back", lambda: supervised.status().count("RUNNING") == 5)


def test_what_is_not_alone_in_its_file_is_a_persons_to_stop(supervised: Supervised) -> None:
    for name, why in (("one", "has more than program one"), ("inside", f"stands in {supervised.main} itself")):
        with pytest.raises(supervisord_programs.NotPlain, match=why):
            supervisord_programs.program_of(supervised.pid(name))
    with pytest.raises(supervisord_programs.NotPlain, match="did not start it"):
        supervisord_programs.program_of(os.getpid())


def test_nothing_is_renamed_while_nobody_knows_whether_it_runs(supervised: Supervised) -> None:
    found = supervisord_programs.program_of(supervised.pid("shop:shop_00"))
    socket = supervised.main.parent / "s.sock"
    socket.rename(f"{socket}.away")
    said = supervisord_programs.stop_for_good(found.wire)
    assert said is not None and supervised.shop.exists()
    Path(f"{socket}.away").rename(socket)
