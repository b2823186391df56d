#!/bin/sh
# What a build can reach. By default nothing; where recipe, policy and owner all allow it: the git server of its submission, the broker and the
# store, at their own addresses; the source comes from none but such either. Other ports, other addresses, other names, IPv6, the host's loopback and link-local fail, and are counted.
# Each driver that gives builds a network must pass this: DRIVER (63-vm-network.sh).
. "$(dirname "$0")/../e2e/lib.sh"
[ -x "$(git --exec-path)/git-daemon" ] || { echo "no git daemon"; exit 77; }
realm --workers 1 --trusted 1
driver=${DRIVER:-bwrap}
sed -i "/^isolation/d; /^\[worker\]/a network = realm\nisolation = $driver\nemulation = yes" "$realm/worker-1/worker.ini"
printf '[limits]\nmemory = 96M\ndisk = 32M\ncpus = 1\nnice = 0\n' >>"$realm/worker-1/worker.ini"
up
if [ "$driver" = qemu ]; then vm_image; else image; fi
project p
port=$((20000 + $$ % 20000))
git_port=$port
while ! {
    git daemon --reuseaddr --listen=127.0.0.1 --port="$git_port" --base-path="$scratch" --export-all --log-destination=none &
    git_pid=$!
    sleep 0.3
    kill -0 "$git_pid" 2>/dev/null
}; do git_port=$((git_port + 1)); [ $git_port -lt $((port + 20)) ] || fail "no port for the git daemon"; done
pids="$pids $git_pid"
url=git://127.0.0.1:$git_port/p
port_of() { assay who --json | grep "\"name\":\"$1\"" | grep -oE '"endpoint":"tcp://[^"]*' | grep -oE '[0-9]+$'; }
broker=$(port_of broker) store=$(port_of store) verifier=$(port_of verifier)
[ -n "$broker" ] && [ -n "$store" ] && [ -n "$verifier" ] || fail "endpoints"
# a service of the host that is nobody's business: the control that it can be reached from outside
mkdir "$scratch/secret"
echo secret >"$scratch/secret/index.html"
web=$((git_port + 100))
busybox httpd -f -p "127.0.0.1:$web" -h "$scratch/secret" &
pids="$pids $!"
ours() { busybox wget -q -O - "http://127.0.0.1:$web/index.html" | grep -q secret; }
until_true 10 ours
host=$(hostname -I 2>/dev/null | awk '{ print $1 }')

