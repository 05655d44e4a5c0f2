/// One result.
struct Line {
  /// How the values read.
  enum Unit: String {
    case perSecond = "/s"
    case milliseconds = "ms"
    case seconds = "s"
    case bytes = "B"
    case count = ""
  }

  /// The name of the measurement.
  var measurement: String
  /// What was measured, with its sizes.
  var what: String
  var variant: Variant
  var unit: Unit
  var values: Spread
  /// Round by round against another variant, or another figure of the same one.
  var ratios: Spread?
  /// What the ratio is to.
  var reference: String?
  /// Of the ratio where there is one, else of the value.
  var target: Target?
  /// Further figures of the same rounds.
  var note = ""

  /// The figure that the target is for.
  var judged: Spread { ratios ?? values }

  /// Whether the median reaches the target; nil: there is none.
  var isReached: Bool? { target.map { $0.isReached(by: judged.median) } }
}
