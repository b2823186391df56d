"""A worker in another language, written from proto/PROTOCOL.md alone. It takes the numbers, fields, bounds and constants from
that document's own tables, so that what is missing there is missing here.

    worker.py PROTOCOL.md FOLDER TOKEN LEASES [cut | probe DIGEST SIZE ARTIFACT]

enrols with the token (keys are kept in FOLDER: a second start without a token goes on with them), takes so many leases, and answers
each with known bits: nothing is run. For each artifact NAME of a step it makes a file NAME that holds what the source has under that
name. Prints a line for each thing that it did. `cut`: its connection to the store ends in the middle of each upload. `probe`: under its
lease it also tries what it must not, with a blob and an artifact of somebody else's. Numbers in brackets are sections of the document.
"""
import base64
import hashlib
import json
import os
import re
import struct
import subprocess
import sys
import time

import msgpack
import nacl.public
import nacl.signing
import zmq
from zmq.utils import z85

NONE = bytes(32)


def say(*words):
    print(*words, flush=True)


class Refused(Exception):
    """What another said does not hold; or an `error` that came: .code"""

    def __init__(self, code, text=""):
        super().__init__(f"{code}: {text}")
        self.code = code


# ---- the tables of the document (3, 18, 20) ----------------------------------------------------------------------------


class Table:
    def __init__(self, path):
        self.messages, self.names, self.constants, current = {}, {}, {}, None
        for line in open(path, encoding="utf-8"):
            head = re.match(r"#### (\d+) `(\w+)`", line)
            field = re.match(r"\| \d+ \| `(\w+)` \| ([\w ]+?) \|(.*?)\|", line)
            constant = re.match(r"\| `([A-Z_]+)` \| `?([^`|]+?)`? \|", line)
            if head:
                current = []
                self.messages[head[2]] = (int(head[1]), current)
                self.names[int(head[1])] = head[2]
            elif field and current is not None:
                current.append((field[1], field[2], [int(n) for n in re.findall(r"\d+", field[3])]))
            elif constant:
                self.constants[constant[1]] = int(constant[2]) if constant[2].isdigit() else constant[2]

    def __getitem__(self, name):
        return self.constants[name]

    def pack(self, name, request=0, **values):
        """what is not given is 0 or empty"""
        number, fields = self.messages[name]
        if not set(values) <= {f[0] for f in fields}:
            raise TypeError(f"{name} has other fields")
        nothing = {"u64": 0, "dig": NONE, "bin": b"", "str": ""}
        out = [values.get(field, nothing.get(kind, [])) for field, kind, _ in fields]
        return msgpack.packb([self["PROTO_VERSION"], number, request, *out], use_bin_type=True)

    def unpack(self, frame, want=None):
        """(name, request id, fields); checks what section 3 asks for"""
        parts = msgpack.unpackb(frame, raw=False, strict_map_key=True)
        if not isinstance(parts, list) or len(parts) < 3 or parts[0] != self["PROTO_VERSION"]:
            raise Refused("malformed", "not a message")
        if parts[1] not in self.names or (want and self.names[parts[1]] != want):
            raise Refused("unexpected", f"message {parts[1]}, not {want}")
        name = self.names[parts[1]]
        fields = self.messages[name][1]
        if len(parts) != 3 + len(fields):
            raise Refused("malformed", name)
        values = {}
        for (field, kind, bound), value in zip(fields, parts[3:]):
            one = {"u64": int, "dig": bytes, "bin": bytes, "str": str}.get(kind)
            good = isinstance(value, one) if one else isinstance(value, list) and len(value) <= bound[0]
            if good and kind == "dig":
                good = len(value) == 32
            elif good and kind in ("bin", "str"):
                good = len(value if kind == "bin" else value.encode()) <= bound[0]
            if not good:
                raise Refused("malformed", f"{name}.{field}")
            values[field] = value
        return name, parts[2], values


# ---- signed statements (7, 8) --------------------------------------------------------------------------------------------


def pae(kind, body):
    kind = kind.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(body), body)


