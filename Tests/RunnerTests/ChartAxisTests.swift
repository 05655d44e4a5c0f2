import Testing

@testable import RetentionRunner

@Suite struct ChartAxisTests {
  private static let sizes: [(largest: Double, labels: [String])] = [
    (0, ["0", "1 B"]),
    (3, ["0", "1 B", "2 B", "3 B"]),
    (999, ["0", "0.5 kB", "1.0 kB"]),
    (466_000_000, ["0", "200 MB", "400 MB", "600 MB"]),
    (1_700_000_000, ["0", "0.5 GB", "1.0 GB", "1.5 GB", "2.0 GB"]),
    (2_000_000_000, ["0", "0.5 GB", "1.0 GB", "1.5 GB", "2.0 GB"]),
    (2.7e19, ["0", "10 EB", "20 EB", "30 EB"]),
  ]

  @Test("Marks of bytes are round, in one unit, and reach the largest value", arguments: sizes)
  func bytes(largest: Double, labels: [String]) {
    let axis = ChartAxis.bytes(upTo: largest)
    #expect(axis.ticks.map(\.label) == labels)
    #expect(axis.ticks.last.map { $0.value >= largest } == true && axis.ticks.first?.value == 0)
  }

  /// 2026-11-18 12:00:00 UTC.
  private static let noon = 1_795_003_200.0

  private static let spans: [(span: Double, marks: Int, labels: [String])] = [
    (3600, 4, ["11:00", "11:15", "11:30", "11:45", "12:00"]),
    (86400, 4, ["12:00", "18:00", "18 Nov", "06:00", "12:00"]),
    (10 * 86400, 8, ["9 Nov", "11 Nov", "13 Nov", "15 Nov", "17 Nov"]),
    (30 * 86400, 8, ["26 Oct", "2 Nov", "9 Nov", "16 Nov"]),
    (90 * 86400, 4, ["Sep 2026", "Oct 2026", "Nov 2026"]),
    (366 * 86400, 4, ["Jan 2026", "Jul 2026"]),
    (10 * 366 * 86400, 8, ["2018", "2020", "2022", "2024", "2026"]),
  ]

  @Test("Marks of time are where a clock or a calendar begins something", arguments: spans)
  func time(span: Double, marks: Int, labels: [String]) {
    let axis = ChartAxis.time(from: Self.noon - span, to: Self.noon, marks: marks)
    #expect(axis.ticks.map(\.label) == labels)
    #expect(axis.ticks.allSatisfy { (Self.noon - span...Self.noon).contains($0.value) })
  }

  @Test("A span that no calendar holds has no marks, and takes no time")
  func absurd() {
    #expect(ChartAxis.time(from: -1e14, to: 1e14, marks: 4).ticks.isEmpty)
    #expect(ChartAxis.time(from: -6e10, to: 9e12, marks: 4).ticks.isEmpty)
  }

  private static let moments: [(epoch: Double, text: String, machineReadable: String?)] = [
    (0, "1970-01-01 00:00:00", "1970-01-01T00:00:00Z"),
    (1_795_003_200.9, "2026-11-18 12:00:00", "2026-11-18T12:00:00Z"),
    (Double.infinity, "infinity", nil), (-Double.infinity, "-infinity", nil),
    (253_402_300_800, "10000-01-01 00:00:00", nil), (-62_198_755_200, "-0001-01-01 00:00:00", nil),
  ]

  @Test("A moment is written by the calendar, whatever PostgreSQL holds", arguments: moments)
  func moment(epoch: Double, text: String, machineReadable: String?) {
    #expect(Moment(epoch: epoch).text == text && Moment(epoch: epoch).machineReadable == machineReadable)
  }

  @Test("Numbers are grouped, durations have two units at most, sums do not overflow")
  func figures() {
    let counts = [0, 999, 1000, -1_234_567].map { Figure.count($0) }
    #expect(counts == ["0", "999", "1,000", "−1,234,567"])
    let seconds: [Double] = [0.04, 12.34, 59.94, 60, 3599, 3600, 90000, 200_000, 864_000, .infinity]
    let durations = seconds.map { Figure.duration($0) }
    let expected = [
      "0.0 s", "12.3 s", "59.9 s", "1 min", "59 min 59 s", "1 h", "25 h", "2 days 7 h", "10 days", "for ever",
    ]
    #expect(durations == expected)
    #expect(Figure.sum([.max, 1, 2]) == .max && Figure.sum([1, 2]) == 3)
  }
}
