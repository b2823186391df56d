#!/bin/sh
# One owner fills the store: what goes beyond its quota is refused and said; the step goes to another owner, and through.
. "$(dirname "$0")/../e2e/lib.sh"
realm --workers 2 --trusted 1
printf '[limits]\nquota = 4M\n' >>"$realm/store/store.ini"
for d in idp store broker verifier; do start "$d" "assay-$d" --dir "$realm/$d"; done
image
project p
step() { # KIB
    recipe <<R
image: IMAGE
steps: {build: {run: "dd if=/dev/zero of=/out/n bs=1024 count=$1 2>/dev/null; cat n >>/out/n", artifacts: [n]}}
R
}
change() { echo "$1" >"$repo/n"; commit "$1"; expect 0 assay push -C "$repo"; id=$(grep -oE '[0-9a-f]{64}' "$scratch/out"); }
is() { [ "$(state_of "$1" build)" = "$2" ]; }
start one assay-worker --dir "$realm/worker-1"
say "worker-1's owner uploads until it is full"
step 3000
change a
until_true 30 is "$id" trusted
change b
refused() { timeout 2 assay watch --since 1 --json | grep "$id" | grep '"kind":"error"' | grep '"worker":"worker-1"' | grep -q quota; }
until_true 60 refused
say "another owner takes the step"
start two assay-worker --dir "$realm/worker-2"
expect 0 assay retry "$id/build"
until_true 60 is "$id" trusted
expect 0 assay get "$id/build" -d "$scratch/got"
[ "$(tail -c 2 "$scratch/got/n")" = b ] || fail "content"
done_ok
