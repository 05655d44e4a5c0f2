import Foundation
import Postgres
import Synchronization

/// Clients of a JAM node at work on one database, each on a thread and a connection of its own, until they are told to
/// stop: submits with uploads, late binding, changes, deletions, with one hot key in almost everything.
///
/// Whoever submits makes sure of its blobs in the same transaction, by touching them and putting those that are missing.
/// So every hash that a committed package names has its blob, whatever is collected at the same time.
final class Workload: Sendable {
  /// What has been done so far.
  struct Counts: Sendable {
    var submits = 0
    var otherEvents = 0
    /// What has failed, by its message.
    var failures: [String: Int] = [:]
    /// Milliseconds of each submit's statements, without and with a cleanup running.
    var quietLatencies: [Double] = []
    var busyLatencies: [Double] = []

    var events: Int { submits + otherEvents }
  }

  /// Hashes that packages name; few, so that they meet.
  static let hashes = 400
  /// Above this number are hashes that are named before they are put, or never put.
  static let firstLateHash = 10_000

  private let database: TestDatabase
  private let isStopping = Atomic(false)
  private let isCleaning = Atomic(false)
  private let counts = Mutex(Counts())
  private let running = DispatchGroup()

  init(database: TestDatabase) { self.database = database }

  /// What has been done so far.
  var current: Counts { counts.withLock { $0 } }

  /// Starts the clients.
  func start(writers: Int, seed: UInt64) {
    for writer in 0..<writers {
      // A client keeps its own when it connects again.
      let random = Mutex(SeededGenerator(seed: seed &+ UInt64(writer)))
      loop { [self] connection in
        var next = random.withLock { $0 }
        defer { random.withLock { $0 = next } }
        try write(on: connection, using: &next)
      }
    }
  }

  /// Starts a client that works with blobs of these contents only.
  func start(blobs contents: [Data], seed: UInt64) {
    let random = Mutex(SeededGenerator(seed: seed))
    loop { [self] connection in
      let (content, choice) = random.withLock { random in
        (contents[Int.random(in: 0..<contents.count, using: &random)], Int.random(in: 0..<10, using: &random))
      }
      switch choice {
      case 0..<4: try put(content, on: connection)
      case 4..<7:
        try connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
        let missing = try connection.query("SELECT jam_touch_preimages(ARRAY[$1])", content.digest).rows
        if !missing.isEmpty { try put(content, on: connection) }
        // Of tomorrow, so that no collection takes the package.
        try database.submit([content.digest], age: "-1 days", on: connection)
        try connection.execute("COMMIT")
      default:
        _ = try connection.query(
          "DELETE FROM jam_work_packages WHERE id = (SELECT id FROM jam_work_packages LIMIT 1 FOR UPDATE SKIP LOCKED)"
        )
      }
      counts.withLock { $0.otherEvents += 1 }
    }
  }

  private func put(_ content: Data, on connection: Connection) throws {
    _ = try connection.query(
      """
      INSERT INTO jam_preimages (hash, size, data, refcount) VALUES ($1, $2::bigint, $3::bytea, 1)
      ON CONFLICT (hash) DO UPDATE SET refcount = jam_preimages.refcount + 1, size = EXCLUDED.size, data = EXCLUDED.data
      """,
      content.digest,
      content.count,
      content
    )
  }

  /// Starts a client that repeats a statement of the retention's own.
  func start(_ body: @escaping @Sendable (Connection) throws -> Void) {
    loop { try body($0) }
  }

  /// Runs a cleanup; submits that begin meanwhile are counted apart.
  func cleaning(_ body: () throws -> Void) rethrows {
    isCleaning.store(true, ordering: .relaxed)
    defer { isCleaning.store(false, ordering: .relaxed) }
    try body()
  }

  /// Waits until so many events more have happened, or the clients have been told to stop.
  func wait(forEvents count: Int) {
    let goal = current.events + count
    while current.events < goal, !isStopping.load(ordering: .relaxed) { sched_yield() }
  }

  /// Lets every client end what it is doing, and waits for them.
  func stop() {
    isStopping.store(true, ordering: .relaxed)
    running.wait()
  }

  private func loop(_ body: @escaping @Sendable (Connection) throws -> Void) {
    running.enter()
    Thread { [self] in
      defer { running.leave() }
      while !isStopping.load(ordering: .relaxed) {
        // A server that was killed comes back.
        guard let connection = try? database.connect() else {
          sched_yield()
          continue
        }
        do {
          while !isStopping.load(ordering: .relaxed) { try body(connection) }
        } catch {
          let isDown = (error as? PostgresError)?.kind == .connection
          counts.withLock { $0.failures[isDown ? "connection" : "\(error)", default: 0] += 1 }
        }
        connection.close()
      }
    }.start()
  }

