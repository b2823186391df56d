#!/bin/sh
# How a VM starts: resumed from a snapshot, each with randomness and time of its own; booted where there is no snapshot; a damaged snapshot is
# thrown away and nothing of it runs; an image that is not what it says is refused before a VM starts. SIGKILL of qemu or of the worker leaves
# nothing behind.
. "$(dirname "$0")/lib.sh"
realm --workers 1 --trusted 1
ini=$realm/worker-1/worker.ini
printf '[worker]\nisolation = qemu\nemulation = yes\n[limits]\nmemory = 96M\ndisk = 32M\ncpus = 1\nnice = 0\n' >>"$ini"
printf '[leases]\nerrors = 2\n' >>"$realm/broker/broker.ini"
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
say "without snapshots: booted"
kill "$worker"
wait "$worker" || true
printf 'snapshots = 0\n' | sed 's/^/[worker]\n/' >>"$ini"
start worker-1 assay-worker --dir "$realm/worker-1"
worker=$pid
build booted

say "SIGKILL of qemu in mid-step: an error, and the step is tried again"
recipe <<'R'
image: IMAGE
steps: {build: {run: "echo up; sleep 300", limits: {time: 250s}}}
R
commit long
expect 0 assay push -C "$repo"
id=$(grep -oE '[0-9a-f]{64}' "$scratch/out" | head -n 1)
mine() { # the qemu processes below our worker
    for p in $(pgrep qemu-system-x86); do
        q=$p
        while [ "$q" -gt 1 ] 2>/dev/null; do
            [ "$q" = "$worker" ] && { echo "$p"; break; }
            q=$(awk '{ print $4 }' /proc/"$q"/stat 2>/dev/null || echo 0)
        done
    done
}
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

say "an image whose kernel is not the one that it names: refused before a VM starts"
folder=$(find "$realm/worker-1/state/images" -mindepth 1 -maxdepth 1 -type d)
rm -f "$folder/checked"
printf 'X' | dd of="$folder/vmlinux" bs=1 seek=100000 conv=notrunc 2>/dev/null
commit damaged
expect 0 assay push -C "$repo"
id=$(grep -oE '[0-9a-f]{64}' "$scratch/out" | head -n 1)
refused() { assay status "$id" | grep -q 'its vmlinux is not the one that image.json names'; }
until_true 60 refused
done_ok
