import { type Slot, slots, valuedOptions } from "./slots.ts";

/** The completion script for fish. */
export function fishScript(): string {
  return `# fish completion of poh-storage:
#   poh-storage completions fish > ~/.config/fish/completions/poh-storage.fish

# The words before the cursor without their quotes; before fish 4, -o gave that.
function __poh_storage_words
    commandline -xpc 2>/dev/null; or commandline -opc
end

# Candidates; fish itself leaves out what does not fit, and quotes.
function __poh_storage_complete
    set -l words (__poh_storage_words)
    # What is typed of this word, without its quotes as far as they are closed.
    set -l cur (commandline -ct)
    set -l plain (string unescape -- $cur; or string replace -r '^(--[^=]*=|)["\\']' '$1' -- $cur)
    set -l command ''
    set -l option ''
    set -l ended ''
    set -l args 0
    set -l store
    set -l lead ''
    for word in $words[2..]
        if test -n "$option"
            contains -- $option --base --db --driver
            and set -a store $option=$word
            set option ''
        else if test -z "$ended"; and string match -qr -- '^-.' $word
            switch $word
                case --
                    set ended 1
                case '--base=*' '--db=*' '--driver=*'
                    set -a store $word
                case ${valuedOptions().join(" ")}
                    set option $word
            end
        else if test -z "$command"
            set command $word
        else
            set args (math $args + 1)
        end
    end
    if test -z "$option"
        set option $args
        if test -z "$ended"
            switch "$plain"
                case '--*=*'
                    set option (string split -m 1 = -- $plain)[1]
                    set lead $option=
                case '-*'
                    set option --
            end
        end
    end
    set plain (string sub -s (math 1 + (string length -- "$lead")) -- "$plain")
    switch $command:$option
${
    Array.from(slots(), ([key, slot]) =>
      `        case ${key}\n            ${actionOf(slot)}`)
      .join("\n")
  }
    end | string replace -r '^' -- $lead
end

function __poh_storage_ids -a prefix
    set -l words (__poh_storage_words)
    $words[1] completions --ids=$prefix $argv[2..] 2>/dev/null
end

complete -c poh-storage -f -a '(__poh_storage_complete)'
`;
}

function actionOf(slot: Slot): string {
  switch (slot.kind) {
    case "files":
      return '__fish_complete_path "$plain"';
    case "ids":
      return '__poh_storage_ids "$plain" $store';
    case "words":
      return `printf '%s\\t%s\\n' ${
        slot.words.flatMap((pair) => pair.map(quoted)).join(" ")
      }`;
  }
}

function quoted(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}
