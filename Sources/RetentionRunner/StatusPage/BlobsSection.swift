import SafeHTML

/// The largest blobs, and what refers to them.
struct BlobsSection: PageSection {
  static let id = "blobs"
  static let title = "Largest blobs and who holds them"

  let report: StatusReport

  var content: HTML {
    let size = "SELECT * FROM \(report.object("blob_locations")) ORDER BY size DESC LIMIT \(StatusReporter.blobCount)"
    return answered(report.largest, orElse: size) { blobs in
      guard !blobs.isEmpty else { return "<p class=\"quiet\">There are no blobs.</p>\n" }
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
      let counts = report.object("\(report.installation.blobs.singular)_refcounts")
      return """
        \(table.html)\
        \(gap(report.refcounts, orElse: "SELECT * FROM \(counts) WHERE hash = '…'", subject: "How often they are referred to"))\
        \(gap(report.holders, orElse: "SELECT * FROM \(report.object("referrers"))('…')", subject: "Who holds them"))
        """
    }
  }

  private func row(_ blob: StatusReport.Blob) -> PageTable.Row {
    let holders = report.holders.value?.filter { $0.hash == blob.hash } ?? []
    let references = report.refcounts.value?[blob.hash]
    let held: [HTML] = holders.map { holder in
      """
      <div>\(Figure.name("\(holder.table).\(holder.column)")) <span class="quiet">× \(Figure.count(holder.references)), \
      \(holder.references.of("row", plural: "one of them")) \(Figure.hash(holder.row))</span></div>
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
          .compactMap(\.self)
      )
    )
  }
}
