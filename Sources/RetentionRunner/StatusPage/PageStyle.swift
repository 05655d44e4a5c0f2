/// How the page looks: on paper, on a wide and on a narrow screen, in the light and in the dark.
enum PageStyle {
  /// The style sheet.
  static let sheet = """
    :root {
      color-scheme: light dark;
      --paper: #fdfdfb; --ink: #1d1f21; --quiet: #5d6268; --line: #dfdfda; --faint: #f3f3ee;
      --good: #1b6e3e; --fair: #8a5200; --bad: #b3251c;
      --c0: #33658f; --c1: #d08c3f; --c2: #5f8f57; --c3: #8a6aa3; --c4: #8d8d85;
    }
    @media (prefers-color-scheme: dark) {
      :root {
        --paper: #17191c; --ink: #e7e7e3; --quiet: #a3a8af; --line: #34383e; --faint: #1f2226;
        --good: #72cf96; --fair: #efb45f; --bad: #ff8d83;
        --c0: #5b93c4; --c1: #d9a05b; --c2: #83b47b; --c3: #b092c9; --c4: #8f949b;
      }
    }
    * { box-sizing: border-box; }
    html { background: var(--paper); color: var(--ink); -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
    body {
      margin: 0 auto; max-width: 66rem; padding: 2.5rem 2rem 5rem; overflow-wrap: anywhere;
      font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", "DejaVu Sans", sans-serif;
      font-variant-numeric: tabular-nums;
    }
    p, ul, dl, table, figure { margin: 0 0 1rem; padding: 0; }
    h1 { margin: 0.25rem 0 0.5rem; font-size: 2.25rem; line-height: 1.15; font-weight: 600; letter-spacing: -0.015em; }
    h2 {
      margin: 3rem 0 1rem; padding-top: 0.75rem; border-top: 1px solid var(--ink);
      font-size: 1.125rem; line-height: 1.3; font-weight: 600;
    }
    code { font: 0.875em/1.4 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
    small { font-size: 0.875rem; }
    .place { margin: 0; color: var(--quiet); font-size: 0.875rem; }
    .lead { margin-bottom: 2rem; color: var(--quiet); }
    .quiet { color: var(--quiet); }
    section > .quiet, .scroll + .quiet, .gap { font-size: 0.875rem; }
    .good { color: var(--good); }
    .fair { color: var(--fair); }
    .bad { color: var(--bad); }
    .gap { padding: 0.5rem 0.75rem; border-left: 3px solid var(--fair); background: var(--faint); }

    dl.key { display: flex; flex-wrap: wrap; gap: 1rem 3rem; }
    dl.key dt, dl.facts dt { color: var(--quiet); font-size: 0.875rem; }
    dl.key dd { margin: 0; font-size: 1.375rem; line-height: 1.3; }
    dl.key small { color: var(--quiet); }
    dl.facts > div { display: grid; grid-template-columns: 14rem 1fr; gap: 0 1rem; padding: 0.3rem 0; border-bottom: 1px solid var(--line); }
    dl.facts dt { line-height: 1.5rem; }
    dl.facts dd { margin: 0; }

    ul.checks, ul.legend { list-style: none; }
    ul.checks li { display: grid; grid-template-columns: 3rem 1fr; padding: 0.4rem 0; border-bottom: 1px solid var(--line); color: var(--ink); }
    ul.checks .mark { font-size: 0.875rem; line-height: 1.5rem; font-weight: 600; }
    ul.checks .good .mark { color: var(--good); font-weight: 400; }
    ul.checks .bad .mark { color: var(--bad); }
    ul.checks .remedy { margin: 0.25rem 0 0.25rem; padding-left: 0.75rem; border-left: 3px solid var(--bad); }

    ul.legend { display: flex; flex-wrap: wrap; gap: 0.25rem 2rem; font-size: 0.9375rem; }
    .swatch { width: 0.75rem; height: 0.75rem; }
    .chart { display: block; width: 100%; height: auto; }
    .chart.narrow { display: none; max-width: 30rem; }
    .chart text { fill: var(--quiet); font-size: 12px; }
    .grid { stroke: var(--line); }
    .axis { stroke: var(--quiet); }
    .area { fill-opacity: 0.28; }
    .chart .line { fill: none; stroke-width: 2; stroke-linejoin: round; }
    .c0 { fill: var(--c0); stroke: var(--c0); }
    .c1 { fill: var(--c1); stroke: var(--c1); }
    .c2 { fill: var(--c2); stroke: var(--c2); }
    .c3 { fill: var(--c3); stroke: var(--c3); }
    .c4 { fill: var(--c4); stroke: var(--c4); }
    .area { stroke: none; }

    details { margin: 0 0 1rem; }
    summary { padding: 0.25rem 0; color: var(--quiet); font-size: 0.875rem; cursor: pointer; }
    details[open] > summary { margin-bottom: 0.5rem; }
    :focus-visible { outline: 2px solid var(--c0); outline-offset: 2px; }

    .scroll { overflow-x: auto; }
    table { width: 100%; border-collapse: collapse; font-size: 0.9375rem; }
    caption { padding: 0 0 0.5rem; color: var(--quiet); font-size: 0.875rem; text-align: left; }
    th, td { padding: 0.35rem 0 0.35rem 1rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: baseline; }
    th:first-child, td:first-child { padding-left: 0; }
    thead th {
      border-bottom-color: var(--quiet); color: var(--quiet); font-size: 0.8125rem; font-weight: 400;
      overflow-wrap: normal; vertical-align: bottom;
    }
    tbody th { font-weight: 400; }
    th.n, td.n { text-align: right; }
    td.n, time, .status { white-space: nowrap; }
    .noted > * { border-bottom: 0; }
    tr.note td { padding-top: 0; font-size: 0.875rem; }
    td.empty { color: var(--quiet); }
    table.compact { width: auto; min-width: 24rem; }
    .hash, .short {
      display: inline-block; max-width: 22ch; overflow: hidden; text-overflow: ellipsis; white-space: nowrap;
      vertical-align: bottom;
    }
    .hash { max-width: 13ch; line-height: 1.714; user-select: all; -webkit-user-select: all; }

    @media (max-width: 50rem) {
      .chart.wide { display: none; }
      .chart.narrow { display: block; }
    }
    @media (max-width: 44rem) {
      body { padding: 1.25rem 1rem 3rem; }
      h1 { font-size: 1.75rem; }
      h2 { margin-top: 2.25rem; }
      dl.key { display: grid; gap: 0.75rem; }
      dl.facts > div { display: block; }
      table.compact { width: 100%; min-width: 0; }
      .stack, .stack caption, .stack tbody, .stack tr, .stack th, .stack td { display: block; }
      .stack thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
      .stack tr { padding: 0.5rem 0; border-bottom: 1px solid var(--line); }
      .stack th, .stack td { padding: 0.1rem 0; border: 0; text-align: left; }
      .stack td { display: grid; grid-template-columns: 8.5rem 1fr; gap: 0 1rem; }
      .stack td[data-title]::before { content: attr(data-title); color: var(--quiet); }
      .stack td[data-title] > * { grid-column: 2; }
      .stack td.n { text-align: left; white-space: normal; }
      .stack td.empty { display: none; }
      .stack tbody th { font-weight: 600; }
      .stack tr.noted { padding-bottom: 0; border-bottom: 0; }
      .stack tr.note { padding-top: 0; }
      .stack tr.note td { display: block; }
    }
    @media print {
      :root {
        --paper: #fff; --ink: #000; --quiet: #444; --line: #ccc; --faint: #fff;
        --good: #14552f; --fair: #6b4000; --bad: #8f1d16;
        --c0: #33658f; --c1: #d08c3f; --c2: #5f8f57; --c3: #8a6aa3; --c4: #8d8d85;
      }
      body { max-width: none; padding: 0; font-size: 9pt; }
      h2, caption, tr, li, figure { break-inside: avoid; break-after: auto; }
      h2 { break-after: avoid; }
      .scroll { overflow: visible; }
      .hash, .short { display: inline; white-space: normal; }
    }
    """
}
