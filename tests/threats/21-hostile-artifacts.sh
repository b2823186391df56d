#!/bin/sh
# Artifacts that are missing, no files, links out of the tree, badly named or far too many: the step fails and names it; a setuid bit is
# dropped, and said. Never an error of the worker, which goes on.
. "$(dirname "$0")/../e2e/lib.sh"
realm --workers 1 --trusted 1
printf '[limits]\nfiles = 1000000\ndisk = 1G\nmemory = 1G\n' >>"$realm/worker-1/worker.ini"
up
image
project p
step() { # STATUS NAME EXPECTED-IN-LOG ARTIFACTS ; script on stdin
    {
        printf 'image: %s\nsteps:\n  %s:\n    artifacts: %s\n    run: |\n' "$image" "$2" "$4"
        cat | sed 's/^/      /'
    } >"$repo/.assay.yml"
    commit "$2"
    push "$1"
    assay log "$id/$2" >"$scratch/log" 2>/dev/null || true
    grep -q -- "$3" "$scratch/log" || { cat "$scratch/log"; fail "$2: nothing of \"$3\" in its log"; }
    say "$2: $(tail -n 1 "$scratch/log")"
}
step 1 missing 'nothere' '[nothere]' <<'S'
true
S
step 1 fifo 'pipe' '[pipe]' <<'S'
mkfifo /out/pipe
S
step 1 absolute 'link' '[link]' <<'S'
ln -s /etc/passwd /out/link
S
step 1 dotdot 'link' '[link]' <<'S'
ln -s ../../../../etc/passwd /out/link
S
step 1 through 'dir' '[dir/file]' <<'S'
ln -s /etc /out/dir
S
# /out has a link where /src has a folder; a link that is reached by that one leads out of the tree, to the worker's own files
step 1 outside 'artifact s' "[s, s/s/s/up, up$scratch/escaped]" <<S
ln -s . /out/s; mkdir -p /src/s/s/s /src/up$scratch/escaped; ln -s ../../.. /src/s/s/s/up
S
[ ! -e "$scratch/escaped" ] || fail "a step made a folder of the worker's machine"
step 1 control 'bad' "['*']" <<'S'
printf x > "/out/bad
name"
S
step 1 utf8 'bad' "['*']" <<'S'
printf x > "$(printf '/out/bad\377name')"
S
step 1 many 'files\|entries' '[tree]' <<'S'
mkdir /out/tree; cd /out/tree; i=0; while [ $i -lt 120 ]; do mkdir $i; (cd $i; seq 1 1000 | xargs touch); i=$((i + 1)); done
S
step 0 setuid 'bit' '[tool, dir/tool]' <<'S'
mkdir /out/dir; echo x > /out/tool; cp /out/tool /out/dir/tool; chmod 4755 /out/tool; chmod 2711 /out/dir/tool
S
expect 0 assay get "$id/setuid" -d "$scratch/got"
[ "$(stat -c %a "$scratch/got/tool")" = 755 ] || fail "mode $(stat -c %a "$scratch/got/tool")"
step 0 doubling 'doubled' '[tree]' <<'S' # 2^30 paths, for who follows all links: the worker, and who verifies
echo doubled; mkdir -p /out/tree/d40; cd /out/tree; i=10; while [ $i -lt 40 ]; do mkdir d$i; ln -s ../d$((i + 1)) d$i/a; ln -s ../d$((i + 1)) d$i/b; i=$((i + 1)); done
S
expect 0 assay get "$id/doubling" -d "$scratch/got3"
expect 0 assay attest "$id/doubling" -o "$scratch/doubling.bundle" --roster "$scratch/roster"
expect 0 assay verify --root "$realm/realm.ini" "$scratch/roster" "$scratch/doubling.bundle" "$scratch/got3"
step 0 inside 'packed' '[a, link, dir]' <<'S'
echo packed; mkdir -p /out/dir; echo a > /out/a; ln -s a /out/link; ln -s ../a /out/dir/up; ln /out/a /out/dir/hard
S
expect 0 assay get "$id/inside" -d "$scratch/got2"
[ "$(cat "$scratch/got2/dir/up")" = a ] || fail "link inside"
done_ok
