import Crypto
import MigrationGenerator
import ObjectStore

/// One file of `sql/` as the migrator sees it.
public struct Migration: Equatable, Sendable {
  /// What a changed file means.
  public enum Kind: String, Sendable {
    /// A released file never changes; a change is an error.
    case versioned
    /// Applied again when its checksum changes.
    case repeatable
  }

  /// The file's name, which also gives the order.
  public let name: String
  /// From the header's `kind:` line.
  public let kind: Kind
  /// Whether the file runs in one transaction; `transaction: none` in the header says that it does not.
  public let isTransactional: Bool
  /// The SHA-256 of the whole text, in hex.
  public let checksum: String
  /// The statements to run. A transactional file is one script without its own BEGIN and COMMIT, so that the migrator's
  /// record can join its transaction.
  public let scripts: [String]

  /// Reads the header of a file.
  ///
  /// - Throws: ``RunnerError`` when the header does not say what kind of migration this is.
  public init(_ file: MigrationFile) throws {
    let lines = file.text.split(separator: "\n", omittingEmptySubsequences: false)
    let header = lines.prefix { $0.hasPrefix("--") }
    func directive(_ name: String) -> String? {
      header.first { $0.hasPrefix("-- \(name): ") }.map { String($0.dropFirst("-- \(name): ".count)) }
    }
    guard let kind = directive("kind").flatMap(Kind.init(rawValue:)) else {
      throw RunnerError("\(file.path): the header has no line \"-- kind: versioned\" or \"-- kind: repeatable\"")
    }
    self.name = file.path
    self.kind = kind
    isTransactional = directive("transaction") != "none"
    checksum = SHA256.hash(data: Array(file.text.utf8)).hexadecimal
    if isTransactional {
      // The first and the last: a name with line ends in it may hold such a line too.
      var script = lines
      if let begin = script.firstIndex(where: { ["BEGIN;", "BEGIN ISOLATION LEVEL READ COMMITTED;"].contains($0) }) {
        script.remove(at: begin)
      }
      if let commit = script.lastIndex(of: "COMMIT;") { script.remove(at: commit) }
      scripts = [script.joined(separator: "\n")]
    } else {
      scripts = SQLScript.statements(of: file.text)
    }
  }
}