class Envelope:
    def __init__(self, raw, kind):
        parts = msgpack.unpackb(raw, raw=False)
        if not isinstance(parts, list) or len(parts) != 4 or raw[0] != 0x94 or parts[0] != kind:
            raise Refused("malformed", f"not an envelope of {kind}")
        self.raw, self.kind, self.body, self.signature = raw, parts[0], parts[1], parts[3]
        self.id = hashlib.sha256(pae(self.kind, self.body)).digest()

    def check(self, key):
        try:
            nacl.signing.VerifyKey(key).verify(pae(self.kind, self.body), self.signature)
        except Exception:
            raise Refused("bad-signature", self.kind) from None
        return self.body


def compact(kind, body, key):
    signature = key.sign(pae(kind, body)).signature
    return msgpack.packb([kind, body, bytes(key.verify_key), signature], use_bin_type=True)


def dsse(kind, body, key):
    return json.dumps(
        {
            "payload": base64.b64encode(body).decode(),
            "payloadType": kind,
            "signatures": [{"keyid": bytes(key.verify_key).hex(), "sig": base64.b64encode(key.sign(pae(kind, body)).signature).decode()}],
        },
        separators=(",", ":"),
    ).encode()


# ---- connections (2, 4, 5) -----------------------------------------------------------------------------------------------


class Connection:
    def __init__(self, table, endpoint, server_key, secret):
        self.table, self.last = table, 0
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        public = bytes(nacl.public.PrivateKey(secret).public_key)
        for option, value in (
            (zmq.CURVE_SERVERKEY, z85.encode(server_key)),
            (zmq.CURVE_PUBLICKEY, z85.encode(public)),
            (zmq.CURVE_SECRETKEY, z85.encode(secret)),
            (zmq.MAXMSGSIZE, 4 << 20),
            (zmq.LINGER, 1000),
        ):
            self.socket.setsockopt(option, value)
        self.socket.connect(endpoint)
        try:
            welcome = self.ask("hello", "welcome", 5, min_version=1, max_version=1, software="worker.py")
        except Refused:
            self.close()
            raise
        if welcome["version"] != 1:
            raise Refused("version", str(welcome["version"]))
        self.name = welcome["name"]

    def send(self, name, request=0, **values):
        self.socket.send(self.table.pack(name, request, **values))

    def take(self, milliseconds):
        """the next message, or None"""
        return self.table.unpack(self.socket.recv()) if self.socket.poll(milliseconds) else None

    def ask(self, name, want, seconds=30, /, **values):
        """the answer to it; pings, credits and such in between are passed over"""
        self.last += 1
        request = self.last
        self.send(name, request, **values)
        return self.answer(request, want, seconds)

    def answer(self, request, want, seconds=30):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            got = self.take(100)
            if got is None:
                continue
            kind, to, fields = got
            if kind == "error" and to in (request, 0):
                raise Refused(fields["code"], fields["text"])
            if kind == want and to == request:
                return fields
        raise Refused("busy", f"no {want}")

    def close(self):
        self.socket.close()


# ---- the roster (9) --------------------------------------------------------------------------------------------------------


class Roster:
    def __init__(self, table, root):
        self.table, self.root, self.seq, self.last, self.time, self.members = table, root, 0, NONE, 0, {}

    def take(self, raw):
        _, _, entry = self.table.unpack(Envelope(raw, self.table["TYPE_ROSTER"]).check(self.root), "roster_entry")
        if entry["seq"] != self.seq + 1 or entry["prev"] != self.last or entry["time"] < self.time:
            raise Refused("damaged", "roster: forked")
        self.seq, self.last, self.time = entry["seq"], hashlib.sha256(raw).digest(), entry["time"]
        if entry["kind"] == self.table["ENTRY_ENROL"]:
            if entry["name"] in self.members:
                raise Refused("damaged", "roster: a name twice")
            self.members[entry["name"]] = dict(entry, good=True)
        elif entry["kind"] == self.table["ENTRY_REVOKE"]:
            self.members[entry["name"]]["good"] = False

    def head(self, raw):
        _, _, head = self.table.unpack(Envelope(raw, self.table["TYPE_HEAD"]).check(self.root), "roster_head")
        if abs(head["time"] / 1e6 - time.time()) > 300:
            raise Refused("expired", "roster: stale")
        if head["seq"] == self.seq and head["last"] != self.last:
            raise Refused("damaged", "roster: forked")
        return head["seq"]

    def update(self, idp):
        while True:
            part = idp.ask("roster_get", "roster_part", **{"from": self.seq + 1})
            for raw in part["entries"]:
                self.take(raw)
            if self.head(part["head"]) <= self.seq:
                return

    def good(self, name, role):
        member = self.members.get(name)
        if member is None or not member["good"] or not member["roles"] & self.table[role]:
            raise Refused("unknown-key", f"{name} is no {role} of the roster")
        return member

    def service(self, role):
        return next(m for m in self.members.values() if m["good"] and m["roles"] & self.table[role])


