/// How much is measured.
struct Scale {
  /// How often each variant's turn comes.
  var rounds: Int
  /// How long `pgbench` runs for one figure.
  var seconds: Int
  /// Packages of one statement.
  var bulk: Int
  /// The same for row-level triggers, whose time grows with the square of it.
  var bulkByRows: Int
  /// Live packages of the cleanups, each a database of its own.
  var live: [Int]
  /// Expired packages of the cleanups.
  var expired: [Int]
  /// Expired packages that row-level triggers clean up.
  var expiredByRows: Int
  /// Expired packages of the cleanup whose first and last batches are compared.
  var longCleanup: Int
  /// References to verify.
  var references: [Int]
  /// Packages of the database that is adopted.
  var adopted: Int
  /// Cycles of submits and cleanup, and submits of each.
  var churn: (cycles: Int, submits: Int)

  /// What the issue of these measurements asks for.
  static let full = Scale(
    rounds: 5,
    seconds: 5,
    bulk: 50_000,
    bulkByRows: 50_000,
    live: [200_000, 2_000_000, 10_000_000],
    expired: [20_000, 200_000],
    expiredByRows: 20_000,
    longCleanup: 2_000_000,
    references: [1_000_000, 10_000_000],
    adopted: 1_000_000,
    churn: (20, 10_000)
  )

  static let quick = Scale(
    rounds: 3,
    seconds: 2,
    bulk: 50_000,
    bulkByRows: 5_000,
    live: [200_000],
    expired: [20_000],
    expiredByRows: 2_000,
    longCleanup: 100_000,
    references: [1_000_000],
    adopted: 100_000,
    churn: (4, 2_000)
  )
}
