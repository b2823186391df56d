#!/bin/sh
# What the hook submits: commits of a work tree; branches and tags of a bare repository, each once; nothing for what is deleted or skipped;
# through gitolite's common hooks, which are links; beside a hook that was there, which still sees what was pushed; and what a killed hook missed.
. "$(dirname "$0")/lib.sh"
realm --workers 1 --trusted 1
up
image
project p
recipe <<'R'
image: IMAGE
steps: {build: {run: cp n /out/n, artifacts: [n]}}
R
echo 1 >"$repo/n"
commit one
# submitted COMMIT REF: how often
submitted() { assay status --json --limit 200 | grep -c "\"commit\":\"$1\",\"ref\":\"$2\"" || true; }
head() { git -C "$repo" rev-parse HEAD; }
once() { until_true 30 sh -c "assay status --json --limit 200 | grep -q '\"commit\":\"$1\",\"ref\":\"$2\"'"; [ "$(submitted "$1" "$2")" = 1 ] || fail "$2 $1 was submitted $(submitted "$1" "$2") times"; }

say "a work tree: each commit"
expect 0 assay hook install -C "$repo"
echo 2 >"$repo/n"
git -C "$repo" commit -q -a -m two 2>"$scratch/err"
has err "submitted as"
once "$(head)" refs/heads/main
git -C "$repo" commit -q --allow-empty -m "three [ci skip]" 2>"$scratch/err"
has err "skipped"

say "a bare repository, through gitolite's common hooks; the hook that was there still sees what was pushed"
mkdir -p "$scratch/home/.gitolite/hooks/common"
printf '#!/bin/sh\ncat >>"%s/seen"\n' "$scratch" >"$scratch/home/.gitolite/hooks/common/post-receive"
chmod +x "$scratch/home/.gitolite/hooks/common/post-receive"
HOME=$scratch/home expect 0 assay hook install -C "$scratch/home"
has out "gitolite setup --hooks-only"
HOME=$scratch/home expect 0 assay hook install -C "$scratch/home" # twice is fine
rm -r "$repo/.git/hooks" "$repo/.git/assay"
git clone -q --bare "$repo" "$scratch/q.git"
git -C "$scratch/q.git" config receive.advertisePushOptions true
ln -s "$scratch/home/.gitolite/hooks/common/post-receive" "$scratch/q.git/hooks/post-receive"
git -C "$repo" remote add origin "$scratch/q.git"
give() { git -C "$repo" push -q "$@" 2>"$scratch/err" || { cat "$scratch/err"; fail "push"; }; }
echo 4 >"$repo/n"
git -C "$repo" commit -q -a -m four
git -C "$repo" tag v1
give origin main v1 main:refs/heads/other
once "$(head)" refs/heads/main
once "$(head)" refs/tags/v1
once "$(head)" refs/heads/other
grep -q "refs/tags/v1" "$scratch/seen" || fail "the hook that was there saw nothing"

say "nothing for what is deleted, skipped, or no branch and no tag"
give origin :refs/heads/other main:refs/notes/x
! grep -q "submitted" "$scratch/err" || fail "submitted: $(cat "$scratch/err")"
for options in "-o ci.skip" "-o other -o skip-ci"; do
    git -C "$repo" commit -q --allow-empty -m "nothing to do"
    # shellcheck disable=SC2086
    give $options origin main
    has err "push option"
done
git -C "$repo" commit -q --allow-empty -m "[Skip CI] nor here"
give origin main
has err "[skip ci]"
skipped=$(head)

say "what a hook that was killed missed comes with the next push"
mv "$scratch/q.git/hooks/post-receive" "$scratch/kept"
echo 5 >"$repo/n"
git -C "$repo" commit -q -a -m five
give origin main:refs/heads/missed
missed=$(head)
mv "$scratch/kept" "$scratch/q.git/hooks/post-receive"
git -C "$repo" tag v2
give origin v2
once "$(head)" refs/tags/v2
once "$missed" refs/heads/missed
[ "$(submitted "$skipped" refs/heads/main)" = 0 ] || fail "what was skipped was submitted later"

say "a recipe that is wrong is told to who pushes; the push is done"
printf 'image: %s\nsteps: {build: {runn: x}}\n' "$image" >"$repo/.assay.yml"
git -C "$repo" commit -q -a -m wrong
give origin main
has err ".assay.yml:2:"
[ "$(git -C "$scratch/q.git" rev-parse main)" = "$(head)" ] || fail "the push was refused"
done_ok
