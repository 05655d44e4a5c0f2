import Testing

@testable import RetentionRunner

@Suite struct ServerVersionTests {
  @Test(
    "A server older than 14 is refused by its name",
    arguments: [(130_023, "13"), (90_624, "9.6"), (100_023, "10")]
  )
  func refused(version: Int, name: String) throws {
    let error = try #require(throws: RunnerError.self) { try MigrationPreconditions.checkVersion(version) }
    #expect(error.description.contains("PostgreSQL \(name); 14 is the oldest"))
  }

  @Test(arguments: [140_000, 150_013, 180_001])
  func accepted(version: Int) throws {
    try MigrationPreconditions.checkVersion(version)
  }
}
