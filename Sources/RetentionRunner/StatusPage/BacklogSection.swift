import SafeHTML

/// What waits: for a fold, for a blob, for a sweep.
struct BacklogSection: PageSection {
  static let id = "backlog"
  static let title = "Backlog"

  let report: StatusReport

  var content: HTML {
    answered(report.backlog, orElse: "jam-retention status") { backlog in
      let (sizes, hashes) = (backlog.sizes, backlog.unresolvedHashes)
      let pending = sizes.pendingDeletions
      let oldest = ", the oldest \(Figure.duration(Double(sizes.ledgerOldestSeconds))) old"
      let absent = " to \(Figure.count(hashes, "blob")) that \(hashes.of("is", plural: "are")) not here"
      let pendingBytes: HTML = pending.count > 0 ? ", \(Figure.bytes(Int(pending.bytes)))" : ""
      let queued = backlog.oldestDeletion.map { ", the first queued \(report.age(of: $0))" } ?? ""
      let error: HTML = backlog.lastDeletionError.map { "<br><span class=\"bad\">\($0)</span>" } ?? ""
      let last = backlog.lastAnomaly.map { ", the last \(report.age(of: $0))" } ?? ""
      let figures: [(name: HTML, value: HTML)] = [
        ("Ledger entries", "\(Figure.count(sizes.ledgerEntries))\(sizes.ledgerEntries > 0 ? oldest : "")"),
        ("Unresolved references", "\(Figure.count(sizes.unresolvedReferences))\(hashes > 0 ? absent : "")"),
        ("Objects awaiting deletion", "\(Figure.count(pending.count))\(pendingBytes)\(queued)\(error)"),
        ("Refcount anomalies", "\(Figure.count(backlog.anomalies))\(last)"),
      ]
      return "\(facts(figures))\(unresolved(backlog))"
    }
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
}