run() { # what the step said is shown where it fails
    got=0
    timeout 300 assay push -C "$repo" --wait --url "$url" >"$scratch/out" 2>"$scratch/err" || got=$?
    id=$(grep -oE '[0-9a-f]{64}' "$scratch/out" | head -n 1)
    [ "$got" = 0 ] || { cat "$scratch/err"; assay log "$id/net" | tail -n 15; fail "$1: exit status $got"; }
}
step() { # NETWORK: a recipe with the script on the standard input
    {
        printf 'image: %s\nnetwork: %s\nsteps:\n  net:\n    limits: {time: 120s}\n    run: |\n' "$image" "$1"
        sed "s/GITPORT/$git_port/g;s/BROKER/$broker/g;s/STORE/$store/g;s/VERIFIER/$verifier/g;s/WEB/$web/g;s/HOST/${host:-127.0.0.9}/g;s/^/      /"
    } >"$repo/.assay.yml"
    commit "$1"
}
nothing() {
    cat <<'S'
set -x
dead() { ! nc -w 2 "$1" "$2" </dev/null >/dev/null 2>&1 || { echo "reached $1 $2"; exit 1; }; }
dead 127.0.0.1 WEB
dead 127.0.0.1 VERIFIER
dead 127.0.0.2 GITPORT
dead HOST GITPORT
dead HOST WEB
dead 169.254.169.254 80
dead 1.1.1.1 53
dead 93.184.216.34 443
dead ::1 GITPORT
dead fe80::1 GITPORT
dead 2606:4700:4700::1111 53
nslookup example.org 1.1.1.1 && exit 1
nslookup example.org && exit 1
[ "$(ip -o link | grep -v lo: | wc -l)" = 0 ] || exit 1
ip link add name x type dummy && exit 1
ip addr add 10.9.9.9/8 dev lo && exit 1
ls /dev | grep -i port && exit 1
mknod /tmp/port c 10 1 && exit 1
S
}
allowed() {
    nothing
    cat <<'S'
said=$(printf '001egit-upload-pack /p\0host=h\0' | nc -w 5 127.0.0.1 GITPORT | head -c 44)
echo "git: $said"
echo "$said" | grep -qE '^[0-9a-f]{44}' || exit 1
for port in BROKER STORE; do
    [ "$(sleep 1 | nc -w 3 127.0.0.1 $port | head -c 1 | od -An -tx1 | tr -d ' ')" = ff ] || { echo "not reached: $port"; exit 1; }
done
set +x
for i in 1 2 3 4 5 6 7 8; do
    (printf '001egit-upload-pack /p\0host=h\0' | nc -w 10 127.0.0.1 GITPORT | tail -c 4 | grep -q '^0000' && : >/tmp/said.$i) &
done
wait
[ "$(ls /tmp/said.* | wc -l)" = 8 ] || { echo "not all were answered to the end"; exit 1; }
S
}
counts() { # what the log says: let through, failed elsewhere
    assay log "$id/net" >"$scratch/out"
    sed -n 's/.*network: \([0-9]*\) connections let through.* \([0-9]*\) attempts elsewhere.*/\1 \2/p' "$scratch/out"
}
# Attempts of each kind, each one that the kernel takes for one; by TCP and UDP, IPv4 and IPv6: 6 that are let through, 26 that are not
counted() {
    cat <<'S'
nope() { n=$1; shift; while [ $n -gt 0 ]; do ! "$@" </dev/null >/dev/null 2>&1 || { echo "reached: $*"; exit 1; }; n=$((n - 1)); done; }
for i in 1 2 3 4 5 6; do printf '001egit-upload-pack /p\0host=h\0' | nc -w 10 127.0.0.1 GITPORT | head -c 4 | grep -qE '^[0-9a-f]{4}' || exit 1; done
nope 7 nc -w 2 127.0.0.1 WEB
nope 5 nc -w 2 169.254.169.254 80
nope 4 nc -w 2 ::1 GITPORT
nope 3 nc -w 2 2606:4700:4700::1111 53
nope 1 nc -w 2 ::ffff:169.254.169.254 80
nope 1 nc -w 2 224.0.0.1 80
nope 1 nslookup example.org 1.1.1.1
nope 1 nslookup example.org 127.0.0.1
nope 1 nslookup example.org 2606:4700:4700::1111
nope 1 nslookup example.org ::1
nope 1 tftp -g -r x -l /tmp/x 169.254.169.254
S
}
say "$driver: no network unless the policy allows it, whatever recipe and owner say"
{ nothing; echo 'dead 127.0.0.1 GITPORT; dead 127.0.0.1 BROKER; dead 127.0.0.1 STORE'; } | step realm
run default
say "$driver: allowed by all three: git server, broker and store, and nothing else"
expect 0 assay policy --project p --network realm
allowed | step realm
run allowed
got=$(counts)
grep '\[assay\] network:' "$scratch/out" || fail "no word about the network in the log"
[ "${got% *}" = 11 ] || fail "let through: $got"
[ "${got#* }" = 12 ] || fail "counted as failed: $got"
assay attest "$id/net" -o "$scratch/bundle" >/dev/null
grep -oE '"payload": ?"[^"]*"' "$scratch/bundle" | sed 's/.*"\([^"]*\)"$/\1/' | while read -r b; do echo "$b" | base64 -d; echo; done >"$scratch/statements"
grep -qE '"network": ?"realm"' "$scratch/statements" || fail "the signed result does not say that the build had a network"
assay worker --dir "$realm/worker-1" status >"$scratch/out"
has out 'connections of builds let through'
say "$driver: each attempt is counted, and nothing else"
counted | step realm
run counted
[ "$(counts)" = "6 26" ] || { cat "$scratch/out"; fail "let through and failed: $(counts), not 6 26"; }
if [ "$driver" = qemu ]; then
    say "$driver: a VM that was booted, not resumed"
    sed -i '/^\[worker\]/a snapshots = 0' "$realm/worker-1/worker.ini"
    expect 0 assay worker --dir "$realm/worker-1" reload
    allowed | step realm
    run allowed
    assay log "$id/net" >"$scratch/out"
    has out 'as the VM counted'
fi
say "$driver: a recipe that does not ask gets none"
{ nothing; echo 'dead 127.0.0.1 GITPORT; dead 127.0.0.1 BROKER'; } | step none
run none
say "$driver: an owner who gives none is not asked; if none does, that is said"
sed -i 's/^network = realm/network = none/' "$realm/worker-1/worker.ini"
expect 0 assay worker --dir "$realm/worker-1" reload
echo true | step realm
push 3 --url "$url"
assay status "$id" >"$scratch/out"
has out 'it asks for a network, the owner gives none'
sed -i 's/^network = none/network = realm/' "$realm/worker-1/worker.ini"
expect 0 assay worker --dir "$realm/worker-1" reload
say "$driver: a repository at an address that only this machine sees is not fetched from"
echo true | step none
expect 0 assay push -C "$repo" --url "git://169.254.169.254:$git_port/p"
id=$(grep -oE '[0-9a-f]{64}' "$scratch/out" | head -n 1)
refused() { grep -q '169.254.169.254 has no address that a worker may fetch from' "$scratch/up.log"; }
until_true 60 refused
expect 0 assay cancel "$id"
ours || fail "the control no longer works"
key=$(worker_key "$realm/worker-1")
no_groups() { [ -z "$(find /sys/fs/cgroup -path "*assay-$key/*" -name '*.run' 2>/dev/null)" ]; }
until_true 20 no_groups
done_ok
