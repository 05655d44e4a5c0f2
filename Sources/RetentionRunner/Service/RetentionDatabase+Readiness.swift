import Postgres

extension RetentionDatabase {
  /// Why the installation is not as it should be, a line each; none: it is. Cheap enough to be asked every few seconds.
  ///
  /// - Parameter migrator: has the files that should be applied.
  func unreadiness(_ migrator: Migrator) throws -> [String] {
    guard try isInstalled() else {
      return ["migrations: not installed in schema \(schema); run: jam-retention migrate up"]
    }
    let differing =
      try migrator.isRecorded() ? migrator.plan().filter { $0.state != .current }.map(\.migration.name) : []
    let files =
      differing.isEmpty
      ? nil : "migrations: not as applied: \(differing.joined(separator: ", ")); see: jam-retention doctor"
    let success = try installed {
      try connection.query(
        "SELECT detail FROM \(names.qualified("health")) WHERE check_name = 'last success' AND NOT ok"
      ).first?.string("detail")
    }
    return [files, success.map { "last success: \($0)" }].compactMap(\.self)
  }
}
