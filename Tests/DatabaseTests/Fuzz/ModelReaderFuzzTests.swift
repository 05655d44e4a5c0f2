import MigrationGenerator
import RetentionModel
import SafeSQL
import Testing

@testable import RetentionRunner

/// Damaged models: each is read and makes whole SQL, or is refused with a place inside the file.
@Suite struct ModelReaderFuzzTests {
  @Test("A damaged model makes whole files, or is refused at a place in it", .timeLimit(.minutes(30)))
  func reads() {
    var read = 0
    var generated: [RetentionModel] = []
    let seeds = FuzzInputs.seeds(sample: 100, of: "model reader")
    for seed in seeds {
      let yaml = DamagedModel(seed: seed).yaml
      do {
        let model = try ModelReader.read(yaml: yaml, file: "model.yaml")
        read += 1
        // Most damages that pass change nothing.
        if generated.contains(model) { continue }
        generated.append(model)
        for file in MigrationGenerator.files(for: model) where file.path.hasSuffix(".sql") {
          let mistake = Self.mistake(in: file)
          #expect(mistake == nil, "JAM_SEED=\(seed), \(file.path)")
        }
      } catch let errors as ModelErrors {
        #expect(!errors.errors.isEmpty, "JAM_SEED=\(seed)")
        for error in errors.errors where !Self.isInside(error.path, of: yaml) {
          Issue.record("JAM_SEED=\(seed): no place in the file: \(error)")
        }
      } catch {
        Issue.record("JAM_SEED=\(seed): \(error)")
      }
    }
    print("fuzz model reader: \(seeds.count) inputs, \(read) read (\(generated.count) different), the others refused")
  }

  /// Whether `model.yaml:line:column` is in the text or just behind its end.
  private static func isInside(_ path: String, of yaml: String) -> Bool {
    let parts = path.split(separator: ":", maxSplits: 3)
    guard parts.count >= 3, parts[0] == "model.yaml", let line = Int(parts[1]), let column = Int(parts[2]) else {
      return false
    }
    // The line ends of YAML 1.1.
    let ends: [Character] = ["\n", "\r", "\r\n", "\u{85}", "\u{2028}", "\u{2029}"]
    let lines = yaml.split(omittingEmptySubsequences: false) { ends.contains($0) }
    guard line >= 1, column >= 1, line <= lines.count + 1 else { return false }
    return line > lines.count ? column == 1 : column <= lines[line - 1].unicodeScalars.count + 1
  }

  private static let verbs: Set<String> = [
    "ALTER", "BEGIN", "COMMENT", "COMMIT", "CREATE", "DO", "DROP", "GRANT", "INSERT", "REVOKE", "SELECT",
  ]

  /// What shows that a statement of the file has not the end that it should have.
  private static func mistake(in file: MigrationFile) -> String? {
    let statements = SQLScript.statements(of: file.text)
    guard file.text.utf8.starts(with: statements.joined().utf8) else { return "something is lost between statements" }
    for statement in statements {
      let text = Array(statement.utf8)
      let tokens = SQLLexer.tokens(of: text)
      guard tokens.allSatisfy(\.isComplete), tokens.last?.kind == .semicolon else { return "no end: \(statement)" }
      let first = tokens.first { $0.kind != .space && $0.kind != .comment }
      let verb = first.map { String(decoding: text[$0.range], as: UTF8.self) } ?? ""
      guard verbs.contains(verb) else { return "begins with \(verb): \(statement)" }
    }
    return nil
  }
}
