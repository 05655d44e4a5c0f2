import Foundation
import NIOCore
import NIOPosix

/// A file that is open for reading until nobody refers to it any more.
final class ReadableFile: Sendable {
  private static let pieceSize: Int64 = 256 << 10

  let path: String
  let descriptor: Int32

  private init(path: String, descriptor: Int32) {
    self.path = path
    self.descriptor = descriptor
  }

  deinit {
    close(descriptor)
  }

  static func open(_ path: String) async throws -> ReadableFile {
    try await NIOThreadPool.singleton.runIfActive {
      let descriptor = Foundation.open(path, O_RDONLY | O_CLOEXEC)
      guard descriptor >= 0 else { throw FileSystemFailure("open the file", path) }
      return ReadableFile(path: path, descriptor: descriptor)
    }
  }

  func status() async throws -> FileStatus {
    try await NIOThreadPool.singleton.runIfActive { try FileStatus(of: self.descriptor, at: self.path) }
  }

  /// These bytes of the file, as many of them as there are.
  func stream(_ range: Range<Int64>) -> ByteStream {
    ByteStream(unfolding: {
      var offset = range.lowerBound
      return {
        try Task.checkCancellation()
        let start = offset
        let count = Int(min(Self.pieceSize, range.upperBound - start))
        guard count > 0 else { return nil }
        let piece = try await NIOThreadPool.singleton.runIfActive { try self.read(count, at: start) }
        offset += Int64(piece.readableBytes)
        return piece.readableBytes > 0 ? piece : nil
      }
    })
  }

  private func read(_ count: Int, at offset: Int64) throws -> ByteBuffer {
    var piece = ByteBufferAllocator().buffer(capacity: count)
    try piece.writeWithUnsafeMutableBytes(minimumWritableBytes: count) { memory in
      while true {
        let got = pread(descriptor, memory.baseAddress, count, off_t(offset))
        if got >= 0 { return got }
        guard errno == EINTR else { throw FileSystemFailure("read the file", path) }
      }
    }
    return piece
  }
}
