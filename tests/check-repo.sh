#!/bin/sh
# The repository checks itself: include direction, homes of libraries, documents against the sources, man pages, units.
# Run by `make check` in the build folder with $srcdir set; by hand: srcdir=.. sh ../tests/check-repo.sh. 77: no source tree.
set -u
build=$(pwd)
cd "${srcdir:-$(dirname "$0")/..}" || exit 77
[ -f proto/messages.def ] && [ -d src/base ] && [ -f src/cli/commands.def ] || { echo "skipped: not a source tree"; exit 77; }
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
checks=0

# A check writes what is wrong to stdout; nothing written is fine.
check() {
    title=$1
    shift
    "$@" >"$tmp/wrong" 2>&1
    checks=$((checks + 1))
    if [ -s "$tmp/wrong" ]; then
        echo "FAILED: $title"
        sed 's/^/    /' "$tmp/wrong"
        : >"$tmp/failed"
    else echo "ok: $title"
    fi
}

# Every text file of ours: what git knows (and is not ignored), else what a tarball has.
files() {
    if [ -e .git ]; then git ls-files --cached --others --exclude-standard
    else find Makefile.am configure.ac README HACKING src proto tests doc deploy -type f; fi | while read -r f; do [ -f "$f" ] && echo "$f"; done
}
sources() { find src proto tests -name '*.[ch]'; }

# ---- what may include what ---------------------------------------------------------------------------------------------
# FOLDER: folders (and single headers of others) that its files may include. Below: the library part of another folder.
allowed() {
    case $1 in
    src/base) echo 'base/' ;;
    proto) echo 'base/ proto/' ;;
    src/auth) echo 'base/ proto/ auth/' ;;
    src/source) echo 'base/ proto/ auth/policy.h source/' ;;
    src/store) echo 'base/ proto/ auth/ store/' ;;
    src/broker) echo 'base/ proto/ auth/ store/client.h store/manifest.h source/recipe.h broker/' ;;
    src/worker) echo 'base/ proto/ auth/ store/client.h store/manifest.h store/link.h source/git.h source/recipe.h worker/' ;;
    src/worker/guest) echo 'worker/guest/' ;;
    src/verifier) echo 'base/ proto/ auth/ store/client.h store/manifest.h verifier/' ;;
    src/cli) echo 'base/ proto/ auth/ store/client.h store/manifest.h store/link.h store/cas.h source/git.h source/recipe.h verifier/rule.h verifier/tlog.h verifier/note.h verifier/checkpoint.h lab/lab.h broker/draw.h cli/' ;;
    src/lab) echo 'base/ proto/ auth/ store/client.h store/manifest.h source/git.h source/recipe.h worker/agent.h worker/report.h worker/runner.h lab/' ;;
    esac
}
include_direction() {
    for f in $(find src proto -name '*.[ch]'); do
        may=$(allowed "${f%/*}")
        [ -n "$may" ] || { echo "$f: a folder without a rule (add it to tests/check-repo.sh)"; continue; }
        sed -n 's/^# *include "\([^"]*\)".*/\1/p' "$f" | grep -v '^config\.h$' | while read -r h; do
            for m in $may; do case $h in "$m"*) continue 2 ;; esac; done
            echo "$f includes \"$h\" (allowed: $may)"
        done
    done
}
# The client part of a library is used by programs that must not drag a daemon in.
library_part() {
    for f in src/store/client.c src/store/client.h src/store/manifest.c src/store/manifest.h src/store/link.c src/store/link.h src/store/scan.c; do
        grep -Hn '#include "store/' "$f" | grep -v 'store/\(client\|manifest\|link\)\.h"'
    done
}

