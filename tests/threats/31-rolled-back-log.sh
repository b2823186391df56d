#!/bin/sh
# A verifier that takes verdicts back: its log is shown as it was before. A client that saw more refuses, and so does one that was told by another.
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
mallory=$realm/verifier
change() { echo "$1" >"$repo/n"; commit "$1"; push 0; }
stop_verifier() { kill "$verifier_pid"; wait "$verifier_pid" || true; }

change one
expect 0 assay --dir "$realm/worker-1" audit
stop_verifier
cp -a "$mallory/state" "$scratch/old"
start verifier assay-verifier --dir "$mallory"
verifier_pid=$pid
change two
expect 0 assay audit --export "$scratch/mine" "$id/build"

say "shown the old log, without the events from which it could be made again"
stop_verifier
kill "$broker_pid"
wait "$broker_pid" || true
rm -rf "$mallory/state"
cp -a "$scratch/old" "$mallory/state"
start verifier assay-verifier --dir "$mallory"
verifier_pid=$pid
expect 6 assay audit
has err "rolled back"
has err ".shown"
expect 6 assay audit --cosign

say "who saw only the old log does not find out alone, but from the other's checkpoint"
expect 0 assay --dir "$realm/worker-1" audit --export "$scratch/old-view" --compare "$realm/worker-1/audit/verifier/checkpoint"
expect 6 assay --dir "$realm/worker-1" audit --compare "$scratch/mine"
has err "elsewhere"

say "the same events give the same log again: a verifier that only lost its disk's last part is taken back"
start broker assay-broker --dir "$realm/broker"
until_true 60 assay audit "$id/build"
expect 0 assay --dir "$realm/worker-1" audit --compare "$scratch/mine"
done_ok
