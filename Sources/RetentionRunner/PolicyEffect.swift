import Postgres

/// What a change of the policy makes of the next cleanup.
public struct PolicyEffect: Sendable {
  /// A cleanup that would run by a policy.
  struct Cleanup {
    /// What has expired.
    let preview: QueryResult
    /// Why it would delete nothing of that, such as `only counts: dry_run`; nil: it would delete it.
    let obstacle: String?
  }

  /// What a cleanup would delete of one kind of rows, before the change and after it.
  public struct Line: Equatable, Sendable {
    /// As the preview calls it.
    public let name: String
    /// Rows that go without the change.
    public let rowsBefore: Int
    /// Their bytes.
    public let bytesBefore: Int
    /// Rows that go with it.
    public let rowsAfter: Int
    /// Their bytes.
    public let bytesAfter: Int
  }

  /// The lines in which something would be deleted, before or after.
  public let lines: [Line]

  /// Why a cleanup would delete nothing before the change, such as `only counts: dry_run`; nil: the policy lets it delete.
  public let obstacleBefore: String?
  /// The same after the change.
  public let obstacleAfter: String?

  /// Whether a cleanup would delete more of anything, or archive less of what it deletes.
  public var deletesMore: Bool {
    // No class has a space in its name: those are sums over several classes, or parts of one.
    let classes = lines.filter { !$0.name.contains(" ") }
    let archived = lines.first { $0.name == "archived rows" }
    let lostBefore = classes.reduce(0) { $0 + $1.rowsBefore } - (archived?.rowsBefore ?? 0)
    let lostAfter = classes.reduce(0) { $0 + $1.rowsAfter } - (archived?.rowsAfter ?? 0)
    let others = classes + lines.filter { $0.name == "purged rows" }
    return lostAfter > lostBefore || others.contains { $0.rowsAfter > $0.rowsBefore }
  }

  /// For people.
  public var table: TextTable {
    TextTable(
      columns: [("", false), ("rows now", true), ("bytes now", true), ("rows then", true), ("bytes then", true)],
      rows: lines.map { line in
        [line.name] + [line.rowsBefore, line.bytesBefore, line.rowsAfter, line.bytesAfter].map(String.init)
      }
    )
  }

  init(before: Cleanup, after: Cleanup) throws {
    func figures(_ cleanup: Cleanup) throws -> [String: (rows: Int, bytes: Int)] {
      guard cleanup.obstacle == nil else { return [:] }
      return try Dictionary(
        cleanup.preview.rows.map { (try $0.string("data_class"), (try $0.int("rows"), try $0.int("bytes"))) }
      ) { $1 }
    }
    (obstacleBefore, obstacleAfter) = (before.obstacle, after.obstacle)
    let (old, new) = (try figures(before), try figures(after))
    let names = try after.preview.rows.map { try $0.string("data_class") }
    lines = names.map { name in
      Line(
        name: name,
        rowsBefore: old[name]?.rows ?? 0,
        bytesBefore: old[name]?.bytes ?? 0,
        rowsAfter: new[name]?.rows ?? 0,
        bytesAfter: new[name]?.bytes ?? 0
      )
    }.filter { $0.rowsBefore > 0 || $0.rowsAfter > 0 }
  }
}
