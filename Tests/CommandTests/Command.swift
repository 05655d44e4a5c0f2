import Foundation
import TestSupport
import Testing

/// The built program, run as a user runs it.
final class Command {
  struct Result {
    let status: Int32
    let output: String
    let error: String

    var outputLines: [Substring] { output.split(separator: "\n") }
    var errorLines: [Substring] { error.split(separator: "\n") }
  }

  /// It lies beside the test bundle.
  private static let program = Bundle.main.bundleURL.appending(path: "jam-retention").path

  private let folder: TemporaryFolder
  private let process = Process()

  var processID: pid_t { process.processIdentifier }

  /// Starts it in an environment without any setting of whoever runs the tests.
  ///
  /// - Parameters:
  ///   - shell: what a shell does first, in the same process.
  ///   - input: standard input.
  init(_ arguments: [String], environment: [String: String] = [:], shell: String = "", input: Data = Data()) throws {
    folder = try TemporaryFolder()
    let path = folder.path
    try input.write(to: URL(filePath: "\(path)/input"))
    let files = try ["output", "error"].map { name in
      try FileHandle(forWritingTo: URL(filePath: try folder.write(name, "")))
    }
    process.executableURL = URL(filePath: "/bin/sh")
    process.arguments = ["-c", "\(shell)\nexec \"$0\" \"$@\"", Self.program] + arguments
    process.environment = ProcessInfo.processInfo.environment.filter { name, _ in
      !["PG", "RUNTIME_JAM_", "JAM_RETENTION_", "DATABASE_URL", "AWS_"].contains(where: name.hasPrefix)
    }.merging(environment) { $1 }
    process.standardOutput = files[0]
    process.standardError = files[1]
    process.standardInput = try FileHandle(forReadingFrom: URL(filePath: "\(path)/input"))
    try process.run()
    try files.forEach { try $0.close() }
  }

  var isRunning: Bool { process.isRunning }

  /// What it has written to standard error until now.
  func errorSoFar() throws -> String { try String(contentsOfFile: "\(folder.path)/error", encoding: .utf8) }

  /// Waits for its end.
  func end() throws -> Result {
    process.waitUntilExit()
    return Result(
      status: process.terminationStatus,
      output: try String(contentsOfFile: "\(folder.path)/output", encoding: .utf8),
      error: try String(contentsOfFile: "\(folder.path)/error", encoding: .utf8)
    )
  }

  /// Runs it to its end.
  static func run(_ arguments: [String], environment: [String: String] = [:]) throws -> Result {
    try Command(arguments, environment: environment).end()
  }
}

/// The objects of a text of one JSON object a line.
func objects(_ lines: [Substring]) throws -> [[String: Any]] {
  try lines.map { line in
    try #require(JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any], "no object: \(line)")
  }
}
