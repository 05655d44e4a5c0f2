import Foundation

/// The forms of a time that HTTP and S3 know, all in UTC.
enum Timestamp {
  /// `20130524T000000Z`, as Signature Version 4 has it.
  static func basic(_ date: Date) -> String {
    let fields = gregorian.dateComponents([.year, .month, .day, .hour, .minute, .second], from: date)
    func digits(_ value: Int?, _ count: Int) -> String {
      let text = String(value ?? 0)
      return String(repeating: "0", count: max(0, count - text.count)) + text
    }
    return digits(fields.year, 4) + digits(fields.month, 2) + digits(fields.day, 2) + "T"
      + digits(fields.hour, 2) + digits(fields.minute, 2) + digits(fields.second, 2) + "Z"
  }

  /// `Fri, 24 May 2013 00:00:00 GMT`, as in `Last-Modified` (RFC 9110, section 5.6.7).
  static func http(_ text: String) -> Date? {
    let fields = text.split(separator: " ")
    guard fields.count == 6, fields[5] == "GMT", let month = months.firstIndex(of: String(fields[2])) else {
      return nil
    }
    let time = fields[4].split(separator: ":")
    guard time.count == 3 else { return nil }
    return date([fields[3], Substring(String(month + 1)), fields[1]] + time)
  }

  /// `2013-05-24T00:00:00.000Z`, as in S3's listings and in credentials; fractions of a second are left out.
  static func iso8601(_ text: String) -> Date? {
    let halves = text.split(separator: "T")
    guard halves.count == 2, let time = halves[1].split(separator: ".").first else { return nil }
    guard halves[1].hasSuffix("Z") || halves[1].hasSuffix("+00:00") else { return nil }
    let seconds = time.replacing("Z", with: "").replacing("+00:00", with: "")
    return date(halves[0].split(separator: "-") + seconds.split(separator: ":").map { Substring($0) })
  }

  private static let months = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
  ]

  private static let gregorian: Calendar = {
    var calendar = Calendar(identifier: .gregorian)
    calendar.timeZone = .gmt
    return calendar
  }()

  /// Year, month, day, hour, minute and second.
  private static func date(_ fields: [Substring]) -> Date? {
    let numbers = fields.compactMap { Int($0) }
    guard fields.count == 6, numbers.count == 6 else { return nil }
    let components = DateComponents(
      year: numbers[0],
      month: numbers[1],
      day: numbers[2],
      hour: numbers[3],
      minute: numbers[4],
      second: numbers[5]
    )
    return gregorian.date(from: components)
  }
}
