#!/bin/sh
# Submissions that are unsigned, altered, replayed, expired, from the future, by the wrong key or for another's project: a named error, and
# nothing is stored. One whose steps or recipe are not those of the commit: the worker finds out.
. "$(dirname "$0")/../e2e/lib.sh"
PATH=$build/tests/threats:$PATH
realm --workers 2 --trusted 1
printf '[leases]\nerrors = 2\n' >>"$realm/broker/broker.ini"
up
image
project p
recipe <<'R'
image: IMAGE
steps: {build: {run: cp n /out/n, artifacts: [n]}}
R
echo 1 >"$repo/n"
commit one
url=file://$repo
head=$(git -C "$repo" rev-parse HEAD)
token=$(assay token --role submitter --name eve --project only/hers)
expect 0 assay --dir "$realm/eve" enrol "$token"
try() { # DIR FLAW CODE [PROJECT]
    expect 0 hostile submit "$1" "$2" "$url" "$head" refs/heads/main "${4:-p}" "$repo"
    has out "$3"
    say "$2: $(head -n 1 "$scratch/out")"
}
try "$realm" bit bad-signature
try "$realm" signature bad-signature
try "$realm" key unknown-key
try "$realm" name bad-signature
try "$realm" type unexpected
try "$realm" expired expired
try "$realm" future expired
try "$realm/eve" none not-allowed p
try "$realm/worker-1" none not-allowed
[ -z "$(assay status --json)" ] || fail "something was stored"

say "the same three times is one job"
try "$realm" replay "ok again"
[ "$(assay status --json | wc -l)" = 1 ] || fail "more than one"
id=$(sed -n 's/^\([0-9a-f]\{64\}\)$/\1/p' "$scratch/out" | head -n 1)
until_true 20 sh -c "assay status --json $id | grep -q '\"state\":\"trusted\"'"

for flaw in recipe step commit; do
    say "$flaw: workers find that it is not what the commit holds; given up after the cap, and said so"
    expect 0 hostile submit "$realm" $flaw "$url" "$head" refs/heads/main p "$repo"
    id=$(sed -n 's/^\([0-9a-f]\{64\}\)$/\1/p' "$scratch/out")
    until_true 60 sh -c "assay status --json $id | grep -q '\"state\":\"unsatisfiable\"'"
    expect 0 assay status "$id"
    grep -E 'attempts ended' "$scratch/out" || fail "no reason"
    expect 3 assay get "$id/build" -d "$scratch/never"
done

say "and one that expires while it waits is expired"
pkill -STOP -f "assay-worker --dir $realm/worker" || true
expect 0 hostile submit "$realm" soon "$url" "$head" refs/heads/main p "$repo"
id=$(sed -n 's/^\([0-9a-f]\{64\}\)$/\1/p' "$scratch/out")
until_true 30 sh -c "assay status --json $id | grep -q '\"state\":\"expired\"'"
pkill -CONT -f "assay-worker --dir $realm/worker" || true
done_ok
