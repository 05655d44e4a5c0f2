import Foundation
import MigrationGenerator
import SafeSQL

/// The generated files on disk: compared with what the model yields, and written where they differ.
public struct GeneratedFiles {
  /// A path below the folder and how it differs.
  public struct Difference: Equatable, Sendable {
    /// What is wrong with the file on disk.
    public enum Kind: String, Sendable {
      case missing
      case different
      /// Generated once, but no longer part of what the model yields.
      case stale
    }
    /// The path below the folder.
    public let path: String
    /// How it differs.
    public let kind: Kind
  }

  /// How far from the beginning of a file its mark may stand.
  private static let markedPart = 200

  private let folder: URL
  private let files: [MigrationFile]

  /// - Parameters:
  ///   - folder: usually `sql`.
  ///   - files: what the model yields.
  public init(folder: String, files: [MigrationFile]) {
    self.folder = URL(filePath: folder)
    self.files = files
  }

  /// What differs on disk; nothing is changed.
  public func differences() -> [Difference] {
    let known = Set(files.map(\.path))
    var result = files.compactMap { file -> Difference? in
      guard let found = try? String(contentsOf: folder.appending(path: file.path), encoding: .utf8) else {
        return Difference(path: file.path, kind: .missing)
      }
      return found.hasSameScalars(as: file.text) ? nil : Difference(path: file.path, kind: .different)
    }
    for path in FileManager.default.subpaths(atPath: folder.path) ?? []
    where !known.contains(path) {
      let text = try? String(contentsOf: folder.appending(path: path), encoding: .utf8)
      // A file of somebody else may lie there too.
      if text?.prefix(Self.markedPart).contains(MigrationFile.mark) == true {
        result.append(Difference(path: path, kind: .stale))
      }
    }
    return result.sorted { $0.path < $1.path }
  }

  /// Writes what differs and returns it.
  public func write() throws -> [Difference] {
    let differences = differences()
    for difference in differences {
      let url = folder.appending(path: difference.path)
      guard let file = files.first(where: { $0.path == difference.path }) else {
        try FileManager.default.removeItem(at: url)
        continue
      }
      try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
      try AtomicFile.write(file.text, to: url.path)
    }
    return differences
  }

  /// Reads the files of a folder as they are.
  ///
  /// - Throws: ``RunnerError`` with the path and the reason.
  public static func read(folder: String) throws -> [MigrationFile] {
    let remedy = "name the folder of the .sql files that are to be applied"
    let found = try reading(folder, remedy: remedy) { try FileManager.default.contentsOfDirectory(atPath: folder) }
    let names = found.filter { $0.hasSuffix(".sql") }
    guard !names.isEmpty else { throw RunnerError("there is no .sql file in \(folder); \(remedy)") }
    return try names.map { name in
      let path = "\(folder)/\(name)"
      let data = try reading(path, remedy: "see to it that it is a file that may be read") {
        try Data(contentsOf: URL(filePath: path))
      }
      guard let text = String(validating: data, as: UTF8.self) else {
        throw RunnerError("\(path) cannot be read: it is not UTF-8; restore the file as it was generated")
      }
      return MigrationFile(path: name, text: text)
    }
  }

  /// Foundation's errors are many lines long, and differ from system to system; the system's own reason is short.
  private static func reading<Value>(_ path: String, remedy: String, _ body: () throws -> Value) throws -> Value {
    do {
      return try body()
    } catch {
      throw RunnerError("\(path) cannot be read: \(String(cString: strerror(errno))); \(remedy)")
    }
  }
}
