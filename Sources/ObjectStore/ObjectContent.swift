import Crypto
import NIOCore

/// The bytes to be stored, with the size and hash that they must have.
public struct ObjectContent: Sendable {
  /// How many bytes there are.
  public let size: Int64
  /// The SHA-256 of all bytes, as 64 lower-case hexadecimal digits.
  public let sha256: String
  /// Reads these of the bytes; called once per attempt, so again when an attempt failed.
  public let open: @Sendable (Range<Int64>) async throws -> ByteStream

  /// Bytes that a function reads, from a table for example. They are checked against the size and the hash on their way.
  public init(size: Int64, sha256: String, open: @escaping @Sendable (Range<Int64>) async throws -> ByteStream) {
    self.size = size
    self.sha256 = sha256.lowercased()
    self.open = open
  }

  /// Bytes in memory.
  public init(_ bytes: ByteBuffer) {
    self.init(bytes, sha256: bytes.digest(SHA256.self).hexadecimal)
  }

  /// Bytes in memory whose hash is known; it is checked.
  public init(_ bytes: ByteBuffer, sha256: String) {
    self.init(size: Int64(bytes.readableBytes), sha256: sha256) { range in
      let slice = bytes.getSlice(at: bytes.readerIndex + Int(range.lowerBound), length: range.count)
      return ByteStream(slice ?? ByteBuffer())
    }
  }

  /// The content of a file, which is read once for its hash, and again when it is stored: it must be one that can be read
  /// twice, no pipe. It must not change until it is stored; if it does, storing it fails.
  ///
  /// - Throws: ``ObjectStoreError`` when the file cannot be read.
  public init(file path: String) async throws {
    var hash = SHA256()
    // To its end: not every file says how long it is.
    var size: Int64 = 0
    for try await piece in Self.stream(path, 0..<Int64.max) {
      hash.update(piece)
      size += Int64(piece.readableBytes)
    }
    self.init(file: path, size: size, sha256: hash.finalize().hexadecimal)
  }

  /// The content of a file whose size and hash are known; they are checked.
  public init(file path: String, size: Int64, sha256: String) {
    self.init(size: size, sha256: sha256) { Self.stream(path, $0) }
  }

  private static func stream(_ path: String, _ range: Range<Int64>) -> ByteStream {
    ByteStream(unfolding: {
      var pieces: ByteStream.AsyncIterator?
      return {
        try await reading(path) {
          if pieces == nil { pieces = try await ReadableFile.open(path).stream(range).makeAsyncIterator() }
          return try await pieces?.next()
        }
      }
    })
  }

  private static func reading<Value>(_ path: String, _ work: () async throws -> Value) async throws -> Value {
    do {
      return try await work()
    } catch let failure as FileSystemFailure {
      throw failure.error(doing: "read the content of \(path)")
    }
  }
}