def allowed(projects, project):
    return any(p == "*" or p == project or (p.endswith("/*") and project.startswith(p[:-1])) for p in projects)


# ---- the work (11 to 15) -----------------------------------------------------------------------------------------------


def manifest(files):
    """(12), of {path: bytes}, all of them plain files"""
    folders = {"/".join(p.split("/")[:i]) for p in files for i in range(1, p.count("/") + 1)}
    out = b"assay-manifest-1\n"
    for path in sorted([*files, *folders], key=str.encode):
        name = path.encode()
        out += struct.pack(">I", len(name)) + name
        if path in folders:
            out += b"d" + struct.pack(">Q", 0)
        else:
            out += b"f" + struct.pack(">Q", len(files[path])) + hashlib.sha256(files[path]).digest()
    return out


def blobs(raw):
    """distinct blobs of a manifest: [(digest, size)]"""
    start = b"assay-manifest-1\n"
    if not raw.startswith(start):
        raise Refused("malformed", "not a manifest")
    at, found = len(start), {}
    while at < len(raw):
        (length,) = struct.unpack_from(">I", raw, at)
        kind = raw[at + 4 + length : at + 5 + length]
        (size,) = struct.unpack_from(">Q", raw, at + 5 + length)
        at += 13 + length
        if kind in (b"f", b"x"):
            found.setdefault(raw[at : at + 32], size)
            at += 32
        elif kind == b"l":
            at += 4 + struct.unpack_from(">I", raw, at)[0]
    return list(found.items())


def fetch(store, name, lease, submission, of=None, box=b""):
    """(14): reads an artifact whole, checks each blob, and gives their sizes' sum, the artifact's digest and its opening (8)"""
    got = store.ask("get_open", "get_manifest", artifact=name, lease=lease, submission=submission, provisional=0, box=box)
    raw, opening = got["manifest"], got["opening"] if box else b""
    artifact = hashlib.sha256(raw).digest()
    if name != (hashlib.sha256(b"assay-blind-1\n" + of + opening + artifact).digest() if box else artifact):
        raise Refused("damaged", "another manifest")
    want, stream = blobs(raw), b""
    total = sum(size for _, size in want)
    while len(stream) < total:
        request = store.last = store.last + 1
        store.send("get_next", request, artifact=artifact, offset=len(stream), credit=4 << 20)
        end = min(total, len(stream) + (4 << 20))
        while len(stream) < end:
            chunk = store.answer(request, "get_chunk")
            if chunk["offset"] != len(stream):
                raise Refused("conflict", "a piece is missing")
            stream += chunk["data"]
    at = 0
    for digest, size in want:
        if hashlib.sha256(stream[at : at + size]).digest() != digest:
            raise Refused("damaged", digest.hex())
        at += size
    return total, artifact, opening


