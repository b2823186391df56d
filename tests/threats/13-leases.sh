#!/bin/sh
# A worker that answers another's lease in every way: refused, and the lease stays its owner's.
. "$(dirname "$0")/../e2e/lib.sh"
PATH=$build/tests/threats:$PATH
realm --workers 3 --trusted 1
mv "$realm/worker-2" "$realm/victim"
mv "$realm/worker-3" "$realm/thief"
mv "$realm/worker-1" "$realm/later"
printf '[leases]\ndecline-pause = 1s\n' >>"$realm/broker/broker.ini"
up
image
project p
recipe <<'R'
image: IMAGE
steps: {build: {run: cp n /out/n, artifacts: [n]}}
R
echo 1 >"$repo/n"
commit one
push_only
expect 0 hostile lease "$realm/victim" "$realm/thief"
[ "$(grep -c '^not-allowed$' "$scratch/out")" = 4 ] || { cat "$scratch/out"; fail "result, error, handback and log of another's lease"; }
timeout 2 assay watch --since 1 --json >"$scratch/out" || true
! grep -q '"kind":"artifact-completed"\|"kind":"error"' "$scratch/out" || fail "something of it counted"
start later assay-worker --dir "$realm/later"
until_true 30 sh -c "assay status --json $id | grep -q '\"state\":\"trusted\"'"
done_ok
