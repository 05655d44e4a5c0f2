import SafeHTML

/// Which installation this is.
struct InstallationSection: PageSection {
  static let id = "installation"
  static let title = "Installation"

  let report: StatusReport

  var content: HTML {
    let installation = report.installation
    let rows: [(name: HTML, value: HTML)?] = [
      ("Database", Figure.name(installation.database)),
      ("Schema", Figure.name(installation.objects.schema.name)),
      ("Counting mode", "\(installation.refcounting.rawValue)"),
      ("PostgreSQL", "\(installation.serverVersion)\(installation.isStandby ? ", a standby" : "")"),
      report.files.value.map { ("Migrations", migrations($0)) },
      report.tableSpace.value.map { ("Blob table on disk", size($0)) },
      ("Generated", "\(Figure.time(installation.generatedAt)) UTC; all times on this page are in UTC"),
    ]
    return """
      \(facts(rows.compactMap(\.self)))\
      \(gap(report.files, orElse: "SELECT * FROM \(report.object("schema_migrations"))", subject: "What was applied"))\
      \(gap(report.tableSpace, orElse: "jam-retention status", subject: "The size of the blob table"))
      """
  }

  private func migrations(_ files: StatusReport.Files?) -> HTML {
    guard let files else { return "no record that this role may read" }
    let last: HTML = files.last.map { ", the last \(Figure.time($0)) UTC" } ?? ""
    return "\(Figure.count(files.count)) applied\(last)"
  }

  private func size(_ space: BlobTableSpace) -> HTML {
    "\(Figure.bytes(Int(space.tableBytes))), about \(Figure.bytes(Int(space.reclaimableBytes))) of it hold nothing any more"
  }
}
