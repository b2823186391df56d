#!/bin/sh
# Workers that would rather copy than build: one echoes another's sealed result, one replays its own result of another step, one asks the
# store for what another built, one uploads a manifest that only names another's blob. Each gains nothing - no vote, no byte, no receipt -
# honest workers decide, and an event names who tried, with its owner, what and why - and nobody else.
. "$(dirname "$0")/../e2e/lib.sh"
PATH=$build/tests/threats:$PATH
realm --workers 3 --trusted 0
printf "[leases]\nsilence = 3s\n" >>"$realm/broker/broker.ini"
for d in idp store broker verifier; do start "$d" "assay-$d" --dir "$realm/$d"; done
image
project p
submit() { # AGREE: leaves the id in $id
    recipe <<R
image: IMAGE
policy: {agree: $1, dissent: tolerate}
steps: {build: {run: cp n /out/n, artifacts: [n]}}
R
    commit "$1"
    push_only
}
copier_lease() { timeout 3 assay watch --since 1 --json | grep "$1" | grep '"kind":"leased"' | grep -q '"worker":"worker-3"'; }
# An event names it: worker and owner, and nobody else is named. refused ID STEP REASON
refused() {
    timeout 3 assay watch --since 1 --json | grep '"kind":"refused"' | grep "$1" >"$scratch/refused" || true
    grep "\"step\":\"$2\"" "$scratch/refused" | grep '"worker":"worker-3"' | grep '"owner":"owner-3"' | grep -q "\"reason\":\"[^\"]*$3"
}
only_it() { ! grep -v '"worker":"worker-3","owner":"owner-3"' "$scratch/refused" || fail "an event blames another"; }
trusted() { [ "$(state_of "$1" build)" = trusted ]; }
one() { start one assay-worker --dir "$realm/worker-1"; one=$pid; }
left() { grep -c "worker left worker=$1" "$scratch/broker.log" || true; }
more_left() { [ "$(left "$1")" -gt "$2" ]; }
gone() { before=$(left "$1"); kill "$2"; wait "$2" || true; until_true 40 more_left "$1" "$before"; } # until the broker knows

say "an echo of another's result"
echo secret-bits >"$repo/n"
submit 2
hostile echo "$realm/worker-3" >"$scratch/echo" 2>&1 &
copier=$!
until_true 30 copier_lease "$id"
one
wait "$copier" || fail "copier: $(cat "$scratch/echo")"
until_true 2 refused "$id" build "the event names another worker than the result"
only_it
start two assay-worker --dir "$realm/worker-2"
two=$pid
until_true 40 trusted "$id"
expect 0 assay attest "$id/build"
! grep -q worker-3 "$scratch/out" || fail "the echo counted"
expect 0 assay get "$id/build" -d "$scratch/got"
expect 0 assay draw "$id/build"
gone worker-2 "$two"
gone worker-1 "$one"
artifact=$(assay status --json "$id" | sed -n 's/.*"digest":"\([0-9a-f]*\)".*/\1/p')
[ ${#artifact} = 64 ] || fail "no digest in the status"

say "its own result of another step"
submit 1
first=$id
submit 1
expect 0 hostile replay "$realm/worker-3"
until_true 2 refused "$first\|$id" build "the result is of another step"
only_it
one
until_true 40 trusted "$first"
until_true 40 trusted "$id"
gone worker-1 "$one"

say "an artifact that is no input of its lease, and a blob that it only names"
submit 1
expect 0 hostile read "$realm/worker-3" "$artifact"
has out not-allowed
until_true 2 refused "$id" build "worker-3 may not read this artifact"
only_it
blob=$(sha256sum <"$repo/n" | cut -d ' ' -f 1)
expect 0 hostile name "$realm/worker-3" "$blob" "$(wc -c <"$repo/n")"
has out "its bytes are wanted"
! grep -qx ok "$scratch/out" || [ "$(grep -cx ok "$scratch/out")" = 1 ] || fail "a receipt for nothing"
one
until_true 40 trusted "$id"
done_ok
