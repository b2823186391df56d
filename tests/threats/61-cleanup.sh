#!/bin/sh
# SIGKILL of the worker, of the process of a step, of what it started, and loss of the broker in mid-step: once the worker has started again, or
# has noticed, nothing of the step is left: no process, mount, loop device, control group, file or memory; and the step is built in the end.
# DRIVER: the sandbox's (bwrap).
. "${0%/*}/../e2e/lib.sh"
driver=${DRIVER:-bwrap}
realm --workers 1 --trusted 1
mv "$realm/worker-1" "$realm/one"
one=$realm/one
extra=
[ "$driver" != qemu ] || extra='emulation = yes\n'
printf "[worker]\nisolation = $driver\nnetwork = realm\n$extra[limits]\nmemory = 256M\ndisk = 256M\nnice = 0\n" >>"$one/worker.ini"
printf '[leases]\nsilence = 3s\n' >>"$realm/broker/broker.ini"
daemons
case $driver in qemu) vm_image ;; *) image ;; esac
project p
start one assay-worker --dir "$one"
one_pid=$pid
expect 0 assay policy --project p --network realm
key=$(printf %s "$(readlink -f "$one/state")" | sha256sum | cut -c1-16)
mounts() { grep -c "$scratch" /proc/self/mounts || true; }
loops() { losetup -a | grep -c "$scratch" || true; }
groups() { find /sys/fs/cgroup -type d -path "*assay-$key/*" 2>/dev/null | wc -l; }
inside() { grep -sh . /sys/fs/cgroup/*/assay-"$key"/*/cgroup.procs /sys/fs/cgroup/assay-"$key"/*/cgroup.procs 2>/dev/null | sort -u | wc -l; }
processes() { pgrep -fc "$one" || true; }
files() { find "$one/state/steps" -mindepth 1 2>/dev/null | wc -l; }
nothing() { [ "$(mounts)" = "$m" ] && [ "$(loops)" = 0 ] && [ "$(groups)" = 0 ] && [ "$(inside)" = 0 ] && [ "$(files)" = 0 ] && [ "$(processes)" -le 2 ]; } # the worker, and one that waits for the next step
gone() { # WHAT
    left=300
    until nothing; do
        left=$((left - 1))
        [ $left -gt 0 ] || fail "$1: left: mounts $m -> $(mounts), loops $(loops), groups $(groups) with $(inside) processes, files $(files), processes $(processes)"
        sleep 0.1
    done
    say "$driver: $1: nothing is left"
}
slow() { # a step that has written 100 MB, has daemons, and sleeps
    printf 'image: %s\nnetwork: realm\nsteps:\n  build:\n    limits: {time: 120s}\n    run: |\n' "$image" >"$repo/.assay.yml"
    sed 's/^/      /' >>"$repo/.assay.yml" <<'S'
dd if=/dev/zero of=/src/big bs=1M count=100 2>/dev/null
setsid sh -c 'sleep 5432 & sleep 5432' </dev/null >/dev/null 2>&1 &
echo written
[ -e fast ] || sleep 5432
S
    commit "$1"
    expect 0 assay push -C "$repo"
    id=$(grep -oE '[0-9a-f]{64}' "$scratch/out")
    until_true 120 written
    [ -e "$repo/fast" ] || [ "$(files)" -gt 0 ] || fail "the step has no files"
}
written() { assay log "$id/build" | grep -q '^written$'; }
step_pid() { cat /sys/fs/cgroup/*/assay-"$key"/*.run/cgroup.procs /sys/fs/cgroup/assay-"$key"/*.run/cgroup.procs 2>/dev/null | sort -n | head -n 1; }
over() { assay cancel "$id" || assay status --json "$id" | grep -q '"state":"failed"'; } # a step whose process was killed may have failed before it is cancelled
m=$(mounts) free=$(memory)

slow worker
kill -9 "$one_pid"
wait "$one_pid" 2>/dev/null || true
start one assay-worker --dir "$one"
one_pid=$pid
expect 0 assay cancel "$id"
gone "SIGKILL of the worker"

slow step
kill -9 "$(step_pid)"
until_true 30 over
gone "SIGKILL of the step's process"

slow both
victim=$(step_pid)
kill -STOP "$victim"
kill -9 "$one_pid" "$victim"
wait "$one_pid" 2>/dev/null || true
start one assay-worker --dir "$one"
one_pid=$pid
expect 0 assay cancel "$id"
gone "SIGKILL of both"

slow sandbox
for p in $(pgrep -P "$(step_pid)"); do kill -9 "$p" 2>/dev/null || true; done
until_true 30 over
gone "SIGKILL of what the step's process started"

slow frozen
expect 0 assay worker --dir "$one" pause
until_true 10 sh -c "assay worker --dir $one status --json | grep -q '\"state\":\"frozen\"'"
kill -9 "$one_pid"
wait "$one_pid" 2>/dev/null || true
start one assay-worker --dir "$one"
one_pid=$pid
expect 0 assay cancel "$id"
expect 0 assay worker --dir "$one" resume
gone "SIGKILL of the worker while the step is frozen"

slow broker
kill -9 "$broker_pid"
wait "$broker_pid" 2>/dev/null || true
start broker assay-broker --dir "$realm/broker"
cancelled() { assay cancel "$id"; }
until_true 30 cancelled
gone "loss of the broker"

echo 1 >"$repo/fast"
slow after
until_true 60 sh -c "assay status --json $id | grep -q '\"state\":\"trusted\"'"
gone "the end of a step that ran to it"
until_true 60 memory_above $((free - 500)) # seven steps wrote 100 MB of memory each
kill "$one_pid"
wait "$one_pid" || true
[ -z "$(find /sys/fs/cgroup -type d -name "assay-$key" 2>/dev/null)" ] || fail "control groups of a worker that ended"
done_ok
