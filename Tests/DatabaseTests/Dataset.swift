import Foundation
import RetentionRunner
import SafeSQL

/// Data with what a cleanup of them must delete.
struct Dataset: Sendable {
  /// nil: the windows of the policy.
  var cutoff: String?
  /// What the cleanup's row says.
  var expected: [String: Int]
  var blobsLeft: Int
  var referencesLeft: Int

  private static let folder = URL(filePath: #filePath).deletingLastPathComponent()
    .appending(path: "../../../shared/fixtures/jam-traces").standardized.path
  private static let hasTraces = FileManager.default.fileExists(atPath: folder)

  /// Real JAM traces, counted by an independent program; where they do not lie beside the checkout, the demo's data.
  static let current: Dataset = {
    if !hasTraces { print("jam-traces is not beside this checkout: its tests use the demo's data instead") }
    return hasTraces ? traces : demo
  }()

  private static let traces = Dataset(
    cutoff: "2026-10-02 00:00+00",
    expected: [
      "deleted_reports": 152, "deleted_attestations": 456, "deleted_packages": 152, "deleted_items": 327,
      "deleted_preimages": 1140, "freed_bytes": 672_301, "busy_preimages": 0,
    ],
    blobsLeft: 1331,
    referencesLeft: 597
  )

  /// 204 of the 300 packages are older than 30 days; with them go the blobs 1 to 204, which they name, and those of 301 to
  /// 504 that are old enough, which their reports name. The other 96 hold two hashes, two items' one, and a report's one.
  private static let demo = Dataset(
    cutoff: nil,
    expected: [
      "deleted_reports": 204, "deleted_attestations": 612, "deleted_packages": 204, "deleted_items": 408,
      "deleted_preimages": 304,
      "freed_bytes": (Array(1...204) + Array(301...400)).map { (6 + String($0).count) * (20 + $0 % 50) }.reduce(0, +),
      "busy_preimages": 0,
    ],
    blobsLeft: 601 - 304,
    referencesLeft: 1 + 96 * 5
  )

  func load(into database: TestDatabase) throws {
    guard Self.hasTraces else {
      try database.connection.execute(Demo.data)
      return
    }
    let files = [
      "jam_services", "jam_preimages", "jam_work_packages", "jam_work_items", "jam_work_reports", "jam_attestations",
    ]
    for file in files {
      let data = try Data(contentsOf: URL(filePath: "\(Self.folder)/\(file).csv"))
      let header = String(decoding: data.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
      try database.connection.copyIn(
        "COPY \(Identifier(file)) (\(raw: header)) FROM STDIN (FORMAT csv, HEADER)",
        data: data
      )
    }
  }
}
