import Foundation

/// A file that its readers see whole: as it was, or as it is now.
public enum AtomicFile {
  /// Writes a temporary file in the same folder and renames it; everybody may read the result (mode 0644).
  ///
  /// - Throws: ``RunnerError`` with the path and the system's reason; a file that was there is as before.
  public static func write(_ text: String, to path: String) throws {
    let folder = URL(filePath: path).deletingLastPathComponent().path
    var name = Array("\(folder)/.jam-retention-XXXXXX".utf8CString)
    let descriptor = mkstemp(&name)
    guard descriptor >= 0 else { throw failure(path) }
    var isDone = false
    defer {
      close(descriptor)
      if !isDone { unlink(name) }
    }
    var bytes = Array(text.utf8)[...]
    while !bytes.isEmpty {
      let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
      guard count >= 0 || errno == EINTR else { throw failure(path) }
      bytes = bytes.dropFirst(max(0, count))
    }
    guard fchmod(descriptor, 0o644) == 0, rename(name, path) == 0 else { throw failure(path) }
    isDone = true
  }

  private static func failure(_ path: String) -> RunnerError {
    RunnerError("\(path) cannot be written: \(String(cString: strerror(errno)))")
  }
}
