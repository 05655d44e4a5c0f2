import Foundation
import RetentionModel
import Testing

/// A spec of `Tests/Isolation`: what several sessions do, in several orders.
struct IsolationSpec: Sendable, CustomTestStringConvertible {
  static let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../Isolation")
    .standardized
  static let expectedFolder = folder.appending(path: "expected")

  /// All specs, by name.
  static let all = files(in: folder).filter { $0.hasSuffix(".spec") }.map {
    IsolationSpec(name: String($0.dropLast(5)))
  }

  let name: String

  var testDescription: String { name }

  var file: URL { Self.folder.appending(path: "\(name).spec") }

  /// Both modes, at each level that the spec does not exclude by a line of its opening comment.
  func runs() throws -> [IsolationRun] {
    let text = try String(contentsOf: file, encoding: .utf8)
    let levels = text.contains("\n# Isolation levels: READ COMMITTED,") ? [.readCommitted] : IsolationLevel.allCases
    return levels.flatMap { level in RefcountingMode.allCases.map { IsolationRun(mode: $0, level: level) } }
  }

  /// The outputs that were accepted, whatever run they are for.
  func accepted() -> [URL] {
    Self.files(in: Self.expectedFolder)
      .filter { $0.hasSuffix(".out") && $0.prefix { $0 != "." } == name }
      .map { Self.expectedFolder.appending(path: $0) }
  }

  /// What a run should print: the accepted output for the most particular of its circumstances; nil: there is none.
  func expected(for run: IsolationRun) -> URL? {
    run.variants.map(expected).first { FileManager.default.fileExists(atPath: $0.path) }
  }

  /// Where the output of a run is expected, if its name is this variant.
  func expected(_ variant: String) -> URL { Self.expectedFolder.appending(path: "\(name)\(variant).out") }

  static func files(in folder: URL) -> [String] {
    ((try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []).sorted()
  }
}
