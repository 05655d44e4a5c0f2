/// A time of day at a fixed distance from UTC: it comes every 24 hours, whatever the clocks of a country do.
public struct TimeOfDay: Equatable, Sendable, CustomStringConvertible {
  /// Seconds after midnight, UTC.
  let seconds: Int

  /// `03:30` in UTC, or with a distance from it: `03:30Z`, `03:30+02:00`, `21:00-05:00`.
  init?(configured text: String) {
    guard let match = text.wholeMatch(of: /([01][0-9]|2[0-3]):([0-5][0-9])(Z|([+-])(0[0-9]|1[0-4]):([0-5][0-9]))?/),
      let hour = Int(match.1), let minute = Int(match.2)
    else { return nil }
    var distance = 0
    if let sign = match.4, let hours = match.5.flatMap({ Int($0) }), let minutes = match.6.flatMap({ Int($0) }) {
      distance = (sign == "-" ? -1 : 1) * (hours * 60 + minutes)
    }
    let minutes = hour * 60 + minute - distance
    seconds = ((minutes % 1440 + 1440) % 1440) * 60
  }

  /// `03:30Z`.
  public var description: String {
    func padded(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
    return "\(padded(seconds / 3600)):\(padded(seconds / 60 % 60))Z"
  }
}
