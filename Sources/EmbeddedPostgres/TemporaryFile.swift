import Foundation

/// A file without a name, gone when it is closed.
struct TemporaryFile: ~Copyable {
  let descriptor: Int32

  init() throws {
    var path = Array("/tmp/jam-pg-output-XXXXXX".utf8CString)
    descriptor = mkstemp(&path)
    guard descriptor >= 0 else {
      throw EmbeddedPostgresError("no temporary file can be made in /tmp: \(String(cString: strerror(errno)))")
    }
    _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
    unlink(path)
  }

  deinit {
    close(descriptor)
  }

  /// All that was written to it.
  func contents() -> String {
    lseek(descriptor, 0, SEEK_SET)
    let handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: false)
    return String(decoding: (try? handle.readToEnd()) ?? Data(), as: UTF8.self)
  }
}
