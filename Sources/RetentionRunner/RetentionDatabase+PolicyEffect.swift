import Postgres

extension RetentionDatabase {
  /// Columns of the policy that decide what a cleanup deletes, besides the windows of the classes.
  private static let deciding: Set<String> = [
    "retention_days", "protected_statuses", "archive_days", "dry_run", "max_delete_fraction",
  ]

  private static func decides(_ column: String) -> Bool {
    deciding.contains(column) || column.hasSuffix("_retention_days")
  }

  /// Changes columns of the policy after a look at what that does to the next cleanup.
  ///
  /// - Parameters:
  ///   - assignments: a column each, and its value as PostgreSQL reads it; nil: NULL.
  ///   - isWanted: sees the changes and their effect, nil where they decide nothing; no lock is held meanwhile.
  /// - Returns: what was changed; nothing when it was not wanted.
  public func setPolicy(
    _ assignments: [(column: String, value: String?)],
    isWanted: ([PolicyChange], PolicyEffect?) throws -> Bool
  ) throws -> [PolicyChange] {
    let (changes, effect) = try tryingOut(assignments)
    guard try isWanted(changes, effect), !changes.isEmpty else { return [] }
    return try connection.transaction {
      let made = try assignments.compactMap { try writePolicy($0.column, to: $0.value) }
      guard made == changes else {
        throw RunnerError("the policy was changed by somebody else meanwhile; nothing was done, look again")
      }
      for change in made { log(change) }
      return made
    }
  }

  /// What the assignments would change and do, in a transaction that is rolled back.
  private func tryingOut(_ assignments: [(column: String, value: String?)]) throws -> ([PolicyChange], PolicyEffect?) {
    try connection.execute("BEGIN")
    defer { _ = try? connection.execute("ROLLBACK") }
    let before = assignments.contains { Self.decides($0.column) } ? try nextCleanup() : nil
    let changes = try assignments.compactMap { try writePolicy($0.column, to: $0.value) }
    guard let before, changes.contains(where: { Self.decides($0.column) }) else { return (changes, nil) }
    return (changes, try PolicyEffect(before: before, after: nextCleanup()))
  }

  /// The next cleanup that is not told whether to delete.
  private func nextCleanup() throws -> PolicyEffect.Cleanup {
    PolicyEffect.Cleanup(preview: try preview(), obstacle: try obstacle())
  }

  /// What in the policy keeps a cleanup from deleting anything; nil: nothing does.
  private func obstacle() throws -> String? {
    let policy = try policy()
    if try policy.int("retention_days") <= 0 { return "is disabled: retention_days" }
    if try policy.bool("dry_run") { return "only counts: dry_run" }
    guard policy["max_delete_fraction"] != nil else { return nil }
    // What is refused, the procedure alone knows. The record of this run goes with the transaction.
    let run = try installed {
      try connection.query("CALL \(names.qualified("cleanup"))(NULL::timestamptz, true)").first
    }
    guard let run, try run.string("status") == "refused" else { return nil }
    return "is refused: \(refusal(ofRun: try run.int("run_id")) ?? "max_delete_fraction")"
  }
}
