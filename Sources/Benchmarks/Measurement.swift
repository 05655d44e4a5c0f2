/// One thing to measure.
protocol Measurement: Sendable {
  /// The name by which it is chosen.
  var name: String { get }
  /// What it measures, in a line.
  var title: String { get }

  func run(_ bench: Bench) throws -> [Line]
}

/// All of them, in the order in which they run.
enum Measurements {
  static let all: [any Measurement] = [
    Submit.uniform, Submit.hot, Submit.hotWithClientTime, SubmitByClients(), WholeSubmit(), StatusUpdate(), PutBlobs(),
    BulkSubmit(), BulkSubmitBesideRows(), CopyIn(), Cleanup(), CleanupBesideRows(), Archive(), LongCleanup(), DryRun(),
    SubmitDuringCleanup(), Footprint(), Churn(), VerifyAndRepair(), Adoption(),
  ]
}