def wanted(state, raw):
    return [d for i, (d, _) in enumerate(blobs(raw)) if state["need"][i // 8] >> (i % 8) & 1]


def upload(store, lease, raw, contents, broken=None):
    """(13): gives the receipt. broken: after the first chunk the connection is, and this gives a new one"""
    while True:
        state = store.ask("put_open", "put_state", lease=lease, manifest=raw)
        stream = b"".join(contents[d] for d in wanted(state, raw))
        offset = state["offset"]
        if offset:
            say("goes on at", offset)
        while offset < len(stream):
            piece = stream[offset : offset + min(1 << 20, state["credit"])]
            offset = store.ask("put_chunk", "put_credit", upload=state["upload"], offset=offset, data=piece)["offset"]
            if broken:
                break
        if not broken:
            return store.ask("put_done", "receipt", upload=state["upload"])["envelope"]
        store.close()
        store, broken = broken(), None


def tried(what, attempt):
    try:
        attempt()
        say("tried", what, "and it was done")
    except Refused as e:
        say("tried", what, "and got", e.code)


def rfc3339(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + ".%03dZ" % int(seconds % 1 * 1000)


class Worker:
    def __init__(self, table, folder, does):
        self.table, self.folder, self.does = table, folder, does
        with open(f"{folder}/keys.json", encoding="utf-8") as f:
            saved = {k: bytes.fromhex(v) for k, v in json.load(f).items()}
        self.sign = nacl.signing.SigningKey(saved["sign"])
        self.transport, self.seal = saved["transport"], saved["seal"]
        self.idp_key, self.endpoint = saved["idp"], saved["endpoint"].decode()
        self.roster = Roster(table, saved["root"])

    def enrol(self, token_secret):
        idp = Connection(self.table, self.endpoint, self.idp_key, token_secret)
        token = bytes(nacl.public.PrivateKey(token_secret).public_key)
        keys = {
            "sign_key": bytes(self.sign.verify_key),
            "transport_key": bytes(nacl.public.PrivateKey(self.transport).public_key),
            "seal_key": bytes(nacl.public.PrivateKey(self.seal).public_key),
        }
        proof = compact(self.table["TYPE_ENROL"], self.table.pack("enrol_proof", token=token, **keys), self.sign)
        answer = idp.ask("enrol", "enrolled", proof=proof, **keys)
        idp.close()
        say("enrolled", answer["name"])

    def service(self, role):
        """(4) a service that does not know us yet refuses at the door, and then nothing comes: closed, and opened anew"""
        for _ in range(12):
            member = self.roster.service(role)
            try:
                return Connection(self.table, member["endpoint"], member["transport_key"], self.transport)
            except Refused as e:
                if e.code != "busy":
                    raise
                time.sleep(0.1)
        raise Refused("busy", f"no {role}")

    def connect(self):
        idp = Connection(self.table, self.endpoint, self.idp_key, self.transport)
        self.roster.update(idp)
        idp.close()
        mine = bytes(self.sign.verify_key)
        self.me = next(m for m in self.roster.members.values() if m["sign_key"] == mine)
        say("roster", self.roster.seq)
        self.broker = self.service("ROLE_BROKER")
        self.store = self.service("ROLE_STORE")
        self.broker.send("holding", leases=[])

    def ready(self, credit):
        self.broker.send("ready", credit=credit, isolation=self.table["ISOLATION_BWRAP"], network=self.table["NETWORK_NONE"], cpus=2, memory=2 << 30, disk=4 << 30, projects=["*"])

    def check(self, lease_raw, submission_raw, boxes):
        """(11) what must hold before anything runs"""
        t, now = self.table, time.time() * 1e6
        lease, submission = Envelope(lease_raw, t["TYPE_LEASE"]), Envelope(submission_raw, t["TYPE_SUBMISSION"])
        _, _, b = t.unpack(lease.body, "lease_body")
        _, _, s = t.unpack(submission.body, "submission_body")
        lease.check(self.roster.good(b["broker"], "ROLE_BROKER")["sign_key"])
        if b["worker"] != self.me["name"] or b["owner"] != self.me["owner"]:
            raise Refused("not-allowed", "a lease of another")
        if b["expires"] <= now or b["issued"] > now + 3e8 or s["expires"] <= now:
            raise Refused("expired")
        submitter = self.roster.good(s["submitter"], "ROLE_SUBMITTER")
        submission.check(submitter["sign_key"])
        if submission.id != b["submission"] or not allowed(submitter["projects"], s["project"]) or not allowed(self.me["projects"], s["project"]):
            raise Refused("not-allowed", "another submission or project")
        steps = [t.unpack(raw, "step")[2] for raw in s["steps"]]
        step = next((x for x in steps if x["name"] == b["step"]), None)
        if step is None or b["image"] not in (step["image"], *step["images"]) or len(step["needs"]) != len(b["inputs"]) or len(boxes) not in (0, len(b["inputs"])) or (s["project"], s["ref"]) != (b["project"], b["ref"]):
            raise Refused("conflict", "lease and submission differ")
        if not set(step["labels"]) <= set(self.me["labels"]) or step["isolation"] > t["ISOLATION_BWRAP"] or b["network"] != t["NETWORK_NONE"]:
            raise Refused("not-allowed", "labels, isolation or network")
        return lease, submission, b, s, step

    def source(self, s):
        """exactly that commit, and the recipe that was signed; a function from path to content"""
        work = f"{self.folder}/source"
        clean = {"PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"}

        def git(*words):
            return subprocess.run(["git", "-C", work, *words], env=clean, check=True, capture_output=True).stdout

        subprocess.run(["git", "init", "-q", "--bare", work], env=clean, check=True)
        git("-c", "core.hooksPath=/dev/null", "fetch", "-q", "--no-tags", "--depth", "1", s["url"], s["commit"])
        if hashlib.sha256(git("cat-file", "blob", f"{s['commit']}:.assay.yml")).digest() != s["recipe"]:
            raise Refused("conflict", "another recipe")
        return lambda path: git("cat-file", "blob", f"{s['commit']}:{path}")

    def log(self, lease, text):
        self.broker.send("log", lease=lease.id, offset=0, data=text.encode())

    def statement(self, lease, b, s, step, inputs, artifact, receipt, began):
        status = 0
        outcome = hashlib.sha256(b"assay-outcome-1\n" + struct.pack(">I", status) + artifact).hexdigest()
        name = f"{b['submission'].hex()}/{b['step']}"
        text = {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": name, "digest": {"sha256": artifact.hex()}}],
            "predicateType": "https://slsa.dev/provenance/v1",
            "predicate": {
                "buildDefinition": {
                    "buildType": "urn:assay:build:step:1",
                    "externalParameters": {
                        "submission": b["submission"].hex(),
                        "step": b["step"],
                        "project": s["project"],
                        "repository": s["url"],
                        "ref": s["ref"],
                        "commit": s["commit"],
                        "recipe": s["recipe"].hex(),
                        "image": b["image"].hex(),
                    },
                    "internalParameters": {
                        "lease": base64.b64encode(lease.raw).decode(),
                        "receipt": base64.b64encode(receipt).decode(),
                        "leaseId": lease.id.hex(),
                        "worker": self.me["name"],
                        "owner": self.me["owner"],
                        "isolation": "bwrap",
                        "network": "none",
                        "accelerator": "",
                        "host": "",
                        "inputs": [i.hex() for i, _ in inputs],
                        "openings": [o.hex() for _, o in inputs],
                        "note": "",
                    },
                    "resolvedDependencies": [
                        {"uri": s["url"], "digest": {"gitCommit": s["commit"]}},
                        {"name": "image", "digest": {"sha256": b["image"].hex()}},
                        {"name": "recipe", "digest": {"sha256": s["recipe"].hex()}},
                    ] + [{"name": "input", "digest": {"sha256": i.hex()}} for i, _ in inputs],
                },
                "runDetails": {
                    "builder": {"id": f"urn:assay:worker:{self.me['name']}"},
                    "metadata": {"invocationId": lease.id.hex(), "startedOn": rfc3339(began), "finishedOn": rfc3339(time.time())},
                    "byproducts": [{"name": "outcome", "digest": {"sha256": outcome}, "annotations": {"exitStatus": status}}],
                },
            },
        }
        return json.dumps(text, separators=(",", ":"), sort_keys=True).encode()

    def work(self, fields):
        began = time.time()
        try:
            lease, submission, b, s, step = self.check(fields["lease"], fields["submission"], fields["boxes"])
        except Refused as e:
            self.broker.send("decline", lease=Envelope(fields["lease"], self.table["TYPE_LEASE"]).id, reason=str(e)[:255])
            say("declined", e)
            return
        read = self.source(s)
        self.log(lease, "known bits, by a worker of another kind\n")
        say("image", fetch(self.store, b["image"], lease.raw, submission.raw)[0], "bytes")
        inputs = []
        for name, box in zip(b["inputs"], fields["boxes"] or [b""] * len(b["inputs"])):
            total, *which = fetch(self.store, name, lease.raw, submission.raw, b["submission"], box)
            inputs.append(which)
            say("blinded" if box else "input", total, "bytes")
        files = {path: read(path) for path in step["artifacts"]}
        raw = manifest(files)
        receipt = b""
        if files and self.does[:1] == ["probe"]:
            self.name_it(lease)
        if files:
            broken = self.reconnect if self.does[:1] == ["cut"] else None
            receipt = upload(self.store, lease.raw, raw, {hashlib.sha256(c).digest(): c for c in files.values()}, broken)
            seal = Envelope(receipt, self.table["TYPE_RECEIPT"])
            _, _, r = self.table.unpack(seal.body, "receipt_body")
            seal.check(self.roster.good(r["store"], "ROLE_STORE")["sign_key"])
            if (r["lease"], r["artifact"]) != (lease.id, hashlib.sha256(raw).digest()):
                raise Refused("damaged", "a receipt of something else")
        if self.does[:1] == ["probe"]:
            self.probe(lease.raw, b)
        body = self.statement(lease, b, s, step, inputs, hashlib.sha256(raw).digest(), receipt, began)
        verifier = self.roster.service("ROLE_VERIFIER")
        box = nacl.public.SealedBox(nacl.public.PublicKey(verifier["seal_key"])).encrypt(dsse(self.table["TYPE_INTOTO"], body, self.sign))
        self.broker.ask("result", "ok", lease=lease.id, kind=self.table["RESULT_OUTCOME"], sealed=box, text="")
        say("result of", b["step"])

    def reconnect(self):
        self.store = self.service("ROLE_STORE")
        return self.store

    def naming(self, digest, size):
        """a manifest of one file, whose bytes we do not have"""
        return b"assay-manifest-1\n" + struct.pack(">I", 1) + b"xf" + struct.pack(">Q", size) + digest

    def probe(self, lease, b):
        digest, size, artifact = bytes.fromhex(self.does[1]), int(self.does[2]), bytes.fromhex(self.does[3])
        opened = {"lease": lease, "manifest": self.naming(digest, size)}
        tried("a second artifact", lambda: self.store.ask("put_open", "put_state", **opened))
        opened["manifest"] = self.naming(digest, b["max_bytes"] + 1)
        tried("too much", lambda: self.store.ask("put_open", "put_state", **opened))
        tried("without a lease", lambda: self.store.ask("put_open", "put_state", lease=b"", manifest=self.naming(digest, size)))
        read = {"artifact": artifact, "submission": b"", "provisional": 0, "box": b""}
        tried("to read", lambda: self.store.ask("get_open", "get_manifest", lease=lease, **read))
        tried("to read without a lease", lambda: self.store.ask("get_open", "get_manifest", lease=b"", **read))
        tried("to finish what is not its own", lambda: self.store.ask("put_done", "receipt", upload=digest))

    def name_it(self, lease):
        """before anything of ours is there: what the store says of a blob that it has, but not from us"""
        raw = self.naming(bytes.fromhex(self.does[1]), int(self.does[2]))
        state = self.store.ask("put_open", "put_state", lease=lease.raw, manifest=raw)
        say("the store", "wants" if wanted(state, raw) else "does not want", "the blob's bytes")
        tried("to end it without", lambda: self.store.ask("put_done", "receipt", upload=state["upload"]))

    def run(self, leases):
        self.ready(1)
        say("ready")
        heard = pinged = time.monotonic()
        while leases > 0:
            got = self.broker.take(500)
            now = time.monotonic()
            if got:
                heard = now
                if got[0] == "lease":
                    self.work(got[2])
                    leases -= 1
                    self.ready(1 if leases else 0)
            if now - pinged > 2:
                self.broker.send("ping", time=int(time.time() * 1e6))
                pinged = now
            if now - heard > 8:
                raise Refused("busy", "the broker is silent")


def main():
    table, folder, token, leases = Table(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
    secret = None
    if token:
        os.makedirs(folder, mode=0o700)
        start = "assay-token-1."
        if not token.startswith(start):
            sys.exit("not a token")
        raw = bytes.fromhex(token[len(start) :])
        secret = raw[:32]
        keys = {k: os.urandom(32).hex() for k in ("sign", "transport", "seal")}
        keys.update(root=raw[32:64].hex(), idp=raw[64:96].hex(), endpoint=raw[96:].hex())
        with open(os.open(f"{folder}/keys.json", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as f:
            json.dump(keys, f)
    worker = Worker(table, folder, sys.argv[5:])
    if secret:
        worker.enrol(secret)
    worker.connect()
    worker.run(leases)


main()
