import Synchronization

/// An answer that several could give, and the first does.
final class FirstAnswer<Value: Sendable>: Sendable {
  private enum State {
    case open
    case awaited(CheckedContinuation<Value, any Error>)
    case early(Result<Value, any Error>)
    case given
  }

  private let state = Mutex(State.open)

  var isGiven: Bool {
    state.withLock { state in
      switch state {
      case .open, .awaited: false
      case .early, .given: true
      }
    }
  }

  /// Gives the answer; every later one is dropped.
  func give(_ result: Result<Value, any Error>) {
    let waiting = state.withLock { state -> CheckedContinuation<Value, any Error>? in
      switch state {
      case .open: state = .early(result)
      case .awaited(let continuation):
        state = .given
        return continuation
      case .early, .given: break
      }
      return nil
    }
    waiting?.resume(with: result)
  }

  /// Waits for the answer; to be called once.
  func value() async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
      let early = state.withLock { state -> Result<Value, any Error>? in
        guard case .early(let result) = state else {
          state = .awaited(continuation)
          return nil
        }
        state = .given
        return result
      }
      if let early { continuation.resume(with: early) }
    }
  }
}
