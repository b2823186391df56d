#!/bin/sh
# What an owner set, looked at on the machine while steps run, with bwrap and in VMs: niceness, scheduling, I/O class, CPUs, memory, processes, rlimits and
# the user of each process, of a project of its own and of the rest. Hours, battery, load, pressure and somebody at the keyboard stop steps from starting,
# and freeze or hand back those that run. Whom the owner refuses gets nothing. Nobody else has a word with the worker.
. "$(dirname "$0")/lib.sh"
[ "$(id -u)" = 0 ] || { say "skipped: only root can show the worker another machine"; exit 77; }
realm --workers 1 --trusted 1
one=$realm/one
mv "$realm/worker-1" "$one"
cp "$one/worker.ini" "$scratch/ini"
rest='[worker]\nisolation = bwrap qemu\nemulation = yes\nsteps = 3\n%b[limits]\nmemory = 96M\ndisk = 32M\nprocesses = 100\ncpus = 2\nnice = 3\nio-priority = best-effort\ncpu-priority = batch\n'
small='[project small/*]\nmemory = 64M\nprocesses = 40\ncpus = 1\nnice = 12\nio-priority = idle\ncpu-priority = idle\nsteps = 1\n'
settings() { # LINES of [worker]
    # shellcheck disable=SC2059
    { cat "$scratch/ini"; printf "$rest$small" "$1"; } >"$one/worker.ini"
}
change() { settings "$1"; expect 0 assay worker --dir "$one" reload; }
status() { assay worker --dir "$one" status --json; }
is() { status | grep -q "$1"; }
settings ''
# The machine that the worker sees is in a mount namespace of its own, where it can be another one.
mkdir -p "$scratch/power/BAT0" "$scratch/run"
echo Battery >"$scratch/power/BAT0/type"
echo Full >"$scratch/power/BAT0/status"
printf "[leases]\ndecline-pause = 1s\n" >>"$realm/broker/broker.ini"
daemons
start one unshare -m --propagation private sh -c 'mount --bind "$1" /sys/class/power_supply && exec assay-worker --dir "$2"' sh "$scratch/power" "$one"
one_pid=$pid
shown() { nsenter -t "$one_pid" -m mount --bind "$1" "$2"; }  # FILE PLACE: the worker sees it there
hidden() { nsenter -t "$one_pid" -m umount "$1"; }
vm_image
project p
key=$(worker_key "$one")
begin() { # PROJECT DRIVER RUN: leaves its id in $id
    printf 'image: %s\nsteps: {build: {run: %s, policy: {isolation: %s}, limits: {time: %s}}}\n' "$image" "$3" "$2" "${4:-200s}" >"$repo/.assay.yml"
    commit "$1 $2"
    expect 0 assay push -C "$repo" --project "$1"
    id=$(grep -oE '[0-9a-f]{64}' "$scratch/out" | head -n 1)
}
said() { assay log "$1/build" 2>/dev/null | grep -q "^$2\$"; }
over() { assay status --json "$1" | grep -q "\"state\":\"$2\""; }
lease() { status | grep -oE '"lease":"[0-9a-f]{64}","project":"[a-z/]*"' | grep "\"$1\"\$" | cut -d '"' -f 4; }
folders() { find /sys/fs/cgroup -type d -path "*assay-$key/$1.box" 2>/dev/null; }
members() { folders "$1" | while read -r d; do cat "$d/cgroup.procs"; done | sort -u; }
# value LEASE V1-FILE V2-FILE
value() { folders "$1" | while read -r d; do for f in "$d/$2" "$d/$3"; do [ ! -f "$f" ] || cat "$f"; done; done | head -n 1; }
threads() { for p in $(members "$1"); do for t in /proc/"$p"/task/*; do [ ! -d "$t" ] || echo "$t"; done; done; }
each() { # LEASE WHAT WANTED FUNCTION: what FUNCTION says of each of them
    each_n=0
    for each_t in $(threads "$1"); do
        each_got=$("$4" "$each_t" 2>/dev/null) || continue # it has ended
        [ "$each_got" = "$3" ] || fail "$driver: $2 of $(cat "$each_t/comm") is $each_got, not $3"
        each_n=$((each_n + 1))
    done
    [ "$each_n" -ge 2 ] || fail "$driver: $2: $each_n threads seen"
}
stat_of() { sed 's/.*) //' "$1/stat" | cut -d ' ' -f "$2"; } # fields from the state on
niceness() { stat_of "$1" 17; }
policy() { stat_of "$1" 39; }
io_class() { ionice -p "${1##*/}"; }
cpus() { awk '/^Cpus_allowed_list:/ { n = split ($2, range, ","); for (i = 1; i <= n; i++) sum += split (range[i], ends, "-") == 2 ? ends[2] - ends[1] + 1 : 1; print sum }' "$1/status"; }
rlimit() { awk -v what="$what" 'index($0, what) == 1 { print $(NF - 2), $(NF - 1) }' "$1/limits"; }
of_status() { awk -v what="$what" '$1 == what { print $2 }' "$1/status"; }
inside_user() { awk '$1 == "Uid:" { print $2 }' "$1/status"; }
# looked PROJECT NICE POLICY IO-CLASS CPUS MEMORY PROCESSES WEIGHT
looked() {
    l=$(lease "$1")
    [ -n "$l" ] || fail "$driver: no lease of $1: $(status)"
    each "$l" niceness "$2" niceness
    each "$l" "scheduling policy" "$3" policy
    each "$l" "I/O class" "$4" io_class
    each "$l" "number of CPUs" "$5" cpus
    what='Max core file size' each "$l" "core size" '0 0' rlimit
    what='Max open files' each "$l" "open files" '1024 4096' rlimit
    what='Max locked memory' each "$l" "locked memory" '65536 65536' rlimit
    what='NoNewPrivs:' each "$l" "no new privileges" 1 of_status
    each "$l" "user" 65534 inside_user
    [ -n "$(folders "$l")" ] || return 0
    got=$(value "$l" memory.limit_in_bytes memory.max)
    # a VM has its kernel and its emulator beside the step
    more=0
    [ "$driver" != qemu ] || more=$((800 << 20))
    [ "$got" -ge $(($6 << 20)) ] && [ "$got" -le $((($6 << 20) + more)) ] || fail "$driver: memory of the group of $1: $got"
    got=$(value "$l" pids.max pids.max)
    [ "$got" = "$7" ] || fail "$driver: processes of the group of $1: $got"
    got=$(value "$l" cpu.cfs_quota_us cpu.max)
    [ "${got% *}" = $(($5 * 100000)) ] || fail "$driver: CPU time of the group of $1: $got"
    got=$(value "$l" cpu.idle cpu.idle)
    [ -z "$got" ] || [ "$got" = "$8" ] || fail "$driver: cpu.idle of the group of $1: $got"
}

