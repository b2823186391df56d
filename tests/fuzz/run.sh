#!/bin/sh
# Each harness over its corpus and over mutations of it: in the build folder, with $srcdir set as under `make check`.
# By hand: srcdir=.. sh ../tests/fuzz/run.sh [SECONDS for each, 2]. A failing input stays in crash-HARNESS.
set -u
src=${srcdir:-..}
seconds=${1:-${FUZZ_SECONDS:-2}}
[ -x tests/fuzz/fuzz_seeds ] || { echo "skipped: the harnesses are not built (make check)"; exit 77; }
corpus=$(mktemp -d) || exit 1
trap 'rm -rf "$corpus"' EXIT
tests/fuzz/fuzz_seeds "$corpus" || exit 1
status=0
for name in msg envelope roster statement manifest recipe checkpoint logline bundle link pack mux; do
    mkdir -p "$corpus/$name"
    [ ! -d "$src/tests/fuzz/corpus/$name" ] || cp "$src/tests/fuzz/corpus/$name"/* "$corpus/$name/" || exit 1
    if tests/fuzz/fuzz_$name -help=1 2>&1 | grep -q -- -max_total_time; then
        tests/fuzz/fuzz_$name -max_total_time="$seconds" -timeout=10 -artifact_prefix="crash-fuzz_$name-" "$corpus/$name" >"$corpus/log" 2>&1
    else
        tests/fuzz/fuzz_$name -t "$seconds" "$corpus/$name" >"$corpus/log" 2>&1
    fi
    if [ $? = 0 ]; then tail -n 1 "$corpus/log"
    else
        echo "FAILED: fuzz_$name"
        tail -n 60 "$corpus/log"
        status=1
    fi
done
exit $status
