"""The whole life of a release under the oldest Python that a host may have."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from release_site import FILES, RUN, Host, write

import deployer
from deployer.artifact import manifest

RELEASE = "20261101T100000Z-aaaaaaaa"
LIFE = """
import json, sys
sys.path.insert(0, sys.argv[1])
from deployer.agent import operation
spec = json.load(open(sys.argv[2]))
def call(name, body=b"", **args):
    context = operation.Context(body=iter([body]))
    return operation.find(name)(context, {"site": spec["site"], "release": spec["release"], **args})
call("secrets.write", b"export KEY='it'\\\\''s'\\n")
call("release.begin", open(spec["manifest"], "rb").read())
call("release.fill", open(spec["stream"], "rb").read())
venv = {"key": "k", "python": sys.executable, "installer": "none"}
check = {"argv": [".venv/bin/python", "-c", "import app"]}
made = call("release.build", run=spec["run"], files={}, meta={}, venv=venv, env={}, check=check,
            prepare={"command": "echo $KEY > made"}, shared=["media/"])
hook = call("hook.release", run="r", command="cat made", env={}, timeout=30, rerun_safe=False)
gone = call("release.prune", keep=1, protect=[])
print(json.dumps([made["built"], hook["output"], gone["removed"]]))
"""


def test_a_release_lives_and_dies_under_python_3_9(tmp_path: Path) -> None:
    old = shutil.which("python3.9")
    if old is None or subprocess.run([old, "--version"], capture_output=True, check=False).returncode != 0:
        pytest.skip("python3.9 is not on this machine")
    host = Host(tmp_path).set_up()
    source = write(tmp_path / "source", FILES)
    shipped = manifest.scan(source)
    (tmp_path / "manifest").write_bytes(shipped.as_bytes())
    (tmp_path / "stream").write_bytes(b"".join(manifest.pack(shipped, list(shipped.blobs()), source)))
    spec = {"site": host.site.to_wire(), "release": RELEASE, "run": RUN}
    spec |= {name: str(tmp_path / name) for name in ("manifest", "stream")}
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    tree = str(Path(deployer.__file__).parent.parent)
    argv = [old, "-I", "-c", LIFE, tree, str(tmp_path / "spec.json")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [True, "•••\n", [RELEASE]]
