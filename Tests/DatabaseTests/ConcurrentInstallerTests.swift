import Foundation
import Postgres
import SafeSQL
import Synchronization
import Testing

@Suite struct ConcurrentInstallerTests {
  /// What the installers of one test have met.
  private final class Outcome: Sendable {
    let errors = Mutex<[String]>([])
    let ended = DispatchSemaphore(value: 0)
  }

  @Test("Twenty installers at once, the runner and psql mixed: all succeed", arguments: [false, true])
  func twenty(withData: Bool) throws {
    let database = try TestDatabase()
    if withData {
      try database.createTables()
      for number in 1...50 { try database.put(hash(number)) }
      for number in 1...60 { try database.submit([hash(number), hash(1)]) }
    }
    let outcome = Outcome()
    try database.withFiles { folder in
      for installer in 1...20 {
        Thread {
          do {
            if installer.isMultiple(of: 2) {
              _ = try database.migrator(on: database.connect()).up()
            } else {
              try database.applyWithPsql(folder)
            }
          } catch {
            outcome.errors.withLock { $0.append("\(error)") }
          }
          outcome.ended.signal()
        }.start()
      }
      for _ in 1...20 { outcome.ended.wait() }
    }
    #expect(outcome.errors.withLock { $0 } == [])
    let plan = try database.migrator().plan()
    #expect(plan.allSatisfy { $0.state == .current })
    #expect(try database.int("SELECT count(*) FROM jam_schema_migrations") == plan.count)
    #expect(try database.int("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == 0)
    #expect(try database.int("SELECT count(*) FROM jam_health WHERE NOT ok") == 0)
    if withData { #expect(try database.refcount(hash(1)) == 61) }
    try database.expectLaw()
  }
}
