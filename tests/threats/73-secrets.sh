#!/bin/sh
# Files of secrets that others may read are refused, by commands and daemons, with what to do; a link in their place as well. Nothing of a realm is
# readable for others from the start.
. "$(dirname "$0")/../e2e/lib.sh"
realm --workers 1 --trusted 1
open=$(find "$realm" -type f \( -name keys -o -name root.key -o -name tokens \) -perm /077)
[ -z "$open" ] || fail "others may read $open"
[ "$(stat -c %a "$realm")" = 700 ] || fail "the realm's folder is open"
[ "$(find "$realm" -name keys | wc -l)" -ge 5 ] || fail "no keys were found"
refused() { # FILE COMMAND...
    file=$1
    shift
    expect 4 "$@"
    has err "$file"
    has err "chmod 600"
}
chmod 644 "$realm/keys"
refused keys assay --timeout 1s status
chmod 600 "$realm/keys"
for d in idp broker store verifier worker-1; do
    chmod 640 "$realm/$d/keys"
    refused keys "assay-$(echo $d | sed 's/-1//')" --dir "$realm/$d"
    chmod 600 "$realm/$d/keys"
done
chmod 604 "$realm/idp/root.key"
refused root.key assay-idp --dir "$realm/idp"
chmod 600 "$realm/idp/root.key"
say "a link to them"
mv "$realm/keys" "$scratch/keys"
ln -s "$scratch/keys" "$realm/keys"
got=0
assay --timeout 1s status >"$scratch/out" 2>"$scratch/err" || got=$?
[ $got != 0 ] && [ $got != 5 ] || { cat "$scratch/err"; fail "a link was followed: status $got"; }
rm "$realm/keys"
mv "$scratch/keys" "$realm/keys"
say "as they were, all start"
up
expect 0 assay status
done_ok
