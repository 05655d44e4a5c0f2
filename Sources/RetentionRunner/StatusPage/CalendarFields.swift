import Foundation

/// A moment by the calendar, in UTC.
struct CalendarFields: Equatable, Sendable {
  var year: Int
  /// From 1.
  var month: Int
  var day: Int
  var hour = 0
  var minute = 0
  var second = 0

  /// The first moment of a month.
  init(year: Int, month: Int) {
    (self.year, self.month, day) = (year, month, 1)
  }

  /// nil for what no calendar holds.
  init?(_ epoch: Double) {
    // Far outside of what a timestamp can be: 294276 AD.
    guard epoch.isFinite, abs(epoch) < 1e13 else { return nil }
    var seconds = time_t(epoch.rounded(.down))
    var fields = tm()
    guard gmtime_r(&seconds, &fields) != nil else { return nil }
    year = Int(fields.tm_year) + 1900
    month = Int(fields.tm_mon) + 1
    day = Int(fields.tm_mday)
    hour = Int(fields.tm_hour)
    minute = Int(fields.tm_min)
    second = Int(fields.tm_sec)
  }

  /// Seconds since 1970.
  var epoch: Double {
    var fields = tm()
    fields.tm_year = Int32(year - 1900)
    fields.tm_mon = Int32(month - 1)
    fields.tm_mday = Int32(day)
    fields.tm_hour = Int32(hour)
    fields.tm_min = Int32(minute)
    fields.tm_sec = Int32(second)
    return Double(timegm(&fields))
  }
}
