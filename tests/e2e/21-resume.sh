#!/bin/sh
# An upload goes on where it was: after SIGKILL of the store, and after its restart in order. What nobody comes back for is removed.
. "$(dirname "$0")/lib.sh"
realm --workers 1 --trusted 1
printf '[limits]\nupload-idle = 3s\n' >>"$realm/store/store.ini"
daemons worker-1
image
project p
recipe <<'R'
image: IMAGE
steps:
  build:
    run: head -c 300000000 /dev/urandom > /out/big; echo small > /out/small
    artifacts: [big, small]
    limits: {disk: 1G}
R
aside() { du -sm "$realm/store/state/aside" 2>/dev/null | cut -f 1; }
half() { [ "$(aside)" -ge "$1" ]; }

commit one
push_only
until_true 240 half 20
say "killed with $(aside) MB of 300 taken in"
kill -9 "$store_pid"
wait "$store_pid" || true
start store assay-store --dir "$realm/store"
store_pid=$pid
resumed() { [ "$(grep -c 'upload taken up again' "$scratch/store.log")" -ge "$1" ]; }
until_true 60 resumed 1
offset=$(sed -n 's/.*upload taken up again.*offset=//p' "$scratch/store.log" | tail -n 1)
say "taken up again at byte $offset"
[ "$offset" -ge 10000000 ] || fail "it began anew"
say "stopped in order, and started"
kill -TERM "$store_pid"
wait "$store_pid" || true
start store assay-store --dir "$realm/store"
store_pid=$pid
until_true 120 sh -c "assay status --json $id | grep -q '\"state\":\"trusted\"'"
expect 0 assay get "$id/build" -d "$scratch/got"
[ "$(stat -c %s "$scratch/got/big")" = 300000000 ] || fail "size"

say "what nobody comes back for is removed"
commit two
push_only
until_true 240 half 20
kill -9 "$store_pid"
wait "$store_pid" || true
assay --timeout 20s cancel "$id"
until_true 60 sh -c "assay status --json $id | grep -q '\"state\":\"cancelled\"'"
start store assay-store --dir "$realm/store"
empty() { [ -z "$(ls "$realm/store/state/aside")" ]; }
until_true 60 empty
done_ok
