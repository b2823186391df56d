#!/bin/sh
# A bundle, roster or link that was altered on its way: every line dropped, doubled or swapped, bytes flipped, cut off, signed anew. It is refused with what is
# wrong, exit status 6, or means the same as before; never a crash. A true verdict about something else is not taken for one about this.
. "$(dirname "$0")/../e2e/lib.sh"
command -v python3 >/dev/null || { echo "skipped: no python3"; exit 77; }
realm --workers 3 --trusted 1
up
image
build() { # PROJECT CONTENT
    project "$1"
    recipe <<'R'
image: IMAGE
policy: {agree: 2, trusted: required}
steps:
  lib: {run: echo lib >/out/lib, artifacts: [lib]}
  build: {needs: [lib], run: cp n /out/n, artifacts: [n]}
R
    echo "$2" >"$repo/n"
    commit "$2"
    push 0
    expect 0 assay attest "$id/build" -o "$scratch/$1.$2" --roster "$scratch/roster"
    expect 0 assay get "$id/build" -d "$scratch/$1.$2.got"
}
build p one
expect 0 assay attest "$id/build" --format in-toto-link -o "$scratch/links"
build p two
build q one
cd "$scratch"
verify() { want=$1; shift; expect "$want" assay verify --root "$realm/realm.ini" roster "$@"; }
verify 0 p.one p.one.got --project p --step build

say "a true verdict about something else"
verify 6 p.two p.one.got
has err "another artifact"
verify 6 q.one p.one.got --project p # the same bytes, built by another project
has err "about project q, not p"
verify 6 p.one --step lib
verify 6 p.one --commit 0123456789012345678901234567890123456789
{ head -n 1 q.one; tail -n +2 p.one; } >mixed
verify 6 mixed
has err "not the result of"
verify 6 p.one p.two
has err "a verdict on step"
verify 6 p.one p.one
has err "a second verdict"
{ cat roster; cat roster; } >double
expect 6 assay verify --root "$realm/realm.ini" double p.one
assay init "$scratch/elsewhere" >/dev/null
expect 6 assay verify --root "$scratch/elsewhere/realm.ini" roster p.one
: >empty
verify 6 empty

say "what the caller got wrong is no damage: a file that is not there, a key that is none"
verify 2 p.one nothing
has err "nothing: No such file"
for key in no-such-file "$scratch" empty 0123; do
    expect 2 assay verify --root "$key" roster p.one
    has err "64 hex digits"
done
expect 2 assay verify --root "$realm/realm.ini" p.one
has err "no roster among the files"

say "bundle, roster and links, altered in every way that a machine can think of"
python3 - "$realm/realm.ini" roster p.one p.one.got "$(find links -name '*.link' | sort | head -n 1)" <<'END' || fail "see above"
import subprocess, sys
ini, roster, bundle, got, link = sys.argv[1:]
def run(changed, data):
    names = {"roster": roster, "bundle": bundle, "link": link}
    names[changed] = "changed.link" if changed == "link" else "changed"
    with open(names[changed], "wb") as f:
        f.write(data)
    p = subprocess.run(["assay", "verify", "--root", ini, names["roster"], names["bundle"], names["link"], got], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    return p.returncode, p.stdout.replace(b"changed.link", link.encode()), p.stderr
def variants(data, lines, step):
    rows = data.splitlines(True)
    for i in range(len(rows) if lines else 0):
        yield "drop line %d" % i, b"".join(rows[:i] + rows[i + 1:])
        yield "double line %d" % i, b"".join(rows[:i + 1] + rows[i:])
        for k in range(i):
            yield "swap lines %d %d" % (k, i), b"".join(rows[:k] + [rows[i]] + rows[k + 1:i] + [rows[k]] + rows[i + 1:])
    for i in range(0, len(data), step):
        yield "flip byte %d" % i, data[:i] + bytes([data[i] ^ 1 << i % 8]) + data[i + 1:]
        yield "cut at %d" % i, data[:i]
        yield "insert at %d" % i, data[:i] + b"0" + data[i:]
content = {n: open(f, "rb").read() for n, f in (("roster", roster), ("bundle", bundle), ("link", link))}
good = run("bundle", content["bundle"])
assert good[0] == 0, good
bad = tried = same = 0
for name, lines, runs in (("bundle", True, 60), ("roster", False, 25), ("link", False, 25)):
    for what, data in variants(content[name], lines, len(content[name]) // runs):
        rc, out, err = run(name, data)
        tried += 1
        if rc == 0 and out == good[1]:
            same += 1 # white space
        elif rc != 6 or err.count(b"\n") != 1 or not err.startswith(b"assay: verify: "):
            bad += 1
            print(name, what, "gave", rc, err, out)
print("-- %d tried, %d of them without effect" % (tried, same))
sys.exit(bad != 0)
END
done_ok
