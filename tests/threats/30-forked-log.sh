#!/bin/sh
# A verifier with two logs: one client is shown the one, another the other. Whoever compares the two checkpoints finds out, with or without asking
# it, and holds what convicts it. Two copies of one verifier's state go different ways here: what each signs is genuine.
. "$(dirname "$0")/../e2e/lib.sh"
realm --workers 2 --trusted 1
daemons worker-1 worker-2
image
project p
recipe <<'R'
image: IMAGE
policy: {agree: 2}
steps: {build: {run: cp n /out/n, artifacts: [n]}}
R
alice=$realm/worker-1 bob=$realm/worker-2 mallory=$realm/verifier
change() { echo "$1" >"$repo/n"; commit "$1"; push 0; }
stop_verifier() { kill "$verifier_pid"; wait "$verifier_pid" || true; }
start_verifier() { start verifier assay-verifier --dir "$mallory"; verifier_pid=$pid; }

change one
for who in "$alice" "$bob"; do expect 0 assay --dir "$who" audit "$id"; done

say "the verifier's state is copied; the one copy goes on, and alice sees it"
stop_verifier
cp -a "$mallory/state" "$scratch/other"
start_verifier
change two
expect 0 assay --dir "$alice" audit --export "$scratch/alice" "$id/build"

say "the other copy goes on from before, with another roster: bob sees it, and it is a log with all that he saw before"
stop_verifier
mv "$mallory/state" "$scratch/one"
mv "$scratch/other" "$mallory/state"
expect 0 assay policy --project q --agree 2
expect 0 assay --dir "$mallory" who # it hears of that before it goes on
start_verifier
same_size() { assay --dir "$bob" audit --export "$scratch/bob" >/dev/null && [ "$(sed -n 2p "$scratch/bob")" = "$(sed -n 2p "$scratch/alice")" ]; }
until_true 60 same_size
! cmp -s "$scratch/alice" "$scratch/bob" || fail "the copies went the same way"

say "alice and bob compare: with nobody's help, each from the other's file"
stop_verifier
expect 6 assay --dir "$bob" audit --compare "$scratch/alice"
has err "two different logs"
evidence=$(grep -oE '/[^ ]*\.(seen|shown)' "$scratch/err")
[ "$(echo "$evidence" | wc -l)" = 2 ] || fail "no two files of evidence: $evidence"
cat "$scratch/bob" "$scratch/alice" >"$scratch/both"
cat $evidence | cmp -s - "$scratch/both" || fail "the evidence is not the two checkpoints"
expect 6 assay --dir "$alice" audit --compare "$scratch/bob"

say "alice finds out by herself as soon as she is shown the other log, and goes on refusing"
start_verifier
expect 6 assay --dir "$alice" audit
has err "are kept, signed"
expect 6 assay --dir "$alice" audit
[ "$(ls "$alice/audit/verifier" | grep -c shown)" = 1 ] || fail "evidence of one pair is kept twice"
cmp -s "$alice/audit/verifier/checkpoint" "$scratch/alice" || fail "what was seen was given up"

say "the logs grow, to different sizes: then the verifier has to prove what it cannot"
change three
expect 6 assay --dir "$alice" audit
has err "begins with the"
expect 0 assay --dir "$bob" audit "$id/build"
expect 6 assay --dir "$bob" audit --compare "$scratch/alice"

say "a witness of the one log does not sign the other, and whoever asks for witnesses is not fooled"
expect 6 assay --dir "$alice" audit --cosign
expect 0 assay --dir "$bob" audit --cosign
expect 3 assay audit --witnesses 2 "$id/build"
done_ok
