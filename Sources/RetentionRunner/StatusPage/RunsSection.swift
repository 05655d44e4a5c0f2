import SafeHTML

/// The last runs, with how long they took and what they did.
struct RunsSection: PageSection {
  static let id = "runs"
  static let title = "Last runs"

  let report: StatusReport

  var content: HTML {
    answered(report.runs, orElse: "SELECT * FROM \(report.object("cleanup_runs")) ORDER BY id DESC", table)
  }

  private func table(_ runs: StatusReport.Runs) -> HTML {
    guard let first = runs.last.first else { return "<p class=\"quiet\">No cleanup has run yet.</p>\n" }
    let classes = first.deleted.map(\.name)
    let archives = runs.last.contains { $0.archivedBytes > 0 }
    let archived = archives ? "Archived: bytes of the blobs that can be brought back. " : ""
    let earlier: HTML =
      runs.total > runs.last.count
      ? "<p class=\"quiet\">In <code>\(report.object("cleanup_runs"))</code> there are \(Figure.count(runs.total - runs.last.count)) more.</p>\n"
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
}
