#!/bin/sh
# SIGKILL of the worker, of the process of a step, of what it started, of what isolates it (qemu, bwrap), and loss of the broker in mid-step, for a
# while or for good: once the worker has started again, or has noticed, nothing of the step is left: no process, mount, loop device, control group,
# file or memory; and the step is built in the end.
# DRIVER: the sandbox's (bwrap).
. "${0%/*}/../e2e/lib.sh"
driver=${DRIVER:-bwrap}
realm --workers 1 --trusted 1
mv "$realm/worker-1" "$realm/one"
one=$realm/one
extra=
[ "$driver" != qemu ] || extra='emulation = yes\n'
printf "[worker]\nisolation = $driver\nnetwork = realm\n$extra[limits]\nmemory = 256M\ndisk = 256M\nnice = 0\n" >>"$one/worker.ini"
printf '[leases]\nsilence = 3s\ngrace = 20s\n' >>"$realm/broker/broker.ini"
daemons
case $driver in qemu) vm_image ;; *) image ;; esac
project p
start one assay-worker --dir "$one"
one_pid=$pid
expect 0 assay policy --project p --network realm
key=$(worker_key "$one")
nap=$((100000 + $$)) # seconds that no other process sleeps
mounts() { grep -c "$scratch" /proc/self/mounts || true; }
loops() { losetup -a | grep -c "$scratch" || true; }
groups() { find /sys/fs/cgroup -type d -path "*assay-$key/*" 2>/dev/null | wc -l; }
processes() { { worker_processes "$one"; pgrep -xf "sleep $nap"; pgrep -P "$one_pid"; } | sort -u | wc -l; }
# all names in the worker's state, but for what is in the repository, the image and the snapshot
files() { { find "$one/state" -mindepth 1 -maxdepth 2 ! -name steps; find "$one/state/steps" -mindepth 1; } 2>/dev/null | sort -u; }
more() { files | grep -vxF "$f" || true; } # than before
nothing() {
    [ "$(mounts)" = "$m" ] && [ "$(loops)" = 0 ] && [ "$(groups)" = 0 ] && [ -z "$(more)" ] && [ "$(step_memory "$key")" -le 4096 ] \
        && [ "$(processes)" -le 2 ] # the worker, and one that waits for the next step
}
gone() { # WHAT [SECONDS]
    left=$((${2:-30} * 10))
    until nothing; do
        left=$((left - 1))
        [ $left -gt 0 ] || {
            more
            for p in $(worker_processes "$one"); do tr '\0' ' ' <"/proc/$p/cmdline" | cut -c1-200; echo; done
            fail "$1: left: mounts $m -> $(mounts), loops $(loops), groups $(groups), memory $(step_memory "$key") KiB, processes $(processes), or a file"
        }
        sleep 0.1
    done
    say "$driver: $1: nothing is left"
}
slow() { # WHAT [TIME]: a step that has written 100 MB, has daemons, and sleeps; with a file "flood", it says more than anyone takes
    printf 'image: %s\nnetwork: realm\nsteps:\n  build:\n    limits: {time: %s}\n    run: |\n' "$image" "${2:-120s}" >"$repo/.assay.yml"
    sed "s/NAP/$nap/;s/^/      /" >>"$repo/.assay.yml" <<'S'
dd if=/dev/zero of=/src/big bs=1M count=100 2>/dev/null
setsid sh -c 'sleep NAP & sleep NAP' </dev/null >/dev/null 2>&1 &
echo written
[ ! -e flood ] || yes 'more than the worker keeps for a broker that is away'
[ -e fast ] || sleep NAP
S
    commit "$1"
    push_only
    until_true 120 written
    if [ ! -e "$repo/fast" ]; then # what is counted afterwards is seen now
        [ -n "$(more)" ] || fail "the step has no files"
        [ "$(step_memory "$key")" -ge 100000 ] || [ "$(groups)" = 0 ] || fail "the step has only $(step_memory "$key") KiB of memory"
        [ "$(processes)" -gt 2 ] || fail "the step has no processes"
    fi
}
written() { assay log "$id/build" | grep -q '^written$'; }
in_group() { cat /sys/fs/cgroup/*/assay-"$key"/*."$1"/cgroup.procs /sys/fs/cgroup/assay-"$key"/*."$1"/cgroup.procs 2>/dev/null | sort -nu; }
step_pid() { in_group run | head -n 1; }
over() { assay cancel "$id" || assay status --json "$id" | grep -q '"state":"failed"'; } # a step whose process was killed may have failed before it is cancelled
again() { # the worker, once it was killed
    wait "$one_pid" 2>/dev/null || true
    start one assay-worker --dir "$one"
    one_pid=$pid
}
m=$(mounts) f=

echo 1 >"$repo/fast"
slow warm
until_true 60 sh -c "assay status --json $id | grep -q '\"state\":\"trusted\"'"
rm "$repo/fast"
cleared() { [ -z "$(find "$one/state/steps" -mindepth 1)" ]; }
until_true 20 cleared
f=$(files) free=$(memory)
gone "a step that ran to its end"

slow worker
kill -9 "$one_pid"
again
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
again
expect 0 assay cancel "$id"
gone "SIGKILL of both"

slow sandbox
for p in $(pgrep -P "$(step_pid)"); do kill -9 "$p" 2>/dev/null || true; done
until_true 30 over
gone "SIGKILL of what the step's process started"

slow isolation
case $driver in qemu) name=qemu-system-x86 ;; *) name=bwrap ;; esac
victims=
for p in $(in_group box); do
    if [ "$(cat "/proc/$p/comm" 2>/dev/null)" = $name ]; then victims="$victims $p"; fi
done
[ -n "$victims" ] || fail "no $name among the step's processes"
kill -9 $victims
until_true 30 over
gone "SIGKILL of $name"

slow frozen
expect 0 assay worker --dir "$one" pause
until_true 10 sh -c "assay worker --dir $one status --json | grep -q '\"state\":\"frozen\"'"
kill -9 "$one_pid"
again
expect 0 assay cancel "$id"
expect 0 assay worker --dir "$one" resume
gone "SIGKILL of the worker while the step is frozen"

slow broker
kill -9 "$broker_pid"
wait "$broker_pid" 2>/dev/null || true
start broker assay-broker --dir "$realm/broker"
broker_pid=$pid
cancelled() { assay cancel "$id"; }
until_true 30 cancelled
gone "loss of the broker"

echo 1 >"$repo/flood"
slow away 16s
kill -9 "$broker_pid"
wait "$broker_pid" 2>/dev/null || true
gone "loss of the broker, which stays away until the lease is over" 60
start broker assay-broker --dir "$realm/broker"
rm "$repo/flood"
until_true 30 cancelled
gone "its return"

echo 1 >"$repo/fast"
slow after
until_true 60 sh -c "assay status --json $id | grep -q '\"state\":\"trusted\"'"
gone "the end of a step that ran to it"
until_true 60 memory_above $((free - 500)) # nine steps wrote 100 MB of memory each
kill "$one_pid"
wait "$one_pid" || true
[ -z "$(find /sys/fs/cgroup -type d -name "assay-$key" 2>/dev/null)" ] || fail "control groups of a worker that ended"
[ -z "$(worker_processes "$one")" ] || fail "processes of a worker that ended"
done_ok