n=$(nproc)
for driver in bwrap qemu; do
    say "$driver: each thread of a step, of a project of its own and of the rest"
    begin small/a $driver '"echo up; sleep 300"'
    a=$id
    begin p $driver '"echo up; sleep 300"'
    b=$id
    until_true 120 said "$a" up
    until_true 120 said "$b" up
    case $driver in bwrap) few=40 many=100 ;; qemu) few=128 many=128 ;; esac
    looked small/a 12 5 idle 1 96 $few 1
    looked p 3 3 'best-effort: prio 7' $((n < 2 ? n : 2)) 128 $many 0
    expect 0 assay cancel "$a"
    expect 0 assay cancel "$b"
    [ $driver = bwrap ] || continue
    say "as many steps of a project as its owner allows, whatever the others have"
    begin small/a bwrap '"echo up; sleep 300"'
    a=$id
    until_true 60 said "$a" up
    begin small/b bwrap '"echo up; sleep 300"'
    b=$id
    begin p bwrap '"echo up"'
    until_true 60 over "$id" trusted
    ! said "$b" up || fail "two steps of small/* at once"
    expect 0 assay cancel "$a"
    until_true 60 said "$b" up
    expect 0 assay cancel "$b"
done

frozen() { is '"state":"frozen"' && [ -n "$(folders "$(lease p)")" ] && case $(value "$(lease p)" freezer.state cgroup.freeze) in FROZEN | 1) ;; *) false ;; esac; }
going() { is '"state":"running","since"'; }
later="hours = $(date -d '+2 hours' +%H:%M)-$(date -d '+3 hours' +%H:%M)\n"
for driver in bwrap qemu; do
    say "$driver: its hours end, the owner wants steps frozen: it stands still, for longer than it may run; they begin again, and it ends well"
    change 'on-busy = freeze\n'
    begin p $driver '"echo up; sleep 2; echo on"' 6s
    until_true 120 said "$id" up
    change "on-busy = freeze\n$later"
    until_true 30 frozen
    is '"why":"outside of its hours"' || fail "$(status)"
    sleep 6
    frozen || fail "no longer frozen: $(status)"
    ! said "$id" on || fail "it goes on while it is frozen"
    change 'on-busy = freeze\n'
    until_true 60 over "$id" trusted
    said "$id" on || fail "it did not go on"

    say "$driver: on battery, the owner wants steps handed back: nothing of it is left; on mains it is leased again"
    change 'on-busy = hand-back\n'
    begin p $driver '"echo up; sleep 300"'
    until_true 120 said "$id" up
    l=$(lease p)
    back=$(status | grep -o '"handed_back":[0-9]*')
    echo Discharging >"$scratch/power/BAT0/status"
    handed() { ! is "$back" && ! is "$l" && [ -z "$(folders "$l")" ]; }
    until_true 30 handed
    is '"why":"the machine runs on its battery"' || fail "$(status)"
    over "$id" pending || over "$id" running || fail "$(assay status "$id")"
    echo Full >"$scratch/power/BAT0/status"
    until_true 120 going
    [ "$(lease p)" != "$l" ] || fail "the same lease again"
    expect 0 assay cancel "$id"
