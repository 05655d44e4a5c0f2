import Foundation
import Testing

@testable import RetentionRunner

@Suite struct CleanupScheduleTests {
  private static let hour: TimeInterval = 3600
  private static let day: TimeInterval = 86400

  private func date(_ text: String) throws -> Date { try Date(text + ":00Z", strategy: .iso8601) }

  private func due(
    every interval: TimeInterval = day,
    at time: String? = nil,
    last: String? = nil,
    attempts: Int = 0,
    lastAttempt: String? = nil,
    start: String,
    jitter: TimeInterval = 0
  ) throws -> Date {
    let time = try time.map { try #require(TimeOfDay(configured: $0)) }
    let history = CleanupHistory(
      now: try date(start),
      lastStart: try last.map { try date($0) },
      attempts: attempts,
      lastAttempt: try lastAttempt.map { try date($0) }
    )
    return try CleanupSchedule(interval: interval, time: time)
      .dueTime(after: history, start: date(start), jitter: jitter)
  }

  @Test("Without a time of day: an interval after the last run began, whoever made it; the first after start-up")
  func interval() throws {
    #expect(try due(start: "2026-11-24T10:00") == date("2026-11-24T10:00"))
    #expect(try due(last: "2026-11-24T09:00", start: "2026-11-24T10:00") == date("2026-11-25T09:00"))
    #expect(
      try due(every: Self.hour * 5, last: "2026-11-24T09:00", start: "2026-11-24T10:00") == date("2026-11-24T14:00")
    )
  }

  @Test("However many runs were missed, one is due at start-up, and the next an interval later")
  func missed() throws {
    #expect(try due(last: "2026-11-01T09:00", start: "2026-11-24T10:00") == date("2026-11-24T10:00"))
    #expect(try due(last: "2026-11-24T10:00", start: "2026-11-24T10:00") == date("2026-11-25T10:00"))
    #expect(try due(at: "03:30", last: "2026-11-01T03:30", start: "2026-11-24T10:00") == date("2026-11-24T10:00"))
    #expect(try due(at: "03:30", last: "2026-11-24T10:00", start: "2026-11-24T10:00") == date("2026-11-25T03:30"))
  }

  @Test("With a time of day the first run waits for it, and a late or early one does not move the others")
  func timeOfDay() throws {
    #expect(try due(at: "03:30", start: "2026-11-24T10:00") == date("2026-11-25T03:30"))
    #expect(try due(at: "03:30", start: "2026-11-24T03:29") == date("2026-11-24T03:30"))
    #expect(try due(at: "03:30", last: "2026-11-24T03:30", start: "2026-11-24T01:00") == date("2026-11-25T03:30"))
    #expect(try due(at: "03:30", last: "2026-11-24T23:59", start: "2026-11-24T01:00") == date("2026-11-25T03:30"))
    #expect(try due(at: "03:30+02:00", start: "2026-11-24T10:00") == date("2026-11-25T01:30"))
    #expect(try due(at: "21:00-05:00", start: "2026-11-24T10:00") == date("2026-11-25T02:00"))
  }

  @Test("Clocks that are put forward or back move nothing: there are 24 hours between two runs")
  func summerTime() throws {
    for day in ["2026-03-28T03:30", "2026-03-29T03:30", "2026-10-24T03:30", "2026-10-25T03:30"] {
      let next = try due(at: "03:30", last: day, start: "2026-01-01T00:00")
      #expect(try next.timeIntervalSince(date(day)) == Self.day)
    }
  }

