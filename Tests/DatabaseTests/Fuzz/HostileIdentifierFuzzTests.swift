import Postgres
import RetentionModel
import Testing

/// Hostile identifiers through generate, install, submit, cleanup, verify and uninstall, on a real server.
///
/// An input is a model of 22 names, so the long run divides `JAM_FUZZ` by that.
@Suite struct HostileIdentifierFuzzTests {
  @Test("Names that PostgreSQL cannot take are refused at their place", .timeLimit(.minutes(10)))
  func refusals() {
    var names = 0
    var refused = 0
    for seed in FuzzInputs.seeds(sample: 300, of: "refused identifiers") {
      var hostile = HostileModel(seed: seed, refusals: true)
      names += hostile.nameCount
      refused += hostile.refusedPaths.count
      #expect(Set(hostile.model.validate().map(\.path)).isSuperset(of: hostile.refusedPaths), "JAM_SEED=\(seed)")
      hostile.repair()
      #expect(hostile.model.validate() == [], "JAM_SEED=\(seed), repaired")
    }
    print("fuzz refused identifiers: \(names) names, \(refused) refused")
  }

  @Test("Hostile names count and clean exactly, and leave nothing behind", .timeLimit(.minutes(30)))
  func wholeWay() throws {
    let database = try TestDatabase()
    var names = 0
    var failures = 0
    for seed in FuzzInputs.seeds(sample: 4 * HostileModel.names, of: "hostile identifiers", each: HostileModel.names) {
      let hostile = HostileModel(seed: seed, refusals: false)
      names += hostile.nameCount
      // A session keeps what it knows of each schema; after hundreds of them it does little else than forget.
      let connection = try database.connect()
      defer { connection.close() }
      let round = HostileRound(hostile.model, seed: seed, on: connection)
      do {
        try round.run()
      } catch {
        failures += 1
        Issue.record("JAM_SEED=\(seed) fails: \(error)\n\(hostile.model.schema.debugDescription)")
      }
      try round.leave()
      if failures == 5 { break }
    }
    print("fuzz hostile identifiers: \(names) names, \(failures) models failed")
  }
}
