/// An answer that takes a while: it is made once for all who ask meanwhile.
actor SharedAnswer<Value: Sendable> {
  private let make: @Sendable () async throws -> Value
  private var underWay: Task<Value, any Error>?

  init(_ make: @escaping @Sendable () async throws -> Value) {
    self.make = make
  }

  /// The answer that is under way, or a new one.
  func value() async throws -> Value {
    if let underWay { return try await underWay.value }
    let task = Task { try await make() }
    underWay = task
    defer { underWay = nil }
    return try await task.value
  }
}
