import Foundation

/// A file that its readers see whole: as it was, or as it is now.
public enum AtomicFile {
  /// Writes a temporary file in the same folder and renames it; everybody may read the result (mode 0644).
  ///
  /// - Throws: ``RunnerError`` with the path and the system's reason; a file that was there is as before.
  public static func write(_ text: String, to path: String) throws {
    let file = try Unfinished(path)
    defer { file.remove() }
    try file.write(Array(text.utf8))
    try file.finish()
  }

  /// The same for a content that comes piece by piece; when the body throws, nothing is left of it.
  public static func write(to path: String, _ body: (Unfinished) async throws -> Void) async throws {
    let file = try Unfinished(path)
    defer { file.remove() }
    try await body(file)
    try file.finish()
  }

  /// The temporary file, before it has its name.
  public final class Unfinished {
    private let path: String
    private let temporary: String
    private let descriptor: Int32
    private var isFinished = false

    fileprivate init(_ path: String) throws {
      self.path = path
      var status = stat()
      guard stat(path, &status) != 0 || status.st_mode & S_IFMT == S_IFREG else {
        throw RunnerError("\(path) cannot be written: it is no regular file")
      }
      let folder = URL(filePath: path).deletingLastPathComponent().path
      var name = Array("\(folder)/.jam-retention-XXXXXX".utf8CString)
      descriptor = mkstemp(&name)
      temporary = String(decoding: name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
      guard descriptor >= 0 else { throw failure() }
    }

    /// Appends bytes.
    public func write(_ bytes: some Sequence<UInt8>) throws {
      var rest = Array(bytes)[...]
      while !rest.isEmpty {
        let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
        guard count >= 0 || errno == EINTR else { throw failure() }
        rest = rest.dropFirst(max(0, count))
      }
    }

    fileprivate func finish() throws {
      guard fchmod(descriptor, 0o644) == 0, rename(temporary, path) == 0 else { throw failure() }
      isFinished = true
    }

    fileprivate func remove() {
      close(descriptor)
      if !isFinished { unlink(temporary) }
    }

    private func failure() -> RunnerError {
      RunnerError("\(path) cannot be written: \(String(cString: strerror(errno)))")
    }
  }
}
