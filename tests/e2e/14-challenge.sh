#!/bin/sh
# Late words, and no words at all. What is decided may be challenged: one more owner builds it. The same bits: more support. Other bits: disputed where dissent
# blocks, and nobody gets the artifact any more until others have settled it; where it is tolerated the verdict says so and stands. Each draw of a
# worker can be computed again from its seed; and a step that was given up because another failed comes back when that failure is undone.
. "$(dirname "$0")/lib.sh"
realm --workers 4 --trusted 0
for d in idp store broker verifier; do start "$d" "assay-$d" --dir "$realm/$d"; done
start one assay-worker --dir "$realm/worker-1"
start two assay-worker --dir "$realm/worker-2"
two=$pid
image
for p in block tolerate; do
    project $p
    recipe <<R
image: IMAGE
policy: {agree: 2, dissent: $p}
steps: {build: {run: cp n /out/n, artifacts: [n]}}
R
    echo hello >"$repo/n"
    commit $p
    push 0
    eval "$p=$id"
done
expect 0 assay draw "$block/build"
has out "follows from its seed"
expect 0 assay draw "$block/build" --json
has out '"follows":true'
verdicts() { timeout 3 assay watch --since 1 --json | grep '"kind":"verdict"' | grep "$1" || true; }
last_is() { verdicts "$1" | tail -n 1 | grep -q "$2"; }

say "a third owner confirms"
start three assay-worker --dir "$realm/worker-3"
expect 0 assay challenge "$block/build"
until_true 30 last_is "$block" "3 owners agree (2 needed)"
[ "$(state_of "$block" build)" = trusted ] || fail "$(assay status "$block")"
say "bits that never repeat end at the cap"
project r
recipe <<'R'
image: IMAGE
policy: {agree: 2, max_replicas: 3, dissent: tolerate}
steps: {build: {run: head -c 16 /dev/urandom >/out/n, artifacts: [n]}}
R
commit random
push 3
[ "$(state_of "$id" build)" = unreproducible ] || fail "$(assay status "$id")"
[ "$(timeout 3 assay watch --since 1 --json | grep "$id" | grep -c '"kind":"artifact-completed"')" = 3 ] || fail "not three votes"
expect 0 assay draw "$id/build"

say "a fourth lies: disputed where dissent blocks, and the artifact is refused"
start liar assay-worker-liar --dir "$realm/worker-4"
liar=$pid
expect 0 assay challenge "$block/build"
fell() { [ "$(state_of "$block" build)" = disputed ] || [ "$(state_of "$block" build)" = unreproducible ]; }
until_true 30 fell
expect 3 assay get "$block/build" -d "$scratch/no"
! assay challenge "$block/build" 2>"$scratch/err" || fail "what is not decided was challenged"
has err "only what is trusted or failed can be challenged"
say "where it is tolerated, the verdict stands and says so"
kill -STOP "$(pgrep -f "assay-worker --dir $realm/worker-3\$")"
expect 0 assay challenge "$tolerate/build"
until_true 60 last_is "$tolerate" "; tolerated: "
expect 0 assay get "$tolerate/build" -d "$scratch/got"
[ "$(cat "$scratch/got/n")" = hello ] || fail "content"
expect 0 assay draw "$tolerate/build"
kill -CONT "$(pgrep -f "assay-worker --dir $realm/worker-3\$")"
expect 0 assay challenge "$tolerate/build"
until_true 30 last_is "$tolerate" "3 owners agree (2 needed); tolerated: "
say "nobody is left"
! assay challenge "$tolerate/build" 2>"$scratch/err" || fail "challenged without anybody left"
has err "every owner that fits has voted"
done_ok
