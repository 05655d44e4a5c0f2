import SafeHTML

/// A table of the page; its first column names the rows.
struct PageTable {
  struct Column {
    var title: String
    var isNumeric = false
  }

  struct Row {
    var cells: [HTML]
    /// Which cells say nothing: left out where the table is a list.
    var empty: Set<Int> = []
    /// A line of its own below the row.
    var note: HTML?
  }

  /// What the table shows, for those who do not see it.
  var caption: String
  var columns: [Column]
  var rows: [Row]
  /// Whether a narrow page shows each row as a list, every cell with its column's title.
  var stacks = false
  /// Whether it may be wider than the page, and is moved within it then.
  var scrolls = false
  /// Whether it is only as wide as its columns need.
  var isCompact = false

  var html: HTML {
    scrolls
      ? "<div class=\"scroll\" role=\"region\" aria-label=\"\(caption)\" tabindex=\"0\">\n\(table)</div>\n" : table
  }

  private var table: HTML {
    let titles = columns.map { column -> HTML in
      "<th role=\"columnheader\" scope=\"col\"\(alignment(column))>\(Figure.name(column.title))</th>"
    }
    // A style sheet that makes a list of a table takes its meaning away; the roles keep it.
    let form: HTML = stacks ? " class=\"stack\"" : isCompact ? " class=\"compact\"" : ""
    return """
      <table role="table"\(form)>
      <caption>\(caption)</caption>
      <thead role="rowgroup"><tr role="row">\(HTML.joined(titles))</tr></thead>
      <tbody role="rowgroup">
      \(HTML.joined(rows.map(line)))</tbody>
      </table>

      """
  }

  private func line(_ row: Row) -> HTML {
    let cells = zip(columns, row.cells).enumerated().map { position, pair -> HTML in
      let (column, cell) = pair
      if position == 0 { return "<th role=\"rowheader\" scope=\"row\"\(alignment(column))>\(cell)</th>" }
      let classes = [column.isNumeric ? "n" : "", row.empty.contains(position) ? "empty" : ""].filter { !$0.isEmpty }
      let attribute: HTML = classes.isEmpty ? "" : " class=\"\(classes.joined(separator: " "))\""
      return "<td role=\"cell\"\(attribute) data-title=\"\(column.title)\">\(cell)</td>"
    }
    let note: HTML =
      row.note.map {
        "<tr role=\"row\" class=\"note\"><td role=\"cell\" colspan=\"\(columns.count)\">\($0)</td></tr>\n"
      }
      ?? ""
    let form: HTML = row.note == nil ? "" : " class=\"noted\""
    return "<tr role=\"row\"\(form)>\(HTML.joined(cells))</tr>\n\(note)"
  }

  private func alignment(_ column: Column) -> HTML { column.isNumeric ? " class=\"n\"" : "" }
}
