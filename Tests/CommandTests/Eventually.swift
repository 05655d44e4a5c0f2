import Foundation
import Testing

/// Asks again and again until there is an answer. The limit is for what never comes; how soon it comes is not tested.
@discardableResult
func eventually<Value>(
  within limit: Duration = .seconds(120),
  _ what: String,
  _ location: SourceLocation = #_sourceLocation,
  _ question: () throws -> Value?
) throws -> Value {
  let deadline = ContinuousClock.now + limit
  while true {
    if let answer = try question() { return answer }
    try #require(ContinuousClock.now < deadline, "not within \(limit): \(what)", sourceLocation: location)
    usleep(10_000)
  }
}

/// Waits until it is so.
func eventually(
  within limit: Duration = .seconds(120),
  _ what: String,
  _ location: SourceLocation = #_sourceLocation,
  isSo: () throws -> Bool
) throws {
  try eventually(within: limit, what, location) { try isSo() ? () : nil }
}
