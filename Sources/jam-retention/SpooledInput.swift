import Foundation
import RetentionRunner

/// What can be read once only, such as a pipe; a content is read for its hash first and then again.
enum SpooledInput {
  /// How long a read waits before it looks whether it is still wanted, in milliseconds.
  private static let patience: Int32 = 100

  /// Whether a file must be copied before it can be read twice: `-`, a pipe, a socket, a terminal.
  static func isNeeded(for file: String) -> Bool {
    guard file != "-" else { return true }
    var status = stat()
    // What cannot be looked at is refused where it is read.
    guard stat(file, &status) == 0 else { return false }
    return [S_IFIFO, S_IFSOCK, S_IFCHR].contains(status.st_mode & S_IFMT)
  }

  /// Copies all of a file to one that has no name any more, so that nothing is left of it however the program ends; runs the
  /// body with a path that leads to the copy.
  static func copying<Value>(_ file: String, _ body: (String) async throws -> Value) async throws -> Value {
    let input = file == "-" ? FileHandle.standardInput : try open(file)
    var path = Array("\(NSTemporaryDirectory())/jam-blob-XXXXXX".utf8CString)
    let descriptor = mkstemp(&path)
    let name = String(decoding: path.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    guard descriptor >= 0 else {
      throw RunnerError("\(shown(file)) cannot be kept in \(name): \(String(cString: strerror(errno)))")
    }
    unlink(name)
    let output = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
    do {
      while let piece = try next(of: input), !piece.isEmpty { try output.write(contentsOf: piece) }
    } catch let error as CancellationError {
      throw error
    } catch {
      throw RunnerError("\(shown(file)) cannot be kept in \(name): \(error.localizedDescription)")
    }
    defer { withExtendedLifetime(output) {} }
    return try await body("/dev/fd/\(descriptor)")
  }

  private static func open(_ file: String) throws -> FileHandle {
    guard let input = FileHandle(forReadingAtPath: file) else {
      throw RunnerError("\(file) cannot be read: \(String(cString: strerror(errno)))")
    }
    return input
  }

  private static func next(of input: FileHandle) throws -> Data? {
    var poll = pollfd(fd: input.fileDescriptor, events: Int16(POLLIN), revents: 0)
    while Foundation.poll(&poll, 1, patience) == 0 { try Task.checkCancellation() }
    return try input.read(upToCount: 1 << 16)
  }

  private static func shown(_ file: String) -> String { file == "-" ? "standard input" : file }
}
