#!/bin/sh
# One owner that would be many: the same key under a second name is refused at enrolment, whatever it is used for and however it is written;
# five workers of one owner are one vote, and get one lease of a step. A worker that declines again and again is told of, and waits.
. "$(dirname "$0")/../e2e/lib.sh"
PATH=$build/tests/threats:$PATH
realm --workers 2 --trusted 0
for d in idp store broker verifier; do start "$d" "assay-$d" --dir "$realm/$d"; done
image
say "one key, one name"
for kind in sign transport seal swap bit; do
    token=$(assay token --role worker --name "again-$kind" --owner another --project p)
    expect 0 hostile enrol "$realm/worker-1" "$token" $kind
    if [ $kind = bit ]; then has out malformed; else has out conflict; has err "a key of worker-1"; fi
done
! assay who | grep -q again- || fail "enrolled"

say "a worker that takes what it does not do"
project q
recipe <<'R'
image: IMAGE
steps: {build: {run: "true"}}
R
for n in 1 2 3; do
    commit "q$n"
    expect 0 assay push -C "$repo"
done
expect 0 hostile decline "$realm/worker-1" decline 3
events() { timeout 3 assay watch --since 1 --json >"$scratch/ev" || true; }
events
grep '"kind":"sidelined"' "$scratch/ev" | grep '"worker":"worker-1"' | grep '"owner":"owner-1"' | grep -q "3 leases in a row declined, handed back or never answered" || fail "nobody is told"
[ "$(grep '"kind":"declined"' "$scratch/ev" | grep -c 'not this one')" = 3 ] || fail "not each decline is an event"

say "five workers of one owner"
for n in 1 2 3 4 5; do
    token=$(assay token --role worker --name "sybil-$n" --owner mallory --project '*')
    expect 0 assay --dir "$realm/sybil-$n" enrol "$token"
    sed -e "s|$realm/worker-1|$realm/sybil-$n|g" "$realm/worker-1/worker.ini" >"$realm/sybil-$n/worker.ini"
    start "sybil-$n" assay-worker-liar --dir "$realm/sybil-$n"
done
project p
recipe <<'R'
image: IMAGE
policy: {agree: 2, dissent: tolerate}
steps: {build: {run: cp n /out/n, artifacts: [n]}}
R
echo hello >"$repo/n"
commit one
push_only
provisional() { [ "$(state_of "$id" build)" = provisional ]; }
until_true 30 provisional
events
[ "$(grep '"kind":"leased"' "$scratch/ev" | grep "$id" | grep -c '"owner":"mallory"')" = 1 ] || fail "mallory has more than one lease"
expect 0 assay status "$id"
has out "1 of 2 owners"
start one assay-worker --dir "$realm/worker-1"
start two assay-worker --dir "$realm/worker-2"
trusted() { [ "$(state_of "$id" build)" = trusted ]; }
until_true 60 trusted
expect 0 assay get "$id/build" -d "$scratch/got"
[ "$(cat "$scratch/got/n")" = hello ] || fail "the liars won"
expect 0 assay draw "$id/build"
done_ok
