#!/bin/sh
# The log of verdicts: each verdict is in it, it only grows, witnesses sign it, and clients can ask for witnesses.
. "$(dirname "$0")/lib.sh"
realm --workers 3 --trusted 1
up
image
project p
recipe <<'R'
image: IMAGE
policy: {agree: 2}
steps:
  build: {run: cp n /out/n, artifacts: [n]}
  test: {needs: [build], run: cmp n /in/build/n}
R
w1="--dir $realm/worker-1" w2="--dir $realm/worker-2"
size() { sed -n 's/.*"verifier":"verifier".*"size":\([0-9]*\),.*/\1/p' "$scratch/out" | head -n 1; }

say "an empty log"
expect 0 assay audit
has out "0 verdicts"
expect 2 assay audit --cosign

say "verdicts are in it, and it begins with what was seen before"
echo 1 >"$repo/n"
commit one
push 0
first=$id
expect 0 assay audit --json
[ "$(grep -c '"included":true' "$scratch/out")" = 2 ] || fail "not both verdicts"
has out '"seen":0'
seen=$(size)
[ "$seen" -ge 2 ] || fail "a log of $seen"
expect 0 assay audit --export "$scratch/early" "$first/build"
has out "begins with the $seen that were seen before"
has out "included"
echo 2 >"$repo/n"
commit two
push 0
expect 0 assay audit --json "$(echo "$first" | cut -c1-12)" "$id/test"
[ "$(grep -c '"included":true' "$scratch/out")" = 3 ] || fail "not the three verdicts named"
has out "\"seen\":$seen"
[ "$(size)" -gt "$seen" ] || fail "the log did not grow"
expect 3 assay audit "$first/nothing"
expect 1 assay audit 0123456789abcdef

say "each entry can be read, once, by whoever may see its project"
expect 0 assay audit --entries --json
[ "$(grep -c '"included":true' "$scratch/out")" = "$(size)" ] || fail "not every entry was read"
all=$(size)
expect 0 assay audit --entries
has out "0 new ones read"
token=$(assay token --role viewer --name other --project q)
expect 0 assay --dir "$realm/other" enrol "$token"
expect 0 assay --dir "$realm/other" audit --entries
has out "0 new ones read, $all of projects that are not shown to other"

say "others see the same log, also where the verifier does not answer"
expect 0 assay $w1 audit --compare "$scratch/early"
has out "the same log"
expect 0 assay $w1 audit --export "$scratch/now" --compare "$scratch/early"
expect 0 assay audit --compare "$scratch/now"
pid_of() { pgrep -f "assay-$1 --dir $realm/$1"; }
kill -STOP "$(pid_of verifier)"
expect 0 assay --timeout 1s audit --compare "$scratch/now"
expect 5 assay --timeout 1s audit --compare "$scratch/early"
has err "another size"
expect 5 assay --timeout 1s audit
kill -CONT "$(pid_of verifier)"
expect 6 assay audit --compare "$repo/n"
sed 's/[0-9]$/9&/;2s/$/0/' "$scratch/now" >"$scratch/bad"
expect 6 assay audit --compare "$scratch/bad"
has err "signature"

say "witnesses: of other owners, each owner once; they meet though they come at different times"
expect 3 assay audit --witnesses 1
has err "no checkpoint has 1 witnesses"
expect 0 assay audit --cosign
has err "counts for nobody"
expect 3 assay audit --witnesses 1
expect 0 assay $w1 audit --cosign
expect 0 assay audit --witnesses 1
has out "worker-1 of owner-1"
expect 0 assay $w1 audit --cosign
has out "had signed it already"
echo 3 >"$repo/n"
commit three
push 0
expect 3 assay audit --witnesses 1 "$id/build"
has err "a newer one is needed"
expect 0 assay $w2 audit --cosign
expect 0 assay audit --witnesses 1 "$id/build"
expect 0 assay audit --witnesses 2
has out "worker-1 of owner-1"
has out "worker-2 of owner-2"
has out "waits for witnesses"
expect 3 assay audit --witnesses 2 "$id/build"
expect 3 assay audit --witnesses 3
expect 0 assay $w1 audit --cosign
expect 0 assay audit --witnesses 2 --json "$id/build"
has out '"witnesses":["owner-1","owner-2"]'

say "two keys of one owner are one witness; a revoked one is none"
token=$(assay token --role viewer --name second --owner owner-1 --project p)
expect 0 assay --dir "$realm/second" enrol "$token"
expect 0 assay --dir "$realm/second" audit --cosign
expect 3 assay audit --witnesses 3
expect 0 assay revoke worker-2
until_true 20 sh -c "! assay audit --witnesses 2"
expect 0 assay audit --witnesses 1 "$id/build"

say "what was seen is on the disk, whole or not at all"
[ "$(stat -c %a "$realm/audit/verifier/checkpoint")" = 600 ] || fail "mode of the checkpoint"
head -c 100 "$realm/audit/verifier/checkpoint" >"$scratch/cut"
cp "$realm/audit/verifier/checkpoint" "$scratch/whole"
cp "$scratch/cut" "$realm/audit/verifier/checkpoint"
expect 6 assay audit
has err "remove it"
cp "$scratch/whole" "$realm/audit/verifier/checkpoint"
expect 0 assay audit
done_ok
