#!/bin/sh
# A worker with a real lease that forges its result - signed by another key, of another owner, recipe, image or isolation, without a receipt,
# not sealed, or green without having run: no vote comes of it, and honest workers get the step. A green lie is outvoted.
. "$(dirname "$0")/../e2e/lib.sh"
PATH=$build/tests/threats:$PATH
realm --workers 3 --trusted 1
mv "$realm/worker-3" "$realm/forger"
mv "$realm/worker-1" "$realm/one"
mv "$realm/worker-2" "$realm/two"
up
image
project p
recipe <<'R'
image: IMAGE
steps: {build: {run: cp n /out/n, artifacts: [n]}}
R
ids=
for wrong in key owner recipe image isolation receipt seal; do
    echo $wrong >"$repo/n"
    commit $wrong
    push_only
    expect 0 hostile result "$realm/forger" $wrong
    has out ok
    ids="$ids $id"
    sleep 0.3
    [ "$(state_of "$id" build)" = pending ] || fail "$wrong: $(state_of "$id" build)"
done
start one assay-worker --dir "$realm/one"
for id in $ids; do until_true 30 sh -c "assay status --json $id | grep -q '\"state\":\"trusted\"'"; done
grep 'refused peer=worker-3' "$scratch/up.log" || fail "the verifier did not name it"

say "green without having run, on a step whose policy asks for two: the honest two outvote it"
recipe <<'R'
image: IMAGE
policy: {agree: 2, dissent: tolerate}
steps: {build: {run: cp n /out/n, artifacts: [n]}}
R
kill "$pid"
wait "$pid" || true
commit green
push_only
expect 0 hostile result "$realm/forger" green
start one assay-worker --dir "$realm/one"
start two assay-worker --dir "$realm/two"
until_true 40 sh -c "assay status --json $id | grep -q '\"state\":\"trusted\"'"
expect 0 assay get "$id/build" -d "$scratch/got"
[ "$(cat "$scratch/got/n")" = seal ] || fail "content"
done_ok
