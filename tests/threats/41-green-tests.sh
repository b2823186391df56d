#!/bin/sh
# A liar that reports a green test on a good binary, without running it. A test has a rule of its own: with two owners asked for, the liar is
# outvoted or blocks, and the test is never trusted; what the liar says of it changes nothing about the build. And a lie that fails a good
# build is undone when its key is revoked: the build comes back, and with it the test that was given up.
. "$(dirname "$0")/../e2e/lib.sh"
PATH=$build/tests/threats:$PATH
realm --workers 4 --trusted 0
printf '[leases]\nsilence = 3s\n' >>"$realm/broker/broker.ini"
for d in idp store broker verifier; do start "$d" "assay-$d" --dir "$realm/$d"; done
image
project p
recipe <<'R'
image: IMAGE
steps:
  build: {run: cp n /out/n, artifacts: [n]}
  test:
    needs: [build]
    policy: {agree: 2, dissent: tolerate}
    limits: {memory: 128M}
    run: grep -q right /in/build/n
R
echo wrong >"$repo/n"
commit one
cp "$realm/worker-1/worker.ini" "$scratch/worker.ini"
printf '[limits]\nmemory = 64M\n' >>"$realm/worker-1/worker.ini" # too little for the test, which is the liar's
start one assay-worker --dir "$realm/worker-1"
one=$pid
push_only
is() { [ "$(state_of "$1" "$2")" = "$3" ]; }
until_true 30 is "$id" build trusted
kill "$one"
wait "$one" || true
cp "$scratch/worker.ini" "$realm/worker-1/worker.ini"
until_true 40 grep -q "worker left worker=worker-1" "$scratch/broker.log"
say "a green lie, from an owner that did not build it"
expect 0 hostile result "$realm/worker-4" green
has out ok
until_true 30 is "$id" test provisional
for w in 1 2 3; do start "w$w" assay-worker --dir "$realm/worker-$w"; eval "w$w=$pid"; done
until_true 60 is "$id" test failed
is "$id" build trusted || fail "the build fell with it"
expect 1 assay push -C "$repo" --wait
for w in "$w1" "$w2" "$w3"; do kill "$w"; wait "$w" || true; done

until_true 40 grep -q "worker left worker=worker-3" "$scratch/broker.log"
until_true 40 grep -q "worker left worker=worker-2" "$scratch/broker.log"
until_true 40 sh -c "[ \$(grep -c 'worker left worker=worker-1' '$scratch/broker.log') = 2 ]"

say "a lie that fails a good build takes its test with it, until the key is revoked"
echo right >"$repo/n"
commit two
push_only
expect 0 hostile result "$realm/worker-4" red
until_true 30 is "$id" build failed
until_true 30 is "$id" test unsatisfiable
expect 0 assay revoke worker-4 --since -1h --reason "it says what it likes"
start one assay-worker --dir "$realm/worker-1"
start two assay-worker --dir "$realm/worker-2"
until_true 40 is "$id" build trusted
until_true 40 is "$id" test trusted
done_ok
