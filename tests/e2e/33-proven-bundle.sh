#!/bin/sh
# A bundle carries the proof that its verdicts are in the verifier's log, under a checkpoint with witnesses; assay verify checks it offline, and refuses
# what was cut, altered, doubled, put elsewhere or is too little.
. "$(dirname "$0")/lib.sh"
realm --workers 2 --trusted 1
up
image
project p
recipe <<'R'
image: IMAGE
policy: {agree: 2}
steps:
  lib: {run: cp n /out/lib, artifacts: [lib]}
  build: {needs: [lib], run: cat /in/lib/lib >/out/n, artifacts: [n]}
R
echo 1 >"$repo/n"
commit one
push 0
verify() { # STATUS FILE ARGS...
    want=$1 file=$2
    shift 2
    expect "$want" assay verify --root "$realm/realm.ini" "$scratch/roster" "$file" "$@"
}
expect 0 assay attest "$id/build" -o "$scratch/bare" --roster "$scratch/roster"
verify 0 "$scratch/bare"
verify 3 "$scratch/bare" --witnesses 1
has err "does not show that its verdict is in the log"

say "with a proof, without witnesses"
expect 0 assay attest "$id/build" --log -o "$scratch/proven"
[ "$(grep -c tlogProof "$scratch/proven")" = 2 ] || fail "not a proof for each verdict"
verify 0 "$scratch/proven"
has out "is in the log of"
verify 3 "$scratch/proven" --witnesses 1
expect 3 assay attest "$id/build" --witnesses 1 -o "$scratch/none"
[ ! -e "$scratch/none" ] || fail "a bundle was written without its witness"

say "with witnesses, whose names it gives"
for w in worker-1 worker-2; do expect 0 assay --dir "$realm/$w" audit --cosign; done
expect 0 assay attest "$id/build" --witnesses 2 -o "$scratch/proven" --roster "$scratch/roster"
verify 0 "$scratch/proven" --witnesses 2
has out "worker-1 of owner-1"
verify 3 "$scratch/proven" --witnesses 3
verify 2 "$scratch/proven" --witnesses many

say "altered in any way: 6, and what is wrong"
bundle=$scratch/proven
bad() { # TEXT
    verify 6 "$scratch/bad"
    has err "$1"
    say "$(sed "s|.*/bad|bad|" "$scratch/err" | cut -c1-140)"
}
sed '$d' "$bundle" >"$scratch/bad"; bad "truncated"
{ cat "$bundle"; tail -n 1 "$bundle"; } >"$scratch/bad"; bad "more lines than there are verdicts"
{ sed '/tlogProof/d' "$bundle"; grep tlogProof "$bundle" | tac; } >"$scratch/bad"; bad "it is about entry"
{ sed '/tlogProof/d' "$bundle"; tail -n 1 "$bundle"; tail -n 1 "$bundle"; } >"$scratch/bad"; bad "it is about entry"
sed '/tlogProof/s/index [0-9]*/index 999/' "$bundle" >"$scratch/bad"; bad "it is about entry 999"
sed '/tlogProof/s/\(index [0-9]*\\n\)[^\\]*\\n/\1/' "$bundle" >"$scratch/bad"; bad "does not show the verdict"
sed '/tlogProof/s/\(index [0-9]*\\n\)./\1Z/' "$bundle" >"$scratch/bad"; bad "the log's line"
sed '/tlogProof/s/worker-1 \(.\{20\}\)../worker-1 \1zz/' "$bundle" >"$scratch/bad"; bad "the signature of"
sed '/tlogProof/s/worker-1 \([^\\]*\)\(\\n.*worker-2 \)[^\\]*/worker-1 \1\2\1/' "$bundle" >"$scratch/bad" # one witness's signature under the other's name: it counts for nothing
verify 3 "$scratch/bad" --witnesses 2
verify 0 "$scratch/bad" --witnesses 1
sed '/tlogProof/s/tlog-proof@v1/tlog-proof@v2/' "$bundle" >"$scratch/bad"; bad "first line is not"
sed '/tlogProof/s/"}$/","more":1}/' "$bundle" >"$scratch/bad"; bad "not {"
sed '/tlogProof/s/..$//' "$bundle" >"$scratch/bad"; bad "not {"
sed '1{h;d};$G' "$bundle" >"$scratch/bad"; verify 6 "$scratch/bad"
sed '/tlogProof/s/verdicts\/./verdicts\/z/' "$bundle" >"$scratch/bad"; bad "log of another realm"
echo 2 >"$repo/n"
commit two
push 0
expect 0 assay attest "$id/build" --log -o "$scratch/second"
{ sed '/tlogProof/d' "$bundle"; grep tlogProof "$scratch/second"; } >"$scratch/bad"; bad "it is about entry"
done_ok
