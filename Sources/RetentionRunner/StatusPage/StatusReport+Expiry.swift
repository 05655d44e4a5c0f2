extension StatusReport {
  /// A line of the preview.
  struct Expiry: Sendable {
    var dataClass: String
    var rows: Int
    var bytes: Int
    var oldest: Moment?
    var newest: Moment?

    /// The names of classes and parts have no space. Those of other figures do, which count the same rows in another way:
    /// how many are in the object store, how many go into the archive and out of it.
    var isClass: Bool { !dataClass.contains(" ") }
  }
}

extension [StatusReport.Expiry] {
  /// A figure about what a run deletes, such as `external` blobs or `purged` rows.
  func figure(_ prefix: String) -> StatusReport.Expiry? {
    first { $0.dataClass.hasPrefix("\(prefix) ") && !$0.dataClass.hasSuffix(" rows") }
  }

  /// The bytes of the blobs that go for good: not into the archive, or out of it. What rows take on disk is left for
  /// `VACUUM`.
  var freedBytes: Int {
    let deleted = last { $0.isClass }?.bytes ?? 0
    let archived = figure("archived")?.bytes ?? 0
    return Figure.sum([deleted - archived, figure("purged")?.bytes ?? 0])
  }
}
