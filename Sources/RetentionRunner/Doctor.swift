import Postgres

/// Checks an installation: its files, the conservation law, and what the database itself reports in `jam_health`.
public struct Doctor {
  private let database: RetentionDatabase
  private let migrator: Migrator

  /// - Parameter migrator: has the files that should be applied.
  public init(database: RetentionDatabase, migrator: Migrator) {
    self.database = database
    self.migrator = migrator
  }

  /// All checks; where nothing is installed, one that says so.
  public func checks() throws -> [HealthCheck] {
    guard try database.isInstalled() else {
      return [
        HealthCheck(
          name: "installation",
          isHealthy: false,
          detail: "not installed in schema \(database.schema)",
          remedy: "Run: jam-retention migrate up"
        )
      ]
    }
    return try fileChecks() + databaseChecks() + [lawCheck()]
  }

  /// Whether the files are applied as they are.
  func fileChecks() throws -> [HealthCheck] {
    let plan = try migrator.plan()
    let differing = plan.filter { $0.state != .current }
    guard !differing.isEmpty else {
      return [
        HealthCheck(name: "files", isHealthy: true, detail: "all \(plan.count) are applied as they are", remedy: "")
      ]
    }
    return differing.map { migration, state in
      let (detail, remedy) =
        switch state {
        case .changed:
          (
            "was changed after it was applied",
            "Restore the released file, or name the folder of the files that were applied with --from. Where the model has changed: README, \"Changing the model\"."
          )
        case .outdated: ("was applied in an older version", "Run: jam-retention migrate up")
        default: ("is not recorded as applied", "Run: jam-retention migrate up")
        }
      return HealthCheck(name: "file \(migration.name)", isHealthy: false, detail: detail, remedy: remedy)
    }
  }

  /// What the database itself reports: without reading the application's rows.
  func databaseChecks() throws -> [HealthCheck] {
    try database.health().rows.map { row in
      HealthCheck(
        name: try row.string("check_name"),
        isHealthy: try row.bool("ok"),
        detail: try row.string("detail"),
        remedy: try row.string("remedy")
      )
    }
  }

  private func lawCheck() throws -> HealthCheck {
    let drift = try database.verify().rows.count
    return HealthCheck(
      name: "conservation law",
      isHealthy: drift == 0,
      detail: drift == 0 ? "every count is right" : drift.counting("wrong count"),
      remedy: "Run: jam-retention repair"
    )
  }
}
