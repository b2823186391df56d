#!/bin/sh
# Steps that start on what is not trusted yet: they run at once, only where their owner has no vote left to give on it; the trusted worker confirms
# the same bits, and build and tests are trusted at once, with nothing run again; it gets other bits, and what ran on the wrong ones falls,
# with the reason, down to the last step, and runs again on the right ones. Nobody is shown a digest before its verdict.
. "$(dirname "$0")/lib.sh"
realm --workers 4 --trusted 1
for d in idp store broker verifier; do start "$d" "assay-$d" --dir "$realm/$d"; done
image
project p
recipe <<'R'
image: IMAGE
steps:
  build:
    policy: {agree: 2, trusted: required, dissent: tolerate}
    run: cp n /out/n
    artifacts: [n]
  test:
    needs: [build]
    start: provisional
    policy: {agree: 1}
    run: tr '\n\v' NV </in/build/n >/out/seen; echo >>/out/seen
    artifacts: [seen]
  report:
    needs: [test]
    start: provisional
    policy: {agree: 1}
    run: cp /in/test/seen /out/r
    artifacts: [r]
R
trusted=worker-1
mv "$realm/worker-4" "$realm/bare"
# All that a daemon has on disk, as hexadecimal; while it runs.
bytes_of() { cp -r "$realm/$1" "$scratch/copy" && find "$scratch/copy" -type f -exec cat {} + | od -An -v -tx1 | tr -d ' \n'; rm -rf "$scratch/copy"; }
steps_are() { # ID STATE OF BUILD, TEST, REPORT
    [ "$(state_of "$1" build) $(state_of "$1" test) $(state_of "$1" report)" = "$2 $3 $4" ]
}
early() { # NAME PROGRAM FOLDER CONTENT: this worker alone builds a commit with this; its tests start on it. Sets $id and, of the worker, $one
    start "$1" "$2" --dir "$realm/$3"
    one=$pid
    echo "$4" >"$repo/n"
    commit "$4"
    push_only
    until_true 30 steps_are "$id" provisional provisional provisional
}
ended() { kill "$@" && { wait "$@" || true; }; } # PID...
outvoted() { # by the trusted worker and another one
    start trusted assay-worker --dir "$realm/$trusted"
    trusted_pid=$pid
    start four assay-worker --dir "$realm/bare"
    four=$pid
    until_true 60 steps_are "$id" trusted trusted trusted
}
events() { timeout 3 assay watch --since 1 --json | grep "$1" || true; }
leases() { events "$1" | grep '"kind":"leased"' | grep -c "\"step\":\"$2\"" || true; }

say "one that is not trusted builds; the tests start on it at once, and are worth as much as it is"
early one assay-worker worker-2 same
[ "$(leases "$id" test)" = 1 ] && [ "$(leases "$id" report)" = 1 ] || fail "leases"
expect 0 assay status "$id"
has out "an input is not trusted yet"
expect 3 assay get "$id/report" -d "$scratch/no"
events "$id" >"$scratch/ev"
! grep -E '"digest":"[0-9a-f]{64}"' "$scratch/ev" || fail "a digest before the verdict"
bytes_of broker >"$scratch/broker-knows"
bytes_of verifier >"$scratch/verifier-knows"

say "the trusted worker confirms: all of it is trusted at once, and nothing runs again"
start trusted assay-worker --dir "$realm/$trusted"
trusted_pid=$pid
until_true 30 steps_are "$id" trusted trusted trusted
[ "$(leases "$id" test)" = 1 ] && [ "$(leases "$id" report)" = 1 ] || fail "something ran again"
for s in build test; do
    digest=$(events "$id" | grep '"kind":"verdict"' | grep "\"step\":\"$s\"" | sed -n 's/.*"digest":"\([0-9a-f]\{64\}\)".*/\1/p' | tail -1)
    [ "$digest" ] || fail "no verdict shows the digest of $s"
    grep -q "$digest" "$scratch/verifier-knows" || fail "the verifier did not know what $s gave"
    ! grep -q "$digest" "$scratch/broker-knows" || fail "the broker knew what $s gave before the verdict"
