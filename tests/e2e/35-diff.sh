#!/bin/sh
# Why builds differ: one against all and everyone differs are told apart; while more votes are on their way there are groups and hosts but nothing to copy;
# then the files, their owners, what differs in the hosts, and diffoscope's report, as text and as HTML.
. "$(dirname "$0")/lib.sh"
realm --workers 5 --trusted 1
mv "$realm/worker-4" "$realm/liar"
mv "$realm/worker-5" "$realm/asleep"
up
image
start liar assay-worker-liar --dir "$realm/liar"
project hello
recipe <<'R'
image: IMAGE
policy: {agree: 4}
steps:
  build:
    run: |
      mkdir -p /out/doc
      cp hello.txt /out/hello
      : >/out/doc/empty
      ln -s ../hello /out/doc/link
    artifacts: [hello, doc]
R
printf 'hello, world\nand more\n' >"$repo/hello.txt"
commit
push_only
field() { assay status --json "$id" | sed -n "s/.*\"name\":\"build\".*\"$1\":\"*\([a-z0-9-]*\).*/\1/p"; }
is() { [ "$(field "$1")" = "$2" ]; }
until_true 90 is votes 4

say "four of five owners have voted, one says otherwise: disputed, one against all, and nothing to copy"
is state disputed || fail "state $(field state)"
is split one-against-all || fail "split $(field split)"
expect 0 assay status "$id"
has out "one against all: owner owner-4 differs from 3 others"
expect 3 assay diff "$id/build"
has out "owner-4"
has out "worker-1 (trusted)"
has out "the same on all hosts: kernel"
has err "more votes are on their way"
! grep -q FILE "$scratch/out" || fail "files are shown"
expect 3 assay diff --json "$id/build"
! grep -qE '"(outcome|artifact|exit)"' "$scratch/out" || fail "an outcome is shown"
expect 0 assay attest --json "$id/build"
[ "$(wc -l <"$scratch/out")" = 1 ] || fail "results are shown"
for who in worker-1 liar store; do
    expect 4 assay --dir "$realm/$who" diff "$id/build"
    expect 4 assay --dir "$realm/$who" attest "$id/build"
done
expect 0 assay --dir "$scratch/viewer" enrol "$(assay token --role viewer --name viewer --project '*')"
expect 3 assay --dir "$scratch/viewer" diff "$id/build"
has out "owner-4"
expect 4 assay --dir "$scratch/viewer" diff --close "$id/build"
is state disputed || fail "a viewer ended the voting"
expect 0 assay --dir "$scratch/eve" enrol "$(assay token --role submitter --name eve --project '*')"
expect 3 assay --dir "$scratch/eve" diff "$id/build"
expect 4 assay --dir "$scratch/eve" diff --close "$id/build"
has err "its submitter and admins may do"
is state disputed || fail "a submitter ended the voting on another's step"

say "--close: no further vote counts; then files, owners, hosts and diffoscope"
expect 0 assay diff --close --html "$scratch/page.html" "$id/build"
is state unreproducible || fail "state $(field state)"
for word in "GROUP  OWNERS" "owner-1, owner-2, owner-3" "FILE" "hello" "content" "22 bytes" "--- /A" "+++ /B" "-and more"; do has out "$word"; done
! grep -q "doc/" "$scratch/out" || fail "files that do not differ are listed"
grep -q "<html" "$scratch/page.html" || fail "no page"
expect 0 assay --dir "$scratch/viewer" diff "$id/build" # but not what is in the artifacts
has out "owner-1, owner-2, owner-3"
has err "submitters and admins may"
! grep -q FILE "$scratch/out" || fail "a viewer reads what is not trusted"
expect 0 assay diff --brief "$id/build"
! grep -q -e "--- /A" "$scratch/out" || fail "--brief ran diffoscope"
expect 0 assay diff --json "$id/build"
has out '"file":"hello","differs":"content"'
has out '"host":"cpu","same":true'
expect 0 assay status "$id"
has out "unreproducible"
start asleep assay-worker --dir "$realm/asleep"
sleep 1
is votes 4 || fail "a vote was taken after the results were shown"
expect 0 assay attest --json "$id/build"
[ "$(wc -l <"$scratch/out")" = 5 ] || fail "not a verdict and four results"

say "a retry opens it anew, with votes of its own"
expect 0 assay retry "$id/build"
anew() { ! assay status "$id" | grep -q "were shown" && [ "$(field votes)" -ge 4 ]; } # of five owners, the liar may not be drawn
until_true 90 anew

say "everyone differs"
recipe <<'R'
image: IMAGE
policy: {agree: 3}
steps:
  build:
    run: head -c 8 /dev/urandom >/out/noise
    artifacts: [noise]
R
commit noise
push 3
is split everyone-differs || fail "split $(field split)"
expect 0 assay status "$id"
has out "everyone differs: no two of 5 owners agree"
expect 0 assay diff --brief "$id/build"
for word in A B C D E; do grep -q "^$word  *owner-" "$scratch/out" || fail "no group $word"; done

say "tolerated dissent is shown as well; nothing differs where all agree"
recipe <<'R'
image: IMAGE
policy: {agree: 3, dissent: tolerate}
steps: {build: {run: cp hello.txt /out/hello, artifacts: [hello]}}
R
n=0
while :; do
    n=$((n + 1))
    [ $n -le 20 ] || fail "the liar was never drawn"
    commit "$n"
    push 0
    [ "$(field dissent)" = 0 ] || break
done
expect 0 assay diff --brief "$id/build"
has out "tolerated: one against all: owner owner-4"
has out hello
[ "$(grep -c '^[AB]  *owner-' "$scratch/out")" = 2 ] || fail "groups"
done_ok
