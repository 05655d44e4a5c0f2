import Foundation
import RetentionRunner

/// What is printed must arrive, or the command has failed: the hash of what was put may be nowhere else. Whoever stops to
/// read has had enough.
enum StandardOutput {
  /// Hands over what `print` has kept.
  static func finish() throws {
    guard fflush(nil) != 0, errno != EPIPE else { return }
    throw failure
  }

  /// Writes bytes at once.
  static func write(_ bytes: some ContiguousBytes) throws {
    try bytes.withUnsafeBytes { bytes in
      var rest = bytes[...]
      while !rest.isEmpty {
        let count = Foundation.write(STDOUT_FILENO, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
        if count > 0 { rest = rest.dropFirst(count) } else if errno != EINTR { throw failure }
      }
    }
  }

  private static var failure: RunnerError {
    RunnerError("standard output cannot be written: \(String(cString: strerror(errno)))")
  }
}
