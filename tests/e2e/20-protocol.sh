#!/bin/sh
# A worker in another language, written from proto/PROTOCOL.md alone, takes part: it enrols, checks the roster and its leases, reads image
# and inputs, uploads, and its sealed results count as votes. Message numbers, fields and constants come from the document's tables.
. "$(dirname "$0")/lib.sh"
document=$(cd "$(dirname "$0")/../.." && pwd)/proto/PROTOCOL.md
python=/usr/bin/python3
$python -c 'import zmq, msgpack, nacl' 2>/dev/null || { echo "skipped: no python3-zmq, python3-msgpack, python3-nacl (deploy/install-deps)"; exit 77; }
realm --workers 1 --trusted 1
up
image
token=$(assay token --role worker --name other --owner dave --project 'p')
start other $python "$(dirname "$0")/worker.py" "$document" "$scratch/other" "$token" 2 cut
project p
recipe <<'R'
image: IMAGE
policy: {agree: 2, trusted: required}
steps:
  build:
    run: mkdir /out/doc && cp n /out/n && cp doc/more /out/doc/more
    artifacts: [n, doc/more]
  test:
    needs: [build]
    run: cmp n /in/build/n && cp n /out/n
    artifacts: [n]
R
mkdir "$repo/doc"
echo "some bits" >"$repo/n"
head -c 2500000 /dev/urandom >"$repo/doc/more"
commit one

say "both of its votes are needed, and count"
push 0
for step in build test; do
    [ "$(state_of "$id" $step)" = trusted ] || fail "$(assay status "$id")"
    expect 0 assay attest "$id/$step"
    has out other
done
grep -q "^input 2500010 bytes" "$scratch/other.log" || fail "it read no input: $(cat "$scratch/other.log")"
grep -q "^goes on at 1048576" "$scratch/other.log" || fail "it did not go on where its connection ended: $(cat "$scratch/other.log")"
expect 0 assay get "$id/build" -d "$scratch/got"
cmp "$scratch/got/doc/more" "$repo/doc/more" || fail "content"
expect 0 assay log "$id/build@other"
has out "known bits"

say "it begins on its own artifact before that has a verdict, by a blinded name, and the result counts when the trusted worker confirms it"
start other $python "$(dirname "$0")/worker.py" "$document" "$scratch/other" "" 2
other=$pid
expect 0 assay worker pause --dir "$realm/worker-1"
sed -i 's/needs: \[build\]/&\n    start: provisional\n    policy: {agree: 1, trusted: optional}/; s/^policy: .*//; s/  build:/&\n    policy: {agree: 2, trusted: required}/' "$repo/.assay.yml"
commit early
push_only
until_true 60 grep -q "^result of test" "$scratch/other.log"
grep -q "^blinded 2500010 bytes" "$scratch/other.log" || fail "its input had no blinded name: $(cat "$scratch/other.log")"
expect 0 assay worker resume --dir "$realm/worker-1"
early_is() { [ "$(state_of "$id" test)" = trusted ]; }
until_true 60 early_is
[ "$(grep -c "^blinded" "$scratch/other.log")" = 1 ] || fail "it ran again"
expect 0 assay attest "$id/test" -o "$scratch/bundle"
expect 0 assay attest "$id/test"
has out other
wait "$other" || fail "it did not end well"

say "started again with its keys, without a token, its bits are its own: those that differ are no support"
sed -i 's/cp n/echo changed >/' "$repo/.assay.yml"
commit two
start other $python "$(dirname "$0")/worker.py" "$document" "$scratch/other" "" 1
push 3
[ "$(state_of "$id" build)" = unreproducible ] || fail "$(assay status "$id")"
expect 3 assay get "$id/build" -d "$scratch/never"
done_ok
