import Foundation

/// A call to the system that failed, with its reason.
struct FileSystemFailure: Error {
  let operation: String
  let code: Int32

  /// To be made at once after the call, while `errno` is that of the call.
  init(_ operation: String, _ path: String) {
    code = errno
    self.operation = "\(operation) \(path)"
  }

  /// The failure as callers get it.
  func error(doing task: String) -> ObjectStoreError {
    ObjectStoreError(
      .fileSystem,
      doing: task,
      "cannot \(operation): \(String(cString: strerror(code)))",
      remedy: code == ENOSPC || code == EDQUOT ? "free some space" : nil
    )
  }
}
