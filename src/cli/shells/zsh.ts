import { type Slot, slots, valuedOptions } from "./slots.ts";

/** The completion script for zsh. */
export function zshScript(): string {
  return `#compdef poh-storage
# zsh completion of poh-storage: a file _poh-storage in a folder of $fpath, or
# after compinit in ~/.zshrc:
#   eval "$(poh-storage completions zsh)"

_poh_storage_ids() {
  local -a ids
  ids=("\${(@f)$("\${(Q)words[1]/#\\~\\//$HOME/}" completions "--ids=\${(Q)PREFIX}" "\${(@)store}" 2>/dev/null)}")
  ids=("\${(@)ids:#}")
  compadd -a ids
}

_poh_storage() {
  local command= option= ended= word
  local -a store list
  integer args=0 i
  for ((i = 2; i < CURRENT; i++)); do
    word=\${(Q)words[i]}
    if [[ -n $option ]]; then
      case $option in --base | --db | --driver) store+=("$option=\${word/#\\~\\//$HOME/}") ;; esac
      option=
    elif [[ -z $ended && $word == -?* ]]; then
      case $word in
        --) ended=1 ;;
        --base=* | --db=* | --driver=*) store+=("$word") ;;
        ${valuedOptions().join(" | ")}) option=$word ;;
      esac
    elif [[ -z $command ]]; then command=$word
    else args+=1; fi
  done
  if [[ -z $option ]]; then
    option=$args
    if [[ -z $ended ]]; then
      case $PREFIX in
        --*=*) option=\${PREFIX%%=*}; compset -P "$option=" ;;
        -*) option=-- ;;
      esac
    fi
  fi
  case $command:$option in
${
    Array.from(slots(), ([key, slot]) => `    ${key}) ${actionOf(slot)} ;;`)
      .join("\n")
  }
  esac
}

if [[ \${zsh_eval_context[-1]} == loadautofunc ]]; then _poh_storage "$@"
else compdef _poh_storage poh-storage; fi
`;
}

function actionOf(slot: Slot): string {
  switch (slot.kind) {
    case "files":
      return "_files";
    case "ids":
      return "_poh_storage_ids";
    case "words":
      return `list=(${
        slot.words.map(([word, help]) =>
          quoted(help ? `${word}:${help}` : word)
        )
          .join(" ")
      }); _describe word list`;
  }
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
