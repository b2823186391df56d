#!/bin/sh
# Steps that need others: they wait until what they need is trusted, find it read-only under /in, and are given up when it failed. A
# matrix. The order in the recipe does not matter.
. "$(dirname "$0")/lib.sh"
realm --workers 3 --trusted 1
up
image
project p
recipe <<'R'
image: IMAGE
policy: {agree: 2}
steps:
  test:
    needs: [build]
    run: |
      grep -q hello /in/build/text && ! touch /in/build/x 2>/dev/null
      cat /in/build/text /in/build/dir/more > /out/both
    artifacts: [both]
  build:
    run: mkdir /out/dir; cp n /out/text; echo more > /out/dir/more
    artifacts: [text, dir]
R
echo hello >"$repo/n"
commit one
push 0
[ "$(state_of "$id" build)" = trusted ] && [ "$(state_of "$id" test)" = trusted ] || fail "$(assay status "$id")"
expect 0 assay get "$id/test" -d "$scratch/got"
[ "$(cat "$scratch/got/both")" = "hello
more" ] || fail "content"
say "what failed takes with it what needs it"
recipe <<'R'
image: IMAGE
policy: {agree: 2}
steps:
  build: {run: exit 1}
  test: {needs: [build], run: "true"}
  last: {needs: [test], run: "true"}
R
commit two
push 1
[ "$(state_of "$id" build)" = failed ] && [ "$(state_of "$id" test)" = unsatisfiable ] && [ "$(state_of "$id" last)" = unsatisfiable ] || fail "$(assay status "$id")"
expect 0 assay status "$id"
has out "it needs build, which is failed"
say "a matrix"
recipe <<'R'
image: IMAGE
steps:
  build:
    matrix: {flavour: [a, b], size: [small, large]}
    run: echo "$flavour-$size" > /out/name
    artifacts: [name]
  all:
    needs: [build]
    run: cat /in/*/name > /out/names; [ "$(wc -l < /out/names)" = 4 ]
    artifacts: [names]
R
commit three
push 0
done_ok
