"""Celery workers on a real Redis: jobs in flight and coming while pushes run. None is lost, none runs twice."""

from __future__ import annotations

import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from support.project import Project
from support.traffic import traffic

from deployer.lab import Lab, LabSpec, up

pytestmark = [pytest.mark.machines, pytest.mark.more, pytest.mark.timeout(1500)]

JOBS = """\
import os, time
import celery, redis

url = os.environ["REDIS_URL"]
queue = celery.Celery("jobs", broker=url)
queue.conf.update(worker_prefetch_multiplier=1, broker_connection_retry_on_startup=True)
seen = redis.Redis.from_url(url)

@queue.task
def work(number, seconds):
    seen.rpush("begun", number)
    time.sleep(seconds)
    seen.rpush("ran", "%s %s" % (number, os.environ["DEPLOY_RELEASE"]))
"""
# Twenty jobs a second, every twentieth of 5 s, by a process that knows nothing of deployments.
ENQUEUE = """\
import time
import jobs
began, number = time.time(), 0
while True:
    jobs.work.delay(number, 5.0 if number % 20 == 0 else 0.01)
    number += 1
    jobs.seen.set("sent", number)
    if jobs.seen.exists("enough"):
        break
    time.sleep(max(0.0, began + number / 20 - time.time()))
"""
EVERY_JOB = 120.0  # seconds until the last job has run, after the last push


def test_no_job_is_lost_or_run_twice_while_three_pushes_run(lab_name: str, tmp_path: Path) -> None:
    lab = up(LabSpec(name=lab_name, kind="machines", hosts=2), print)
    redis = _redis(lab)
    project = Project(
        tmp_path / "shop",
        lab.name,
        "shop",
        {
            "app": "shop",
            "domains": ["shop.test"],
            "env": {"REDIS_URL": f"redis://{redis}:6379/0"},
            "runtime": {"workers": 1},
            "rolling": {"drain_timeout": "2s", "soak": "500ms", "waves": [1]},
            "processes": {
                "worker": {
                    "command": "celery --app jobs worker --pool threads --concurrency 10 --without-mingle",
                    "stop_timeout": "60s",
                }
            },
        },
    )
    requirements = (project.folder / "requirements.txt").read_text() + "celery[redis]\n"
    project.commit("with jobs", jobs__py=JOBS, enqueue__py=ENQUEUE, requirements__txt=requirements)
    project.deploy("setup")
    first = project.deploy("push").release
    releases = [first]
    with traffic(lab.address, tmp_path / "log", rate=10, host_header="shop.test") as users:
        sender = threading.Thread(target=project.deploy, args=("run", "python enqueue.py"), kwargs={"within": 900})
        sender.start()
        try:
            for number in range(3):
                project.version(number)
                releases.append(project.deploy("push").release)
        finally:
            _say(lab, "set enough 1")
            sender.join()
    users.demand(proven=set(releases), at_least=100, rate=7)
    sent = int(_say(lab, "get sent"))
    deadline = time.monotonic() + EVERY_JOB
    while int(_say(lab, "llen ran")) < sent and time.monotonic() < deadline:
        time.sleep(0.5)
    ran = [line.split() for line in _say(lab, "lrange ran 0 -1").splitlines()]
    begun = Counter(map(int, _say(lab, "lrange begun 0 -1").split()))
    times = Counter(int(number) for number, _ in ran)
    assert sent > 200
    assert [number for number in range(sent) if times[number] == 0] == [], "lost"
    assert {number: count for number, count in (times | begun).items() if count > 1} == {}, "run twice"
    assert {release for _, release in ran} == set(releases)


def _redis(lab: Lab) -> str:
    """Debian's Redis on the balancer's host; its address."""
    _must(lab, "lb1", "apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy redis-server")
    _must(
        lab, "lb1", "sed -i 's/^bind .*/bind 0.0.0.0/; s/^protected-mode .*/protected-mode no/' /etc/redis/redis.conf"
    )
    _must(lab, "lb1", "systemctl restart redis-server")
    return lab.address.partition(":")[0]


def _say(lab: Lab, words: str) -> str:
    return _must(lab, "lb1", f"redis-cli {words}").strip()


def _must(lab: Lab, host: str, script: str) -> str:
    done: subprocess.CompletedProcess[str] = lab.exec(host, ["sh", "-c", script])
    assert done.returncode == 0, (script, done.stdout[-500:], done.stderr[-500:])
    return done.stdout
