#!/bin/sh
# An owner that would know what a build gave before it says so itself asks for the test that reads it, with a second key. It gets the test neither while
# its vote is open, nor, while the build is not trusted, as long as it could still vote: though it asks, and gets other work meanwhile. Once it has
# voted it may read. The same where the build is trusted and is challenged: as long as the new vote is open.
. "$(dirname "$0")/../e2e/lib.sh"
PATH=$build/tests/threats:$PATH
realm --workers 3 --trusted 0
printf '[leases]\nsilence = 3s\n' >>"$realm/broker/broker.ini"
daemons
image
project p
token=$(assay token --role worker --name second --owner owner-1 --project '*')
expect 0 assay --dir "$realm/second" enrol "$token"
sed "s|$realm/worker-1|$realm/second|g" "$realm/worker-1/worker.ini" >"$realm/second/worker.ini"
printf '[limits]\nmemory = 64M\n' >>"$realm/worker-2/worker.ini" # too little for the tests, which are left to those who may not have them
is() { [ "$(state_of "$1" "$2")" = "$3" ]; }
events() { timeout 2 assay watch --since 1 --json | grep '"kind":"leased"' >"$scratch/leased" || true; }
leases() { grep "$1" "$scratch/leased" | grep "\"step\":\"$2\"" | grep -c "$3" || true; }
leased() { [ "$(leases "$@")" -gt 0 ]; }
job() { # TEXT RECIPE: leaves the id in $id
    echo "$2" | recipe
    echo "$1" >"$repo/n"
    commit "$1"
    push_only
}
control() { # AGREE: work that those who wait for the test can have, and get: the broker has looked at them, and at the test before this
    job "control$1" "{image: IMAGE, policy: {agree: $1}, steps: {control: {run: 'true', limits: {memory: 128M}}}}"
    until_true 60 is "$id" control trusted
    events
}

say "a vote is open, and the build not trusted yet"
hostile hold "$realm/worker-1" >"$scratch/hold" 2>&1 &
hold=$!
pids="$pids $hold"
job one "{image: IMAGE, steps: {build: {policy: {agree: 2}, run: cp n /out/n, artifacts: [n]},
    test: {needs: [build], start: provisional, policy: {agree: 1}, limits: {memory: 128M}, run: grep -q one /in/build/n}}}"
one=$id
until_true 30 grep -q "it has a lease" "$scratch/hold"
start two assay-worker --dir "$realm/worker-2"
until_true 30 is "$one" build provisional
start second assay-worker --dir "$realm/second"
start three assay-worker --dir "$realm/worker-3"
three=$pid
control 2
leased "$id" control '"worker":"second"' && leased "$id" control '"worker":"worker-3"' || fail "they did not even ask"
is "$one" build provisional || fail "the vote is not open any more"
[ "$(leases "$one" test .)" = 0 ] || fail "the test went to one that has a vote left: $(grep "$one" "$scratch/leased")"

say "and once it has voted, it may"
kill "$three"
wait "$three" || true
kill "$hold"
until_true 60 is "$one" test trusted
events
leased "$one" build '"worker":"second"' && leased "$one" test '"worker":"second"' || fail "not by the one that waited"
kill "$(pgrep -f "assay-worker --dir $realm/second\$")"
until_true 40 grep -q "worker left worker=second" "$scratch/broker.log"

say "what is trusted is challenged: the same as long as that vote is open"
job two "{image: IMAGE, policy: {agree: 1}, steps: {build: {run: cp n /out/n, artifacts: [n]}, test: {needs: [build], run: grep -q two /in/build/n}}}"
two=$id
until_true 40 is "$two" test trusted
events
[ "$(leases "$two" '[a-z]*' owner-2)" = 2 ] || fail "not by owner-2"
kill "$(pgrep -f "assay-worker --dir $realm/worker-2\$")"
until_true 40 grep -q "worker left worker=worker-2" "$scratch/broker.log"
hostile hold "$realm/worker-1" >"$scratch/hold" 2>&1 &
hold=$!
pids="$pids $hold"
expect 0 assay challenge "$two/build"
until_true 30 grep -q "it has a lease" "$scratch/hold"
expect 0 assay retry "$two/test"
start again assay-worker --dir "$realm/second"
control 1
leased "$id" control '"worker":"second"' || fail "it did not even ask"
is "$two" build trusted && is "$two" test pending || fail "$(assay status "$two")"
[ "$(leases "$two" test .)" = 1 ] || fail "the test went to an owner with an open vote on what it reads"
kill "$hold"
until_true 60 is "$two" test trusted
done_ok
