"""Cron lines against Debian's own reading of them (cronsim), and their translation against the real systemd."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import pytest
from cronsim import CronSim

from deployer.errors import SettingsError
from deployer.settings.cron import read, zone
from deployer.settings.load import load

needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze here")
START = datetime(2026, 2, 11, 13, 37, tzinfo=UTC)


def elapses(expressions: tuple[str, ...], start: datetime, count: int) -> list[datetime]:
    """The next times of these expressions together, by systemd itself."""
    found: set[datetime] = set()
    for expression in expressions:
        base = start.strftime("%Y-%m-%d %H:%M:%S UTC")
        done = subprocess.run(
            ["systemd-analyze", "calendar", f"--base-time={base}", f"--iterations={count}", expression],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "TZ": "UTC", "LC_ALL": "C"},
        )
        for stamp in re.findall(r"(?:Next elapse|Iter\. #\d+): \w+ (\S+ \S+) UTC", done.stdout):
            found.add(datetime.strptime(stamp, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC))
    return sorted(found)[:count]


def ours(line: str, name: str, start: datetime, count: int) -> list[datetime]:
    """The next times by our own reckoning."""
    cron, found = read(line), [start]
    while len(found) <= count:
        found.append(cron.after(found[-1], zone(name)))
    return found[1:]


def lines(seed: int) -> list[str]:
    """Cron lines of every shape."""
    draw = random.Random(seed)

    def field(low: int, high: int, names: tuple[str, ...] = ()) -> str:
        def one() -> str:
            first, last = sorted((draw.randint(low, high), draw.randint(low, high)))
            shapes = [str(first), f"{first}-{last}", f"{first}-{last}/{draw.randint(1, 9)}", f"*/{draw.randint(1, 9)}"]
            return draw.choice([*shapes, *([draw.choice(names)] if names else [])])

        return draw.choice(["*", "*", one(), ",".join(one() for _ in range(draw.randint(2, 4)))])

    months, days = ("jan", "FEB", "Dec"), ("sun", "MON", "Sat")
    every = (field(0, 59), field(0, 23), field(1, 28), field(1, 12, months), field(0, 7, days))
    return [" ".join(every)]


@needs_systemd
@pytest.mark.parametrize("seed", range(40))
def test_any_line_means_what_cron_reads_in_it_and_so_does_its_translation(seed: int) -> None:
    (line,) = lines(seed)
    cron_says = list(islice(CronSim(line, START), 6))
    assert ours(line, "UTC", START, 6) == cron_says, line
    assert elapses(read(line).on_calendar("UTC"), START, 6) == cron_says, (line, read(line).on_calendar("UTC"))


@needs_systemd
@pytest.mark.parametrize(
    ("line", "expressions"),
    [
        ("0 3 * * *", ("*-*-* 03:00:00 UTC",)),
        ("*/15 0 * * 1-5", ("Mon,Tue,Wed,Thu,Fri *-*-* 00:00,15,30,45:00 UTC",)),
        ("30 4 1,15 * 5", ("*-*-01,15 04:30:00 UTC", "Fri *-*-* 04:30:00 UTC")),
        ("30 4 */2 * 5", ("Fri *-*-01,03,05,07,09,11,13,15,17,19,21,23,25,27,29,31 04:30:00 UTC",)),
        ("0 0 * * 7", ("Sun *-*-* 00:00:00 UTC",)),
        ("0 0 * * sat,0", ("Sat,Sun *-*-* 00:00:00 UTC",)),
        ("0 0 29 2 *", ("*-02-29 00:00:00 UTC",)),
        ("@hourly", ("*-*-* *:00:00 UTC",)),
        ("@Weekly", ("Sun *-*-* 00:00:00 UTC",)),
        ("@monthly", ("*-*-01 00:00:00 UTC",)),
        ("* * * * *", ("*-*-* *:*:00 UTC",)),
    ],
)
def test_the_translation_word_for_word(line: str, expressions: tuple[str, ...]) -> None:
    assert read(line).on_calendar("UTC") == expressions
    assert elapses(expressions, START, 4) == ours(line, "UTC", START, 4)


@needs_systemd
@pytest.mark.parametrize("line", ["30 2 * * *", "*/30 * * * *", "0 3 * * *", "15 1-3 * * *"])
@pytest.mark.parametrize("name", ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "UTC"])
@pytest.mark.parametrize("start", [datetime(2026, 3, 7, tzinfo=UTC), datetime(2026, 10, 24, 12, tzinfo=UTC)])
def test_our_reckoning_is_systemds_where_clocks_change(line: str, name: str, start: datetime) -> None:
    for day in (start, start + timedelta(days=21), start + timedelta(days=7)):
        assert ours(line, name, day, 60) == elapses(read(line).on_calendar(name), day, 60)


def test_an_hour_left_out_has_no_times_and_one_that_comes_twice_counts_once() -> None:
    spring, autumn = datetime(2026, 3, 28, 12, tzinfo=UTC), datetime(2026, 10, 24, 12, tzinfo=UTC)
    assert [each.day for each in ours("30 2 * * *", "Europe/Berlin", spring, 2)] == [30, 31]
    assert [each.day for each in ours("30 2 * * *", "Europe/Berlin", autumn, 2)] == [25, 26]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("0 3 * *", "has 4"),
        ("0 0 3 * * *", "no seconds"),
        ("60 3 * * *", "0 to 59"),
        ("0 24 * * *", "0 to 23"),
        ("0 3 0 * *", "1 to 31"),
        ("0 3 * 13 *", "1 to 12"),
        ("0 3 * * 8", "0 to 7"),
        ("0 22-2 * * *", "22-23,0-2"),
        ("5/15 * * * *", "5-59/15"),
        ("*/0 * * * *", "at least 1"),
        ("0 3 L * *", "day of the month"),
        ("0 3 * * mon#1", "day of the week"),
        ("0 3 * foo *", "jan to dec"),
        ("0 3,, * * *", "hour"),
        ("0 3 30 2 *", "never occurs"),
        ("@reboot", "processes"),
        ("@nightly", "@daily"),
        ("0 3 * * *; reboot", "and has 6"),
    ],
)
def test_what_is_no_cron_line_is_refused_where_it_is_written(line: str, said: str, tmp_path: Path) -> None:
    text = f"app: shop\nschedules:\n  nightly:\n    command: python -m shop.nightly\n    cron: '{line}'\n"
    (tmp_path / "deploy.yaml").write_text(text)
    with pytest.raises(SettingsError) as refused:
        load(tmp_path / "deploy.yaml", "prod")
    assert said in refused.value.message and refused.value.line == 5


def test_so_is_what_is_no_time_zone(tmp_path: Path) -> None:
    text = "app: shop\nschedules:\n  nightly: {command: x, cron: '@daily',\n    timezone: Berlin}\n"
    (tmp_path / "deploy.yaml").write_text(text)
    with pytest.raises(SettingsError) as refused:
        load(tmp_path / "deploy.yaml", "prod")
    assert "write Europe/Berlin" in refused.value.message and refused.value.line == 4


def test_a_name_is_a_processs_or_a_schedules(tmp_path: Path) -> None:
    text = "app: shop\nprocesses: {beat: {command: x}}\nschedules: {beat: {command: x, cron: '@daily'}}\n"
    (tmp_path / "deploy.yaml").write_text(text)
    with pytest.raises(SettingsError, match=r"beat names a process and a schedule: .*rename one"):
        load(tmp_path / "deploy.yaml", "prod")
