import Postgres
import SafeSQL

/// The blobs that may be moved, the largest first, as one snapshot has shown them; handed out in small batches.
///
/// They are in a cursor of the server, so that it does not matter how many there are.
actor MoveCandidates {
  struct Candidate: Sendable {
    let hash: String
    let size: Int64
  }

  private static let page = 1000
  /// A batch is begun, read and ended in one call each, which pays for small blobs; a large one is a batch of its own.
  private static let batchCount = 16
  private static let batchBytes: Int64 = 1 << 20

  private let connection: BackgroundConnection
  private var waiting: ArraySlice<Candidate> = []
  private var isAtEnd = false
  private var left: Int

  /// - Parameter query: yields `hash`, in hex, and `size`.
  init(_ query: SQL, limit: Int?, on connection: BackgroundConnection) async throws {
    self.connection = connection
    left = limit ?? .max
    try await connection.run { try $0.execute("DECLARE jam_candidates CURSOR WITH HOLD FOR \(query)") }
  }

  /// The next batch; empty at the end.
  func next() async throws -> [Candidate] {
    if waiting.isEmpty, !isAtEnd {
      let rows = try await connection.query("FETCH \(Self.page) FROM jam_candidates")
      isAtEnd = isAtEnd || rows.isEmpty
      waiting += try rows.map { Candidate(hash: try $0.string("hash"), size: Int64(try $0.int("size"))) }
    }
    var batch: [Candidate] = []
    var bytes: Int64 = 0
    while let candidate = waiting.first, left > 0, batch.count < Self.batchCount,
      batch.isEmpty || bytes + candidate.size <= Self.batchBytes
    {
      batch.append(candidate)
      bytes += candidate.size
      waiting = waiting.dropFirst()
      left -= 1
    }
    return batch
  }
}
