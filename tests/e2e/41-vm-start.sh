#!/bin/sh
# How a VM starts: resumed from a snapshot, each with randomness and time of its own; booted where there is no snapshot; a damaged snapshot is
# thrown away and nothing of it runs; another qemu takes one of its own, within the owner's bytes; an image that is not what it says, or that was changed
# here, is refused before a VM starts. What its owner has a VM frozen for, however short each time, is not the step's time. SIGKILL of qemu or of the worker leaves nothing behind.
. "$(dirname "$0")/lib.sh"
realm --workers 1 --trusted 1
ini=$realm/worker-1/worker.ini
printf '[worker]\nisolation = qemu\nemulation = yes\n[limits]\nmemory = 96M\ndisk = 32M\ncpus = 1\nnice = 0\n' >>"$ini"
printf '[leases]\nerrors = 2\n' >>"$realm/broker/broker.ini"
needs_vm
chmod 711 "$scratch" # qemu is no one in particular
mkdir "$scratch/qemu"
another_qemu() { # VERSION: the same, and it says that it is of another version
    cat >"$scratch/qemu/new" <<Q
#!/bin/sh
[ "\$1" != --version ] || { echo "QEMU emulator version $1"; exit; }
exec $(command -v qemu-system-x86_64) "\$@"
Q
    chmod 755 "$scratch/qemu/new"
    mv "$scratch/qemu/new" "$scratch/qemu/qemu"
}
another_qemu 7.2.91
export ASSAY_QEMU="$scratch/qemu/qemu"
daemons worker-1
worker=$pid
vm_image
project p
how() { # ID: how its VM started
    assay attest "$1/build" -o "$scratch/bundle" >/dev/null
    sed 's/.*"payload":"\([^"]*\)".*/\1/' "$scratch/bundle" | while read -r p; do echo "$p" | base64 -d; echo; done | grep -o 'start=[a-z]*' | head -n 1
}
build() { # WANTED: builds once more, and looks at how it started
    commit again
    push 0
    [ "$(how "$id")" = "start=$1" ] || fail "$(how "$id"), not $1"
    expect 0 assay get "$id/build" -d "$scratch/got.$id"
}
recipe <<'R'
image: IMAGE
steps:
  build:
    artifacts: [random, now, uptime]
    run: |
      head -c 32 /dev/urandom | od -An -tx1 > /out/random
      date +%s > /out/now
      cat /proc/uptime > /out/uptime
R
say "resumed, twice: the randomness differs, and the time is now"
build resumed
first=$id
build resumed
[ "$(cat "$scratch/got.$first/random")" != "$(cat "$scratch/got.$id/random")" ] || fail "the same randomness twice"
[ $(($(date +%s) - $(cat "$scratch/got.$id/now"))) -lt 60 ] || fail "the time is not now"
snapshots() { find "$realm/worker-1/state/snapshots" -mindepth 1 -maxdepth 1 -type d; }
[ "$(snapshots | wc -l)" = 1 ] || fail "$(snapshots | wc -l) snapshots"
[ -z "$(find "$realm/worker-1/state/snapshots" \( -type d ! -perm 700 \) -o \( -type f ! -perm 600 \) -o ! -user "$(id -u)")" ] || fail "a snapshot is for others to see"
say "a damaged snapshot, in its memory and in its devices: thrown away, and made again"
for part in memory state; do
    file=$(snapshots)/$part
    printf 'XX' | dd of="$file" bs=1 seek=$(($(stat -c %s "$file") / 2)) conv=notrunc 2>/dev/null
    was=$(stat -c %i "$file")
    build resumed
    assay log "$id/build" >"$scratch/out" || true
    has out "snapshot is thrown away"
    [ "$(stat -c %i "$(snapshots)/$part")" != "$was" ] || fail "the damaged snapshot is still there"
