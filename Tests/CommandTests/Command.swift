import Foundation
import Testing

/// The built program, run as a user runs it.
struct Command {
  struct Result {
    let status: Int32
    let output: String
    let error: String

    var outputLines: [Substring] { output.split(separator: "\n") }
    var errorLines: [Substring] { error.split(separator: "\n") }
  }

  /// It lies beside the test bundle.
  private static let program = Bundle.main.bundleURL.appending(path: "jam-retention")

  /// Runs it in an environment without any setting of whoever runs the tests.
  static func run(_ arguments: [String], environment: [String: String] = [:]) throws -> Result {
    let folder = try TemporaryFolder()
    let files = try ["output", "error"].map { name in
      try FileHandle(forWritingTo: URL(filePath: try folder.file(name, "")))
    }
    let process = Process()
    process.executableURL = program
    process.arguments = arguments
    process.environment = ProcessInfo.processInfo.environment.filter { name, _ in
      !["PG", "RUNTIME_JAM_", "JAM_RETENTION_", "DATABASE_URL"].contains(where: name.hasPrefix)
    }.merging(environment) { $1 }
    process.standardOutput = files[0]
    process.standardError = files[1]
    process.standardInput = FileHandle.nullDevice
    try process.run()
    process.waitUntilExit()
    try files.forEach { try $0.close() }
    return Result(
      status: process.terminationStatus,
      output: try String(contentsOfFile: "\(folder.path)/output", encoding: .utf8),
      error: try String(contentsOfFile: "\(folder.path)/error", encoding: .utf8)
    )
  }
}

/// The objects of a text of one JSON object a line.
func objects(_ lines: [Substring]) throws -> [[String: Any]] {
  try lines.map { line in
    try #require(JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any], "no object: \(line)")
  }
}
