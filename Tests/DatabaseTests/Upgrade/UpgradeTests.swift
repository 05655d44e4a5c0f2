import Foundation
import MigrationGenerator
import Postgres
import RetentionModel
import RetentionRunner
import SafeSQL
import Testing

/// From the last release to what the generator makes now, while clients go on.
@Suite struct UpgradeTests {
  enum Installer: String, CaseIterable { case runner, psql }

  private static let previousFolder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "previous")

  private static func previousFiles() throws -> [MigrationFile] {
    try FileManager.default.contentsOfDirectory(atPath: previousFolder.path).sorted().map { name in
      MigrationFile(path: name, text: try String(contentsOf: previousFolder.appending(path: name), encoding: .utf8))
    }
  }

  @Test("A released versioned file never changes")
  func versionedFilesAreKept() throws {
    let current = Dictionary(uniqueKeysWithValues: MigrationGenerator.files(for: .jam).map { ($0.path, $0.text) })
    let released = try Self.previousFiles().filter { try Migration($0).kind == .versioned }
    #expect(!released.isEmpty)
    for file in released { #expect(current[file.path] == file.text, "\(file.path) was changed") }
  }

  @Test(
    "Clients do not notice an upgrade; an uninstall and an install keep all data",
    arguments: Installer.allCases,
    RefcountingMode.allCases
  )
  func withWriters(installer: Installer, mode: RefcountingMode) throws {
    let database = try TestDatabase(mode)
    switch installer {
    case .runner: _ = try database.migrator(Self.previousFiles()).up()
    case .psql: try database.applyWithPsql(Self.previousFolder.path)
    }
    // The service that all packages belong to: its own first insert could meet another's at an old snapshot.
    try database.submit([])
    let seed = UInt64.random(in: 0..<1 << 48)
    let workload = Workload(database: database)
    workload.start(writers: 4, seed: seed)
    workload.start { connection in
      _ = try connection.query("SELECT jam_fold_references()")
      workload.wait(forEvents: 20)
    }
    defer { workload.stop() }
    workload.wait(forEvents: 100)
    try Self.install(database, by: installer)
    workload.wait(forEvents: 100)
    workload.stop()
    #expect(workload.current.failures == [:], "seed \(seed)")
    #expect(try database.lostReferences(on: database.connection) == 0, "seed \(seed)")
    try database.expectLaw()
    #expect(try database.retention.health().rows.allSatisfy { try $0.bool("ok") })
    try Self.expectSameCatalog(database, as: installer, mode)

    _ = try database.connection.query("SELECT jam_fold_references()")
    let data = try Self.data(of: database)
    let uninstall = try #require(
      MigrationGenerator.files(for: database.model).first { $0.path == "uninstall/uninstall.sql" }
    )
    try database.connection.execute("\(raw: uninstall.text)")
    #expect(try Self.data(of: database) == data)
    try Self.install(database, by: installer)
    #expect(try Self.data(of: database) == data)
    try database.expectLaw()
    try Self.expectSameCatalog(database, as: installer, mode)
  }

  private static func install(_ database: TestDatabase, by installer: Installer) throws {
    switch installer {
    case .runner: #expect(try !database.migrate().isEmpty)
    case .psql: try database.migrateWithPsql()
    }
  }

  /// The application's rows, in no order.
  private static func data(of database: TestDatabase) throws -> [Substring] {
    try dump(database, ["--data-only"] + database.model.tables.map { "--table=\($0.name)" }).sorted()
  }

  /// The upgraded database has the objects of a new one, nothing less, more or different.
  private static func expectSameCatalog(_ database: TestDatabase, as installer: Installer, _ mode: RefcountingMode)
    throws
  {
    let fresh = try TestDatabase(mode)
    try install(fresh, by: installer)
    let (upgraded, expected) = (try dump(database, ["--schema-only"]), try dump(fresh, ["--schema-only"]))
    let difference = upgraded.difference(from: expected)
    #expect(difference.isEmpty, "\(difference.map { "\($0)" }.joined(separator: "\n"))")
  }

  /// The lines of a dump; the key of `\restrict` is another in each.
  private static func dump(_ database: TestDatabase, _ options: [String]) throws -> [Substring] {
    let result = try TestDatabase.server.get().run("pg_dump", database: database.name, arguments: options)
    try #require(result.status == 0, "\(result.error)")
    return result.output.split(separator: "\n").filter { !$0.hasPrefix("\\") }
  }
}
