#!/bin/sh
# A broker that lies with its own key: it makes jobs up, alters them, leases them to another, keeps expired ones; workers refuse each. A verdict
# that it makes up convinces nobody.
. "$(dirname "$0")/../e2e/lib.sh"
PATH=$build/tests/threats:$PATH
realm --workers 2 --trusted 1
start idp assay-idp --dir "$realm/idp"
start worker assay-worker --dir "$realm/worker-1"
for lie in submission altered lease worker step over expired; do
    expect 0 hostile broker "$realm/broker" $lie
    has out "declined: "
    say "$lie: $(tail -n 1 "$scratch/out")"
done
say "without a lie the worker does begin: the refusals above are not for another reason"
! grep -q "step starts" "$scratch/worker.log" || fail "it began before"
expect 0 hostile broker "$realm/broker" none
grep -q "step starts" "$scratch/worker.log" || fail "it refuses everything"

say "a verdict that the broker made up: no push --wait believes it"
project p
mkdir -p "$scratch/rootfs"
printf 'image: box@sha256:%064d\nsteps: {build: {run: "true"}}\n' 1 >"$repo/.assay.yml"
commit one
start fake hostile broker "$realm/broker" verdict
got=0
timeout 6 assay --timeout 3s push -C "$repo" --project lab/p --wait >"$scratch/out" 2>"$scratch/err" || got=$?
[ "$got" != 0 ] || { cat "$scratch/out"; fail "it believed the broker"; }
! grep -q trusted "$scratch/out" || fail "it said trusted"
done_ok