# ---- each library has one home ---------------------------------------------------------------------------------------------
homes() {
    while read -r header home; do
        grep -lE "^# *include <$header" $(find src proto -name '*.[ch]') /dev/null | grep -vE "^($home)$" |
            while read -r f; do echo "$f includes <$header...> (its home: $home)"; done
    done <<'END'
msgpack proto/(msg|envelope)\.c
git2 src/source/[a-z_]+\.[ch]
(cyaml|yaml) src/source/yaml\.c
sqlite3 src/(base/schema|broker/state_sqlite|store/index|verifier/[a-z_]+)\.c
hiredis src/broker/state_redis\.c
(czmq|zmq) src/(base/net|broker/state_rows)\.h
openssl/ src/base/bytes\.c
sodium (src/base/[a-z]+|src/auth/[a-z_]+|proto/(envelope|blind)|src/broker/[a-z_]+|src/cli/(submit|cmd_token)|src/lab/[a-z_]+)\.c
ini src/base/config\.c
jansson (proto/(envelope|statement)|src/store/link|src/cli/[a-z_]+|src/worker/(sandbox_bwrap|image_meta|control|probe))\.c
seccomp src/worker/seccomp\.c
curl/ src/store/cas_s3\.c
microhttpd src/broker/metrics\.c
END
    for d in broker store verifier; do
        n=$(grep -lE '^# *include <sqlite3' src/$d/*.c 2>/dev/null | wc -l)
        [ "$n" -le 1 ] || echo "src/$d: sqlite3.h in $n files (one)"
    done
}

# ---- the text of the sources ---------------------------------------------------------------------------------------------
left_overs() { files | grep -v '^tests/check-repo\.sh$' | tr '\n' '\0' | xargs -0 grep -InwE 'TO''DO|FIX''ME|XX''X'; }
long_files() { sources | while read -r f; do n=$(wc -l <"$f"); [ "$n" -le 800 ] || echo "$f: $n lines (two things live in it; at most 800)"; done; }
shell_syntax() { files | grep -E '\.sh$|^tests/run$|^deploy/(install-deps|demo)$' | while read -r f; do sh -n "$f"; done; }

# ---- PROTOCOL.md ---------------------------------------------------------------------------------------------
protocol_tables() {
    sh tests/gen-protocol.sh . update proto/PROTOCOL.md >"$tmp/protocol" && diff -u proto/PROTOCOL.md "$tmp/protocol" |
        sed '1,2d;60q;1i proto/PROTOCOL.md is not what the sources say (make update-protocol):'
}
protocol_messages() {
    sed -n 's/^MSG (\([0-9]*\), *\([a-z_0-9]*\),.*/\1 `\2`/p' proto/messages.def >"$tmp/rows"
    [ "$(wc -l <"$tmp/rows")" -ge 60 ] || echo "messages.def: only $(wc -l <"$tmp/rows") messages were found"
    while read -r row; do grep -qxF "#### $row" proto/PROTOCOL.md || echo "no section: $row"; done <"$tmp/rows"
    cut -d' ' -f1 "$tmp/rows" | sort -n | uniq -d | sed 's/^/a number given twice: /'
    cut -d' ' -f2 "$tmp/rows" | sort | uniq -d | sed 's/^/a name given twice: /'
}
protocol_examples() {
    sh tests/gen-protocol.sh . update proto/PROTOCOL.md "$build/tests/examples" >"$tmp/protocol" && diff -u proto/PROTOCOL.md "$tmp/protocol" |
        sed '1,2d;60q;1i its examples are not what tests/examples prints (make update-protocol):'
}
protocol_links() { # the table of contents
    grep -oE '\]\(#[^)]*\)' proto/PROTOCOL.md | sed 's/](#//;s/)//' | while read -r a; do
        grep '^## ' proto/PROTOCOL.md | sed "s/^## //;s/[.',:]//g;s/ /-/g" | tr 'A-Z' 'a-z' | grep -qxF "$a" || echo "no heading for #$a"
    done
}

# ---- man pages ---------------------------------------------------------------------------------------------
programs() { cat src/*/local.mk | sed -n 's/^bin_PROGRAMS *+= *//p' | tr ' ' '\n' | sort -u; }
man_pages() {
    for p in assay assay-idp assay-broker assay-store assay-worker assay-verifier $(programs); do
        [ -f "doc/$p.1.scd" ] || [ -f "doc/$p.8.scd" ] || echo "no man page of $p"
    done
    [ -f doc/assay.yml.5.scd ] || echo "no man page of .assay.yml"
    for f in doc/*.scd; do grep -qF "$(basename "$f" .scd)" doc/local.mk || echo "$f is not in doc/local.mk"; done
}
commands() { sed -n 's/^COMMAND (\([a-z]*\),.*/\1/p' src/cli/commands.def; }
man_commands() { for c in $(commands); do grep -qE "^\*$c\*( |\$)" doc/assay.1.scd || echo "assay.1: no entry *$c*"; done; }
man_options() { # every long option of every command
    for f in src/cli/main.c src/cli/cmd_*.c; do
        grep -oE '\{ "[a-z-]+", *([012]|(required|no)_argument)' "$f" | sed 's/^{ "//;s/".*//' | sort -u | while read -r o; do
            grep -qE -e "--$o([^a-z-]|\$)" doc/assay.1.scd || echo "$f: --$o is not in assay.1"
        done
    done
}
man_recipe() { # every key of a recipe, as the sources' table has them
    sed -n 's/^    { "\([a-z_]*\)", IN_.*/\1/p' src/source/recipe.c | cat - <<'END' | while read -r k; do
steps
agree
trusted
dissent
isolation
max_replicas
lineages
cpus
memory
disk
time
END
        grep -qE "^\*$k\*" doc/assay.yml.5.scd || echo "assay.yml.5: no key *$k*"
    done
}
man_config() { # every setting of every daemon, as --help-config prints them, with its default
    for p in assay-idp assay-broker assay-store assay-worker assay-verifier; do
        [ -x "$build/$p" ] || continue
        "$build/$p" --help-config | awk '/^\[/ { s = $1 } / = / && !/^#/ { print s, $1 }' | sort -u | while read -r s k; do
            awk -v s="$s" -v k="*$k*" '$0 == "## " s { on = 1; next } /^#/ { on = 0 } on && index($0, k) == 1 { found = 1 } END { exit !found }' "doc/$p.8.scd" \
                || echo "$p.8: $s $k is not documented (## $s, *$k*)"
        done
        awk '/^## \[/ { s = $2 } s && /^\*[a-z-]+\*/ { k = $1; gsub(/\*/, "", k); print s, k } /^# / { s = "" }' "doc/$p.8.scd" | while read -r s k; do
            "$build/$p" --help-config | awk -v s="$s" -v k="$k" '/^\[/ { at = $1 } at == s && $1 == k && $2 == "=" { found = 1 } END { exit !found }' \
                || echo "$p.8: $s $k is documented, and $p does not have it"
        done
    done
}
man_format() { command -v scdoc >/dev/null && for f in doc/*.scd; do scdoc <"$f" 2>&1 >/dev/null | sed "s|^|$f: |"; done; }

# ---- threats, deployment ---------------------------------------------------------------------------------------------
threats() {
    grep -oE 'tests/(threats|unit|e2e|fuzz)/[A-Za-z0-9_.-]+' doc/THREATS.md | sed 's/\.$//' | sort -u | while read -r t; do [ -f "$t" ] || echo "doc/THREATS.md names $t, which is not there"; done
    grep -oE 'tests/unit/test_[a-z_0-9]+\.c: [a-z_0-9]+' doc/THREATS.md | sort -u | while IFS=': ' read -r f name; do
        grep -qE "^(Test|ParameterizedTest) \(.*, $name[,)]" "$f" || echo "doc/THREATS.md: $f has no test $name"
    done
    grep -E '^\| \*\*' doc/THREATS.md | grep -vE 'tests/(threats|e2e)/[0-9]|lab: [a-z]' | sed 's/^| \*\*\([^*]*\)\*\*.*/doc\/THREATS.md: no scenario for: \1/'
    sed -n 's/^        { "\([a-z]*\)", "[^"]*", row_.*/\1/p' src/lab/lab.c | sort >"$tmp/rows"
    [ -s "$tmp/rows" ] || echo "src/lab/lab.c: its rows were not found"
    grep -oE 'lab: [a-z]+' doc/THREATS.md | sed 's/lab: //' | sort -u | comm -3 "$tmp/rows" - | tr -d '\t' | sed 's/.*/lab row &: it is in only one of src\/lab\/lab.c and doc\/THREATS.md/'
    for t in tests/threats/*.sh; do [ -f "$t" ] && { grep -qF "$t" doc/THREATS.md || echo "$t is not in doc/THREATS.md"; }; done
}
units() {
    for p in idp broker store verifier worker; do [ -f "deploy/systemd/assay-$p.service.in" ] || echo "no deploy/systemd/assay-$p.service.in"; done
    for u in deploy/systemd/*; do grep -qF "$(basename "$u" .in)" deploy/local.mk || echo "$u is not in deploy/local.mk"; done
    command -v systemd-analyze >/dev/null || return
    mkdir -p "$tmp/units" && for u in deploy/systemd/*; do sed 's|^\(Exec[A-Za-z]*=\)[^ ]*|\1/bin/true|' "$u" >"$tmp/units/$(basename "$u" .in)"; done
    systemd-analyze verify --man=no "$tmp/units"/* 2>&1 | grep -F "$tmp/units" | sed "s|$tmp/units|deploy/systemd|g"
}
completion() {
    f=deploy/completion/assay.bash
    if command -v bash >/dev/null; then bash -n $f; fi
    for c in $(commands); do
        grep -qE "(^|[ |])$c[ )|]" $f || echo "$f: no command $c"
        sed -n "s/^COMMAND ($c, \"\(.*\)\", \".*/\1/p" src/cli/commands.def | grep -oE -e '--[a-z-]+' | while read -r o; do grep -qF -e "$o" $f || echo "$f: $c: no option $o"; done
    done
}

check "includes go one way: base <- proto <- libraries <- daemons and cli" include_direction
check "library parts include no daemon's headers" library_part
check "each third-party library has one home" homes
check "nothing is left over" left_overs
check "no file beyond 800 lines" long_files
check "shell scripts parse" shell_syntax
check "PROTOCOL.md has each message, each number once" protocol_messages
check "PROTOCOL.md's tables are those of the sources" protocol_tables
if [ -x "$build/tests/examples" ]; then check "PROTOCOL.md's examples are true" protocol_examples; fi
check "PROTOCOL.md's contents name its headings" protocol_links
check "a man page for each program" man_pages
check "assay.1 has each command" man_commands
check "assay.1 has each option" man_options
check "assay.yml.5 has each key" man_recipe
check "man pages have each setting of the daemons, and no other" man_config
check "man pages format" man_format
check "THREATS.md names tests that exist, and all of tests/threats" threats
check "systemd units" units
check "completion of commands and options" completion
# Each kind of event that the broker makes has its row in the table of section 16.
event_kinds() {
    { grep -oh '\.kind = "[a-z-]*"' src/broker/*.c; grep -oh 'JOB_[A-Z]*, "[a-z-]*"' src/broker/*.c; } | sed 's/.*"\(.*\)"/\1/' | sort -u | while read -r k; do
        grep -q "^| \`$k\` |.*|.*|" proto/PROTOCOL.md || echo "event $k is not in proto/PROTOCOL.md, section 16"
    done
}
check "each kind of event is in the protocol's text" event_kinds
# A scenario that has a function of the name of one of lib.sh's would take it from lib.sh, too: its `clean` from the end of the scenario.
scenario_names() {
    sed -n 's/^\([a-z_]*\)() .*/\1/p' tests/e2e/lib.sh | while read -r f; do grep -nE "^ *$f *\(\)" tests/e2e/[0-9]*.sh tests/threats/[0-9]*.sh; done
}
check "scenarios keep the functions of lib.sh" scenario_names
echo "$checks checks"
[ ! -e "$tmp/failed" ]
