import Foundation

/// Finds the directory of the server's programs.
enum Binaries {
  static func locate(_ explicit: String?) throws -> String {
    if let chosen = explicit ?? ProcessInfo.processInfo.environment["JAM_PG_BIN"], !chosen.isEmpty {
      guard isComplete(chosen) else {
        throw EmbeddedPostgresError("\(chosen) holds no initdb and postgres; \(remedy)")
      }
      return chosen
    }
    // pg_config may belong to the client library alone, so the directory that it names is looked at, too.
    let candidates = [configured()].compactMap { $0 } + packaged()
    guard let found = candidates.first(where: isComplete) else {
      throw EmbeddedPostgresError("no PostgreSQL server is installed here; \(remedy)")
    }
    return found
  }

  private static let remedy = "install one (apt-get install postgresql) or let JAM_PG_BIN name the directory of initdb"

  private static func isComplete(_ directory: String) -> Bool {
    ["initdb", "postgres"].allSatisfy { FileManager.default.isExecutableFile(atPath: "\(directory)/\($0)") }
  }

  private static func configured() -> String? {
    let result = try? ChildProcess.run(["pg_config", "--bindir"])
    guard let result, result.status == 0 else { return nil }
    return result.output.trimmingCharacters(in: .whitespacesAndNewlines)
  }

  /// Debian's directories, the newest version first.
  private static func packaged() -> [String] {
    let root = "/usr/lib/postgresql"
    let versions = (try? FileManager.default.contentsOfDirectory(atPath: root)) ?? []
    return versions.sorted { (Int($0) ?? 0) > (Int($1) ?? 0) }.map { "\(root)/\($0)/bin" }
  }
}
