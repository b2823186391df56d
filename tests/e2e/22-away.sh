#!/bin/sh
# A service that is not there: within seconds each command says which, at which endpoint, and what to do, with exit status 5; and nothing
# is lost. What can be done without it is done.
. "$(dirname "$0")/lib.sh"
realm --workers 1 --trusted 1
daemons worker-1
image
project p
recipe <<'R'
image: IMAGE
steps: {build: {run: cp n /out/n, artifacts: [n]}}
R
echo 1 >"$repo/n"
commit one
push 0
expect 0 assay who
[ ! -s "$scratch/err" ] || fail "the IDP is there, and it says $(cat "$scratch/err")"
away() { eval "kill \$${1}_pid; wait \$${1}_pid" || true; }
# gone SERVICE COMMAND...: it is named, with its endpoint
gone() {
    gone_service=$1
    shift
    expect 5 assay --timeout 1s "$@"
    has err "no $gone_service at tcp://127.0.0.1:"
    [ "$(wc -l <"$scratch/err")" = 1 ] || fail "more than a line: $(cat "$scratch/err")"
}

say "store"
away store
gone store get "$id/build" -d "$scratch/no"
[ ! -e "$scratch/no" ] || fail "a folder is left"
gone store image list
gone store image import --name other "$scratch/rootfs"
has err "is assay-store running there?"

say "verifier"
away verifier
gone verifier attest "$id/build"
gone verifier audit "$id/build"
has err "is assay-verifier running there?"
expect 5 assay audit "$id/build"
has err "after 5 s" # as for the others, and not as long as an answer may take
expect 0 assay --timeout 1s status "$id"

say "IDP"
away idp
gone idp token --role viewer --name v
gone idp revoke worker-1
for what in who policy "policy --project p" "who --json"; do
    # shellcheck disable=SC2086
    expect 0 assay --timeout 1s $what
    has err "no answer of the idp at tcp://127.0.0.1:"
    grep -qE 'kept copy of the roster, of 20[0-9T:.Z-]*, [0-9]+ (s|min) ago ' "$scratch/err" || fail "not how old: $(cat "$scratch/err")"
    [ "$(wc -l <"$scratch/err")" = 1 ] || fail "more than a line: $(cat "$scratch/err")"
done
has out worker-1

say "broker: without --timeout, too, it takes seconds; the submission waits beside the repository"
away broker
began=$(date +%s)
expect 5 assay status
[ $(($(date +%s) - began)) -le 30 ] || fail "it took $(($(date +%s) - began)) s"
has err "no broker at tcp://127.0.0.1:"
gone broker log "$id/build"
gone broker cancel "$id"
echo 2 >"$repo/n"
commit two
gone broker push -C "$repo"
has err '"assay flush" sends it'
grep -qE '^[0-9a-f]{64}$' "$scratch/out" || fail "no id"
two=$(cat "$scratch/out")

say "all are there again"
for d in idp store broker verifier; do start "$d" "assay-$d" --dir "$realm/$d"; done
expect 0 assay flush -C "$repo"
until_true 60 sh -c "assay status --json $two | grep -q '\"state\":\"trusted\"'"
expect 0 assay get "$two/build" -d "$scratch/got"
done_ok
