import Postgres

extension RetentionDatabase {
  /// What ``applyPolicy(of:)`` would change. A key that nothing sets leaves its column alone.
  public func policyChanges(for configuration: RetentionConfiguration) throws -> [PolicyChange] {
    let days = configuration.retentionDays
    let isDryRun = configuration.isDryRun
    var wanted: [(column: String, value: String, origin: ConfigurationOrigin)] = []
    if days.isSet { wanted.append(("retention_days", "\(days.value)", days.origin)) }
    if isDryRun.isSet { wanted.append(("dry_run", "\(isDryRun.value)", isDryRun.origin)) }
    guard !wanted.isEmpty else { return [] }

    let policy = names.qualified("retention_policy")
    let exists = try connection.query("SELECT to_regclass($1) IS NOT NULL AS found", policy.quoted)
    guard try exists.first?.bool("found") == true else {
      return wanted.map { PolicyChange(column: $0.column, old: nil, new: $0.value, origin: $0.origin) }
    }
    let current = try installed { try connection.query("SELECT retention_days, dry_run::text FROM \(policy)").first }
    guard let row = current else { throw missingPolicy }
    return wanted.compactMap { column, value, origin in
      row[column] == value ? nil : PolicyChange(column: column, old: row[column], new: value, origin: origin)
    }
  }

  /// Writes the keys that are set to the policy row, where the database decides from then on.
  public func applyPolicy(of configuration: RetentionConfiguration) throws -> [PolicyChange] {
    try connection.transaction {
      try policyChanges(for: configuration).compactMap { try setPolicy($0.column, to: $0.new, origin: $0.origin) }
    }
  }
}
