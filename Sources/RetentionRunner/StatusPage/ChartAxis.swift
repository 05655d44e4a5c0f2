import Foundation

/// Where the marks of an axis are, and what stands beside them.
struct ChartAxis: Equatable, Sendable {
  struct Tick: Equatable, Sendable {
    var value: Double
    var label: String
  }

  var ticks: [Tick]

  /// The round numbers of bytes from 0 to the first that is not below the largest value; all in one unit.
  static func bytes(upTo largest: Double, marks: Int = 4) -> ChartAxis {
    let step = roundStep(max(1, largest) / Double(marks))
    let count = max(1, Int((max(1, largest) / step).rounded(.up)))
    var unit = (name: "", size: 1.0)
    for (power, name) in ByteCount.units.enumerated()
    where power == 0 || Double(count) * step >= pow(1000, Double(power)) {
      unit = (name, pow(1000, Double(power)))
    }
    let fraction = step / unit.size
    let digits = fraction >= 1 ? 0 : Int((-log10(fraction)).rounded(.up))
    return ChartAxis(
      ticks: (0...count).map { position in
        let value = Double(position) * step
        return Tick(
          value: value,
          label: position == 0 ? "0" : "\(String(format: "%.\(digits)f", value / unit.size)) \(unit.name)"
        )
      }
    )
  }

  /// The smallest of 1, 2 and 5 times a power of ten that is not below the number, but no fraction.
  private static func roundStep(_ number: Double) -> Double {
    let power = pow(10, log10(max(1, number)).rounded(.down))
    // A power that was computed may be off by its last bit.
    return [1, 2, 5, 10].map { $0 * power }.first { $0 >= number * 0.999_999_999 } ?? 10 * power
  }

  /// Moments at which a clock or a calendar begins something, in UTC.
  static func time(from start: Double, to end: Double, marks: Int) -> ChartAxis {
    let hour = 3600.0
    let day = 24 * hour
    let span = max(1, end - start)
    for step in [hour / 4, hour / 2, hour, 2 * hour, 3 * hour, 6 * hour, 12 * hour, day, 2 * day, 7 * day, 14 * day]
    where span / step <= Double(marks) {
      return steps(of: step, from: start, to: end)
    }
    for months in [1, 2, 3, 6, 12, 24, 60, 120, 240, 600]
    where span / (Double(months) * 30.4 * day) <= Double(marks) {
      return self.months(months, from: start, to: end)
    }
    return ChartAxis(ticks: [])
  }

  private static func steps(of step: Double, from start: Double, to end: Double) -> ChartAxis {
    // The first day of 1970 was a Thursday; weeks begin on Mondays.
    let origin = step >= 7 * 86400 ? 4.0 * 86400 : 0
    var ticks: [Tick] = []
    var value = ((start - origin) / step).rounded(.up) * step + origin
    while value <= end {
      guard let fields = CalendarFields(value) else { break }
      let isDay = fields.hour == 0 && fields.minute == 0
      ticks.append(
        Tick(
          value: value,
          label: isDay
            ? "\(fields.day) \(monthNames[fields.month - 1])" : String(format: "%02d:%02d", fields.hour, fields.minute)
        )
      )
      value += step
    }
    return ChartAxis(ticks: ticks)
  }

  private static func months(_ step: Int, from start: Double, to end: Double) -> ChartAxis {
    guard let first = CalendarFields(start) else { return ChartAxis(ticks: []) }
    var ticks: [Tick] = []
    var month = (first.year * 12 + first.month - 1 + step - 1) / step * step
    while true {
      let fields = CalendarFields(year: month / 12, month: month % 12 + 1)
      guard fields.epoch <= end else { return ChartAxis(ticks: ticks) }
      if fields.epoch >= start {
        let year = step < 12 ? "\(monthNames[fields.month - 1]) \(fields.year)" : "\(fields.year)"
        ticks.append(Tick(value: fields.epoch, label: year))
      }
      month += step
    }
  }

  private static let monthNames = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
  ]
}
