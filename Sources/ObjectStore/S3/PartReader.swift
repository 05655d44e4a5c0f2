import NIOCore

/// Cuts a stream into parts of the same size; the last one may be smaller.
struct PartReader {
  private var pieces: ByteStream.AsyncIterator
  private let size: Int
  private var rest = ByteBuffer()

  init(_ stream: ByteStream, size: Int) {
    pieces = stream.makeAsyncIterator()
    self.size = size
  }

  /// The next part, nil at the end.
  mutating func next() async throws -> ByteBuffer? {
    var part = ByteBufferAllocator().buffer(capacity: size)
    while true {
      if var slice = rest.readSlice(length: min(rest.readableBytes, size - part.readableBytes)) {
        part.writeBuffer(&slice)
      }
      guard part.readableBytes < size, let piece = try await pieces.next() else { break }
      rest = piece
    }
    return part.readableBytes > 0 ? part : nil
  }
}
