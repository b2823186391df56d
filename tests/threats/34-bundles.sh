#!/bin/sh
# A bundle with its proofs, a roster or a link that was altered on its way: every line dropped, doubled or swapped, bytes flipped, cut off, signed anew. It is
# refused with what is wrong, exit status 6, or means the same as before; never a crash. A true verdict about something else is not taken for one about this.
. "$(dirname "$0")/../e2e/lib.sh"
for p in python3 openssl; do command -v $p >/dev/null || { echo "skipped: no $p (deploy/install-deps)"; exit 77; }; done
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
for w in worker-2 worker-3; do expect 0 assay --dir "$realm/$w" audit --cosign; done
expect 0 assay attest "$id/build" --witnesses 2 -o "$scratch/p.proven" --roster "$scratch/roster"
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
verify 0 q.one p.one.got
has out "project   q; nobody said which one it must be"
verify 0 q.one --project q --json
says() { python3 -c "import json; o = json.load(open('$scratch/out')); assert $1, o" || fail "not: $1"; }
says 'o["project"] == "q" and o["asked"] == {"project": "q"} and o["step"] == "build" and o["state"] == "trusted" and [i["step"] for i in o["inputs"]] == ["lib"]'
says 'len(o["results"]) == 2 and all(r["counted"] for r in o["results"]) and "log" not in o'
verify 0 p.proven --json
says 'o["project"] == "p" and o["asked"] == {} and len(o["log"]["witnesses"]) == 2'

say "a work tree says which project is expected in it, an option more than that"
git -C p config assay.project p
mkdir p/deep
cd p/deep
within() { want=$1; shift; expect "$want" assay verify --root "$realm/realm.ini" ../../roster "$@"; }
within 6 ../../q.one ../../p.one.got
has err "about project q, not p, which is expected by git config assay.project"
within 0 ../../p.one ../../p.one.got
has out "project   p, as git config assay.project of this work tree asks for"
within 0 ../../q.one --project q
git config assay.project 'P P'
within 2 ../../p.one
has err "no project's name"
git config --unset assay.project
within 0 ../../q.one
cd "$scratch"
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

say "bundle, its proofs, roster and links, altered in every way that a machine can think of"
python3 - "$realm/realm.ini" roster p.one p.proven p.one.got "$(find links -name '*.link' | sort | head -n 1)" <<'END' || fail "see above"
import base64, hashlib, json, subprocess, sys
ini, roster, bundle, proven, got, link = sys.argv[1:]
def run(changed, data):
    names = {"roster": roster, "bundle": bundle, "link": link, "proofs": proven}
    names[changed] = "changed.link" if changed == "link" else "changed"
    with open(names[changed], "wb") as f:
        f.write(data)
    # the rest is as it should be; a bundle with proofs is asked for them
    rest = [names["proofs"], "--witnesses", "2"] if changed == "proofs" else [names["bundle"]]
    p = subprocess.run(["assay", "verify", "--root", ini, names["roster"], *rest, names["link"], got], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    return p.returncode, p.stdout.replace(b"changed.link", link.encode()), p.stderr
def variants(data, lines, step, begin=0):
    rows = data.splitlines(True)
    for i in range(len(rows) if lines else 0):
        yield "drop line %d" % i, b"".join(rows[:i] + rows[i + 1:])
        yield "double line %d" % i, b"".join(rows[:i + 1] + rows[i:])
        for k in range(i):
            yield "swap lines %d %d" % (k, i), b"".join(rows[:k] + [rows[i]] + rows[k + 1:i] + [rows[k]] + rows[i + 1:])
    for i in range(begin, len(data), step):
        yield "flip byte %d" % i, data[:i] + bytes([data[i] ^ 1 << i % 8]) + data[i + 1:]
        yield "cut at %d" % i, data[:i]
        yield "insert at %d" % i, data[:i] + b"0" + data[i:]

# Signed anew: by a key of nobody's, as openssl makes it.
def sign(text):
    with open("text", "wb") as f:
        f.write(text)
    return subprocess.run(["openssl", "pkeyutl", "-sign", "-inkey", "nobody.pem", "-rawin", "-in", "text"], stdout=subprocess.PIPE, check=True).stdout
subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", "nobody.pem"], check=True)
public = subprocess.run(["openssl", "pkey", "-in", "nobody.pem", "-pubout", "-outform", "DER"], stdout=subprocess.PIPE, check=True).stdout[-32:]
def signed_anew(name, data):
    rows = data.splitlines(True)
    for i, row in enumerate(rows if name in ("bundle", "proofs") else []):
        o = json.loads(row)
        if "tlogProof" in o:
            head, rest = o["tlogProof"].split("\n\n", 1)
            text, signatures = rest.split("\n\n", 1)
            by = signatures.splitlines()
            for k, line in enumerate(by):
                dash, who, old = line.split(" ")
                own = hashlib.sha256(who.encode() + b"\n\x01" + public).digest()[:4]
                for what, key in ("under its key's name", base64.b64decode(old)[:4]), ("under a key of nobody's", own):
                    new = by[:k] + [" ".join([dash, who, base64.b64encode(key + sign(text.encode() + b"\n")).decode()])] + by[k + 1:]
                    o["tlogProof"] = "\n\n".join([head, text, "\n".join(new) + "\n"])
                    yield "sign line %d anew, signature %d, %s" % (i, k, what), b"".join(rows[:i] + [json.dumps(o, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"] + rows[i + 1:])
        else:
            kind, body = o["payloadType"].encode(), base64.b64decode(o["payload"])
            o["signatures"][0]["sig"] = base64.b64encode(sign(b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(body), body))).decode()
            yield "sign line %d anew" % i, b"".join(rows[:i] + [json.dumps(o, separators=(",", ":")).encode() + b"\n"] + rows[i + 1:])
    if name == "link":
        o = json.loads(data)
        text = json.dumps(o["signed"], sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        o["signatures"][0]["sig"] = sign(text).hex()
        yield "sign the link anew", json.dumps(o).encode()

content = {n: open(f, "rb").read() for n, f in (("roster", roster), ("bundle", bundle), ("link", link), ("proofs", proven))}
log = content["proofs"].index(b'{"tlogProof"')
good = {n: run(n, content[n]) for n in content}
assert all(g[0] == 0 for g in good.values()), good
bad = tried = same = few = anew = 0
def judge(name, what, data, may_be_few):
    global bad, tried, same, few
    rc, out, err = run(name, data)
    tried += 1
    if rc == 0 and out == good[name][1]:
        same += 1 # white space
    elif rc == 3 and may_be_few and (b"witnesses of different owners" in err or b"does not show that its verdict is in the log" in err):
        few += 1 # a witness's signature that names nobody counts for nothing; all proofs are gone
    elif rc != 6 or err.count(b"\n") != 1 or not err.startswith(b"assay: verify: "):
        bad += 1
        print(name, what, "gave", rc, err, out)
for name, lines, runs, begin in (("bundle", False, 40, 0), ("proofs", True, 90, log), ("roster", False, 25, 0), ("link", False, 25, 0)):
    for what, data in variants(content[name], lines, (len(content[name]) - begin) // runs, begin):
        judge(name, what, data, name == "proofs")
    for what, data in signed_anew(name, content[name]):
        anew += 1
        judge(name, what, data, "under a key of nobody's" in what)
print("-- %d tried, %d of them signed anew; %d without effect, %d with fewer witnesses than were asked for" % (tried, anew, same, few))
sys.exit(bad != 0 or few == 0 or anew < 15)
END
done_ok
