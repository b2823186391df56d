# bash completion for assay(1). Steps and submissions are asked of the broker, with a short patience.
_assay_steps() {
    local dir=() id=${cur%%/*}
    [ -n "$realm" ] && dir=(--dir "$realm")
    if [[ $cur == */* ]]; then
        COMPREPLY=($(compgen -W "$(assay "${dir[@]}" --timeout 1s status "$id" --json 2>/dev/null |
            grep -oE '"name":"[^"]*"' | sed "s|^\"name\":\"\(.*\)\"|$id/\1|")" -- "$cur"))
    else
        COMPREPLY=($(compgen -W "$(assay "${dir[@]}" --timeout 1s status --json 2>/dev/null |
            grep -oE '^\{"id":"[0-9a-f]{12}' | cut -c8-)" -- "$cur"))
        [ "$1" = step ] && compopt -o nospace 2>/dev/null && [ ${#COMPREPLY[@]} = 1 ] && COMPREPLY[0]+=/
    fi
}

_assay() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command='' realm='' options='' i
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --dir) i=$((i + 1)); realm=${COMP_WORDS[i]} ;;
        --timeout) i=$((i + 1)) ;;
        -*) ;;
        *) command=${COMP_WORDS[i]}; break ;;
        esac
    done
    case $prev in
    --dir | -C | -d | --directory | --keep) COMPREPLY=($(compgen -d -- "$cur")); return ;;
    --root | -o | --output | --roster | --compare | --export) COMPREPLY=($(compgen -f -- "$cur")); return ;;
    --role) COMPREPLY=($(compgen -W 'submitter worker verifier broker store viewer deployer admin maintainer' -- "$cur")); return ;;
    --trust) COMPREPLY=($(compgen -W 'trusted maybe' -- "$cur")); return ;;
    --dissent) COMPREPLY=($(compgen -W 'block tolerate' -- "$cur")); return ;;
    --isolation) COMPREPLY=($(compgen -W 'qemu bwrap' -- "$cur")); return ;;
    --kind) COMPREPLY=($(compgen -W 'submitted leased declined handed-back error artifact-completed drawn replicate verdict fallen exhausted cancelled expired retried challenged sidelined refused' -- "$cur")); return ;;
    --priority) COMPREPLY=($(compgen -W '0 1 2 3 4 5 6 7 8 9' -- "$cur")); return ;;
    --trusted) [ "$command" = policy ] && COMPREPLY=($(compgen -W 'required optional' -- "$cur")); return ;;
    --timeout | --workers | --name | --owner | --project | --label | --endpoint | --events | --expires | --since | --reason | --agree | --max-replicas | --lineages | --url | --suite | --limit | --witnesses | --verifier) return ;;
    esac
    case $command in
    '') options='--dir --timeout --help --version init up token enrol who revoke policy push flush hook watch status log get cancel retry challenge draw attest diff verify audit image store worker lab' ;;
    init) options='--workers --trusted --isolation --passphrase'; [[ $cur == -* ]] || { COMPREPLY=($(compgen -d -- "$cur")); return; } ;;
    up) COMPREPLY=($(compgen -d -- "$cur")); return ;;
    token) options='--role --name --owner --trust --project --label --endpoint --events --expires' ;;
    enrol) options='-' ;;
    who) options='--json' ;;
    revoke) options='--since --reason' ;;
    policy) options='--project --agree --trusted --dissent --isolation --max-replicas --lineages --network --json' ;;
    push) options="-C --project --url --priority --wait --json"; [[ $cur == -* ]] || options=$(git for-each-ref --format='%(refname:short)' 2>/dev/null) ;;
    flush) options='-C --quiet' ;;
    hook) options='install -C' ;;
    watch) options='--since --project --kind --json --until-idle' ;;
    status) options='--json --limit'; [[ $cur == -* ]] || { _assay_steps id; return; } ;;
    log) options='-f --follow'; [[ $cur == -* ]] || { _assay_steps step; return; } ;;
    get) options='-d --directory --provisional --witnesses'; [[ $cur == -* ]] || { _assay_steps step; return; } ;;
    cancel) _assay_steps id; return ;;
    retry | challenge) _assay_steps step; return ;;
    draw) options='--json'; [[ $cur == -* ]] || { _assay_steps step; return; } ;;
    attest) options='--json -o --output --roster --format --log --witnesses'; [[ $cur == -* ]] || { _assay_steps step; return; } ;;
    diff) options='--html --json --brief --close'; [[ $cur == -* ]] || { _assay_steps step; return; } ;;
    verify) options='--root --project --step --commit --witnesses --json'; [[ $cur == -* ]] || { COMPREPLY=($(compgen -f -- "$cur")); return; } ;;
    audit) options='--json --cosign --entries --witnesses --compare --export --verifier'; [[ $cur == -* ]] || { _assay_steps step; return; } ;;
    image) options='build import list --name --suite --kernel --cpu --json' ;;
    store) options='check --dir' ;;
    worker) options='pause resume drain status reload probe --dir --json --wait' ;;
    lab) options='--json --list --keep'; [[ $cur == -* ]] || options=$(assay lab --list --json 2>/dev/null | sed 's/^{"row":"\([a-z-]*\)".*/\1/') ;;
    esac
    COMPREPLY=($(compgen -W "$options" -- "$cur"))
}
complete -F _assay assay
