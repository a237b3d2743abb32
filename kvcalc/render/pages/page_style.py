"""How a page looks, on a screen in light or dark, and on paper."""

STYLE = """\
:root { color-scheme: light dark; --ink: #1b1b1b; --paper: #fff; --faint: #595959; --line: #c8c8c8; --shade: #f3f3f3;
  --good: #0b6b34; --close: #8a5000; --bad: #b3001b; --link: #0b57a4; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e8; --paper: #161616; --faint: #a8a8a8; --line: #474747;
  --shade: #232323; --good: #6fd694; --close: #f0b45a; --bad: #ff8a94; --link: #8ec5ff; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0.5rem 0; }
h2 { font-size: 1.3rem; margin: 2rem 0 0.5rem; border-bottom: 2px solid var(--line); }
h3 { font-size: 1.1rem; margin: 1.5rem 0 0.5rem; }
h4 { font-size: 1rem; margin: 1.2rem 0 0.5rem; }
p { margin: 0.4rem 0; }
a { color: var(--link); }
nav ol { columns: 16rem; padding-left: 1.6rem; margin: 0.5rem 0; }
.wide { overflow-x: auto; margin: 0.75rem 0; }
.wide:focus-visible, pre:focus-visible { outline: 2px solid var(--link); }
table { border-collapse: collapse; font-size: 0.875rem; line-height: 1.4; font-variant-numeric: tabular-nums;
  overflow-wrap: normal; }
caption { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
th, td { text-align: left; vertical-align: top; padding: 0.25rem 0.75rem 0.25rem 0; font-weight: normal;
  border-bottom: 1px solid var(--line); min-width: 4rem; max-width: 34rem; }
th.number, td.number { text-align: right; white-space: nowrap; min-width: 0; }
thead th { font-weight: 600; vertical-align: bottom; color: var(--faint); }
tr.total > *, tr.marked > * { font-weight: 600; }
tr.total > * { border-top: 2px solid var(--line); }
tr.bad > * { color: var(--bad); }
.in1 { padding-left: 1rem; } .in2 { padding-left: 2rem; } .in3 { padding-left: 3rem; } .in4 { padding-left: 4rem; }
.in5 { padding-left: 5rem; } .in6 { padding-left: 6rem; }
.strong { font-weight: 600; } .faint { color: var(--faint); }
.good { color: var(--good); font-weight: 600; } .close { color: var(--close); font-weight: 600; }
.bad { color: var(--bad); font-weight: 600; }
tr.close > *, tr.good > * { font-weight: normal; }
pre { background: var(--shade); padding: 0.6rem; overflow-x: auto; font-size: 0.8125rem; white-space: pre-wrap; }
figure { margin: 1rem 0; } figure svg { max-width: 100%; min-width: 34rem; height: auto; }
.kvcalc-chart .paper { fill: none; } .kvcalc-chart .halo, .kvcalc-chart .edge { stroke: var(--paper); }
@page { size: A4; margin: 15mm; }
@media print {
  :root { --ink: #000; --paper: #fff; --faint: #444; --line: #999; --shade: #f3f3f3; --good: #0b6b34; --close: #8a5000;
    --bad: #b3001b; --link: #000; color-scheme: light; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  body { font-size: 10pt; } main { max-width: none; padding: 0; }
  h1 { font-size: 17pt; } h2 { font-size: 13pt; margin-top: 14pt; } h3 { font-size: 11pt; } h4 { font-size: 10pt; }
  h2, h3, h4 { break-after: avoid; }
  .wide { overflow: visible; }
  table { font-size: 8pt; width: 100%; overflow-wrap: break-word; }
  th, td { max-width: none; min-width: 0; padding-right: 5pt; }
  thead { display: table-header-group; }
  tr, figure, li { break-inside: avoid; }
  figure svg { min-width: 0; width: auto; max-height: 100mm; }
  p { orphans: 3; widows: 3; }
  pre { white-space: pre-wrap; font-size: 8pt; }
}
"""
