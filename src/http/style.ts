/**
 * How the page looks, in the light and the dark.
 *
 * @module
 */

/** The page's style sheet. */
export const STYLE = `:root {
  color-scheme: light dark;
  --ground: light-dark(#fbfbf9, #15181b);
  --panel: light-dark(#fff, #1d2125);
  --ink: light-dark(#1c2024, #e7e9ea);
  --quiet: light-dark(#565d64, #a7afb6);
  --line: light-dark(#d9dcdf, #363c42);
  --link: light-dark(#0a58a8, #7db8f5);
  --good: light-dark(#136c34, #6fd08f);
  --bad: light-dark(#a81d1d, #ff9b94);
  font: 100%/1.5 system-ui, sans-serif;
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); }
header, main, footer { max-width: 64rem; margin: 0 auto; padding: 1rem; }
header { display: flex; flex-wrap: wrap; gap: .25rem 1rem; align-items: baseline; }
h1 { font-size: 1.5rem; margin: 0; }
h1 a { color: inherit; text-decoration: none; }
h2 { font-size: 1.1rem; margin: 0 0 .5rem; }
a { color: var(--link); }
section { background: var(--panel); border: 1px solid var(--line); border-radius: .5rem; padding: 1rem; margin-bottom: 1rem; }
p { margin: .5rem 0; }
.quiet { color: var(--quiet); }
.good { color: var(--good); font-weight: 600; }
.bad { color: var(--bad); font-weight: 600; }
form { display: flex; flex-wrap: wrap; gap: .5rem; align-items: end; }
label { display: flex; flex-direction: column; font-size: .875rem; color: var(--quiet); }
label.wide { flex: 1 1 14rem; }
input, select, button { font: inherit; color: var(--ink); background: var(--ground); border: 1px solid var(--quiet); border-radius: .25rem; padding: .4rem .6rem; min-height: 2.75rem; }
button { cursor: pointer; }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 16rem), 1fr)); gap: .75rem; margin: 0; }
dt { font-size: .875rem; color: var(--quiet); }
dd { margin: 0; }
dd, td, th, li { overflow-wrap: anywhere; }
code { font-size: .9em; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
caption { text-align: left; color: var(--quiet); font-size: .875rem; padding-bottom: .25rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .75rem .35rem 0; border-top: 1px solid var(--line); min-width: 6rem; }
thead th { border-top: 0; font-size: .875rem; color: var(--quiet); }
th { font-weight: 600; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
meter { width: 100%; min-width: 4rem; }
ul { margin: 0; padding-left: 1.25rem; }
footer { color: var(--quiet); font-size: .875rem; }
`;
