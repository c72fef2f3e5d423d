import { type Slot, slots, valuedOptions } from "./slots.ts";

/** The completion script for PowerShell, 5.1 or newer. */
export function powershellScript(): string {
  return `# PowerShell completion of poh-storage, for $PROFILE:
#   poh-storage completions powershell | Out-String | Invoke-Expression

Register-ArgumentCompleter -Native -CommandName 'poh-storage', 'poh-storage.exe' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    # The session's own would not let a variable among the words be asked for its text.
    Set-StrictMode -Off
    $slots = @{
${
    Array.from(slots(), ([key, slot]) =>
      `        ${quoted(key)} = ${value(slot)}`)
      .join("\n")
  }
    }
    $valued = ${list(valuedOptions())}

    $program = $commandAst.CommandElements[0].Extent.Text.Trim("'", '"')
    $words = @($commandAst.CommandElements | Select-Object -Skip 1 |
        Where-Object { $_.Extent.EndOffset -lt $cursorPosition } |
        ForEach-Object { if ($null -ne $_.Value) { "$($_.Value)" } else { $_.Extent.Text } })
    $command = ''; $option = ''; $ended = $false; $position = 0; $store = @()
    foreach ($word in $words) {
        if ($option -ne '') {
            if ($option -cin '--base', '--db', '--driver') { $store += "$option=$word" }
            $option = ''
        }
        elseif (-not $ended -and $word -like '-?*') {
            if ($word -ceq '--') { $ended = $true }
            elseif ($word -cmatch '^--(base|db|driver)=') { $store += $word }
            elseif ($word -cin $valued) { $option = $word }
        }
        elseif ($command -eq '') { $command = $word }
        else { $position++ }
    }

    $typed = $wordToComplete -replace '^[''"]|[''"]$', ''
    $lead = ''
    if ($option -eq '') {
        $option = "$position"
        if (-not $ended) {
            if ($typed -match '^(--[^=]+)=(.*)$') { $option = $Matches[1]; $lead = "$option="; $typed = $Matches[2] }
            elseif ($typed -like '-*') { $option = '--' }
        }
    }

    $slot = $slots["\${command}:$option"]
    # No answer is the completion of files.
    if ($null -eq $slot) { return }
    if ($slot -is [string]) {
        $encoding = [Console]::OutputEncoding
        try {
            [Console]::OutputEncoding = New-Object System.Text.UTF8Encoding $false
            $slot = @(& $program completions "--ids=$typed" @store 2>$null | ForEach-Object { , @($_, '') })
        }
        finally { [Console]::OutputEncoding = $encoding }
    }
    foreach ($pair in $slot) {
        $word = $pair[0]
        if (-not $word.StartsWith($typed, [StringComparison]::Ordinal)) { continue }
        $help = if ($pair[1] -ne '') { $pair[1] } else { $word }
        $text = $lead + $word
        # PowerShell takes typographic quotes for quotes as well.
        if ($text -notmatch '^[A-Za-z0-9_./=-]+$') {
            $text = "'" + ($text -replace "(['\\u2018\\u2019\\u201a\\u201b])", '$1$1') + "'"
        }
        [System.Management.Automation.CompletionResult]::new($text, $word, 'ParameterValue', $help)
    }
}
`;
}

function value(slot: Slot): string {
  switch (slot.kind) {
    case "files":
      return "$null";
    case "ids":
      return "'ids'";
    case "words":
      return `@(${slot.words.map((pair) => `, ${list(pair)}`).join("; ")})`;
  }
}

function list(words: readonly string[]): string {
  return `@(${words.map(quoted).join(", ")})`;
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
