#!/bin/sh
# Written by deploy for the app shop; the same for every release. One run of nightly, if it is time.
zone=Europe/Berlin
files=/var/log/shop-schedules/nightly
say() { printf '%s %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$1" >>"$files.log"; }

if [ "$zone" = UTC ]; then
    zone=UTC0
elif [ ! -e "/usr/share/zoneinfo/$zone" ]; then
    say "this host does not know the time zone $zone (package tzdata): not run"
    exit 1
fi
now=$(date +%s)
wall() { TZ=$zone date -d "@$1" "+$2"; }
set -- $(wall "$now" '%-M %-H %-d %-m %w')
case $1 in 30) ;; *) exit 0 ;; esac
case $2 in 4) ;; *) exit 0 ;; esac
case $3 in
    1 | 15) ;;
    *) case $5 in 5) ;; *) exit 0 ;; esac ;;
esac
# Of an hour that comes twice, when clocks are put back, only the first counts.
[ "$(wall "$now" %H:%M)" != "$(wall "$((now - 3600))" %H:%M)" ] || exit 0

# Without the link this host does not have the schedule. The run stays in the release that it leads to now.
cd -P /srv/shop/schedules/nightly 2>/dev/null || exit 0
exec 9>>"$files.lock"
flock -n 9 || { say "not started: the run before is not over"; exit 0; }

note() { printf '%s\n' "$@" >"$files.state.new" && mv "$files.state.new" "$files.state"; }
if [ "$(stat -c %s "$files.log" 2>/dev/null || echo 0)" -gt 20000000 ]; then
    for number in 2 1; do [ ! -e "$files.log.$number" ] || mv "$files.log.$number" "$files.log.$((number + 1))"; done
    mv "$files.log" "$files.log.1"
fi
note "pid=$$" "began=$now"
export DEPLOY_SCHEDULE=nightly
timeout --kill-after=10 1200 /bin/sh .deploy-within /bin/sh .deploy-processes/nightly >>"$files.log" 2>&1 </dev/null 9>&-
status=$?
note "pid=0" "began=$now" "ended=$(date +%s)" "status=$status"
