import Crypto
import NIOCore

extension ByteBuffer {
  /// The hash of the readable bytes.
  func digest<Function: HashFunction>(_ function: Function.Type) -> Function.Digest {
    var hash = Function()
    hash.update(self)
    return hash.finalize()
  }
}

extension HashFunction {
  package mutating func update(_ bytes: ByteBuffer) {
    bytes.withUnsafeReadableBytes { update(bufferPointer: $0) }
  }
}

extension SHA256 {
  /// The hash of no bytes, in hexadecimal digits.
  static let ofNothing = hash(data: []).hexadecimal
}
