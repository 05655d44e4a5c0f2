/// What a figure has to reach.
enum Target {
  case atLeast(Double)
  case atMost(Double)

  func isReached(by value: Double) -> Bool { margin(of: value) >= 1 }

  /// How far a value is beyond the target: 1 is just reached, 2 twice as good, 0.5 half.
  func margin(of value: Double) -> Double {
    switch self {
    case .atLeast(let limit): value / limit
    case .atMost(let limit): limit / value
    }
  }
}
