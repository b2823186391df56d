#!/bin/sh
# The hook never blocks or loses a push: without a broker the signed submission waits beside the repository, and goes out with
# `assay flush`, or with the next push. Hooks in bare repositories, work trees, and gitolite's common hooks.
. "$(dirname "$0")/lib.sh"
realm --workers 2 --trusted 1
up
image
down
project hello
recipe <<'R'
image: IMAGE
steps: {build: {run: cp n /out/n, artifacts: [n]}}
R
echo 1 >"$repo/n"
commit one
git clone -q --bare "$repo" "$scratch/hello.git"
git -C "$repo" remote add origin "$scratch/hello.git"
expect 0 assay hook install -C "$scratch/hello.git"

say "no broker: git push succeeds, at once, and says where the submission waits"
echo 2 >"$repo/n"
commit two
began=$(date +%s)
git -C "$repo" push -q origin main 2>"$scratch/push.log" || fail "push"
[ $(($(date +%s) - began)) -le 4 ] || fail "the push was held up"
spooled() { find "$scratch/hello.git" -path '*assay*' -type f | grep -q spool; }
until_true 10 spooled

say "the broker is there again: flush sends it, once"
up
expect 0 assay flush -C "$scratch/hello.git"
built() { assay status --json | grep -q "$(git -C "$repo" rev-parse "$1").*\"state\":\"trusted\""; }
until_true 30 built HEAD
expect 0 assay flush -C "$scratch/hello.git"
[ "$(assay status --json | wc -l)" = 1 ] || fail "sent twice"

say "spooled again, and sent with the next push"
down
echo 3 >"$repo/n"
commit three
git -C "$repo" push -q origin main 2>>"$scratch/push.log"
up
echo 4 >"$repo/n"
commit four
git -C "$repo" push -q origin main 2>>"$scratch/push.log"
until_true 30 built HEAD
until_true 30 built HEAD~1

say "a push by hand without a broker: exit 5, and nothing lost"
down
echo 5 >"$repo/n"
commit five
expect 5 assay --timeout 2s push -C "$repo"
has err "flush"
up
expect 0 assay flush -C "$repo"
until_true 30 built HEAD

say "hooks of a work tree, and of gitolite"
expect 0 assay hook install -C "$repo"
[ -x "$repo/.git/hooks/post-receive" ] || [ -x "$repo/.git/hooks/post-commit" ] || fail "no hook in the work tree"
mkdir -p "$scratch/home/.gitolite/hooks/common"
HOME=$scratch/home expect 0 assay hook install -C "$scratch/home"
[ -x "$scratch/home/.gitolite/hooks/common/post-receive" ] || fail "no common hook"

say "a hook that is there already is not overwritten"
git init -q --bare "$scratch/other.git"
printf '#!/bin/sh\necho mine\n' >"$scratch/other.git/hooks/post-receive"
chmod +x "$scratch/other.git/hooks/post-receive"
assay hook install -C "$scratch/other.git" >"$scratch/out" 2>"$scratch/err" || true
grep -q mine "$scratch/other.git/hooks/post-receive" "$scratch/other.git"/hooks/post-receive.d/* 2>/dev/null || fail "the old hook is gone"
done_ok
