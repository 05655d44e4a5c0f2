/// The bytes that a range means in an object of a certain size.
enum ObjectRange {
  static func within(_ size: Int64, _ range: Range<Int64>?, doing operation: String) throws -> Range<Int64> {
    guard let range else { return 0..<size }
    guard range.lowerBound >= 0, range.lowerBound < size else {
      throw ObjectStoreError(
        .invalidRange,
        doing: operation,
        "the object has \(size) bytes, and the range begins at \(range.lowerBound)"
      )
    }
    return range.clamped(to: 0..<size)
  }
}
