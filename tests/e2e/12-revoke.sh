#!/bin/sh
# A revocation decides again: votes of the key from then on vanish from every verdict, new verdicts supersede the old, what was built or tested
# on it falls with it, replicas go to others, and nobody gets the artifact from that moment until it is trusted again. Votes of before stay.
. "$(dirname "$0")/lib.sh"
realm --workers 4 --trusted 0
for d in idp store broker verifier; do start "$d" "assay-$d" --dir "$realm/$d"; done
verifier_pid=$pid
start worker-1 assay-worker --dir "$realm/worker-1"
w1=$pid
start worker-2 assay-worker --dir "$realm/worker-2"
image
project p
recipe <<'R'
image: IMAGE
steps:
  build:
    policy: {agree: 2}
    run: cp n /out/n
    artifacts: [n]
  test:
    needs: [build]
    policy: {agree: 1}
    run: cp /in/build/n /out/t
    artifacts: [t]
R
states() { echo "$(state_of "$1" build) $(state_of "$1" test)"; }
are() { [ "$(states "$1")" = "$2 $3" ]; }
echo early >"$repo/n"
commit early
push 0
early=$id
sleep 1.2
since=$(date -u +%Y-%m-%dT%H:%M:%SZ)
sleep 1.2
echo late >"$repo/n"
commit late
push 0
late=$id
deployer=$(assay token --role deployer --name dora --project p)
expect 0 assay --dir "$realm/dora" enrol "$deployer"
expect 0 assay --dir "$realm/dora" get "$late/test" -d "$scratch/before"

say "worker-2 is revoked with effect from between the two: the later one falls, its test with it; the earlier one stays"
kill -STOP "$w1"        # so that nothing is repaired yet
expect 0 assay revoke worker-2 --since "$since" --reason "its disk was copied"
expect 3 assay --dir "$realm/dora" get "$late/build" -d "$scratch/refused"
fallen() { are "$1" provisional provisional || are "$1" provisional pending; } # pending: the test was worker-2's own
until_true 30 fallen "$late"
are "$early" trusted trusted || fail "the earlier one fell as well: $(states "$early")"
expect 3 assay --dir "$realm/dora" get "$late/test" -d "$scratch/refused"
[ ! -e "$scratch/refused" ] || fail "something was fetched"
expect 0 assay --dir "$realm/dora" get "$early/test" -d "$scratch/early"
timeout 3 assay watch --since 1 --json >"$scratch/ev" || true
grep '"kind":"verdict"' "$scratch/ev" | grep "$late" | grep '"step":"build"' | tail -n 1 | grep -q '"state":"provisional"' || fail "watch does not show that the build fell"
grep '"kind":"verdict"' "$scratch/ev" | grep "$late" | grep '"step":"test"' | tail -n 1 | grep -qE '"state":"(provisional|pending)"' || fail "watch does not show that the test fell"
grep '"kind":"replicate"' "$scratch/ev" | grep -q "$late" || fail "no replica was asked for"

say "another owner builds it: trusted again, and its test with it"
kill -CONT "$w1"
start worker-3 assay-worker --dir "$realm/worker-3"
until_true 40 are "$late" trusted trusted
expect 0 assay --dir "$realm/dora" get "$late/test" -d "$scratch/after"
cmp "$scratch/before/t" "$scratch/after/t" || fail "content"
expect 0 assay attest "$late/build" -o "$scratch/bundle" --roster "$scratch/roster"
! grep -q worker-2 "$scratch/out" || fail "the verdict still counts it"

say "a verifier that was away decides the same when it comes back; counted again from what is stored, all is as it was said"
kill "$verifier_pid"
wait "$verifier_pid" || true
expect 0 assay-verifier --recount --dir "$realm/verifier"
has out "0 do not hold, 0 steps come out otherwise"
expect 0 assay revoke worker-3
start verifier assay-verifier --dir "$realm/verifier"
until_true 60 grep -q "revocation worked through name=worker-3" "$scratch/verifier.log"
are "$late" trusted trusted || fail "revoked from now on: what it said before stays ($(states "$late"))"
done_ok
