"""Cron lines: the five fields of crontab(5) as Debian's cron reads them, and systemd's words for the same times.

    minute 0-59   hour 0-23   day of month 1-31   month 1-12, jan-dec   day of week 0-7, sun-sat (0 and 7 are Sunday)

A field is `*`, a number, a range `2-5`, either of the first or the last with a step (`*/15`, `10-50/20`), or a list of
those. Where both day fields are restricted, which means that neither begins with `*`, one of them is enough.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

Values = tuple[int, ...]
_MONTHS = tuple(name.lower() for name in calendar.month_abbr[1:])
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_LEAP_YEARS = 8
"""Years in which a 29 February comes at least once (1896 to 1904)."""


@dataclass(frozen=True)
class _Field:
    """One of the five: its name, its least and greatest number, and the names from `first` on."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()
    first: int = 0

    def read(self, text: str) -> Values:
        """Return the numbers that `text` means, in order. Raises ValueError with a message for users."""
        numbers: set[int] = set()
        for item in text.split(","):
            numbers.update(self._item(item))
        return tuple(sorted(numbers))

    def _item(self, item: str) -> range:
        span, slash, step = item.partition("/")
        low, dash, high = span.partition("-")
        if slash and not (span == "*" or dash):
            raise self._wrong(item, f"a step needs a range: write {span or '*'}-{self.high}/{step}")
        every = self._number(step, item) if slash else 1
        if every < 1:
            raise self._wrong(item, "a step is at least 1")
        if span == "*":
            return range(self.low, self.high + 1, every)
        first = self._value(low, item)
        last = self._value(high, item) if dash else first
        if last < first:
            raise self._wrong(item, f"a range goes up: write {low}-{self.high},{self.low}-{high}")
        return range(first, last + 1, every)

    def _value(self, word: str, item: str) -> int:
        if word.lower() in self.names:
            return self.names.index(word.lower()) + self.first
        number = self._number(word, item)
        if not self.low <= number <= self.high:
            raise self._wrong(item, f"numbers here are {self.low} to {self.high}")
        return number

    def _number(self, word: str, item: str) -> int:
        if not re.fullmatch(r"[0-9]{1,4}", word):
            known = f", or {self.names[0]} to {self.names[-1]}" if self.names else ""
            raise self._wrong(item, f"written with numbers {self.low} to {self.high}{known}, * , - / and commas")
        return int(word)

    def _wrong(self, item: str, why: str) -> ValueError:
        return ValueError(f"{item!r} is no {self.name}: {why}")


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, _MONTHS, 1),
    _Field("day of the week", 0, 7, _DAYS),
)


@dataclass(frozen=True)
class Cron:
    """Times by the clock on the wall of some time zone. `weekdays` count from Sunday, 0; all are in order.

    `either`: a day counts when its number or its weekday does; else both have to.
    """

    minutes: Values
    hours: Values
    days: Values
    months: Values
    weekdays: Values
    either: bool

    def on_calendar(self, zone: str) -> tuple[str, ...]:
        """Return the expressions of systemd.time(7) that together mean the same; two where a day counts either way."""
        time = f"{_two(self.hours, 24)}:{_two(self.minutes, 60)}:00 {zone}"
        months, days = _two(self.months, 12), _two(self.days, 31)
        weekdays = ""
        if len(self.weekdays) < 7:
            # systemd's week begins on Monday.
            names = [_DAYS[day].capitalize() for day in sorted(self.weekdays, key=lambda day: (day - 1) % 7)]
            weekdays = ",".join(names) + " "
        if self.either:
            return f"*-{months}-{days} {time}", f"{weekdays}*-{months}-* {time}"
        return (f"{weekdays}*-{months}-{days} {time}",)

    def after(self, moment: datetime, zone: ZoneInfo) -> datetime:
        """Return the first time after `moment` (aware), in UTC. As systemd does it: an hour that the clock leaves out
        has no times, and of an hour that comes twice only the first counts."""
        day = moment.astimezone(zone).date() - timedelta(days=1)
        while True:
            for wall in self._times(day):
                candidate = wall.replace(tzinfo=zone).astimezone(UTC)
                if candidate > moment and candidate.astimezone(zone).replace(tzinfo=None, fold=0) == wall:
                    return candidate
            day += timedelta(days=1)

    def comes(self) -> bool:
        """Return whether there is any day at all that it means: 30 February is none."""
        first = date(1896, 1, 1)
        return any(self._counts(first + timedelta(days=number)) for number in range(_LEAP_YEARS * 366))

    def _times(self, day: date) -> Iterator[datetime]:
        if self._counts(day):
            for hour in self.hours:
                for minute in self.minutes:
                    yield datetime(day.year, day.month, day.day, hour, minute)

    def _counts(self, day: date) -> bool:
        number, weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return day.month in self.months and ((number or weekday) if self.either else (number and weekday))


def read(text: str) -> Cron:
    """Return the times that a cron line means. Raises ValueError with a message for users if it has none."""
    line = text.strip()
    if line.lower() == "@reboot":
        raise ValueError("@reboot is not a valid schedule: write a command that always runs under `processes`")
    fields = _NICKNAMES.get(line.lower(), line).split()
    if line.startswith("@") and line.lower() not in _NICKNAMES:
        raise ValueError(f"{line!r} is not a valid cron line: the nicknames are {', '.join(_NICKNAMES)}")
    if len(fields) != len(_FIELDS):
        more = " (cron has no seconds, and no years)" if len(fields) > len(_FIELDS) else ""
        raise ValueError(
            f'{line!r} is not a valid cron line: it needs five fields, such as "0 3 * * *", and has {len(fields)}{more}'
        )
    minutes, hours, days, months, weekdays = (field.read(part) for field, part in zip(_FIELDS, fields, strict=True))
    either = not fields[2].startswith("*") and not fields[4].startswith("*")
    cron = Cron(minutes, hours, days, months, tuple(sorted({day % 7 for day in weekdays})), either)
    if not cron.comes():
        raise ValueError(f"{line!r} never occurs: none of these months has such a day")
    return cron


def zone(name: str) -> ZoneInfo:
    """Return the time zone of that name (`Europe/Berlin`). ValueError when there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        near = sorted(known for known in available_timezones() if known.rpartition("/")[2].lower() == name.lower())
        hint = f"write {near[0]}" if near else "write UTC, or a name such as Europe/Berlin"
        raise ValueError(f"unknown time zone {name!r}: {hint}") from None


def _two(values: Values, count: int) -> str:
    """Return the values as systemd writes lists; `*` for all that there are."""
    return "*" if len(values) == count else ",".join(f"{value:02d}" for value in values)
