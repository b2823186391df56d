#!/bin/sh
# A verifier that answers with cut, altered, re-signed, re-ordered, doubled checkpoints and proofs, or with a verdict that is in no log: each is refused,
# with what is wrong; nothing of it is remembered.
. "$(dirname "$0")/../e2e/lib.sh"
PATH=$build/tests/threats:$build/tests/e2e:$PATH
realm --workers 2 --trusted 1
daemons worker-1 worker-2
image
project p
recipe <<'R'
image: IMAGE
policy: {agree: 2}
steps: {build: {run: cp n /out/n, artifacts: [n]}}
R
change() { echo "$1" >"$repo/n"; commit "$1"; push 0; }
for n in 1 2 3; do change $n; done
expect 0 assay audit
cp -a "$realm/audit" "$scratch/audit"
for n in 4 5; do change $n; done
endpoint=$(sed -n 's/^listen = //p' "$realm/verifier/verifier.ini")
kill "$verifier_pid"
wait "$verifier_pid" || true

# try STATUS LIE TEXT: what `assay audit` says of it
try() {
    rm -rf "$realm/audit"
    cp -a "$scratch/audit" "$realm/audit"
    start forger log_forger "$realm/verifier" "$endpoint" "$2"
    expect "$1" assay audit ${4:-} "$id/build"
    [ -z "$3" ] || has err "$3"
    kill $pid
    wait $pid 2>/dev/null || true
    case $2 in note-* | growth-*) cmp -s "$realm/audit/verifier/checkpoint" "$scratch/audit/verifier/checkpoint" || fail "$2 was remembered" ;; esac
    echo "$2: $(cut -c1-150 "$scratch/err")"
}
try 0 truth ""
say "checkpoints"
try 6 note-cut "signature 1 is none"
try 6 note-unsigned "not signed"
try 6 note-garbage "its first line is no origin"
try 6 note-size "does not hold"
try 6 note-doubled "by the same key"
try 6 note-behind "is none"
try 6 note-huge "by the same key"
try 6 note-resigned "not signed by"
try 6 note-reordered "its first signature is not the verifier's"
try 6 note-realm "a log of another realm"
try 6 note-witness "the signature of"
say "proofs that the log only grew"
for lie in flipped short none long doubled full reordered; do try 6 growth-$lie "is not proven"; done
try 6 growth-thin "31 bytes"
try 6 growth-kind "another proof than the one asked for"
try 6 growth-place "another proof than the one asked for"
try 6 growth-refused "does not prove"
say "proofs that the verdict is in it"
for lie in flipped short none long doubled full reordered other; do try 6 inclusion-$lie "does not show the verdict as entry"; done
try 6 inclusion-thin "31 bytes"
try 6 inclusion-kind "another proof than the one asked for"
try 6 inclusion-refused "no such proof"
say "verdicts that are in no log, though signed"
try 6 verdict-unlogged "does not show the verdict as entry"
grep -q payload "$(grep -oE '/[^ ]*\.seen' "$scratch/err")" || fail "the verdict is not kept as evidence"
try 6 verdict-number "does not show the verdict as entry"
try 6 verdict-step "another step"
try 6 verdict-zero "no number in the log"
say "entries of the log, read one by one"
try 0 entry-truth "" --entries
try 6 entry-withheld "withholds entry 0" --entries
try 6 entry-other "it is verdict 2" --entries
try 6 entry-forged "does not show the verdict as entry" --entries
try 6 entry-none "0 envelopes" --entries

say "a verdict that was signed and logged for one victim only, and published nowhere"
logtool secret "$realm/verifier"
try 6 entry-secret "was never published" --entries
say "the same, and a broker that is in league with it: it makes a submission up, but not its id"
kill "$broker_pid"
wait "$broker_pid" || true
start liar hostile broker "$realm/broker" audit
try 6 entry-secret "the broker sent another submission" --entries
done_ok
