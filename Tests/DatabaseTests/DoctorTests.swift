import MigrationGenerator
import Postgres
import RetentionRunner
import SafeSQL
import Testing

@Suite struct DoctorTests {
  private func failures(_ database: TestDatabase) throws -> [HealthCheck] {
    let doctor = Doctor(database: database.retention, migrator: try database.migrator())
    return try doctor.checks().filter { !$0.isHealthy }
  }

  @Test("A sound installation has no failed check; one that is not there has one")
  func soundOrMissing() throws {
    let database = try TestDatabase()
    let missing = try failures(database)
    #expect(missing.map(\.name) == ["installation"])
    #expect(missing[0].detail.contains("not installed") && missing[0].remedy.contains("migrate up"))
    _ = try database.migrate()
    #expect(try failures(database) == [])
  }

  @Test("Without a policy no cleanup can run, and every check that is about one says so")
  func missingPolicy() throws {
    let database = try TestDatabase()
    _ = try database.migrate()
    try database.connection.execute("DELETE FROM jam_retention_policy")
    let found = try failures(database)
    #expect(found.map(\.name) == ["last success", "policy"])
    #expect(found.last?.detail == "the policy has no row: every cleanup fails")
    #expect(found.last?.remedy.contains("INSERT INTO public.jam_retention_policy DEFAULT VALUES") == true)
    // The alert of a cleanup that is overdue has something to go by.
    #expect(try database.retention.metrics().contains(/jam_cleanup_overdue_timestamp_seconds \d/))
    try database.connection.execute("INSERT INTO jam_retention_policy DEFAULT VALUES")
    #expect(try failures(database) == [])
  }

  @Test(
    "Each thing that can break fails its own check, with what and how",
    arguments: [
      ("triggers", "jam_work_packages", "ALTER TABLE jam_work_packages DISABLE TRIGGER jam_work_packages_count_insert"),
      ("triggers", "missing", "DROP TRIGGER jam_work_items_count_update ON jam_work_items"),
      ("indexes", "jam_work_items_package_id_idx is missing", "DROP INDEX jam_work_items_package_id_idx"),
      (
        "indexes", "jam_preimages_unreferenced_idx is invalid",
        """
        UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'jam_preimages_unreferenced_idx'::regclass
        """
      ),
      (
        "last success", "no completed cleanup",
        "UPDATE jam_retention_policy SET installed_at = now() - interval '3 days'"
      ),
      (
        "ledger backlog", "1 entries",
        """
        INSERT INTO jam_reference_ledger (hash, delta, recorded_at) VALUES (repeat('a', 64), 0, now() - interval '3 days')
        """
      ),
      ("policy", "disabled", "UPDATE jam_retention_policy SET retention_days = 0"),
      (
        "conservation law", "1 wrong count",
        "INSERT INTO jam_reference_ledger (hash, delta) VALUES (repeat('a', 64), 1)"
      ),
      (
        "file 070_cleanup.sql", "older", "UPDATE jam_schema_migrations SET checksum = '' WHERE name = '070_cleanup.sql'"
      ),
      (
        "file 010_tables.sql", "changed", "UPDATE jam_schema_migrations SET checksum = '' WHERE name = '010_tables.sql'"
      ),
      ("file 080_observability.sql", "not recorded", "DELETE FROM jam_schema_migrations WHERE name LIKE '080%'"),
    ]
  )
  func broken(check: String, detail: String, sql: String) throws {
    let database = try TestDatabase()
    _ = try database.migrate()
    try database.connection.execute("\(raw: sql)")
    let found = try failures(database)
    #expect(found.map(\.name) == [check])
    #expect(found.allSatisfy { $0.detail.contains(detail) && !$0.remedy.isEmpty }, "\(found)")
  }
}
