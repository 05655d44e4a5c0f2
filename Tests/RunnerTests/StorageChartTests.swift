import Testing

@testable import RetentionRunner

@Suite struct StorageChartTests {
  private static let day = 86400.0

  private func point(_ day: Double, _ storageClass: String, _ bytes: Int) -> StatusReport.StoragePoint {
    StatusReport.StoragePoint(
      recordedAt: Moment(epoch: day * Self.day),
      storageClass: storageClass,
      blobs: 1,
      bytes: bytes
    )
  }

  private func now(_ storageClass: String, _ bytes: Int) -> DatabaseSizes.Storage {
    DatabaseSizes.Storage(storageClass: storageClass, rows: 1, bytes: bytes)
  }

  @Test("Classes that have held least are one area, whatever a class is called")
  func others() {
    // The last name is what the area of the others is called.
    let classes = ["a", "b", "c", "d", "e", "f"]
    for own in [0, 3, 4, 5] {
      let names = classes.enumerated().map { $0 == own ? "other classes" : $1 }
      let storage = names.enumerated().map { now($1, 100 - 10 * $0) }
      let chart = StorageChart(history: [point(1, "gone", 1)], storage: storage, now: Moment(epoch: 2 * Self.day))
      #expect(chart.areas == names.prefix(4).map { .storageClass($0) } + [.others])
      #expect(chart.samples.map { $0.amounts.map(\.bytes) } == [[0, 0, 0, 0, 1], [100, 90, 80, 70, 60 + 50]])
      #expect(chart.stored[4] == StorageChart.Amount(bytes: 110, blobs: 2))
      #expect(chart.html.text.contains("<svg"))
    }
  }

  @Test("A class that is gone has nothing stored; sizes that no integer holds are the largest one")
  func extremes() {
    let chart = StorageChart(
      history: [point(1, "s3", .max), point(1, "s3", .max), point(1, "db", -5)],
      storage: [now("db", 7)],
      now: Moment(epoch: 2 * Self.day)
    )
    #expect(chart.areas == [.storageClass("s3"), .storageClass("db")])
    #expect(chart.samples.map { $0.amounts.map(\.bytes) } == [[.max, 0], [0, 7]])
    #expect(chart.stored == [nil, StorageChart.Amount(bytes: 7, blobs: 1)])
    #expect(StorageChart(history: [], storage: [], now: Moment(epoch: 0)).areas.isEmpty)
  }
}
