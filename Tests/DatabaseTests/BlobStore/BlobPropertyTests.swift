import Foundation
import ObjectStore
import RetentionModel
import Testing

/// Blobs that move, go and come again, on a store that fails, as random programs.
///
/// `JAM_SEED=n` replays one program, `JAM_PROGRAMS=n` runs so many in each mode.
@Suite struct BlobPropertyTests {
  private static let environment = ProcessInfo.processInfo.environment
  private static let programs = environment["JAM_PROGRAMS"].flatMap(UInt64.init) ?? 50

  @Test("No blob is lost on an unreliable store, and nothing is left over", arguments: RefcountingMode.allCases)
  func programs(mode: RefcountingMode) async throws { try await run(mode, archives: false) }

  @Test("Nor where cleanups archive and are undone or purged", arguments: RefcountingMode.allCases)
  func archive(mode: RefcountingMode) async throws { try await run(mode, archives: true) }

  private func run(_ mode: RefcountingMode, archives: Bool) async throws {
    let database = try TestDatabase(mode)
    _ = try database.migrate()
    try database.retention.setPolicy("offload_threshold_bytes", to: "0")
    let replayed = Self.environment["JAM_SEED"].flatMap(UInt64.init)
    let first = replayed ?? .random(in: 0..<1 << 48)
    for seed in first..<first + (replayed == nil ? Self.programs : 1) {
      try await withDirectoryStore { directory in
        let program = BlobProgram(seed: seed, database: database, base: directory, archives: archives)
        do {
          try await program.run()
        } catch {
          let trace = await program.trace.joined(separator: "\n")
          Issue.record("JAM_SEED=\(seed) fails: \(error)\n\(trace)")
        }
      }
    }
    print("blobs: programs from seed \(first) on")
  }
}
