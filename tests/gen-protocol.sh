#!/bin/sh
# The tables of proto/PROTOCOL.md that come from the sources, so that the document cannot drift from the code.
#   gen-protocol.sh SRCDIR messages|constants|errors     print one of them
#   gen-protocol.sh SRCDIR update DOCUMENT [EXAMPLES]    DOCUMENT with what stands between the markers replaced, on stdout;
#                                                        EXAMPLES is the built program tests/examples (without it the examples stay)
# Markers are lines of their own: <!-- generated: NAME --> and <!-- end: NAME -->.
set -eu
[ $# -ge 2 ] || { echo "usage: gen-protocol.sh SRCDIR messages|constants|errors|update ..." >&2; exit 2; }
src=$1 what=$2

messages() {
    awk '
    # Comments go, but for the headings; the rest is one string of row groups.
    BEGIN { top = 1 }
    /^\/\* ---- / { t = $0; sub(/^\/\* -+ */, "", t); sub(/ *-+ *\*\/$/, "", t); text = text " HEAD (" t ") "; top = 0; next }
    top { next }
    { text = text " " $0 }
    function roles(s,   n, i, p, out) {
        if (s == "ROLE_NONE") return "nobody bare: a body"
        n = split(s, p, / *\| */)
        for (i = 1; i <= n; i++) {
            sub(/^ROLE_/, "", p[i]); p[i] = tolower(p[i])
            if (p[i] == "any") p[i] = "every principal"
            if (p[i] == "token") p[i] = "an enrolment token"
            if (p[i] == "service") p[i] = "the service"
            out = out (i > 1 ? ", " : "") p[i]
        }
        return out
    }
    function arg(s, n,   p) { split(s, p, / *, */); return p[n] }
    function field(kind, a,   k, b) {
        k = arg(a, 2); n_fields++
        if (kind == "U64") b = "u64 |"
        else if (kind == "DIG") b = "dig | 32 bytes"
        else if (kind == "STR" || kind == "BIN") b = tolower(kind) " | " arg(a, 3) " bytes"
        else b = (kind == "STRS" ? "list of str" : "list of bin") " | " arg(a, 3) " of " arg(a, 4) " bytes"
        if (n_fields == 1) print "\n| # | field | kind | at most |\n|---|---|---|---|"
        print "| " n_fields " | `" k "` | " b " |"
    }
    END {
        while (match(text, /^ *[A-Z0-9]+ \(/)) {
            kind = substr(text, 1, RLENGTH); gsub(/[ (]/, "", kind)
            text = substr(text, RLENGTH + 1)
            if (kind == "MSG") {
                q = index(text, "\""); head = substr(text, 1, q - 1); text = substr(text, q + 1)
                for (e = 1; substr(text, e, 2) != "\")" || substr(text, e - 1, 1) == "\\"; e++) if (e > length(text)) exit 1
                help = substr(text, 1, e - 1); text = substr(text, e + 2)
                gsub(/\\"/, "\"", help); gsub(/\|/, "\\|", help)
                name = arg(head, 2); n_fields = 0
                print "\n#### " arg(head, 1) " `" name "`\n\nFrom: " roles(arg(head, 3)) ". " toupper(substr(help, 1, 1)) substr(help, 2) "."
                continue
            }
            e = index(text, ")"); a = substr(text, 1, e - 1); text = substr(text, e + 1)
            if (kind == "HEAD") print "\n### " toupper(substr(a, 1, 1)) substr(a, 2)
            else if (kind == "END") { if (n_fields == 0) print "\nNo fields." }
            else field(kind, a)
        }
        if (text !~ /^ *$/) { print "messages.def: not understood at: " substr(text, 1, 80) > "/dev/stderr"; exit 1 }
    }' "$src/proto/messages.def"
}

constants() {
    echo
    echo '| name | value |'
    echo '|---|---|'
    awk '
    /ROLE_[A-Z]+ = / { n = split($0, p, /, */); for (i = 1; i <= n; i++) if (p[i] ~ /ROLE_[A-Z]+ = [0-9]+ << [0-9]+/) {
        q = p[i]; sub(/^ */, "", q); split(q, w, / /); print "| `" w[1] "` | " 2 ^ w[5] " |" } }
    /^#define (PROTO_VERSION|ISOLATION_|NETWORK_|RESULT_|ENTRY_|TYPE_)/ { v = $3; sub(/u$/, "", v); gsub(/"/, "", v); print "| `" $2 "` | " (v ~ /^[0-9]/ ? v : "`" v "`") " |" }
    ' "$src/proto/msg.h"
    awk '/^#define POLICY_[A-Z_]+ [0-9]+u/ { v = $3; sub(/u$/, "", v); print "| `" $2 "` | " v " |" }' "$src/src/auth/policy.h"
}

errors() {
    echo
    echo '| code | meaning | exit status of a command |'
    echo '|---|---|---|'
    awk '
    FNR == NR {
        if ($0 ~ /^ *ERR_[A-Z]+ = [0-9]/) { split($0, w, /[ ,=]+/); status[w[2]] = w[3] }
        if ($0 ~ /^ *EC_[A-Z_]+,/) { k = $1; sub(/,.*/, "", k); h = ""; if (match($0, /\/\*.*\*\//)) h = substr($0, RSTART + 3, RLENGTH - 6); help[k] = h }
        next
    }
    /^ *\[EC_/ { k = $1; gsub(/[\[\]]/, "", k); split($0, w, /"/); name = w[2]; kind = w[3]; gsub(/[ ,}]/, "", kind)
        if (k != "EC_NONE") print "| `" name "` | " help[k] " | " status[kind] " |" }
    ' "$src/src/base/err.h" "$src/src/base/err.c"
}

update() {
    doc=$1 examples=${2:-}
    dir=$(mktemp -d)
    trap 'rm -rf "$dir"' EXIT
    messages >"$dir/messages"
    constants >"$dir/constants"
    errors >"$dir/errors"
    [ -z "$examples" ] || "$examples" >"$dir/examples"
    awk -v dir="$dir" '
    /^<!-- generated: [a-z]+ -->$/ { name = $3; file = dir "/" name; print; if ((getline line < file) >= 0) { skip = 1; print line; while ((getline line < file) > 0) print line; print "" } next }
    /^<!-- end: [a-z]+ -->$/ { skip = 0 }
    !skip' "$doc"
}

case $what in
messages | constants | errors) $what ;;
update) shift 2; update "$@" ;;
*) echo "gen-protocol.sh: $what: what?" >&2; exit 2 ;;
esac
