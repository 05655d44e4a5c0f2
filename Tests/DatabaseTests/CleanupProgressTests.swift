import Foundation
import Postgres
import RetentionRunner
import SafeSQL
import Synchronization
import Testing

@Suite struct CleanupProgressTests {
  private struct Refused: Error {}

  /// A database with more expired rows than a test would wait for.
  private func database() throws -> TestDatabase {
    let database = try TestDatabase()
    _ = try database.migrate()
    for _ in 1...3 { try database.submit([], age: "60 days") }
    try database.connection.execute("UPDATE jam_retention_policy SET batch_size = 1, batch_pause = '50 milliseconds'")
    return database
  }

  @Test(
    "While a cleanup runs, its batches are told; an older run of the same database is not",
    arguments: [true, false]
  )
  func tells(onTerminal: Bool) throws {
    let database = try database()
    try database.connection.execute(
      """
      UPDATE jam_retention_policy SET batch_pause = '1 minute';
      INSERT INTO jam_cleanup_runs (dry_run, status, batches) VALUES (false, 'running', 77);
      """
    )
    let written = Mutex("")
    let connection = database.connection
    let progress = CleanupProgress(
      of: database.retention,
      style: onTerminal ? .terminal : .lines,
      interval: 0.01
    ) {
      try database.connect()
    } write: { text in
      written.withLock { $0 += text }
      // Nothing else ends this run: if nothing is told, the test does not end either.
      connection.cancel()
    }
    #expect(throws: PostgresError.self) { try progress.during { try database.retention.cleanup() } }
    let text = written.withLock { $0 }
    let line = "cleanup: 0 batches, 0 rows deleted, "
    #expect(text.hasPrefix(onTerminal ? "\r\u{1B}[K\(line)" : line))
    #expect(text.hasSuffix(onTerminal ? " s\r\u{1B}[K" : " s\n"))
    #expect(!text.contains("77"))
  }

  @Test("A cleanup goes on when its progress cannot be seen")
  func refused() throws {
    let database = try database()
    let asked = Mutex(0)
    let progress = CleanupProgress(of: database.retention, style: .lines, interval: 0.001) {
      asked.withLock { $0 += 1 }
      throw Refused()
    } write: { _ in
    }
    let row = try progress.during { try database.retention.cleanup() }
    #expect(row["status"] == "completed" && row["deleted_packages"] == "3")
    #expect(asked.withLock { $0 } == 1)
  }
}
