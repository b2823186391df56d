#!/bin/sh
# The owner's word: limits by project that a recipe cannot exceed, with both numbers; settings that change without a restart; pause (frozen, in
# time that is not the step's; or handed back), resume, drain; what a machine can do. Nothing is left.
. "$(dirname "$0")/lib.sh"
realm --workers 2 --trusted 2
one=$realm/one two=$realm/two
mv "$realm/worker-1" "$one"
mv "$realm/worker-2" "$two"
cp "$one/worker.ini" "$scratch/ini"
settings() { # WORKER LINES: its worker.ini is the one of the realm, and these
    { cat "$scratch/ini"; printf '%b' "$2"; } >"$1/worker.ini"
}
groups() { find /sys/fs/cgroup -name "assay-$(worker_key "$1")" -type d 2>/dev/null | wc -l; }
status() { assay worker --dir "$1" status --json; }
is() { status "$1" | grep -q "$2"; }
events() { timeout 3 assay watch --since 1 --json >"$scratch/events" 2>/dev/null || true; }
settings "$one" '[limits]\nmemory = 512M\ncpus = 1\ndisk = 256M\ntime = 30s\n[project small/*]\nmemory = 64M\n'
settings "$two" '[limits]\nmemory = 1G\ncpus = 2\ndisk = 512M\ntime = 1m\n'
up
image
project p
start one assay-worker --dir "$one"
one_pid=$pid
start two assay-worker --dir "$two"
two_pid=$pid
[ "$(groups "$one")" -gt 0 ] || say "no control groups here"

say "more than any owner allows: unsatisfiable, with both numbers"
limits() { # LIMITS RUN
    printf 'image: %s\nsteps: {build: {run: %s, artifacts: [n], limits: {%s}}}\n' "$image" "$2" "$1" >"$repo/.assay.yml"
    commit "$1"
}
echo 1 >"$repo/n"
beyond() { # LIMITS REASON
    limits "$1" 'cp n /out/n'
    push 3
    [ "$(state_of "$id" build)" = unsatisfiable ] || fail "$1: $(state_of "$id" build)"
    assay status "$id" >"$scratch/out"
    has out "$2 (worker-2, which allows the most)"
}
beyond 'cpus: 3' 'it asks for 3 cpus, the owner allows 2'
beyond 'memory: 4G' 'it asks for 4G of memory, the owner allows 1G'
beyond 'disk: 2G' 'it asks for 2G of disk, the owner allows 512M'
beyond 'time: 2h' 'it asks for 7200 s of time, the owner allows 60 s'
say "more than one allows: the other gets it; by project as well"
leased() { grep '"kind":"leased"' "$scratch/events" | grep "$1" | grep -c "\"worker\":\"$2\""; }
asked=
for more in 'cpus: 2' 'memory: 600M' 'disk: 300M' 'time: 45s'; do
    limits "$more" 'cp n /out/n'
    push 0
    asked="$asked $id"
done
limits 'memory: 100M' 'cp n /out/n'
push 0 --project small/a
asked="$asked $id"
events
for id in $asked; do
    [ "$(leased "$id" worker-1)" = 0 ] && [ "$(leased "$id" worker-2)" = 1 ] || fail "not leased to worker-2 alone: $(grep "$id" "$scratch/events")"
done

say "settings change while it runs; a broken file is refused, and nothing changes"
expect 0 assay worker --dir "$two" pause
settings "$one" '[limits]\nmemory = lots\n'
expect 2 assay worker --dir "$one" reload
has err 'worker.ini'
has err 'lots'
kill -HUP "$one_pid"
until_true 10 grep -q 'the settings stay as they were' "$scratch/one.log"
settings "$one" '[limits]\nmemory = 768M\n'
expect 0 assay worker --dir "$one" reload
limits 'memory: 700M' 'cp n /out/n'
push 0
expect 0 assay worker --dir "$two" status
has out paused

say "pause: the step is frozen; that is not its time; resume, and it ends well"
limits 'time: 4s' '"i=0; while [ $i -lt 20 ]; do sleep 0.1; i=$((i + 1)); echo $i; done; cp n /out/n"'
push_only
begun() { assay log "$id/build" | grep -q '^3$'; }
until_true 30 begun
expect 0 assay worker --dir "$one" pause
until_true 5 is "$one" '"state":"frozen"'
expect 0 assay worker --dir "$one" status
has out 'paused'
has out 'frozen'
sleep 1
said=$(assay log "$id/build" | wc -l)
sleep 4
[ "$(assay log "$id/build" | wc -l)" = "$said" ] && [ "$said" -lt 20 ] || fail "it goes on while it is frozen"
expect 0 assay worker --dir "$one" resume
until_true 30 sh -c "assay status --json $id | grep -q '\"state\":\"trusted\"'"

