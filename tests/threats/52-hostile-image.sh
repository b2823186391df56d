#!/bin/sh
# An image whose guest is hostile before a step has told it to go, while its snapshot is taken, or as soon as it wakes: junk, a result, silence, an
# early end. Each is an error or a failed step, in the lease's time; what is kept of it is its own image's alone, and the next step of another image
# is built as ever.
. "$(dirname "$0")/../e2e/lib.sh"
no_quarantine
realm --workers 1 --trusted 1
one=$realm/worker-1
printf '[worker]\nisolation = qemu\nemulation = yes\nsnapshots = 512M\nsteps = 3\n[limits]\nmemory = 64M\ndisk = 32M\ncpus = 1\nlog = 64K\nnice = 0\n' >>"$one/worker.ini"
printf '[leases]\nerrors = 1\ngrace = 12s\n' >>"$realm/broker/broker.ini"
daemons worker-1
worker=$pid
fds=$(fds)
key=$(worker_key "$one")
groups() { find /sys/fs/cgroup -type d -path "*assay-$key/*" 2>/dev/null | wc -l; }
project p
all="early-junk early-result early-time early-off early-panic old-version early-log ready-twice result-at-ready off-at-ready panic-at-ready wakes-badly wakes-dead asks-on
 never-ready busy-at-ready never-started"
needs_vm
ASSAY_GUEST=$build/tests/threats/hostile_guest
export ASSAY_GUEST
printf 'steps:\n' >"$scratch/recipe"
mkdir -p "$scratch/rootfs"
for what in $all; do
    echo "$what" >"$scratch/rootfs/hostile"
    vm_image
    case $what in never* | busy*) limit=2s ;; *) limit=90s ;; esac
    printf '  %s: {image: %s, run: "true", artifacts: [x], limits: {time: %s}}\n' "$what" "$image" $limit >>"$scratch/recipe"
done
say "$(echo $all | wc -w) images after $(took)"
rm "$scratch/rootfs/hostile"
unset ASSAY_GUEST
over() { ! assay status --json "$id" | grep -q '"state":"\(pending\|provisional\)"'; }
sed -n '1,2p' "$scratch/recipe" >"$repo/.assay.yml"
commit first
push_only
until_true 200 over
kib=$(kib) # once it has had to do with one
cp "$scratch/recipe" "$repo/.assay.yml"
commit hostile
push_only
until_true 400 over
say "all are over after $(took)"
expect 0 assay status "$id"
sed 's/^/   /' "$scratch/out"
is() { # STEP STATE TEXT...: one of these
    step=$1
    [ "$(state_of "$id" "$step")" = "$2" ] || fail "$step is $(state_of "$id" "$step"), not $2"
    shift 2
    for text; do ! grep -- "^ *$step " "$scratch/out" | grep -qF -- "$text" || return 0; done
    fail "$step: none of: $*"
}
say "nonsense before go is an error, with its reason"
is early-junk unsatisfiable "makes no sense"
is early-result unsatisfiable "spoke out of turn"
is early-time unsatisfiable "spoke out of turn"
is early-off unsatisfiable "went off without a result"
is early-panic unsatisfiable "went off without a result"
is old-version unsatisfiable "of another version"
is off-at-ready unsatisfiable "went off without a result"
is panic-at-ready unsatisfiable "went off without a result"
is wakes-badly unsatisfiable "makes no sense"
is wakes-dead unsatisfiable "went off without a result"
is asks-on unsatisfiable "asked for the time"
say "silence ends with the lease, or before"
for what in never-ready busy-at-ready never-started; do is $what unsatisfiable "did not start in time" "no result within the lease's time"; done
say "a word too much before go is none: the step's own end counts, which is no success"
for what in ready-twice result-at-ready early-log; do
    case $(state_of "$id" $what) in failed | unsatisfiable) ;; *) fail "$what is $(state_of "$id" $what)" ;; esac
done
assay log "$id/early-log" >"$scratch/log" 2>/dev/null || true
[ "$(wc -c <"$scratch/log")" -le 80000 ] || fail "the log is $(wc -c <"$scratch/log") bytes"
say "nothing is left"
gone() { [ "$(find "$one/state/steps" -mindepth 1 2>/dev/null | wc -l)" = 0 ] && [ "$(groups)" = 0 ] && [ "$(fds)" -le "$fds" ]; }
until_true 30 gone
[ "$(kib)" -le $((kib + 2048)) ] || fail "the worker has $(kib) KiB of its own, and had $kib before"
kept() { find "$one/state/snapshots" -mindepth 1 -maxdepth 1 -type d; }
[ -z "$(kept | grep /part-)" ] || fail "half a snapshot: $(kept)"
kept | sort >"$scratch/kept"
say "a sound image is built as ever: its snapshot is its own, and it resumes"
vm_image
printf 'image: %s\nsteps: {build: {run: "echo fine > /out/x", artifacts: [x]}}\n' "$image" >"$repo/.assay.yml"
for n in 1 2; do
    commit "sound $n"
    push 0
    expect 0 assay get "$id/build" -d "$scratch/got.$n"
    [ "$(cat "$scratch/got.$n/x")" = fine ] || fail "it is not what was built"
    assay attest "$id/build" -o "$scratch/bundle" >/dev/null
    sed 's/.*"payload":"\([^"]*\)".*/\1/' "$scratch/bundle" | while read -r p; do echo "$p" | base64 -d; echo; done >"$scratch/statements"
    grep -q 'start=resumed' "$scratch/statements" || fail "it did not resume"
done
kept | sort | comm -13 "$scratch/kept" - >"$scratch/new"
[ "$(wc -l <"$scratch/new")" = 1 ] || fail "snapshots that are new: $(cat "$scratch/new")"
done_ok
