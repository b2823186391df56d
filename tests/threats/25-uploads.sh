#!/bin/sh
# A worker whose lease is real cannot get at the bits of others by it: a blob that it only names is asked for in full, an artifact that is
# no input is not read, one lease brings one artifact, of no more bytes than it allows. The worker is tests/e2e/worker.py.
. "$(dirname "$0")/../e2e/lib.sh"
python=/usr/bin/python3
$python -c 'import zmq, msgpack, nacl' 2>/dev/null || { echo "skipped: no python3-zmq, python3-msgpack, python3-nacl (deploy/install-deps)"; exit 77; }
top=$(cd "$(dirname "$0")/../.." && pwd)
realm --workers 1 --trusted 1
up
image
project p
recipe <<'R'
image: IMAGE
steps: {build: {run: cp n /out/n, artifacts: [n]}}
R
head -c 4000 /dev/urandom >"$repo/n"
commit one
push 0
expect 0 assay status --json "$id"
artifact=$(sed -n 's/.*"digest":"\([0-9a-f]*\)".*/\1/p' "$scratch/out")
blob=$(sha256sum <"$repo/n" | cut -c 1-64)
token=$(assay token --role worker --name other --owner dave --project '*')
start other $python "$top/tests/e2e/worker.py" "$top/proto/PROTOCOL.md" "$scratch/other" "$token" 1 probe "$blob" 4000 "$artifact"
recipe <<'R'
image: IMAGE
policy: {agree: 2}
steps: {build: {run: cp n /out/n, artifacts: [n]}}
R
echo other bits >"$repo/n"
commit two
push 0
got() { grep -qx "$1" "$scratch/other.log" || { cat "$scratch/other.log"; fail "not so: $1"; }; }
got "the store wants the blob's bytes"
got "tried to end it without and got conflict"
got "tried a second artifact and got quota"
got "tried too much and got quota"
got "tried without a lease and got not-allowed"
got "tried to read and got not-allowed"
got "tried to read without a lease and got not-allowed"
got "tried to finish what is not its own and got not-found"
say "what it did is told to those who watch"
told() { assay watch --since 1 --until-idle --json | grep -q '"kind":"refused".*"worker":"other"'; }
until_true 20 told
done_ok
