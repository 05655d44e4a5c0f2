/// What several variants took for the same, turned into lines.
struct Comparison {
  var measurement: String
  var what: String
  var unit: Line.Unit
  /// Whose figures stand below the ratios.
  var reference: Variant
  var targets: [Variant: Target] = [:]

  /// A line for each variant, the reference first. Nothing has a ratio to nothing.
  func lines(_ figures: [Variant: [Double]], notes: [Variant: String] = [:]) -> [Line] {
    let base = Spread(values: figures[reference] ?? [])
    let hasRatios = !base.values.contains(0)
    return Variant.allCases.filter { figures[$0] != nil }.map { variant in
      let values = Spread(values: figures[variant] ?? [])
      return Line(
        measurement: measurement,
        what: what,
        variant: variant,
        unit: unit,
        values: values,
        ratios: variant == reference || !hasRatios ? nil : values / base,
        reference: reference.rawValue,
        target: targets[variant],
        note: notes[variant] ?? ""
      )
    }
  }
}
