/// The values of one quantity, a round each.
struct Spread {
  var values: [Double]

  var median: Double {
    let sorted = values.sorted()
    guard !sorted.isEmpty else { return .nan }
    return (sorted[(sorted.count - 1) / 2] + sorted[sorted.count / 2]) / 2
  }

  var minimum: Double { values.min() ?? .nan }
  var maximum: Double { values.max() ?? .nan }

  /// Round by round: a noisy moment hits both sides alike.
  static func / (left: Spread, right: Spread) -> Spread {
    Spread(values: zip(left.values, right.values).map { $0 / $1 })
  }
}
