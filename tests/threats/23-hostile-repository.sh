#!/bin/sh
# A commit that is not there, a server that cannot be reached, a tree with names that would hurt: an error with its reason, tried elsewhere up to
# the cap, then said so; the worker goes on.
. "$(dirname "$0")/../e2e/lib.sh"
PATH=$build/tests/threats:$PATH
realm --workers 2 --trusted 1
printf '[leases]\nerrors = 2\n' >>"$realm/broker/broker.ini"
for w in 1 2; do printf 'fetch-time = 5s\n' >>"$realm/worker-$w/worker.ini"; done
up
image
project p
recipe <<'R'
image: IMAGE
steps: {build: {run: cp n /out/n, artifacts: [n]}}
R
echo 1 >"$repo/n"
commit good
head=$(git -C "$repo" rev-parse HEAD)
refused() { # WORD
    id=$(sed -n 's/^\([0-9a-f]\{64\}\)$/\1/p' "$scratch/out" | tail -n 1)
    until_true 60 sh -c "assay status --json $id | grep -q '\"state\":\"unsatisfiable\"'"
    timeout 2 assay watch --since 1 --json >"$scratch/out" || true
    [ "$(grep "$id" "$scratch/out" | grep -c '"kind":"error"')" = 2 ] || fail "not tried twice"
    grep "$id" "$scratch/out" | grep '"kind":"error"' | head -n 1 | grep -qi -- "$1" || { grep "$id" "$scratch/out"; fail "no \"$1\""; }
    say "$2: $(grep "$id" "$scratch/out" | sed -n 's/.*"kind":"error".*"reason":"\([^"]*\)".*/\1/p' | head -n 1 | cut -c1-120)"
}
expect 0 hostile submit "$realm" commit "file://$repo" "$head" refs/heads/main p "$repo"
refused fetch "a commit that is not there"
expect 0 hostile submit "$realm" none "git://127.0.0.1:9/p.git" "$head" refs/heads/main p "$repo"
refused fetch "nobody at the address"
expect 0 hostile submit "$realm" none "ext::sh -c id" "$head" refs/heads/main p "$repo"
refused url "a helper as URL"
expect 0 hostile submit "$realm" none "--upload-pack=/bin/false" "$head" refs/heads/main p "$repo"
refused url "an option as URL"

say "a tree with names and links that would hurt"
blob=$(printf x | git -C "$repo" hash-object -w --stdin)
link=$(printf /etc | git -C "$repo" hash-object -w --stdin)
rec=$(git -C "$repo" rev-parse HEAD:.assay.yml)
inner=$(printf '100644 blob %s\tpasswd\n' "$blob" | git -C "$repo" mktree)
tree=$(printf '100644 blob %s\t.assay.yml\n120000 blob %s\tevil\n100644 blob %s\tn\n' "$rec" "$link" "$blob" | git -C "$repo" mktree)
evil=$(git -C "$repo" commit-tree -m evil "$tree")
git -C "$repo" update-ref refs/heads/evil "$evil"
expect 0 assay push -C "$repo" evil --wait
dot=$(printf '100644 blob %s\t.assay.yml\n040000 tree %s\t.git\n' "$rec" "$inner" | git -C "$repo" mktree 2>/dev/null) || dot=
if [ -n "$dot" ]; then
    evil=$(git -C "$repo" commit-tree -m dotgit "$dot")
    git -C "$repo" update-ref refs/heads/dotgit "$evil"
    expect 0 hostile submit "$realm" none "file://$repo" "$evil" refs/heads/dotgit p "$repo"
    refused . "a folder .git in the tree"
fi
say "and the workers go on"
echo 2 >"$repo/n"
git -C "$repo" checkout -q -f main
echo 2 >"$repo/n"
commit after
push 0
done_ok
