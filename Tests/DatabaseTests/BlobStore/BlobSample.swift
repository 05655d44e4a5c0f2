import Foundation

/// Contents of mixed sizes, each from its number alone: most of 1 kB to 64 kB, some to 1 MB, a few larger.
struct BlobSample: Sendable {
  let count: Int
  /// Bytes.
  let largest: Int

  /// Those that are put inline and moved later.
  var inline: [Int] { (0..<count).filter { $0 % 2 == 0 } }
  /// Those that are put into the object store.
  var direct: [Int] { (0..<count).filter { $0 % 2 == 1 } }

  func content(_ number: Int) -> Data {
    var random = SeededGenerator(seed: UInt64(number))
    let size =
      switch number % 2000 {
      case 7, 8: Int.random(in: 8 << 20...largest, using: &random)
      case _ where number % 40 == 3 || number % 40 == 4: Int.random(in: 64 << 10...1 << 20, using: &random)
      default: Int.random(in: 1000...64 << 10, using: &random)
      }
    return Data.random(size, using: &random)
  }
}
