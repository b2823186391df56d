#!/bin/sh
# What the store keeps: the newest submissions of a project and ref, trusted ones of tags, images; the rest is swept, also while an upload runs.
# What one owner may hold is bounded, and the step says so.
. "$(dirname "$0")/lib.sh"
realm --workers 1 --trusted 1
printf '[retention]\nkeep = 2\nevery = 1s\n[limits]\nquota = 60M\n' >>"$realm/store/store.ini"
daemons worker-1
image
project p
recipe <<'R'
image: IMAGE
steps: {build: {run: cp n /out/n, artifacts: [n]}}
R
n=0
# build REV: commits something new and has it built; its id in $id
build_one() {
    n=$((n + 1))
    echo "bits $n" >"$repo/n"
    commit "$n"
    [ "$1" = HEAD ] || git -C "$repo" tag "$1"
    push 0 "$1"
}
build_one v1
tag=$id
build_one HEAD
first=$id
for i in 1 2; do build_one HEAD; done
last=$id
bits() { grep -rlx "bits $1" "$realm/store/state/blobs" >/dev/null; }

say "nothing that is young is touched"
swept() { [ "$(grep -c swept "$scratch/store.log")" -ge "$1" ]; }
for i in 1 2 3 4; do bits $i || fail "bits $i are gone"; done

say "two hours later, with an upload on its way: the newest two, the tag and the image stay"
sed -i 's|cp n /out/n|cp n /out/n; head -c 40000000 /dev/urandom > /out/big|; s|\[n\]|[n, big]|' "$repo/.assay.yml"
echo "bits 5" >"$repo/n"
commit big
expect 0 assay push -C "$repo" --project other
big=$(cat "$scratch/out")
kill "$store_pid"
wait "$store_pid" || true
/usr/bin/python3 - "$realm/store/state/index.db" <<'P'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("UPDATE artifact SET time = time - 7200000000")
db.commit()
P
start store assay-store --dir "$realm/store"
store_pid=$pid
until_true 60 swept 1
gone() { ! bits 2; }
until_true 30 gone
for i in 1 3 4; do bits $i || fail "bits $i are gone"; done
expect 0 assay get "$tag/build" -d "$scratch/tag"
expect 0 assay get "$last/build" -d "$scratch/last"
expect 1 assay get "$first/build" -d "$scratch/first"
has err "is not here"
until_true 60 sh -c "assay status --json $big | grep -q '\"state\":\"trusted\"'"
expect 0 assay get "$big/build" -d "$scratch/big"
assay --dir "$realm/store" store check >"$scratch/out" || fail "check"
has out " 0 damaged"

say "more than an owner may hold: an error that says so, and where it is set"
commit more
expect 0 assay push -C "$repo" --project other
refused() { assay watch --since 1 --until-idle --json | grep '"kind":"error"' | grep "$(cat "$scratch/id")" | grep -q 'owner owner-1 would hold .*limits quota'; }
cp "$scratch/out" "$scratch/id"
until_true 60 refused
done_ok
