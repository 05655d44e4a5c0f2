import SafeHTML

/// What the next run will delete, and by which policy.
struct NextRunSection: PageSection {
  static let id = "next"
  static let title = "What the next run will delete"

  let report: StatusReport

  var content: HTML {
    """
    \(answered(report.policy, orElse: "jam-retention policy show", subject: "The policy") { _ in "<p>\(policySentence)</p>\n" })\
    \(answered(report.expiries, orElse: "SELECT * FROM \(report.object("cleanup_preview"))()") { table($0) })\
    \(report.policy.value.map(wholePolicy) ?? "")
    """
  }

  private func wholePolicy(_ settings: [StatusReport.Setting]) -> HTML {
    let settings = settings.map { setting -> (name: HTML, value: HTML) in
      ("<code>\(setting.name)</code>", setting.value.map(Figure.name) ?? "<span class=\"quiet\">not set</span>")
    }
    return """
      <details><summary>The whole policy</summary>
      \(facts(settings))</details>

      """
  }

  private func table(_ expiries: [StatusReport.Expiry]) -> HTML {
    let table = PageTable(
      caption: "Rows that have expired, by class",
      columns: [
        PageTable.Column(title: "Class"), PageTable.Column(title: "Kept for", isNumeric: true),
        PageTable.Column(title: "Rows", isNumeric: true), PageTable.Column(title: "Bytes", isNumeric: true),
        PageTable.Column(title: "Oldest", isNumeric: true), PageTable.Column(title: "Newest", isNumeric: true),
      ],
      rows: (expiries.filter(\.isClass) + [expiries.figure("external")].compactMap(\.self)).map(row),
      stacks: true
    )
    return "\(table.html)\(archiveSentence(expiries))"
  }

  private func row(_ expiry: StatusReport.Expiry) -> PageTable.Row {
    let window = window(of: expiry.dataClass)
    return PageTable.Row(
      cells: [
        expiry.isClass ? Figure.name(expiry.dataClass) : "<span class=\"quiet\">of these, in the object store</span>",
        "\(window)", "\(Figure.count(expiry.rows))", Figure.bytes(expiry.bytes), expiry.oldest.map(Figure.day) ?? "",
        expiry.newest.map(Figure.day) ?? "",
      ],
      empty: Set(
        [window.isEmpty ? 1 : nil, expiry.oldest == nil ? 4 : nil, expiry.newest == nil ? 5 : nil].compactMap(\.self)
      )
    )
  }

  /// The days of a class's window; of a part there are none, it goes with its row.
  private func window(of dataClass: String) -> String {
    let own = report.policy.value?.first { $0.name == "\(dataClass)_retention_days" }
    guard let own else { return "" }
    return (own.value ?? report.setting("retention_days")).flatMap { Int($0) }.map { Figure.count($0, "day") } ?? ""
  }

  private func archiveSentence(_ expiries: [StatusReport.Expiry]) -> HTML {
    let days = report.setting("archive_days").flatMap { Int($0) } ?? 0
    let purged = expiries.first { $0.dataClass == "purged rows" }?.rows ?? 0
    let kept: HTML =
      days > 0
      ? "<p>What a run deletes can be brought back for \(Figure.count(days, "day")): <code>jam-retention undo RUN</code>.</p>\n"
      : ""
    let bytes = expiries.figure("purged")?.bytes ?? 0
    let gone: HTML =
      purged > 0
      ? "<p>Of what earlier runs have archived, \(Figure.count(purged, "row")) with \(Figure.bytes(bytes)) of blobs \(purged.of("goes", plural: "go")) for good.</p>\n"
      : ""
    return "\(kept)\(gone)"
  }

  private var policySentence: HTML {
    let days = report.setting("retention_days").flatMap { Int($0) } ?? 0
    guard days > 0 else {
      return
        "<strong>The cleanup is disabled</strong>: <code>retention_days</code> is \(days). Nothing will be deleted."
    }
    var sentences: [HTML] = []
    if report.setting("dry_run") == "t" {
      sentences.append("<strong>Only a dry run</strong>: the policy lets a cleanup count, not delete.")
    }
    sentences.append(
      "The policy keeps everything for \(Figure.count(days, "day")), unless the class has a window of its own."
    )
    if let statuses = report.setting("protected_statuses"), statuses != "{}" {
      sentences.append("Rows in these states stay: <code>\(statuses)</code>.")
    }
    if let fraction = report.setting("max_delete_fraction").flatMap(Double.init) {
      sentences.append(
        "A run that would delete more than \(Int((fraction * 100).rounded())) % of a table does not start."
      )
    }
    return .joined(sentences, separator: " ")
  }
}
