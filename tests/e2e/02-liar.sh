#!/bin/sh
# A worker that changes bits of what it built is outvoted where the policy tolerates dissent, and blocks where it does not:
# its artifact is never trusted.
. "$(dirname "$0")/lib.sh"
realm --workers 4 --trusted 1
mv "$realm/worker-4" "$realm/liar"     # `assay up` runs what is named worker-*
up
image
start liar assay-worker-liar --dir "$realm/liar"

project hello
recipe <<'R'
image: IMAGE
policy: {agree: 3, trusted: required, dissent: tolerate}
steps:
  build:
    run: cp hello.txt /out/hello
    artifacts: [hello]
R
lies=0 n=0
say "tolerated dissent: always trusted, with the honest bits, however often the liar is drawn"
while [ $lies -lt 2 ]; do
    n=$((n + 1))
    [ $n -le 20 ] || fail "the liar was never drawn"
    echo "hello $n" >"$repo/hello.txt"
    commit "$n"
    push 0
    expect 0 assay get "$id/build" -d "$scratch/got.$n"
    [ "$(cat "$scratch/got.$n/hello")" = "hello $n" ] || fail "the liar's bits were trusted"
    # its vote may come after the verdict, and then it is not in it
    expect 0 assay attest "$id/build"
    if grep -q 'worker-4.* no ' "$scratch/out"; then lies=$((lies + 1)); fi
done
say "$lies lies in $n pushes, each outvoted"

say "blocked dissent: one lie, and it is never trusted: exit 3"
recipe <<'R'
image: IMAGE
policy: {agree: 4, dissent: block}
steps:
  build:
    run: cp hello.txt /out/hello
    artifacts: [hello]
R
commit block
push 3
[ "$(state_of "$id" build)" = unreproducible ] || fail "state $(state_of "$id" build)"
expect 3 assay get "$id/build" -d "$scratch/never"
[ ! -e "$scratch/never" ] || fail "something was fetched"
done_ok