done

say "hours that end, a pause: where the owner wants steps finished, what runs ends well, and no other starts"
for when in busy pause; do
    change "on-$when = finish\n"
    begin p bwrap '"echo up; sleep 1; echo on"'
    until_true 60 said "$id" up
    case $when in busy) change "$later" ;; pause) expect 0 assay worker --dir "$one" pause ;; esac
    case $when in busy) word='outside of its hours' ;; pause) word=paused ;; esac
    is "\"credit\":0.*\"why\":\"$word\"" || fail "$(status)"
    ! is '"state":"frozen"' || fail "it is frozen"
    until_true 60 over "$id" trusted
    [ "$when" = busy ] || expect 0 assay worker --dir "$one" resume
done

say "all steps together, against the rest of the machine: the weight of their niceness, or only what nobody else wants"
together() { find /sys/fs/cgroup -type d -name "assay-$key" | while read -r d; do for f in "$d/$1" "$d/$2"; do [ ! -f "$f" ] || cat "$f"; done; done | head -n 1; }
change ''
[ "$(find /sys/fs/cgroup -type d -name "assay-$key")" ] || fail "the steps have no group of their own"
case $(together cpu.shares cpu.weight) in 524 | 51 | '') ;; *) fail "weight $(together cpu.shares cpu.weight), not that of niceness 3" ;; esac
settings ''
printf '[limits]\ncpu-priority = idle\n' >>"$one/worker.ini"
expect 0 assay worker --dir "$one" reload
case $(together cpu.idle cpu.idle) in 1 | '') ;; *) fail "not idle" ;; esac