done
say "a snapshot that is cut short"
: >"$(snapshots)/memory"
build resumed
say "another qemu, while the worker runs: it does not get the other's snapshot, and leaves one of its own; older ones give way to the owner's limit"
was=$(snapshots)
another_qemu 7.2.92
build resumed
[ "$(snapshots | wc -l)" = 2 ] || fail "$(snapshots | wc -l) snapshots of two versions"
size=$(du -b -c "$was/memory" "$was/state" | tail -n 1 | cut -f 1)
printf '[worker]\nsnapshots = %s\n' $((size * 3 / 2)) >>"$ini"
expect 0 assay --dir "$realm/worker-1" worker reload
touch "$was/meta"
another_qemu 7.2.93
build resumed
[ "$(snapshots | wc -l)" = 1 ] && [ ! -e "$was" ] || fail "more snapshots than the owner allows"
say "one that is larger than all that the owner allows is not kept, nor taken a second time"
printf '[worker]\nsnapshots = %s\n' $((size / 2)) >>"$ini"
expect 0 assay --dir "$realm/worker-1" worker reload
another_qemu 7.2.94
build booted
assay log "$id/build" >"$scratch/out"
has out "no VM's snapshot: it takes"
build booted
assay log "$id/build" >"$scratch/out"
! grep -q "no VM's snapshot" "$scratch/out" || fail "it was taken once more"
[ -z "$(find "$realm/worker-1/state/snapshots" -name memory)" ] || fail "more snapshots than the owner allows"
say "once its owner allows more, it is taken"
printf '[worker]\nsnapshots = %s\n' $((size * 3 / 2)) >>"$ini"
expect 0 assay --dir "$realm/worker-1" worker reload
build resumed
[ "$(find "$realm/worker-1/state/snapshots" -name memory | wc -l)" = 1 ] || fail "it was not kept"
say "without snapshots: booted"
kill "$worker"
wait "$worker" || true
printf 'snapshots = 0\n' | sed 's/^/[worker]\n/' >>"$ini"
start worker-1 assay-worker --dir "$realm/worker-1"
worker=$pid
build booted

say "frozen again and again, each time for less than the guest itself would notice: not the step's time"
recipe <<'R'
image: IMAGE
steps:
  build:
    limits: {time: 12s}
    run: |
      i=0; while [ $i -lt 25 ]; do sleep 0.2; i=$((i + 1)); echo $i; done
R
commit frozen
push_only
at() { assay log "$id/build" 2>/dev/null | grep -qx "$1"; }
freeze() { # FOR
    expect 0 assay --dir "$realm/worker-1" worker pause
    expect 0 assay --dir "$realm/worker-1" worker status
    has out frozen
    sleep "$1"
    expect 0 assay --dir "$realm/worker-1" worker resume
}
for n in 2 8 14; do
    until_true 60 at $n
    freeze 3.4
done
is_state() { assay status --json "$id" | grep -q "\"state\":\"$1\""; }
until_true 60 is_state trusted
say "and what comes after is: a step that never ends is stopped at its limit"
recipe <<'R'
image: IMAGE
steps: {build: {run: "echo 1; sleep 300", limits: {time: 4s}}}
R
commit endless
push_only
until_true 60 at 1
began=$(date +%s)
freeze 3
until_true 60 is_state failed
assay log "$id/build" >"$scratch/out"
has out "stopped at the time limit of 4 s"
[ $(($(date +%s) - began)) -lt 30 ] || fail "it was stopped only after $(($(date +%s) - began)) s, by the host"

say "SIGKILL of qemu in mid-step: an error, and the step is tried again"
recipe <<'R'
image: IMAGE
steps: {build: {run: "echo up; sleep 300", limits: {time: 250s}}}
R
commit long
push_only
mine() { vms_of "$worker"; }
up_now() { assay log "$id/build" 2>/dev/null | grep -q up; }
until_true 60 up_now
victim=$(mine)
[ -n "$victim" ] || fail "no qemu below the worker"
kill -9 $victim
seen() { timeout 2 assay watch --since 1 --json 2>/dev/null | grep "$id" | grep -q 'went off without a result'; }
until_true 60 seen
say "SIGKILL of the worker: its VM dies with it, and nothing is left once it has started again"
again() { [ -n "$(mine)" ]; }
until_true 90 again
victim=$(mine)
kill -9 "$worker"
wait "$worker" 2>/dev/null || true
dead() { for p in $victim; do [ ! -d "/proc/$p" ] || return 1; done; }
until_true 20 dead
expect 0 assay cancel "$id"
start worker-1 assay-worker --dir "$realm/worker-1"
worker=$pid
[ "$(find "$realm/worker-1/state/steps" -mindepth 1 2>/dev/null | wc -l)" = 0 ] || fail "files of a step"
[ "$(grep -c "$scratch" /proc/self/mounts)" = 0 ] || fail "mounts"

say "an image that was changed here: refused before a VM starts, thrown away, and fetched again"
recipe <<'R'
image: IMAGE
steps: {build: {run: "true"}}
R
folder=$(find "$realm/worker-1/state/images" -mindepth 1 -maxdepth 1 -type d)
refused() { # TEXT: builds once more, which is refused with that, and then works
    commit damaged
    push 0
    timeout 2 assay watch --since 1 --json 2>/dev/null | grep "$id" >"$scratch/out" || true
    has out "$1"
    has out "it changed here, and is thrown away"
}
printf 'X' | dd of="$folder/vmlinux" bs=1 seek=100000 conv=notrunc 2>/dev/null
refused 'its vmlinux is not the one that image.json names'
sed -i 's/Nehalem-v1/host/' "$folder/image.json"
refused 'CPU model host: not one that this worker can give'
done_ok
