import Foundation
import MigrationGenerator
import Postgres
import SafeSQL
import Synchronization
import Testing

@testable import RetentionRunner

@Suite struct KilledMigrationTests {
  /// The file with its backend terminated before the statement of that number.
  private func killed(_ file: MigrationFile, before statement: Int) -> MigrationFile {
    var statements = SQLScript.statements(of: file.text)
    statements.insert("\nSELECT pg_terminate_backend(pg_backend_pid());", at: statement)
    return MigrationFile(path: file.path, text: statements.joined())
  }

  private func objects(_ database: TestDatabase) throws -> Int {
    try database.int(
      """
      SELECT (SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace)
        + (SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace)
        + (SELECT count(*) FROM pg_trigger) + (SELECT count(*) FROM pg_constraint)
      """
    )
  }

  @Test("The backend is terminated in the middle and at the end of each file: up completes, and the law holds")
  func everyFile() throws {
    let database = try TestDatabase()
    try database.createTables()
    for number in 1...50 { try database.put(hash(number)) }
    for number in 1...60 { try database.submit([hash(number), hash(1)]) }

    let files = MigrationGenerator.files(for: database.model).filter { !$0.path.contains("/") }
    for (position, file) in files.enumerated() {
      let count = SQLScript.statements(of: file.text).count
      for statement in [count / 2, count - 1] {
        // The files before this one are there: only what this one does is counted.
        _ = try database.migrator(Array(files[..<position]), on: database.connect()).up()
        _ = try database.migrator([], on: database.connect()).up()
        let before = try objects(database)
        let broken = try database.migrator(
          Array(files[..<position]) + [killed(file, before: statement)],
          on: database.connect()
        )
        let error = try #require(throws: RunnerError.self) { try broken.up() }
        #expect(error.description.contains("\(file.path) was interrupted") && error.description.contains("57P01"))
        if try Migration(file).isTransactional && position > 0 {
          #expect(try objects(database) == before, "\(file.path) has left something behind")
        }
      }
    }
    let migrator = try database.migrator(on: database.connect())
    #expect(try migrator.up() == [files.last?.path])
    #expect(try migrator.plan().allSatisfy { $0.state == .current })
    #expect(try database.int("SELECT count(*) FROM jam_schema_migrations") == files.count)
    #expect(try database.refcount(hash(1)) == 61)
    try database.expectLaw()
  }

  @Test("An INVALID index that a killed CREATE INDEX CONCURRENTLY has left is replaced", arguments: [true, false])
  func invalidIndex(withPsql: Bool) throws {
    let database = try TestDatabase()
    try database.createTables()
    let holder = try database.connect()
    try holder.execute("BEGIN; LOCK TABLE jam_work_packages IN ROW EXCLUSIVE MODE")
    let builder = try database.connect()
    let migrator = try database.migrator(on: builder)
    let failure = Mutex("")
    let ended = DispatchSemaphore(value: 0)
    Thread {
      do { _ = try migrator.up() } catch { failure.withLock { $0 = "\(error)" } }
      ended.signal()
    }.start()
    // The build has made its index and waits for the holder.
    let waits: SQL = """
      SELECT count(*) FROM pg_stat_activity
      WHERE pid = \(builder.processID) AND wait_event_type = 'Lock'
        AND to_regclass('jam_work_packages_expiry_idx') IS NOT NULL
      """
    while try database.int(waits) == 0 {}
    _ = try database.int("SELECT count(pg_terminate_backend(\(builder.processID)))")
    ended.wait()
    #expect(failure.withLock { $0 }.contains("030_indexes.sql was interrupted"))
    try holder.execute("ROLLBACK")

    let isValid: SQL = """
      SELECT indisvalid::int FROM pg_index WHERE indexrelid = 'jam_work_packages_expiry_idx'::regclass
      """
    #expect(try database.int(isValid) == 0)
    if withPsql { try database.migrateWithPsql() } else { _ = try database.migrate() }
    #expect(try database.int(isValid) == 1)
  }
}
