#!/bin/sh
# Real projects give the same bits in an emulated VM that was booted, in one that was resumed, and under bwrap: C with autotools and with cmake,
# a Python wheel, a Go program, a LaTeX document (tests/e2e/projects). Three owners must agree, so each verdict is the comparison. One project
# more writes down what a step sees of where it runs: all that assay-worker(8) says is the same.
# Exit 77: the package archive cannot be reached.
# Build: gcc
. "$(dirname "$0")/lib.sh"
needs_vm
projects="host autotools cmake wheel go latex"
realm --workers 3 --trusted 1
for w in 1 2 3; do printf '[worker]\nisolation = qemu\nemulation = yes\n[limits]\nmemory = 512M\ndisk = 512M\ncpus = 1\ntime = 20m\n' >>"$realm/worker-$w/worker.ini"; done
printf '[worker]\nsnapshots = 0\n' >>"$realm/worker-1/worker.ini"
printf '[worker]\nisolation = bwrap\n' >>"$realm/worker-3/worker.ini"
up
mkdir "$scratch/got"
debian_image toolchains gcc libc6-dev make autoconf automake cmake python3-build python3-setuptools golang-go texlive-latex-base
say "image: $(took)"
for p in $projects; do
    project "$p"
    cp -R "$(dirname "$0")/projects/$p/." "$repo/"
    recipe <"$(dirname "$0")/projects/$p/.assay.yml"
    commit "$p"
    expect 0 assay push -C "$repo"
    eval "id_$p=$(grep -oE '[0-9a-f]{64}' "$scratch/out" | head -n 1)"
done

# The workers and how each built, as the signed results have it; all of one outcome.
agreed() { # ID
    expect 0 assay attest "$1/build"
    for w in 'worker-1 .*qemu \(tcg\|kvm\).*start=booted' 'worker-2 .*qemu \(tcg\|kvm\).*start=resumed' 'worker-3 .*bwrap'; do
        grep "^$w" "$scratch/out" >>"$scratch/rows" || { cat "$scratch/out"; fail "no result of $w"; }
    done
    grep -E '^(artifact|WORKER|worker-)' "$scratch/out"
    [ "$(grep -oE ' [0-9a-f]{16} ' "$scratch/out" | sort -u | wc -l)" = 1 ] || fail "the outcomes differ"
}
decided() { ! assay status --json "$id" | grep -q '"state":"\(pending\|provisional\)"'; }
for p in $projects; do
    eval "id=\$id_$p"
    until_true 800 decided
    say "$p: $(state_of "$id" build) ($(took))"
    if [ "$(state_of "$id" build)" != trusted ]; then
        assay status "$id"
        assay diff "$id/build" || true
        for w in 1 2 3; do assay log "$id/build@worker-$w" >"$scratch/said-$w" || true; done
        diff "$scratch/said-1" "$scratch/said-3" | head -n 60 || true
        diff "$scratch/said-1" "$scratch/said-2" | head -n 20 || true
        fail "$p: the drivers do not agree"
    fi
    agreed "$id"
    expect 0 assay get "$id/build" -d "$scratch/got/$p"
done
grep -qx 'cpus 1 1 1' "$scratch/got/host/same" || fail "not as many CPUs as the step has: $(grep ^cpus "$scratch/got/host/same")"
say "what was built is what it should be"
"$scratch/got/autotools/usr/bin/hello" | grep -q "hello, world" || fail "autotools: it does not run"
echo 0123456789 | LD_LIBRARY_PATH="$(dirname "$scratch"/got/cmake/usr/lib/*/libring.so.1)" "$scratch/got/cmake/usr/bin/ringcat" | grep -qx 0123456789 || fail "cmake: it does not run"
[ -s "$scratch/got/wheel/tally-0.3-py3-none-any.whl" ] || fail "no wheel"
echo a b a | "$scratch/got/go/wc" | grep -qx '2 a' || fail "go: it does not run"
head -c 5 "$scratch/got/latex/paper.pdf" | grep -q '^%PDF' || fail "no PDF"
done_ok
