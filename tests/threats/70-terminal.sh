#!/bin/sh
# Terminal tricks: a build that prints escape sequences, a submission whose ref has them, a worker that gives a reason with them: no control
# character comes out of any command.
. "$(dirname "$0")/../e2e/lib.sh"
PATH=$build/tests/threats:$PATH
realm --workers 1 --trusted 1
daemons worker-1
image
project p
recipe <<'R'
image: IMAGE
steps:
  build:
    run: |
      printf 'before\033]0;owned\007\033[2J\r\bafter\n'
      printf '\302\233[31mC1 \377 bad UTF-8\n'
      printf x >"/out/$(printf 'a\033[1mb')"
    artifacts: ["*"]
  lonely: {policy: {agree: 5}, run: 'true'}
R
commit tricks
push 1
no_tricks() { # COMMAND...: its output holds no control character but the end of lines and tabs
    timeout 30 "$@" >"$scratch/shown" 2>&1 || true
    [ -s "$scratch/shown" ] || fail "$* shows nothing"
    ! LC_ALL=C tr -d '\n\t\040-\176\200-\377' <"$scratch/shown" | grep -q . || { cat -v "$scratch/shown"; fail "$*: a control character"; }
    ! LC_ALL=C grep -q "$(printf '\302\233')" "$scratch/shown" || fail "$*: a C1 control character"
}
no_tricks assay log "$id/build"
grep -q 'before.*after' "$scratch/shown" || fail "the text around it is lost"
no_tricks assay status "$id"
no_tricks assay watch --since 1 --until-idle
no_tricks assay attest "$id/build"
no_tricks assay get "$id/build" -d "$scratch/got"

say "a verifier that gives a reason with them"
endpoint=$(sed -n 's/^listen = //p' "$realm/verifier/verifier.ini")
kill "$verifier_pid"
wait "$verifier_pid" || true
start forger log_forger "$realm/verifier" "$endpoint" verdict-reason
for command in attest diff; do
    no_tricks assay $command "$id/lonely"
    grep -q 'unsatisfiable.* a reason' "$scratch/shown" || { cat -v "$scratch/shown"; fail "$command does not show it"; }
done

say "the same sequences are in what the broker keeps: it is the command that stops them"
grep -rqF "$(printf '\033]0;owned')" "$realm/broker" || fail "the log was never there"
done_ok
