#!/bin/sh
# The log of verdicts is what others' programs can check: Go's own implementation (Debian: golang-golang-x-mod-dev) takes the checkpoint with its
# witnesses, the root over all entries, the proofs of inclusion and of growth, of a log that is large enough for three levels of tiles.
. "$(dirname "$0")/lib.sh"
here=$(cd "$(dirname "$0")" && pwd)
PATH=$build/tests/e2e:$PATH
command -v go >/dev/null || fail "no go (deploy/install-deps installs it)"
fillers=66000
realm --workers 2 --trusted 1
logtool fill "$realm/verifier/state" $fillers
up
image
project p
recipe <<'R'
image: IMAGE
policy: {agree: 2}
steps: {build: {run: cp n /out/n, artifacts: [n]}}
R
for n in 1 2 3; do
    echo $n >"$repo/n"
    commit $n
    push 0
done
expect 0 assay audit
for w in worker-1 worker-2; do expect 0 assay --dir "$realm/$w" audit --cosign; done
mkdir "$scratch/dump"
logtool dump "$realm" "$scratch/dump"
env HOME="$scratch" GO111MODULE=off GOPATH=/usr/share/gocode GOFLAGS= GOPROXY=off GOCACHE="$scratch/go" CGO_ENABLED=0 go build -o "$scratch/logcheck" "$here/logcheck.go"
expect 0 "$scratch/logcheck" "$scratch/dump" $fillers
has out "$(sed -n 2p "$scratch/dump/checkpoint") entries, 3 signatures"
[ "$(sed -n 2p "$scratch/dump/checkpoint")" -ge $((fillers + 6)) ] || fail "the real verdicts are not in it"
say "$(cat "$scratch/out")"
say "and it is no rubber stamp: one entry is another, one signature is"
echo >>"$scratch/dump/entry-$fillers"
expect 1 "$scratch/logcheck" "$scratch/dump" $fillers
has err "the root over the entries"
sed -i 's/^\(— .*\)\/worker-1 /\1\/worker-2 /' "$scratch/dump/checkpoint"
expect 1 "$scratch/logcheck" "$scratch/dump" $fillers
done_ok
