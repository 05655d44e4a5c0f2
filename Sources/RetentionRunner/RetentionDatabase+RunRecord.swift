import Postgres

/// What the procedure does not return of a run, from its record. Nothing for a role that may not read it.
extension RetentionDatabase {
  /// Whether it only counted, which the policy may decide, and what it has left for the next: dry_run, busy_rows.
  public func figures(ofRun id: Int) -> Row? {
    let runs = names.qualified("cleanup_runs")
    return (try? connection.query("SELECT dry_run, busy_rows FROM \(runs) WHERE id = $1", id))?.first
  }

  /// Why it was refused; nil: it was not.
  public func refusal(ofRun id: Int) -> String? {
    let runs = names.qualified("cleanup_runs")
    let run = try? connection.query("SELECT error FROM \(runs) WHERE id = $1 AND status = 'refused'", id).first
    return run?["error"]
  }
}
