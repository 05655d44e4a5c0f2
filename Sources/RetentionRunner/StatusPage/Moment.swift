/// A moment as PostgreSQL knows it: it may be infinite, or in any year.
struct Moment: Comparable, Sendable {
  /// Seconds since 1970 in UTC.
  let epoch: Double

  /// `2026-11-24 14:43:05`, in UTC.
  var text: String { fields.map { "\($0.day) \($0.time)" } ?? infinity }

  /// `2026-11-24`, in UTC.
  var day: String { fields?.day ?? infinity }

  /// `14:43:05`, in UTC.
  var time: String { fields?.time ?? "" }

  /// As in the attribute `datetime`, which knows no infinity and the years 1 to 9999 only.
  ///
  /// Source: HTML Living Standard, section 2.3.5.7, Global dates and times.
  var machineReadable: String? {
    guard let fields, (1...9999).contains(fields.year) else { return nil }
    return "\(fields.day)T\(fields.time)Z"
  }

  static func < (left: Moment, right: Moment) -> Bool { left.epoch < right.epoch }

  private var infinity: String { epoch < 0 ? "-infinity" : "infinity" }

  private var fields: (year: Int, day: String, time: String)? {
    guard let calendar = CalendarFields(epoch) else { return nil }
    func digits(_ number: Int, _ count: Int = 2) -> String {
      let text = String(number.magnitude)
      return (number < 0 ? "-" : "") + String(repeating: "0", count: max(0, count - text.count)) + text
    }
    return (
      calendar.year,
      "\(digits(calendar.year, 4))-\(digits(calendar.month))-\(digits(calendar.day))",
      "\(digits(calendar.hour)):\(digits(calendar.minute)):\(digits(calendar.second))"
    )
  }
}
