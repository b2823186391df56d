#!/bin/sh
# `assay lab` acts the threat model out, and every row holds; it leaves nothing behind, and names what it does not know.
. "$(dirname "$0")/lib.sh"
TMPDIR=$scratch/tmp
export TMPDIR
mkdir "$TMPDIR"

expect 2 assay lab no-such-row
has err "no such row"
expect 2 assay lab --list flip
expect 0 assay lab --list --json
rows=$(wc -l <"$scratch/out")

got=0
timeout 600 assay lab --json >"$scratch/lab.log" 2>"$scratch/lab.err" || got=$?
cat "$scratch/lab.log"
[ $got = 0 ] || { cat "$scratch/lab.err"; fail "assay lab ended with status $got: $(grep -v '"result":"held"' "$scratch/lab.log" | head -n 1)"; }
[ "$(grep -c '"result":"held"' "$scratch/lab.log")" = "$rows" ] || fail "not every row was played"
[ -z "$(ls -A "$TMPDIR")" ] || fail "it left something: $(ls -A "$TMPDIR")"

say "interrupted: it stops at once, cleans up, and is no success"
assay lab >"$scratch/cut.log" 2>&1 &
pid=$!
until_true 30 grep -q flip "$scratch/cut.log"
kill -INT $pid
got=0
wait $pid || got=$?
[ $got = 1 ] || fail "status $got after SIGINT"
[ -z "$(ls -A "$TMPDIR")" ] || fail "it left something: $(ls -A "$TMPDIR")"

say "kept: the table for people, and all logs"
expect 0 assay lab token --keep "$scratch/kept"
has out "1 of 1 held"
[ -s "$scratch/kept/logs/broker" ] || fail "no log of the broker"
expect 2 assay lab token --keep "$scratch/kept"
done_ok
