#!/bin/sh
# Retention sweeps all the time and keeps one submission a ref: what is older goes, but what is being uploaded, what a step on its way is to read,
# and what is newest stays whole.
. "$(dirname "$0")/../e2e/lib.sh"
python3 -c 'import sqlite3' 2>/dev/null || { echo "skipped: no python3 to make artifacts old with"; exit 77; }
realm --workers 2 --trusted 1
printf '[retention]\nkeep = 1\nevery = 1s\n' >>"$realm/store/store.ini"
daemons worker-1 worker-2
image
project p
recipe <<'R'
image: IMAGE
policy: {agree: 2}
steps:
  build:
    run: cp n /out/n
    artifacts: [n]
  use:
    needs: [build]
    run: read -r n </in/build/n; case $n in slow*) sleep 5 ;; esac; cp /in/build/n /out/m
    artifacts: [m]
R
change() { echo "$1" >"$repo/n"; commit "$1"; }
change first
push 0
first=$id
change second
push 0
second=$id
say "all of that was a day ago"
kill "$store_pid"
wait "$store_pid" || true
python3 - "$(find "$realm/store/state" -name 'index*' -not -name '*-wal' -not -name '*-shm')" <<'P'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
assert db.execute("UPDATE artifact SET time = time - 86400000000 WHERE project = 'p'").rowcount >= 8
db.commit()
P
start store assay-store --dir "$realm/store"
expect 0 assay get "$second/use" -d "$scratch/second"
say "the older one goes, the newest stays"
gone() { rm -rf "$scratch/gone"; ! assay get "$1/build" -d "$scratch/gone"; }
until_true 30 gone "$first"
expect 0 assay get "$second/use" -d "$scratch/still"

say "two more: the second is the newest while a step of the first still has to read"
change slow
expect 0 assay push -C "$repo"
slow=$(grep -oE '[0-9a-f]{64}' "$scratch/out")
change quick
expect 0 assay push -C "$repo"
quick=$(grep -oE '[0-9a-f]{64}' "$scratch/out")
until_true 30 gone "$second"
for i in "$slow" "$quick"; do until_true 60 sh -c "assay status --json $i | grep -q '\"state\":\"trusted\",\"submitter\"'"; done
expect 0 assay get "$slow/use" -d "$scratch/slow"
[ "$(cat "$scratch/slow/m")" = slow ] || fail "content"
expect 0 assay get "$quick/use" -d "$scratch/quick"
expect 0 assay --dir "$realm/store" store check
done_ok
