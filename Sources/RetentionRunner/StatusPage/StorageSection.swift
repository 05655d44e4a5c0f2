import SafeHTML

/// What is stored, by class, now and in the past.
struct StorageSection: PageSection {
  static let id = "storage"
  static let title = "Storage by class over time"

  let report: StatusReport

  var content: HTML {
    let chart = StorageChart(
      history: report.history.value ?? [],
      storage: report.storage.value ?? [],
      now: report.installation.generatedAt
    )
    return """
      \(gap(report.storage, orElse: "SELECT * FROM \(report.object("storage"))", subject: "What is stored now"))\
      \(legend(chart))\
      \(answered(report.history, orElse: "SELECT * FROM \(report.object("storage_history"))") { _ in past(chart) })
      """
  }

  private func legend(_ chart: StorageChart) -> HTML {
    guard !chart.areas.isEmpty else { return "" }
    // As in the chart, from the top.
    let items = chart.areas.enumerated().reversed().map { position, area -> HTML in
      """
      <li><svg class="swatch" viewBox="0 0 12 12" aria-hidden="true"><rect class="line c\(position)" width="12" height="12"/></svg> \
      <b>\(Figure.word(area.name))</b> \(figures(chart.stored[position], in: area))</li>

      """
    }
    return """
      <ul class="legend">
      \(HTML.joined(items))</ul>

      """
  }

  private func figures(_ stored: StorageChart.Amount?, in area: StorageChart.Area) -> HTML {
    guard report.storage.value != nil else { return "" }
    guard let stored else { return "<span class=\"quiet\">in the past</span>" }
    return
      "\(Figure.bytes(stored.bytes)) <span class=\"quiet\">in \(Figure.count(stored.blobs, "blob"))\(place(of: area))</span>"
  }

  private func place(of area: StorageChart.Area) -> String {
    switch area {
    case .storageClass("db"): " of the table itself"
    case .storageClass("s3"): " in the object store"
    default: ""
    }
  }

  private func past(_ chart: StorageChart) -> HTML {
    guard chart.samples.count > 1 else {
      return "<p class=\"quiet\">No history yet: every real cleanup records what is stored when it ends.</p>\n"
    }
    return """
      <figure>
      \(chart.html)<details><summary>The same as a table</summary>
      \(table(chart))</details>
      </figure>

      """
  }

  private func table(_ chart: StorageChart) -> HTML {
    let areas = Array(chart.areas.enumerated().reversed())
    return PageTable(
      caption: "Stored bytes and blobs by storage class, the newest first; times in UTC",
      columns: [PageTable.Column(title: "Time")]
        + areas.flatMap { _, area in
          [
            PageTable.Column(title: "\(area.name), bytes", isNumeric: true),
            PageTable.Column(title: "\(area.name), blobs", isNumeric: true),
          ]
        },
      rows: chart.thinned(to: 40).reversed().map { sample in
        PageTable.Row(
          cells: [Figure.time(Moment(epoch: sample.at))]
            + areas.flatMap { position, _ -> [HTML] in
              [Figure.bytes(sample.amounts[position].bytes), "\(Figure.count(sample.amounts[position].blobs))"]
            }
        )
      },
      stacks: true,
      scrolls: true
    ).html
  }
}
