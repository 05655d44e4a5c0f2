import EmbeddedPostgres
import Foundation
import Postgres
import RetentionModel
import Testing

/// The conservation law as a property: random programs against an oracle in memory.
///
/// `JAM_SEED=n` replays one program, `JAM_PROGRAMS=n` runs so many.
@Suite struct ConservationTests {
  private static let environment = ProcessInfo.processInfo.environment
  private static let programs = environment["JAM_PROGRAMS"].flatMap(Int.init) ?? 40

  private static func seeds(_ count: Int) -> [UInt64] {
    if let seed = environment["JAM_SEED"].flatMap(UInt64.init) { return [seed] }
    let first = UInt64.random(in: 0..<1 << 48)
    return (0..<UInt64(count)).map { first + $0 }
  }

  /// Takes steps out as long as the program still fails.
  private func shrunk(_ program: Program, with runner: ProgramRunner) -> Program {
    var program = program
    var size = program.steps.count / 2
    while size > 0 {
      var start = 0
      while start < program.steps.count {
        var shorter = program
        shorter.steps.removeSubrange(start..<min(start + size, program.steps.count))
        if (try? runner.run(shorter)) == nil { program = shorter } else { start += size }
      }
      size /= 2
    }
    return program
  }

  private func run(_ seeds: [UInt64], with runner: ProgramRunner, crashes: Bool = false, archives: Bool = false) {
    for seed in seeds {
      let program = Program(seed: seed, crashes: crashes, archives: archives)
      do {
        try runner.run(program)
      } catch {
        let short = shrunk(program, with: runner)
        let reason = (try? runner.run(short)) == nil ? "it fails with" : "it failed once with"
        let steps = short.steps.map { "  \($0)" }.joined(separator: "\n")
        Issue.record("JAM_SEED=\(seed) fails: \(error)\nshrunk, \(reason):\n\(steps)")
        return
      }
    }
    print(
      "conservation: \(seeds.count) programs from seed \(seeds[0]), \(runner.stepsRun) steps, crashes: \(crashes), archives: \(archives)"
    )
  }

  @Test(
    "Random programs of submits, puts, deletions, folds and cleanups keep the law",
    arguments: RefcountingMode.allCases
  )
  func programs(mode: RefcountingMode) throws {
    let database = try TestDatabase(mode)
    _ = try database.migrate()
    run(Self.seeds(Self.programs), with: try ProgramRunner(database: database))
  }

  @Test("So they do when cleanups archive and are undone or purged", arguments: RefcountingMode.allCases)
  func archive(mode: RefcountingMode) throws {
    let database = try TestDatabase(mode)
    _ = try database.migrate()
    run(Self.seeds(Self.programs), with: try ProgramRunner(database: database), archives: true)
  }

  @Test("The server is killed in the middle of random programs", arguments: RefcountingMode.allCases)
  func crashes(mode: RefcountingMode) throws {
    let server = try EmbeddedPostgres.start(settings: ["fsync": "on"])
    defer { server.stop() }
    let database = try TestDatabase(mode, on: server)
    _ = try database.migrate()
    run(
      Self.seeds(max(1, Self.programs / 10)),
      with: try ProgramRunner(database: database, server: server),
      crashes: true
    )
  }
}