  private func write(on connection: Connection, using random: inout SeededGenerator) throws {
    let choice = Int.random(in: 0..<100, using: &random)
    if choice < 60 {
      try submit(on: connection, using: &random)
      return
    }
    if choice < 68 {
      // Late binding: named first, put later or never.
      let late = Self.firstLateHash + Int.random(in: 0..<200, using: &random)
      try database.submit([hash(late)], age: "\(Int.random(in: 0..<60, using: &random)) days", on: connection)
    } else if choice < 74 {
      try put([hash(Self.firstLateHash + Int.random(in: 0..<200, using: &random))], on: connection)
    } else if choice < 82 {
      _ = try connection.query(
        "DELETE FROM jam_work_packages WHERE id = (SELECT id FROM jam_work_packages OFFSET $1::integer LIMIT 1 FOR UPDATE SKIP LOCKED)",
        Int.random(in: 0..<20, using: &random)
      )
    } else if choice < 90 {
      // References are only taken away: what is added would have to be made sure of first.
      _ = try connection.query(
        """
        UPDATE jam_work_packages SET preimage_hashes = preimage_hashes[2:], status = 'changed'
        WHERE id = (SELECT id FROM jam_work_packages OFFSET $1::integer LIMIT 1 FOR UPDATE SKIP LOCKED)
        """,
        Int.random(in: 0..<20, using: &random)
      )
    } else {
      try put([hash(Int.random(in: 0..<Self.hashes, using: &random))], on: connection)
    }
    counts.withLock { $0.otherEvents += 1 }
  }

  private func submit(on connection: Connection, using random: inout SeededGenerator) throws {
    let named = [0] + (0..<3).map { _ in Int.random(in: 1..<Self.hashes, using: &random) }
    let age = "\(Int.random(in: 0..<60, using: &random)) days"
    let level = ["READ COMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"].randomElement(using: &random)
    let isWithdrawn = Int.random(in: 0..<20, using: &random) == 0
    if level == "READ COMMITTED" {
      try connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
      try put(missing(of: named, on: connection), on: connection)
    } else {
      // An old snapshot cannot tell whether a blob is still there: what was touched before counts as put now.
      while true {
        let absent = try missing(of: named, on: connection)
        guard !absent.isEmpty else { break }
        try put(absent, on: connection)
      }
      try connection.execute("BEGIN ISOLATION LEVEL \(raw: level ?? "")")
    }
    let start = ContinuousClock.now
    let isBusy = isCleaning.load(ordering: .relaxed)
    let package = try database.submit(named.map(hash), age: age, on: connection)
    // At SERIALIZABLE the foreign key's check reads the page that another submit writes: 40001, with or without counting.
    if level != "SERIALIZABLE" {
      _ = try connection.query(
        """
        INSERT INTO jam_work_items (id, package_id, kind, params_hash, preimage_hashes)
        SELECT gen_random_uuid(), $1::uuid, '', '', $2::text[] FROM generate_series(1, 2)
        """,
        package,
        named.suffix(2).map(hash)
      )
    }
    let elapsed = ContinuousClock.now - start
    try connection.execute(isWithdrawn ? "ROLLBACK" : "COMMIT")
    let milliseconds = Double(elapsed.components.seconds) * 1000 + Double(elapsed.components.attoseconds) / 1e15
    counts.withLock {
      $0.submits += 1
      if isBusy { $0.busyLatencies.append(milliseconds) } else { $0.quietLatencies.append(milliseconds) }
    }
  }

  private func missing(of named: [Int], on connection: Connection) throws -> [String] {
    try connection.query("SELECT jam_touch_preimages($1::text[]) AS hash", named.map(hash)).rows.map {
      try $0.string("hash")
    }
  }

  /// Puts blobs in one statement and in one order, as clients must that put several at once.
  private func put(_ hashes: [String], on connection: Connection) throws {
    _ = try connection.query(
      """
      INSERT INTO jam_preimages (hash, size, data, created_at, refcount)
      SELECT DISTINCT h, 3, 'abc'::bytea, now() - interval '60 days', 1 FROM unnest($1::text[]) AS h ORDER BY h
      ON CONFLICT (hash) DO UPDATE SET refcount = jam_preimages.refcount + 1, size = EXCLUDED.size, data = EXCLUDED.data
      """,
      hashes
    )
  }
}

extension TestDatabase {
  /// References of rows to blobs that should be there and are not; late ones are meant to be missing.
  func lostReferences(on connection: Connection) throws -> Int {
    let row = try connection.query(
      """
      SELECT count(*) AS n FROM jam_references AS r
      WHERE r.hash < $1 AND NOT EXISTS (SELECT FROM jam_preimages AS p WHERE p.hash = r.hash)
      """,
      hash(Workload.firstLateHash)
    ).first
    return try row?.int("n") ?? -1
  }
}