idle='idle-only = yes\nmax-load = 10000\nmax-pressure = 100\nmax-memory-pressure = 100\nmax-io-pressure = 100\n'
say "load by others, somebody at the keyboard: frozen, and going on after it"
change "on-busy = freeze\n$idle"
begin p bwrap '"echo up; sleep 300"'
until_true 60 said "$id" up
echo '99999.00 0.00 0.00 1/100 5' >"$scratch/load"
shown "$scratch/load" /proc/loadavg
until_true 30 frozen
is '"why":"the machine is in use (load)"' || fail "$(status)"
hidden /proc/loadavg
until_true 30 going
terminal=assay-${scratch##*.}
: >"/dev/shm/$terminal"
{ printf '\007\000\000\000\001\000\000\000shm/%s' "$terminal" && head -c 400 /dev/zero; } | head -c 384 >"$scratch/run/utmp" # one record: a user's process, at that terminal
shown "$scratch/run" /run
until_true 30 frozen
is '"why":"the machine is in use (somebody is at it)"' || fail "$(status)"
touch -a -d '11 minutes ago' "/dev/shm/$terminal"
until_true 30 going
rm "/dev/shm/$terminal"
hidden /run
expect 0 assay cancel "$id"

say "pressure: no step starts"
begun() { is '"step":"build"'; }
until_true 30 sh -c "! assay worker --dir $one status --json | grep -q '\"step\":'"
for what in cpu memory io; do
    [ -e "/proc/pressure/$what" ] || { say "not here: no /proc/pressure"; break; }
    echo 'some avg10=250.00 avg60=0.00 avg300=0.00 total=1' >"$scratch/pressure"
    shown "$scratch/pressure" "/proc/pressure/$what"
    case $what in cpu) name=CPU ;; io) name=I/O ;; *) name=$what ;; esac
    until_true 30 is "\"why\":\"the machine is in use ($name pressure)\""
    hidden "/proc/pressure/$what"
done
say "less disk than its floor: none either"
change 'free-disk = 1000T\n'
is '"credit":0.*"why":"less free disk than its floor"' || fail "$(status)"
begin p bwrap '"echo up"'
pressed=$id
[ "$(state_of "$pressed" build)" = pending ] || fail "$(assay status "$pressed")"

say "whom the owner refuses gets nothing, and others do, as the owner says for their project"
settings 'submitters = somebody\n'
echo 'submitters = admin' >>"$one/worker.ini"
expect 0 assay worker --dir "$one" reload
begin small/a bwrap '"echo up"'
until_true 60 over "$id" trusted
[ "$(state_of "$pressed" build)" = pending ] || fail "a step of whom its owner refuses: $(assay status "$pressed")"
change 'submitters = somebody admin\n'
until_true 60 over "$pressed" trusted

say "what a broker sends all the same is declined: whom and what the owner refuses, and more than allowed"
# It is stopped, is leased a step, and has the new settings to read before it looks at that.
assay watch --since 1 --json >"$scratch/events" 2>/dev/null &
pids="$pids $!"
leased() { grep '"kind":"leased"' "$scratch/events" | grep -q "$id"; }
told() { grep '"kind":"declined"' "$scratch/events" | grep "$id" | grep -qF "$why"; }
declined() { # LINES of [worker], REASON, LIMITS
    say "declined: $2"
    printf 'image: %s\nsteps: {build: {run: "true", limits: {memory: 90M}}}\n' "$image" >"$repo/.assay.yml"
    commit "$2"
    kill -STOP "$one_pid"
    # shellcheck disable=SC2059
    { cat "$scratch/ini"; printf "$rest" "$1"; printf "[limits]\n$3"; } >"$one/worker.ini"
    push_only
    until_true 30 leased
    kill -HUP "$one_pid"
    kill -CONT "$one_pid"
    why=$2
    until_true 30 told
    assay cancel "$id" >/dev/null 2>&1 || over "$id" unsatisfiable || fail "$(assay status "$id")" # no other worker may allow more
    change ''
}
declined 'submitters = somebody\n' 'its owner does not let this worker work for this submitter' ''
declined 'projects = q\n' 'its owner does not let this worker work on this project' ''
declined '' 'it asks for 90M of memory, its owner allows 80M' 'memory = 80M\n'

say "nobody else has a word with the worker: not where the folder lets nobody in, and not where it does"
cp "$build/assay-worker" "$scratch/"
chmod 711 "$scratch" "$realm"
other="setpriv --reuid=65533 --regid=65533 --clear-groups $scratch/assay-worker --dir $one"
for word in pause resume drain reload status; do
    expect 4 $other $word
    has err "only the worker's owner"
done
chmod 711 "$one" "$one/state"
chmod 666 "$one/state/control"
for word in pause resume drain reload status; do
    expect 4 $other $word
    has err "only the worker's owner may do that"
    [ ! -s "$scratch/out" ] || fail "it is told something"
done
is '"state":"running"' || fail "$(status)"
done_ok