  @Test("Parts of a day and several days keep the time of day")
  func otherIntervals() throws {
    let sixHours = 6 * Self.hour
    #expect(try due(every: sixHours, at: "03:30", start: "2026-11-24T10:00") == date("2026-11-24T15:30"))
    #expect(
      try due(every: sixHours, at: "03:30", last: "2026-11-24T17:00", start: "2026-11-24T10:00")
        == date("2026-11-24T21:30")
    )
    let week = 7 * Self.day
    #expect(
      try due(every: week, at: "03:30", last: "2026-11-24T03:30", start: "2026-11-24T01:00")
        == date("2026-12-01T03:30")
    )
    #expect(
      try due(every: week, at: "03:30", last: "2026-11-24T17:00", start: "2026-11-24T01:00")
        == date("2026-12-01T03:30")
    )
    #expect(try due(every: week, at: "03:30", start: "2026-11-24T10:00") == date("2026-11-25T03:30"))
    for (interval, canKeep) in [(86400, true), (604_800, true), (21600, true), (18000, false), (129_600, false)] {
      #expect(CleanupSchedule.canKeepTime(.seconds(interval)) == canKeep)
    }
  }

  @Test("A run that failed or was interrupted does not count; each further attempt waits longer, up to an interval")
  func attempts() throws {
    for (attempts, wait) in [(1, 1.0), (2, 8), (3, 64), (4, 512), (9, Self.day)] {
      let due = try due(
        last: "2026-11-23T03:30",
        attempts: attempts,
        lastAttempt: "2026-11-24T03:40",
        start: "2026-11-24T03:00"
      )
      #expect(try due == date("2026-11-24T03:40").addingTimeInterval(wait))
    }
    // One that somebody began before it was due makes none due.
    let early = try due(
      at: "03:30",
      last: "2026-11-24T03:30",
      attempts: 1,
      lastAttempt: "2026-11-24T12:00",
      start: "2026-11-24T03:00"
    )
    #expect(try early == date("2026-11-25T03:30"))
    // The very first that was interrupted is made up, not put off to the next day.
    let first = try due(at: "03:30", attempts: 1, lastAttempt: "2026-11-24T03:31", start: "2026-11-24T03:35")
    #expect(try first == date("2026-11-24T03:35"))
  }

  @Test("Only a run that is due at start-up waits for the jitter: never the first at its time of day, nor a later one")
  func jitter() throws {
    #expect(try due(start: "2026-11-24T10:00", jitter: 60) == date("2026-11-24T10:01"))
    #expect(try due(last: "2026-11-23T10:00", start: "2026-11-24T10:00", jitter: 60) == date("2026-11-24T10:01"))
    #expect(try due(last: "2026-11-23T10:01", start: "2026-11-24T10:00", jitter: 300) == date("2026-11-24T10:01"))
    #expect(try due(at: "03:30", start: "2026-11-24T03:29", jitter: 300) == date("2026-11-24T03:30"))
    #expect(
      try due(at: "03:30", last: "2026-11-23T03:30", start: "2026-11-24T03:29", jitter: 300) == date("2026-11-24T03:30")
    )
    #expect(
      try due(at: "03:30", last: "2026-11-22T03:30", start: "2026-11-24T03:29", jitter: 300) == date("2026-11-24T03:34")
    )
  }

  @Test(
    "Times of day",
    arguments: [
      ("03:30", "03:30Z"), ("03:30Z", "03:30Z"), ("23:59+14:00", "09:59Z"), ("00:30+01:00", "23:30Z"),
      ("23:30-01:00", "00:30Z"), ("24:00", nil), ("3:30", nil), ("03:60", nil), ("03:30+2", nil), ("03:30 CET", nil),
      ("", nil),
    ] as [(String, String?)]
  )
  func times(text: String, expected: String?) {
    #expect(TimeOfDay(configured: text)?.description == expected)
  }

  @Test(
    "Addresses to listen on",
    arguments: [
      ("127.0.0.1:0", "127.0.0.1:0"), ("localhost:8080", "localhost:8080"), ("[::1]:8080", "[::1]:8080"),
      ("0.0.0.0:65535", "0.0.0.0:65535"), ("8080", nil), (":8080", nil), ("localhost", nil), ("localhost:", nil),
      ("localhost:65536", nil), ("localhost:-1", nil), ("::1:8080", nil), ("http://localhost:80", nil), ("a b:1", nil),
      ("", nil),
    ] as [(String, String?)]
  )
  func addresses(text: String, expected: String?) {
    #expect(ListenAddress(configured: text)?.description == expected)
  }
}
