import Crypto
import Foundation
import SafeHTML

/// The status page: a report as one document for people. It works without a script, and needs nothing from elsewhere.
public struct StatusPage {
  let report: StatusReport

  /// Takes what the page shows.
  public init(_ report: StatusReport) {
    self.report = report
  }

  /// The headers of a response with the page.
  public static let headers: [(name: String, value: String)] = [
    ("Content-Type", "text/html; charset=utf-8"),
    ("Content-Security-Policy", "\(policy); base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
  ]

  /// Nothing is loaded and nothing runs; the style sheet is allowed by its hash, as one that got in by mistake is not.
  private static let policy: String = {
    let hash = Data(SHA256.hash(data: Data(PageStyle.sheet.utf8))).base64EncodedString()
    return "default-src 'none'; style-src 'sha256-\(hash)'"
  }()

  /// The document.
  public var html: HTML {
    """
    <!DOCTYPE html>
    <html lang="en">
    <head>
    <meta charset="utf-8">
    <meta http-equiv="Content-Security-Policy" content="\(Self.policy)">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="color-scheme" content="light dark">
    <meta name="robots" content="noindex">
    <title>\(verdict.title) · \(report.installation.database) · jam-retention</title>
    <style>\(raw: PageStyle.sheet)</style>
    </head>
    <body>
    \(masthead)\
    <main>
    \(HTML.joined([health, storage, nextRun, lastRuns, largestBlobs, backlog, installation]))\
    </main>
    </body>
    </html>

    """
  }

  // MARK: The head

  private var failing: [HealthCheck] { report.checks.value?.filter { !$0.isHealthy } ?? [] }

  private var verdict: (title: String, form: String, text: String) {
    guard let checks = report.checks.value else {
      return ("Health unknown", "bad", "The health checks took too long.")
    }
    guard !failing.isEmpty else {
      return ("Healthy", "good", "All \(Figure.count(checks.count, "health check")) pass.")
    }
    let named = failing.prefix(3).map(\.name).joined(separator: ", ")
    let others = failing.count > 3 ? " and \(failing.count - 3) more" : ""
    return (
      "Needs attention: \(named)\(others)", "bad",
      "\(failing.count) of \(Figure.count(checks.count, "health check")) \(failing.count == 1 ? "fails" : "fail")."
    )
  }

  private var masthead: HTML {
    let (title, form, text) = verdict
    let facts = report.installation
    return """
      <header>
      <p class="place">jam-retention <span class="quiet">·</span> database \(Figure.name(facts.database)) \
      <span class="quiet">·</span> schema \(Figure.name(facts.objects.schema.name))</p>
      <h1 class="\(form)">\(title)</h1>
      <p class="lead">\(text) As of \(Figure.time(facts.generatedAt)) UTC.</p>
      <dl class="key">
      \(HTML.joined(keyFigures.map { "<div><dt>\($0.title)</dt><dd>\($0.value) <small>\($0.detail)</small></dd></div>\n" }))\
      </dl>
      </header>

      """
  }

  private var keyFigures: [(title: String, value: HTML, detail: HTML)] {
    var figures: [(title: String, value: HTML, detail: HTML)] = []
    if let storage = report.backlog.value?.storage {
      let blobs = Figure.sum(storage.map(\.rows))
      figures.append(
        ("Stored", Figure.bytes(Figure.sum(storage.map(\.bytes))), "in \(Figure.count(blobs, "blob"))")
      )
    }
    if let expiries = report.expiries.value {
      let rows = Figure.sum(expiries.filter(isClass).map(\.rows))
      figures.append(
        (
          setting("dry_run") == "t" ? "A real run would delete" : "Next run deletes", "\(Figure.count(rows))",
          "\(rows == 1 ? "row" : "rows"), frees \(Figure.bytes(freed(expiries)))"
        )
      )
    }
    if let run = report.runs.value?.last.first {
      figures.append(("Last run", "\(run.status)", "\(age(of: run.startedAt))"))
    }
    if let sizes = report.backlog.value?.sizes {
      figures.append(
        ("Waiting in the ledger", "\(Figure.count(sizes.ledgerEntries))", "\(entries(sizes.ledgerEntries))")
      )
    }
    return figures
  }

  private func entries(_ count: Int) -> String { count == 1 ? "entry" : "entries" }

  // MARK: Sections

  private func section(_ id: String, _ title: String, _ content: HTML) -> HTML {
    """
    <section aria-labelledby="\(id)">
    <h2 id="\(id)">\(title)</h2>
    \(content)</section>

    """
  }

  /// The section's content, or that the question for it was given up.
  private func answered<Value>(
    _ answer: StatusReport.Answer<Value>,
    orElse statement: HTML,
    _ content: (Value) -> HTML
  ) -> HTML {
    answer.value.map(content)
      ?? "<p class=\"gap\">This took too long and was given up. To wait for it: \(statement)</p>\n"
  }

  private func function(_ name: String) -> HTML { "<code>\(name)</code>" }

  private func age(of moment: Moment) -> String {
    let seconds = report.installation.generatedAt.epoch - moment.epoch
    return seconds < 1 ? "just now" : "\(Figure.duration(seconds)) ago"
  }

  private var health: HTML {
    let content = answered(report.checks, orElse: function("jam-retention doctor")) { checks in
      let items = (checks.filter { !$0.isHealthy } + checks.filter(\.isHealthy)).map { check -> HTML in
        let remedy: HTML = check.isHealthy ? "" : "<p class=\"remedy\"><b>Remedy.</b> \(check.remedy)</p>"
        return """
          <li class="\(check.isHealthy ? "good" : "bad")"><span class="mark">\(check.isHealthy ? "Pass" : "Fail")</span>\
          <div><b>\(Figure.name(check.name))</b> <span>\(check.detail)</span>\(remedy)</div></li>

          """
      }
      return """
        <ul class="checks">
        \(HTML.joined(items))</ul>
        <p class="quiet">Not looked at here, because it reads every row: whether each count is right. \
        <code>jam-retention verify</code> tells.</p>

        """
    }
    return section("health", "Health", content)
  }

  private var storage: HTML {
    let storage = report.backlog.value?.storage ?? []
    let chart = StorageChart(
      history: report.history.value ?? [],
      storage: storage,
      now: report.installation.generatedAt
    )
    let current = Dictionary(storage.map { ($0.storageClass, $0) }) { $1 }
    // As in the chart, from the top.
    let legend = chart.classes.enumerated().reversed().map { position, name -> HTML in
      let now = current[name]
      let figures: HTML =
        now.map {
          "\(Figure.bytes($0.bytes)) <span class=\"quiet\">in \(Figure.count($0.rows, "blob"))\(place(of: name))</span>"
        } ?? "<span class=\"quiet\">in the past</span>"
      return """
        <li><svg class="swatch" viewBox="0 0 12 12" aria-hidden="true"><rect class="line c\(position)" width="12" height="12"/></svg> \
        <b>\(Figure.word(name))</b> \(figures)</li>

        """
    }
    let content: HTML =
      chart.samples.count > 1
      ? """
      <ul class="legend">
      \(HTML.joined(legend))</ul>
      <figure>
      \(chart.html)<details><summary>The same as a table</summary>
      \(historyTable(chart))</details>
      </figure>

      """
      : """
      <ul class="legend">
      \(HTML.joined(legend))</ul>
      <p class="quiet">No history yet: every real cleanup records what is stored when it ends.</p>

      """
    return section(
      "storage",
      "Storage by class over time",
      """
      \(answered(report.backlog, orElse: function("SELECT * FROM \(object("storage"))")) { _ in "" })\
      \(answered(report.history, orElse: function("SELECT * FROM \(object("storage_history"))")) { _ in content })
      """
    )
  }

  private func place(of storageClass: String) -> String {
    switch storageClass {
    case "db": " of the table itself"
    case "s3": " in the object store"
    default: ""
    }
  }

  private func historyTable(_ chart: StorageChart) -> HTML {
    let classes = Array(chart.classes.enumerated().reversed())
    return PageTable(
      caption: "Stored bytes and blobs by storage class, the newest first; times in UTC",
      columns: [PageTable.Column(title: "Time")]
        + classes.flatMap { _, name in
          [
            PageTable.Column(title: "\(name), bytes", isNumeric: true),
            PageTable.Column(title: "\(name), blobs", isNumeric: true),
          ]
        },
      rows: chart.thinned(to: 40).reversed().map { sample in
        PageTable.Row(
          cells: [Figure.time(Moment(epoch: sample.at))]
            + classes.flatMap { position, _ -> [HTML] in
              [Figure.bytes(sample.bytes[position]), "\(Figure.count(sample.blobs[position]))"]
            }
        )
      },
      stacks: true,
      scrolls: true
    ).html
  }

  // MARK: The next run

  /// The names of classes and parts have no space. Those of other figures do, which count the same rows in another way: how
  /// many are in the object store, how many go into the archive and out of it.
  private func isClass(_ expiry: StatusReport.Expiry) -> Bool { !expiry.dataClass.contains(" ") }

  /// A figure about what a run deletes, such as `external` blobs or `purged` rows.
  private func figure(_ prefix: String, of expiries: [StatusReport.Expiry]) -> StatusReport.Expiry? {
    expiries.first { $0.dataClass.hasPrefix("\(prefix) ") && !$0.dataClass.hasSuffix(" rows") }
  }

  /// The bytes of the blobs that go for good: not into the archive, or out of it. What rows take on disk is left for
  /// `VACUUM`.
  private func freed(_ expiries: [StatusReport.Expiry]) -> Int {
    let deleted = expiries.last(where: isClass)?.bytes ?? 0
    let archived = figure("archived", of: expiries)?.bytes ?? 0
    return Figure.sum([deleted - archived, figure("purged", of: expiries)?.bytes ?? 0])
  }

  private func archiveSentence(_ expiries: [StatusReport.Expiry]) -> HTML {
    let days = setting("archive_days").flatMap { Int($0) } ?? 0
    let purged = expiries.first { $0.dataClass == "purged rows" }?.rows ?? 0
    let kept: HTML =
      days > 0
      ? "<p>What a run deletes can be brought back for \(Figure.count(days, "day")): <code>jam-retention undo RUN</code>.</p>\n"
      : ""
    let bytes = figure("purged", of: expiries)?.bytes ?? 0
    let gone: HTML =
      purged > 0
      ? "<p>Of what earlier runs have archived, \(Figure.count(purged, "row")) with \(Figure.bytes(bytes)) of blobs \(purged == 1 ? "goes" : "go") for good.</p>\n"
      : ""
    return "\(kept)\(gone)"
  }

  private func setting(_ name: String) -> String? { report.policy.first { $0.name == name }?.value }

  private var nextRun: HTML {
    let content = answered(report.expiries, orElse: function("SELECT * FROM \(object("cleanup_preview"))()")) {
      expiries -> HTML in
      let shown = expiries.filter(isClass) + [figure("external", of: expiries)].compactMap { $0 }
      let table = PageTable(
        caption: "Rows that have expired, by class",
        columns: [
          PageTable.Column(title: "Class"), PageTable.Column(title: "Kept for", isNumeric: true),
          PageTable.Column(title: "Rows", isNumeric: true), PageTable.Column(title: "Bytes", isNumeric: true),
          PageTable.Column(title: "Oldest", isNumeric: true), PageTable.Column(title: "Newest", isNumeric: true),
        ],
        rows: shown.map { expiry in
          PageTable.Row(
            cells: [
              isClass(expiry)
                ? Figure.name(expiry.dataClass) : "<span class=\"quiet\">of these, in the object store</span>",
              "\(window(of: expiry.dataClass))", "\(Figure.count(expiry.rows))",
              Figure.bytes(expiry.bytes), expiry.oldest.map(Figure.day) ?? "", expiry.newest.map(Figure.day) ?? "",
            ],
            empty: Set(
              [
                window(of: expiry.dataClass).isEmpty ? 1 : nil, expiry.oldest == nil ? 4 : nil,
                expiry.newest == nil ? 5 : nil,
              ].compactMap { $0 }
            )
          )
        },
        stacks: true
      )
      return "\(table.html)\(archiveSentence(expiries))"
    }
    let settings = report.policy.map { setting -> HTML in
      let value: HTML = setting.value.map(Figure.name) ?? "<span class=\"quiet\">not set</span>"
      return "<div><dt><code>\(setting.name)</code></dt><dd>\(value)</dd></div>\n"
    }
    return section(
      "next",
      "What the next run will delete",
      """
      <p>\(policySentence)</p>
      \(content)<details><summary>The whole policy</summary>
      <dl class="facts">
      \(HTML.joined(settings))</dl>
      </details>

      """
    )
  }

  /// The days of a class's window; of a part there are none, it goes with its row.
  private func window(of dataClass: String) -> String {
    guard let column = report.policy.first(where: { $0.name == "\(dataClass)_retention_days" }) else { return "" }
    return (column.value ?? setting("retention_days")).flatMap { Int($0) }.map { Figure.count($0, "day") } ?? ""
  }

  private var policySentence: HTML {
    let days = setting("retention_days").flatMap { Int($0) } ?? 0
    guard days > 0 else {
      return
        "<strong>The cleanup is disabled</strong>: <code>retention_days</code> is \(days). Nothing will be deleted."
    }
    var sentences: [HTML] = []
    if setting("dry_run") == "t" {
      sentences.append("<strong>Only a dry run</strong>: the policy lets a cleanup count, not delete.")
    }
    sentences.append(
      "The policy keeps everything for \(Figure.count(days, "day")), unless the class has a window of its own."
    )
    if let statuses = setting("protected_statuses"), statuses != "{}" {
      sentences.append("Rows in these states stay: <code>\(statuses)</code>.")
    }
    if let fraction = setting("max_delete_fraction").flatMap(Double.init) {
      sentences.append(
        "A run that would delete more than \(Int((fraction * 100).rounded())) % of a table does not start."
      )
    }
    return .joined(sentences, separator: " ")
  }

  // MARK: Runs

  private var lastRuns: HTML {
    let content = answered(report.runs, orElse: function("SELECT * FROM \(object("cleanup_runs")) ORDER BY id DESC")) {
      runs -> HTML in
      guard let first = runs.last.first else { return "<p class=\"quiet\">No cleanup has run yet.</p>\n" }
      let classes = first.deleted.map(\.name)
      let archives = runs.last.contains { $0.archivedBytes > 0 }
      let archived = archives ? "Archived: bytes of the blobs that can be brought back. " : ""
      let earlier: HTML =
        runs.total > runs.last.count
        ? "<p class=\"quiet\">In <code>\(object("cleanup_runs"))</code> there are \(Figure.count(runs.total - runs.last.count)) more.</p>\n"
        : ""
      let table = PageTable(
        caption:
          "The last \(runs.last.count == 1 ? "run" : "\(runs.last.count) runs"), the newest first; counts are deleted rows, times in UTC",
        columns: [
          PageTable.Column(title: "Run", isNumeric: true), PageTable.Column(title: "Started"),
          PageTable.Column(title: "Status"), PageTable.Column(title: "Duration", isNumeric: true),
        ]
          + (classes + ["Freed"] + (archives ? ["Archived"] : []) + ["Busy"]).map {
            PageTable.Column(title: $0, isNumeric: true)
          },
        rows: runs.last.map { row($0, archives: archives) },
        stacks: true,
        scrolls: true
      )
      return """
        \(table.html)<p class="quiet">Freed: bytes of the blobs that are gone for good. \(archived)Busy: rows and blobs left \
        for the next run, because others were using them.</p>
        \(earlier)
        """
    }
    return section("runs", "Last runs", content)
  }

  private func row(_ run: StatusReport.Run, archives: Bool) -> PageTable.Row {
    let form =
      switch run.status {
      case "completed": "good"
      case "failed", "refused", "interrupted": "bad"
      case "partial": "fair"
      default: "quiet"
      }
    let dryRun: HTML = run.isDryRun ? " <span class=\"quiet\">dry run</span>" : ""
    let duration = ((run.finishedAt ?? report.installation.generatedAt).epoch - run.startedAt.epoch)
    let cells: [HTML] =
      [
        "\(run.id)", Figure.time(run.startedAt), "<span class=\"\(form) status\">\(run.status)</span>\(dryRun)",
        "\(Figure.duration(max(0, duration)))\(run.finishedAt == nil ? " so far" : "")",
      ] + run.deleted.map { "\(Figure.count($0.rows))" } + [Figure.bytes(run.freedBytes)]
      + (archives ? [Figure.bytes(run.archivedBytes)] : []) + ["\(Figure.count(run.busy))"]
    let figures = run.deleted.map(\.rows) + [run.freedBytes] + (archives ? [run.archivedBytes] : []) + [run.busy]
    return PageTable.Row(
      cells: cells,
      empty: Set(figures.indices.filter { figures[$0] == 0 }.map { $0 + 4 }),
      note: run.error.map { "<span class=\"\(form)\">\($0)</span>" }
    )
  }

  // MARK: Blobs

  private var largestBlobs: HTML {
    let content = answered(
      report.largest,
      orElse: function("SELECT * FROM \(object("blob_locations")) ORDER BY size DESC LIMIT 10")
    ) { blobs -> HTML in
      guard !blobs.isEmpty else { return "<p class=\"quiet\">There are no blobs.</p>\n" }
      let late: HTML =
        report.holders.value == nil
        ? "<p class=\"gap\">To find out who holds them took too long and was given up. To wait for it: <code>SELECT * FROM \(object("referrers"))('…')</code></p>\n"
        : ""
      let table = PageTable(
        caption: "The largest blobs and the columns that refer to them",
        columns: [
          PageTable.Column(title: "Blob"), PageTable.Column(title: "Size", isNumeric: true),
          PageTable.Column(title: "Class"), PageTable.Column(title: "Media type"),
          PageTable.Column(title: "References", isNumeric: true), PageTable.Column(title: "Held by"),
        ],
        rows: blobs.map(row),
        stacks: true,
        scrolls: true
      )
      return "\(table.html)\(late)"
    }
    return section("blobs", "Largest blobs and who holds them", content)
  }

  private func row(_ blob: StatusReport.Blob) -> PageTable.Row {
    let holders = report.holders.value?.filter { $0.hash == blob.hash } ?? []
    let references = report.refcounts.value?[blob.hash]
    let held: [HTML] = holders.map { holder in
      """
      <div>\(Figure.name("\(holder.table).\(holder.column)")) <span class="quiet">× \(Figure.count(holder.references)), \
      \(holder.references == 1 ? "row" : "one of them") \(Figure.hash(holder.row))</span></div>
      """
    }
    let nobody: HTML = report.holders.value != nil ? "<span class=\"quiet\">nobody</span>" : ""
    return PageTable.Row(
      cells: [
        Figure.hash(blob.hash), Figure.bytes(blob.size), Figure.word(blob.storageClass), Figure.word(blob.mediaType),
        "\(references.map { Figure.count($0) } ?? "")", held.isEmpty ? nobody : .joined(held),
      ],
      empty: Set(
        [blob.mediaType.isEmpty ? 3 : nil, references == nil ? 4 : nil, report.holders.value == nil ? 5 : nil]
          .compactMap { $0 }
      )
    )
  }

  // MARK: Backlog

  private var backlog: HTML {
    let content = answered(report.backlog, orElse: function("jam-retention status")) { backlog -> HTML in
      let sizes = backlog.sizes
      let pending = sizes.pendingDeletions
      let pendingBytes: HTML = pending.count > 0 ? ", \(Figure.bytes(Int(pending.bytes)))" : ""
      let error: HTML = backlog.lastDeletionError.map { "<br><span class=\"bad\">\($0)</span>" } ?? ""
      let facts: [(name: String, value: HTML)] = [
        (
          "Ledger entries",
          "\(Figure.count(sizes.ledgerEntries))\(sizes.ledgerEntries > 0 ? ", the oldest \(Figure.duration(Double(sizes.ledgerOldestSeconds))) old" : "")"
        ),
        (
          "Unresolved references",
          "\(Figure.count(sizes.unresolvedReferences))\(backlog.unresolvedHashes > 0 ? " to \(Figure.count(backlog.unresolvedHashes, "blob")) that \(backlog.unresolvedHashes == 1 ? "is" : "are") not here" : "")"
        ),
        (
          "Objects awaiting deletion",
          """
          \(Figure.count(pending.count))\(pendingBytes)\
          \(backlog.oldestDeletion.map { ", the first queued \(age(of: $0))" } ?? "")\(error)
          """
        ),
        (
          "Refcount anomalies",
          "\(Figure.count(backlog.anomalies))\(backlog.lastAnomaly.map { ", the last \(age(of: $0))" } ?? "")"
        ),
      ]
      return """
        <dl class="facts">
        \(HTML.joined(facts.map { "<div><dt>\($0.name)</dt><dd>\($0.value)</dd></div>\n" }))</dl>
        \(unresolved(backlog))
        """
    }
    return section("backlog", "Backlog", content)
  }

  private func unresolved(_ backlog: StatusReport.Backlog) -> HTML {
    guard !backlog.unresolved.isEmpty else { return "" }
    let all = backlog.unresolvedHashes <= backlog.unresolved.count
    return PageTable(
      caption: all ? "Blobs that are referred to and not here" : "Blobs that are referred to most and not here",
      columns: [PageTable.Column(title: "Blob"), PageTable.Column(title: "References", isNumeric: true)],
      rows: backlog.unresolved.map { PageTable.Row(cells: [Figure.hash($0.hash), "\(Figure.count($0.references))"]) },
      isCompact: true
    ).html
  }

  // MARK: Installation

  private var installation: HTML {
    let facts = report.installation
    let space = facts.tableSpace
    let lastFile: HTML = facts.files?.last.map { ", the last \(Figure.time($0)) UTC" } ?? ""
    let files: HTML =
      facts.files.map { "\(Figure.count($0.count)) applied\(lastFile)" } ?? "no record that this role may read"
    let rows: [(name: String, value: HTML)] = [
      ("Database", Figure.name(facts.database)),
      ("Schema", Figure.name(facts.objects.schema.name)),
      ("Counting mode", "\(facts.refcounting.rawValue)"),
      ("PostgreSQL", "\(facts.serverVersion)\(facts.isStandby ? ", a standby" : "")"),
      ("Migrations", files),
      (
        "Blob table on disk",
        "\(Figure.bytes(Int(space.tableBytes))), about \(Figure.bytes(Int(space.reclaimableBytes))) of it hold nothing any more"
      ),
      ("Generated", "\(Figure.time(facts.generatedAt)) UTC; all times on this page are in UTC"),
    ]
    return section(
      "installation",
      "Installation",
      """
      <dl class="facts">
      \(HTML.joined(rows.map { "<div><dt>\($0.name)</dt><dd>\($0.value)</dd></div>\n" }))</dl>

      """
    )
  }

  /// The name of a generated object, as SQL spells it.
  private func object(_ name: String) -> String { report.installation.objects.qualified(name).quoted }
}