say "a pause outlives a restart; frozen for too long: handed back, and another takes it"
settings "$one" '[worker]\non-pause = freeze\nfreeze-time = 1s\n'
expect 0 assay worker --dir "$one" reload
limits 'time: 1m' '"echo here; sleep 54325"'
push_only
inside() { pgrep -xf 'sleep 54325' >/dev/null; }
until_true 30 inside
expect 0 assay worker --dir "$one" pause
gone() { ! inside; }
until_true 20 gone
is "$one" '"handed_back":1' || fail "$(status "$one")"
kill "$one_pid"
wait "$one_pid" || true
start one assay-worker --dir "$one"
one_pid=$pid
is "$one" '"state":"paused"' || fail "it takes steps again after a restart: $(status "$one")"
expect 0 assay worker --dir "$two" resume
until_true 30 inside
is "$two" '"step":"build"' || fail "the other has it not"

say "on-pause = hand-back: at once; drain: finished, then drained"
settings "$two" '[worker]\non-pause = hand-back\n'
expect 0 assay worker --dir "$two" reload
expect 0 assay worker --dir "$two" pause
until_true 10 gone
is "$two" '"handed_back":1' || fail "$(status "$two")"
expect 0 assay cancel "$id"
expect 0 assay worker --dir "$two" resume
limits 'time: 1m' '"echo here; sleep 2; cp n /out/n"'
push_only
until_true 30 is "$two" '"step":"build"'
expect 0 assay worker --dir "$two" drain
has out draining
expect 0 assay worker --dir "$two" drain --wait
has out drained
[ "$(state_of "$id" build)" = trusted ] || until_true 10 sh -c "assay status --json $id | grep -q '\"state\":\"trusted\"'"

say "what this machine can do, a line each, and what to change; with the settings that it is asked about"
expect 0 assay worker --dir "$two" probe
for w in kvm vm emulation qemu bwrap namespaces cgroups images disk memory priority idle git; do
    [ "$(grep -cE "^$w +(yes|no) " "$scratch/out")" = 1 ] || fail "no line $w: $(cat "$scratch/out")"
done
! grep -vE '^[a-z]+ +(yes|no) |^ {17}to change it: [^ ]|^$|^A worker with these settings \(isolation [a-z ]+\) can work here\.$' "$scratch/out" || fail "lines of another shape"
[ "$(grep -E '^[a-z]+ +(yes|no) ' "$scratch/out" | cut -c 12 | sort -u)" = ' ' ] && [ "$(grep -E '^[a-z]+ +(yes|no) ' "$scratch/out" | cut -c 13-17 | sort -u | tr -d ' \n')" = noyes ] || fail "not aligned"
expect 0 assay worker --dir "$two" probe --json
python3 -c 'import json, sys
lines = [json.loads(l) for l in sys.stdin]
assert len(lines) == 14 and all(isinstance(l["ok"], bool) and l["detail"] for l in lines), lines
assert lines[-1] == {"name": "worker", "ok": True, "detail": "bwrap"}, lines[-1]' <"$scratch/out" || fail "JSON: $(cat "$scratch/out")"
no() { # NAME DETAIL ADVICE: the line is a no, with what to do
    grep -A 1 -E "^$1 +no .*$2" "$scratch/out" | grep -qF "to change it: $3" || { cat "$scratch/out"; fail "not: $1 no $2 ($3)"; }
}
probed() { # LINES: settings of a worker that is only asked about
    mkdir -p "$scratch/asked"
    settings "$scratch/asked" "$1"
    expect 1 "${2:-env}" assay-worker --dir "$scratch/asked" probe
}
probed '[worker]\nfree-disk = 1000T\n[project p]\nmemory = 1000T\n'
no disk 'floor 1048576000 M' 'make room, or lower free-disk'
no memory 'may use 1048580096 M' 'lower steps, memory or disk'
has out 'cannot work here: see disk, memory.'
bare() { printf '#!/bin/sh\nexec unshare %s sh -c '\''%s && exec "$@"'\'' sh "$@"\n' "$1" "$2" >"$scratch/bare" && chmod 755 "$scratch/bare"; }
if [ "$(id -u)" = 0 ]; then
    bare -m 'mount -t tmpfs none /sys/fs/cgroup'
    probed '' "$scratch/bare"
    no cgroups 'no usable cgroups' 'start it by systemd with Delegate=yes'
    has out 'cannot work here: see cgroups.'
    bare -Ur 'echo 0 >/proc/sys/user/max_user_namespaces'
    probed '' "$scratch/bare"
    no namespaces 'no user namespace' 'sysctl kernel'
    no bwrap 'do not work here' 'allow unprivileged user namespaces'
    has out 'cannot work here: see bwrap'
fi
if ! grep -qE '^kvm +yes' "$scratch/out"; then
    probed '[worker]\nisolation = qemu\nemulation = no\n'
    no qemu 'KVM does not work here' ''
    grep -qE '^emulation +(yes|no) .*(not allowed|there is no)' "$scratch/out" || fail "emulation: $(cat "$scratch/out")"
    has out 'cannot work here: see qemu.'
fi
expect 2 assay worker --dir "$two" dance
expect 5 assay worker --dir "$scratch" status

say "nothing is left of workers that ended"
kill "$one_pid" "$two_pid"
wait "$one_pid" "$two_pid" || true
for w in one two; do
    [ "$(find "$realm/$w/state/steps" -mindepth 1 2>/dev/null | wc -l)" = 0 ] || fail "files of $w"
    [ "$(groups "$realm/$w")" = 0 ] || fail "control groups of $w"
done
done_ok
