import { type Slot, slots, valuedOptions } from "./slots.ts";

/** The completion script for bash, 3.2 (which macOS has) or newer. */
export function bashScript(): string {
  return `# bash completion of poh-storage, for ~/.bashrc:
#   eval "$(poh-storage completions bash)"

# Splits the line up to the cursor. Sets words to the words before it without
# their quotes, cur to the one that is begun, raw to that as it is typed, and
# quote and head to the quote that is open and what stands before it.
_poh_storage_split() {
  local line=\${COMP_LINE:0:COMP_POINT} i c begun=
  words=() cur= raw= quote= head=
  for ((i = 0; i < \${#line}; i++)); do
    c=\${line:i:1}
    if [[ -z $quote && $c == [$' \\t\\n'] ]]; then
      [[ -z $begun ]] || words+=("$cur")
      cur= raw= begun=
      continue
    fi
    raw+=$c begun=1
    case $quote$c in
      "''" | '""') quote= ;;
      "'" | '"') quote=$c head=$cur ;;
      '\\' | '"\\')
        c=\${line:$((++i)):1} raw+=$c
        [[ -z $quote || $c == [\\"\\\\\\$\\\`] ]] || cur+='\\'
        cur+=$c
        ;;
      *) cur+=$c ;;
    esac
  done
}

# Offers those arguments that go on from what is typed, quoted as that is.
_poh_storage_offer() {
  local word breaks=\${COMP_WORDBREAKS//[!:=@]/} cut=
  [[ -z $breaks ]] || cut=\${raw%"\${raw##*[$breaks]}"}
  for word; do
    word=$lead$word
    [[ $word == "$cur"* ]] || continue
    case $quote in
      "'") word=\${word#"$head"} word=\${word//"'"/"'\\\\''"} ;;
      '"')
        word=\${word#"$head"} word=\${word//'\\'/'\\\\'} word=\${word//'"'/'\\"'}
        word=\${word//'$'/'\\$'} word=\${word//'\`'/'\\\`'}
        ;;
      *) printf -v word %q "$word"; word=\${word#"$cut"} ;;
    esac
    COMPREPLY+=("$word")
  done
}

_poh_storage_ids() {
  local ids=() id
  while IFS= read -r id; do ids+=("$id"); done < <(
    "\${words[0]/#~\\//$HOME/}" completions "--ids=\${cur#"$lead"}" \${store[@]+"\${store[@]}"} 2>/dev/null
  )
  _poh_storage_offer \${ids[@]+"\${ids[@]}"}
  # No id is no reason to offer files.
  [[ $(type -t compopt) != builtin ]] || compopt +o default +o bashdefault
}

_poh_storage() {
  local words cur raw quote head lead= store=() command= option= args=0 ended= word i
  COMPREPLY=()
  _poh_storage_split
  for ((i = 1; i < \${#words[@]}; i++)); do
    word=\${words[i]}
    if [[ -n $option ]]; then
      case $option in --base | --db | --driver) store+=("$option=\${word/#~\\//$HOME/}") ;; esac
      option=
    elif [[ -z $ended && $word == -?* ]]; then
      case $word in
        --) ended=1 ;;
        --base=* | --db=* | --driver=*) store+=("$word") ;;
        ${valuedOptions().join(" | ")}) option=$word ;;
      esac
    elif [[ -z $command ]]; then command=$word
    else args=$((args + 1)); fi
  done
  if [[ -z $option ]]; then
    option=$args
    if [[ -z $ended ]]; then
      case $cur in
        --*=*) option=\${cur%%=*} lead=$option= ;;
        -*) option=-- ;;
      esac
    fi
  fi
  case $command:$option in
${arms().join("\n")}
  esac
}

complete -o bashdefault -o default -F _poh_storage poh-storage
`;
}

/** One arm for all places that are completed alike; files are bash's own. */
function arms(): string[] {
  const places = new Map<string, string[]>();
  for (const [key, slot] of slots()) {
    const action = actionOf(slot);
    if (action === null) continue;
    places.set(action, [...places.get(action) ?? [], key]);
  }
  return Array.from(
    places,
    ([action, keys]) => `    ${keys.join(" | ")}) ${action} ;;`,
  );
}

function actionOf(slot: Slot): string | null {
  switch (slot.kind) {
    case "files":
      return null;
    case "ids":
      return "_poh_storage_ids";
    case "words":
      return `_poh_storage_offer ${slot.words.map(([word]) => word).join(" ")}`;
  }
}
