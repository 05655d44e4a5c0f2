import Foundation
import RetentionRunner

/// What comes through a pipe can be read once only; a content is read for its hash first and then again.
enum StandardInput {
  /// Copies all of it to a temporary file, and returns its path.
  static func spooled() throws -> String {
    var path = Array("\(NSTemporaryDirectory())/jam-blob-XXXXXX".utf8CString)
    let descriptor = mkstemp(&path)
    let name = String(decoding: path.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    guard descriptor >= 0 else {
      throw RunnerError("standard input cannot be kept in \(name): \(String(cString: strerror(errno)))")
    }
    let output = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
    do {
      while let piece = try FileHandle.standardInput.read(upToCount: 1 << 20), !piece.isEmpty {
        try output.write(contentsOf: piece)
      }
    } catch {
      unlink(name)
      throw RunnerError("standard input cannot be kept in \(name): \(error.localizedDescription)")
    }
    return name
  }
}
