import NIOCore

/// Bytes that come piece by piece.
public struct ByteStream: AsyncSequence, Sendable {
  /// A piece, of any length.
  public typealias Element = ByteBuffer

  /// Yields the pieces.
  public struct AsyncIterator: AsyncIteratorProtocol {
    fileprivate let nextPiece: () async throws -> ByteBuffer?

    /// The next piece, nil at the end.
    public mutating func next() async throws -> ByteBuffer? {
      try await nextPiece()
    }
  }

  private let begin: @Sendable () -> AsyncIterator

  /// A stream of what a sequence yields.
  public init<Pieces: AsyncSequence & Sendable>(_ pieces: Pieces) where Pieces.Element == ByteBuffer {
    begin = {
      var iterator = pieces.makeAsyncIterator()
      return AsyncIterator { try await iterator.next() }
    }
  }

  /// A stream of what a function returns until it returns nil; every reader calls `begin` for one of its own.
  public init(unfolding begin: @escaping @Sendable () -> () async throws -> ByteBuffer?) {
    self.begin = { AsyncIterator(nextPiece: begin()) }
  }

  /// A stream of one piece.
  public init(_ bytes: ByteBuffer) {
    self.init(unfolding: {
      var rest = bytes.readableBytes > 0 ? bytes : nil
      return {
        defer { rest = nil }
        return rest
      }
    })
  }

  /// Begins to read.
  public func makeAsyncIterator() -> AsyncIterator {
    begin()
  }

  /// All bytes in one piece; throws ``ObjectStoreError/Kind/tooLarge`` when there are more than the limit.
  public func collect(upTo limit: Int) async throws -> ByteBuffer {
    var whole = ByteBuffer()
    for try await var piece in self {
      guard whole.readableBytes + piece.readableBytes <= limit else {
        throw ObjectStoreError(.tooLarge, doing: "read into memory", "there are more than the \(limit) bytes expected")
      }
      whole.writeBuffer(&piece)
    }
    return whole
  }
}
