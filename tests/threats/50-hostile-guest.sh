#!/bin/sh
# A VM whose guest is hostile, on every channel that it has: junk and floods on its ports, a panic, an early end, silence, packs that leave their
# folder, a full disk, two results, a relay's rules broken. Each is an error of the infrastructure or a failed step; the worker goes on, and nothing is left of it.
. "$(dirname "$0")/../e2e/lib.sh"
realm --workers 1 --trusted 1
printf '[worker]\nisolation = qemu\nemulation = yes\nsnapshots = 512M\nnetwork = realm\n[limits]\nmemory = 64M\ndisk = 32M\ncpus = 1\nlog = 64K\ntime = 60s\n' >>"$realm/worker-1/worker.ini"
printf '[leases]\nerrors = 1\n' >>"$realm/broker/broker.ini"
up
ASSAY_GUEST=$build/tests/threats/hostile_guest
export ASSAY_GUEST
vm_image
project p
expect 0 assay policy --project p --network realm
mark=/tmp/escaped
rm -f "$mark"
free=$(memory)
{
    printf 'image: %s\nsteps:\n' "$image"
    for what in ctl-junk ctl-flood log-flood console-flood off panic no-outputs big-pack flags escape-dots escape-absolute device link-through full-disk two-results \
        terminal silent; do
        printf '  %s: {run: %s, artifacts: [x], limits: {time: 10s}}\n' $what $what
    done
    for what in relay-junk relay-twice relay-window relay-credit relay-elsewhere relay-flood; do
        printf '  %s: {run: %s, network: realm, limits: {time: 60s}}\n' $what $what
    done
} >"$repo/.assay.yml"
commit hostile
push_only
over() { ! assay status --json "$id" | grep -q '"state":"\(pending\|provisional\)"'; }
until_true 500 over
expect 0 assay status "$id"
sed 's/^/   /' "$scratch/out"
is() { # STEP STATE TEXT
    [ "$(state_of "$id" "$1")" = "$2" ] || fail "$1 is $(state_of "$id" "$1"), not $2"
    [ -z "$3" ] || grep -- "^ *$1 " "$scratch/out" | grep -qF -- "$3" || fail "$1: no \"$3\""
}
say "nonsense, silence and an early end are errors, with their reason"
is ctl-junk unsatisfiable "makes no sense"
is ctl-flood unsatisfiable "makes no sense"
is off unsatisfiable "went off without a result"
is panic unsatisfiable "without a result"
is no-outputs unsatisfiable ""
is big-pack unsatisfiable "more output than its disk holds"
is flags unsatisfiable "makes no sense"
is escape-dots unsatisfiable "not a path below the folder"
is escape-absolute unsatisfiable "not a path below the folder"
is device unsatisfiable "of no known type"
is link-through unsatisfiable "its folder is not there"
is terminal unsatisfiable "?"
say "floods are cut, a full disk is full, and the first result is the last word"
is log-flood failed ""
is console-flood failed ""
is full-disk failed ""
is two-results failed ""
is silent failed ""
expect 0 assay log "$id/log-flood"
[ "$(wc -c <"$scratch/out")" -le 80000 ] || fail "the log is $(wc -c <"$scratch/out") bytes"
say "a relay whose rules the guest breaks ends; endpoints that there are not are shut; both are told"
for what in relay-junk relay-twice relay-window relay-credit; do
    expect 0 assay log "$id/$what"
    has out "the VM broke the relay's rules, and was cut off"
done
assay log "$id/relay-elsewhere" >"$scratch/out" || true
has out "network: 0 connections let through (0 bytes), 0 to services that did not answer, 40 attempts elsewhere failed"
assay log "$id/relay-flood" >"$scratch/out" || true
has out "[assay] network:"
grep -q "cut off" "$scratch/out" && fail "a flood that obeys the rules was cut off"
say "nothing got out, and nothing is left"
[ ! -e "$mark" ] || fail "a file got out of its folder"
gone() { [ "$(find "$realm/worker-1/state/steps" -mindepth 1 2>/dev/null | wc -l)" = 0 ] && [ "$(worker_processes "$realm/worker-1" | wc -l)" -le 2 ]; } # the worker, and one that waits for the next step
until_true 20 gone
until_true 60 memory_above $((free - 700))
say "the worker goes on with a guest that is sound"
unset ASSAY_GUEST
vm_image
recipe <<'R'
image: IMAGE
steps: {build: {run: "echo fine > /out/x", artifacts: [x]}}
R
commit sound
push 0
done_ok
