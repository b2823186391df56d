#!/bin/sh
# A verifier that lies with its own key: whoever has the signed results computes the verdict again, offline, and finds out. And no digest of a step
# is in any event before its verdict, so that there is nothing to copy.
. "$(dirname "$0")/../e2e/lib.sh"
PATH=$build/tests/threats:$PATH
realm --workers 4 --trusted 1
mv "$realm/worker-4" "$realm/liar"
up
image
expect 0 assay policy --project p --agree 2
project p
recipe <<'R'
image: IMAGE
policy: {agree: 3}
steps: {build: {run: cp n /out/n, artifacts: [n]}}
R
echo 1 >"$repo/n"
commit one
push 0
expect 0 assay attest "$id/build" -o "$scratch/bundle" --roster "$scratch/roster"
expect 0 assay verify --root "$realm/realm.ini" "$scratch/roster" "$scratch/bundle"
hostile verdict "$realm/verifier" "$scratch/bundle" none >"$scratch/same"
expect 0 assay verify --root "$realm/realm.ini" "$scratch/roster" "$scratch/same"
for lie in artifact outcome commit; do
    hostile verdict "$realm/verifier" "$scratch/bundle" $lie >"$scratch/lie"
    expect 6 assay verify --root "$realm/realm.ini" "$scratch/roster" "$scratch/lie"
    say "$lie: $(cat "$scratch/err")"
done
say "a policy below the project's: not trusted"
hostile verdict "$realm/verifier" "$scratch/bundle" policy >"$scratch/lie"
expect 3 assay verify --root "$realm/realm.ini" "$scratch/roster" "$scratch/lie"
say "results taken out, doubled, of another step"
head -n 3 "$scratch/bundle" >"$scratch/lie"
expect 6 assay verify --root "$realm/realm.ini" "$scratch/roster" "$scratch/lie"
{ sed -n 1,2p "$scratch/bundle"; sed -n 2p "$scratch/bundle"; sed -n 2p "$scratch/bundle"; } >"$scratch/lie"
expect 6 assay verify --root "$realm/realm.ini" "$scratch/roster" "$scratch/lie"
first=$scratch/bundle
echo 2 >"$repo/n"
commit two
push 0
assay attest "$id/build" -o "$scratch/bundle2" >/dev/null
{ head -n 1 "$scratch/bundle2"; tail -n +2 "$first"; } >"$scratch/lie"
expect 6 assay verify --root "$realm/realm.ini" "$scratch/roster" "$scratch/lie"

say "a step that the owners do not agree on, called trusted"
recipe <<'R'
image: IMAGE
policy: {agree: 4}
steps: {build: {run: cp n /out/n, artifacts: [n]}}
R
start liar assay-worker-liar --dir "$realm/liar"
echo 3 >"$repo/n"
commit three
push 3
assay attest "$id/build" -o "$scratch/bundle3" >/dev/null
expect 3 assay verify --root "$realm/realm.ini" "$scratch/roster" "$scratch/bundle3"
hostile verdict "$realm/verifier" "$scratch/bundle3" trusted >"$scratch/lie"
expect 6 assay verify --root "$realm/realm.ini" "$scratch/roster" "$scratch/lie"
say "$(cat "$scratch/err")"

say "no digest in the stream but in a final verdict"
timeout 3 assay watch --since 1 --json >"$scratch/ev" || true
! grep '"digest"' "$scratch/ev" | grep -v '"kind":"verdict"' || fail "a digest in an event"
! grep '"digest"' "$scratch/ev" | grep -E '"state":"(provisional|disputed|unreproducible)"' || fail "a digest before the verdict"
done_ok
