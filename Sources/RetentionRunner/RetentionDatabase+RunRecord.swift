import Postgres

/// What the procedure does not return of a run, from its record. Nothing for a role that may not read it.
extension RetentionDatabase {
  /// Whether it only counted, which the policy may decide, and what it has left for the next: dry_run, busy_rows.
  public func figures(ofRun id: Int) -> Row? {
    let runs = names.qualified("cleanup_runs")
    return (try? connection.query("SELECT dry_run, busy_rows FROM \(runs) WHERE id = $1", id))?.first
  }
}
