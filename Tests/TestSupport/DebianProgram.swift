import EmbeddedPostgres
import Foundation

/// A program of a Debian package: the system's, or what `make test-deps` has unpacked below `.build`.
package enum DebianProgram {
  private static let unpacked = URL(filePath: #filePath).appending(path: "../../../.build/debian/usr/bin").standardized

  /// Its path; nil: it is not installed.
  package static func locate(_ name: String) throws -> String? {
    let inPath = try ChildProcess.run(["sh", "-c", #"command -v "$0""#, name])
    let own = unpacked.appending(path: name).path
    return inPath.status == 0
      ? inPath.output.trimmingCharacters(in: .newlines)
      : FileManager.default.isExecutableFile(atPath: own) ? own : nil
  }
}