done
expect 0 assay get "$id/report" -d "$scratch/got"
[ "$(cat "$scratch/got/r")" = sameN ] || fail "content"
expect 0 assay attest "$id/report" -o "$scratch/bundle"
cp "$realm/broker/roster" "$scratch/roster"
expect 0 assay verify --root "$realm/realm.ini" "$scratch/roster" "$scratch/bundle" "$scratch/got" # also the inputs that leases name blinded
ended "$one" "$trusted_pid"

say "a liar comes second: until a third owner has spoken nothing starts; what ran on the right bits goes on then"
sed -i 's/agree: 2/agree: 3/' "$repo/.assay.yml"
early one assay-worker worker-2 third
ended "$one"
start liar assay-worker-liar --dir "$realm/worker-3"
liar=$pid
build_disputed() { [ "$(state_of "$1" build)" = disputed ]; }
until_true 30 build_disputed "$id"
ended "$liar"
outvoted
[ "$(leases "$id" test)" = 1 ] && [ "$(leases "$id" report)" = 1 ] || fail "something ran again"
timeout 60 assay watch --since 1 --until-idle --json | grep "$id" >"$scratch/ev" || fail "no events"
grep '"kind":"verdict"' "$scratch/ev" | grep '"step":"report"' | grep -q '"state":"trusted"' || fail "not all events: $(cat "$scratch/ev")"
! grep '"kind":"fallen"' "$scratch/ev" || fail "something fell whose input is what it ran on"
expect 0 assay get "$id/report" -d "$scratch/got-third"
[ "$(cat "$scratch/got-third/r")" = thirdN ] || fail "content"
ended "$four" "$trusted_pid"
sed -i 's/agree: 3/agree: 2/' "$repo/.assay.yml"

say "a liar builds; what ran on its bits falls when the others disagree, and runs again on the right ones"
early liar assay-worker-liar worker-3 right
ended "$one" # where one owner is enough, as for the report, whoever is drawn is believed
outvoted
events "$id" >"$scratch/ev"
grep '"kind":"fallen"' "$scratch/ev" | grep '"step":"test"' | grep -q "turned out other than what it ran on" || fail "no event says that the test fell"
grep '"kind":"verdict"' "$scratch/ev" | grep '"step":"test"' | grep -q '"state":"pending"' || fail "the test's verdict did not fall"
grep '"kind":"verdict"' "$scratch/ev" | grep '"step":"report"' | grep -q '"state":"pending"' || fail "the report's verdict did not fall with it"
expect 0 assay get "$id/report" -d "$scratch/got2"
[ "$(cat "$scratch/got2/r")" = rightN ] || fail "content"
expect 0 assay get "$id/test" -d "$scratch/got3"
[ "$(cat "$scratch/got3/seen")" = rightN ] || fail "content"
ended "$four" "$trusted_pid"

say "whoever gives no isolation builds, but gets nothing that runs on what is not trusted"
sed -i 's/^isolation = .*//; s/^\[worker\]/&\nisolation = none/' "$realm/bare/worker.ini"
start bare env ASSAY_TEST_NO_ISOLATION=1 assay-worker --dir "$realm/bare"
recipe <<'R'
image: IMAGE
steps:
  build: {policy: {agree: 2, trusted: required, isolation: none}, run: 'true', artifacts: [n]}
  test: {needs: [build], start: provisional, policy: {agree: 1, isolation: none}, run: 'true'}
  report: {needs: [test], start: provisional, policy: {agree: 1, isolation: none}, run: 'true'}
R
echo bare >"$repo/n"
commit bare
push_only
until_true 30 steps_are "$id" provisional pending pending
echo later >"$repo/n"
commit later
expect 0 assay push -C "$repo"
later=$(grep -oE '[0-9a-f]{64}' "$scratch/out")
until_true 30 steps_are "$later" provisional pending pending # it went on to what came after, and not to the test
[ "$(leases "$id" test)" = 0 ] || fail "the test was leased where there is no isolation"
done_ok
