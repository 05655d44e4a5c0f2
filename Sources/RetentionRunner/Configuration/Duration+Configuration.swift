extension Duration {
  /// A whole number with its unit, s, m, h or d: `90s`, `15m`, `24h`, `7d`.
  init?(configured text: String) {
    let seconds: [Character: Int64] = ["s": 1, "m": 60, "h": 3600, "d": 86400]
    guard let unit = text.last.flatMap({ seconds[$0] }), text.first?.isNumber == true,
      let number = Int64(text.dropLast())
    else { return nil }
    let product = number.multipliedReportingOverflow(by: unit)
    guard !product.overflow else { return nil }
    self = .seconds(product.partialValue)
  }
}
