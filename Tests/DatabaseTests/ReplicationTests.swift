import Postgres
import RetentionModel
import RetentionRunner
import SafeSQL
import Testing

/// What happens to the counts when rows come past the triggers: through a subscription, or in a session whose
/// `session_replication_role` is `replica`.
@Suite(.serialized) struct ReplicationTests {
  @Test("A subscriber without retention takes it on when it is promoted", arguments: RefcountingMode.allCases)
  func subscriberWithoutRetention(mode: RefcountingMode) throws {
    let publisher = try Self.publisher(mode)
    let subscriber = try TestDatabase(mode)
    try subscriber.createTables()
    let subscription = try Subscription(from: publisher, to: subscriber, tables: Self.applicationTables)
    defer { try? subscription.drop() }
    try Self.work(on: publisher)
    try subscription.catchUp()
    let counts: SQL = "SELECT concat_ws(' ', hash, refcount) AS row FROM jam_preimages ORDER BY hash"
    let (there, here) = try (publisher.connection.query(counts).rows, subscriber.connection.query(counts).rows)
    #expect(try here.map { try $0.string("row") } == there.map { try $0.string("row") })

    try subscription.drop()
    #expect(try subscriber.migrate().count > 5)
    try Self.expectSameCounts(publisher, subscriber)
    try Self.expectSameCleanup(publisher, subscriber)
  }

  @Test(
    "A subscriber with retention refuses to clean up until it is promoted and repaired",
    arguments: RefcountingMode.allCases
  )
  func subscriberWithRetention(mode: RefcountingMode) throws {
    let publisher = try Self.publisher(mode)
    let subscriber = try TestDatabase(mode)
    _ = try subscriber.migrate()
    let subscription = try Subscription(from: publisher, to: subscriber, tables: Self.applicationTables)
    defer { try? subscription.drop() }
    try Self.work(on: publisher)
    try subscription.catchUp()

    // What waits in the publisher's ledger is not known here.
    #expect(try !subscriber.retention.verify().rows.isEmpty)
    let blobs = try subscriber.int("SELECT count(*) FROM jam_preimages")
    let refused = #expect(throws: PostgresError.self) { try subscriber.retention.cleanup() }
    #expect(refused?.message.contains("bypassed by a subscription") == true)
    #expect(try subscriber.int("SELECT count(*) FROM jam_preimages") == blobs)
    let failed = try subscriber.retention.health().rows.filter { try !$0.bool("ok") }
    #expect(try failed.map { try $0.string("check_name") } == ["triggers"])
    #expect(try subscriber.retention.preview().rows.count == 10)

    try subscription.drop()
    #expect(try subscriber.retention.health().rows.allSatisfy { try $0.bool("ok") })
    #expect(try subscriber.retention.repair() > 0)
    try Self.expectSameCounts(publisher, subscriber)
    try Self.expectSameCleanup(publisher, subscriber)
  }

  @Test("A publication of all tables stops no fold, and takes the counts along", arguments: RefcountingMode.allCases)
  func allTables(mode: RefcountingMode) throws {
    let publisher = try Self.publisher(mode)
    let subscriber = try TestDatabase(mode)
    try DumpTests.load(publisher, ["--schema-only"], into: subscriber)
    let subscription = try Subscription(from: publisher, to: subscriber, tables: nil)
    defer { try? subscription.drop() }
    try Self.work(on: publisher)
    #expect(try publisher.int("SELECT jam_fold_references()") > 0)
    try publisher.submit([hash(3), hash(98)])
    #expect(try publisher.retention.cleanup()["status"] == "completed")
    try publisher.put(hash(98))
    try subscription.catchUp()

    try subscriber.expectLaw()
    let ledger: SQL = "SELECT count(*), sum(delta) FROM jam_reference_ledger"
    #expect(
      try subscriber.connection.query(ledger).rows[0]["count"] == publisher.connection.query(ledger).rows[0]["count"]
    )

    try subscription.drop()
    // Sequences are not replicated, whatever is published.
    _ = try subscriber.connection.query(
      "SELECT setval(pg_get_serial_sequence('jam_cleanup_runs', 'id'), max(id)) FROM jam_cleanup_runs"
    )
    #expect(try subscriber.retention.cleanup()["status"] == "completed")
    try subscriber.expectLaw()
  }

  @Test("What a session in the role replica writes is found and repaired", arguments: RefcountingMode.allCases)
  func roleReplica(mode: RefcountingMode) throws {
    let database = try Self.publisher(mode)
    _ = try database.connection.query("SELECT jam_fold_references()")
    let session = try database.connect()
    try session.execute("SET session_replication_role = replica")
    try database.submit([hash(6), hash(6), hash(97)], on: session)
    try session.execute(
      """
      DELETE FROM jam_work_packages WHERE \(literal: hash(1)) = ANY (preimage_hashes);
      INSERT INTO jam_preimages (hash, size, refcount) VALUES (\(literal: hash(7)), 1, 5);
      UPDATE jam_preimages SET refcount = 77 WHERE hash = \(literal: hash(2));
      """
    )
    let drift = try database.retention.verify().rows.map { try $0.string("hash") }
    #expect(Set([1, 2, 6, 7, 97].map(hash)).isSubset(of: drift))

    #expect(try database.retention.repair() == drift.count)
    try database.expectLaw()
    #expect(try [1, 2, 6, 7].map { try database.refcount(hash($0)) } == [0, 2, 2, 0])
    #expect(try database.retention.repair() == 0)

    // Deleted in an ordinary session, what was not counted takes a refcount below zero: an anomaly, and never silently.
    try database.submit([hash(5)], on: session)
    let lost = try database.submit([hash(5)], on: session)
    _ = try database.connection.query("DELETE FROM jam_work_packages WHERE id = $1::uuid", lost)
    _ = try database.connection.query("SELECT jam_fold_references()")
    #expect(try database.int("SELECT count(*) FROM jam_refcount_anomalies WHERE stored + delta < 0") == 1)
    #expect(try database.retention.verify().rows.count == 1)
    #expect(try database.retention.repair() == 1)
    #expect(try database.refcount(hash(5)) == 1)
    try database.expectLaw()
  }

  @Test("A trigger that fires for replicas only does not count, and a cleanup refuses")
  func triggerForReplicasOnly() throws {
    let database = try Self.publisher(.immediate)
    try database.connection.execute("ALTER TABLE jam_work_items ENABLE REPLICA TRIGGER jam_work_items_count_insert")
    let refused = #expect(throws: PostgresError.self) { try database.retention.cleanup() }
    #expect(refused?.message.contains("enabled for replicas only") == true)
    try database.connection.execute("ALTER TABLE jam_work_items ENABLE ALWAYS TRIGGER jam_work_items_count_insert")
    #expect(try database.retention.cleanup()["status"] == "completed")
  }

  private static let applicationTables = RetentionModel.jam.tables.map(\.name)

  private static func publisher(_ mode: RefcountingMode) throws -> TestDatabase {
    let database = try TestDatabase(mode)
    _ = try database.migrate()
    for number in 1...6 { try database.put(hash(number), age: "60 days") }
    for number in 1...3 { try database.submit([hash(number), hash(number)], age: "50 days") }
    return database
  }

  /// Changes of every kind, some of them pending afterwards: a late binding, and in deferred mode all of them.
  private static func work(on database: TestDatabase) throws {
    let package = try database.submit([hash(4), hash(4), hash(99)], age: "50 days")
    _ = try database.connection.query(
      "UPDATE jam_work_packages SET preimage_hashes = ARRAY[$2::text, $3::text] WHERE id = $1::uuid",
      package,
      hash(4),
      hash(99)
    )
    try database.submit([hash(5)])
    try database.put(hash(8))
    try database.connection.execute("DELETE FROM jam_work_packages WHERE \(literal: hash(3)) = ANY (preimage_hashes)")
    try database.expectLaw()
  }

  private static func expectSameCounts(
    _ expected: TestDatabase,
    _ database: TestDatabase,
    _ location: SourceLocation = #_sourceLocation
  ) throws {
    try database.expectLaw(location)
    for number in 1...8 {
      #expect(try database.refcount(hash(number)) == expected.refcount(hash(number)), sourceLocation: location)
    }
  }

  private static func expectSameCleanup(
    _ expected: TestDatabase,
    _ database: TestDatabase,
    _ location: SourceLocation = #_sourceLocation
  ) throws {
    let (expected, real) = try (expected.retention.cleanup(), database.retention.cleanup())
    for column in ["status", "deleted_packages", "deleted_preimages"] {
      #expect(real[column] == expected[column], "\(column)", sourceLocation: location)
    }
    #expect(try real.int("deleted_preimages") > 0, sourceLocation: location)
    try database.expectLaw(location)
  }
}

/// A subscription between two databases of one server.
private final class Subscription {
  private let publisher: TestDatabase
  private let control: Connection
  private let name: String
  private var isDropped = false

  /// - Parameter tables: what is published; nil: everything.
  init(from publisher: TestDatabase, to subscriber: TestDatabase, tables: [String]?) throws {
    self.publisher = publisher
    control = try subscriber.connect()
    name = "from_" + publisher.name
    let published = tables.map { names -> SQL in
      "TABLE \(SQL.joined(names.map { "public.\(Identifier($0))" }, separator: ", "))"
    }
    try publisher.connection.execute("CREATE PUBLICATION everything FOR \(published ?? "ALL TABLES")")
    // Within one server the slot must be there before: CREATE SUBSCRIPTION would wait for itself.
    _ = try publisher.connection.query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", name)
    try control.execute(
      """
      CREATE SUBSCRIPTION \(Identifier(name)) CONNECTION \(literal: publisher.connectionString) PUBLICATION everything
      WITH (create_slot = false, slot_name = \(Identifier(name)))
      """
    )
  }

  /// Returns when the subscriber has all that is committed now.
  func catchUp() throws {
    while try control.query("SELECT FROM pg_subscription_rel WHERE srsubstate <> 'r'").first != nil {}
    let target = try publisher.connection.query("SELECT pg_current_wal_lsn()::text AS lsn").first?.string("lsn")
    while try publisher.connection.query(
      "SELECT FROM pg_replication_slots WHERE slot_name = $1 AND confirmed_flush_lsn >= $2::pg_lsn",
      name,
      target
    ).first == nil {}
  }

  /// Promotes the subscriber.
  ///
  /// The slot is dropped by itself, not by DROP SUBSCRIPTION: that connects to the publisher while it holds a lock which
  /// the start of a session may need, so within one server of an older minor version it can wait for itself for ever.
  func drop() throws {
    guard !isDropped else { return }
    isDropped = true
    let subscription = Identifier(name)
    try control.execute("ALTER SUBSCRIPTION \(subscription) DISABLE")
    try control.execute("ALTER SUBSCRIPTION \(subscription) SET (slot_name = NONE)")
    try control.execute("DROP SUBSCRIPTION \(subscription)")
    let free: SQL = "SELECT FROM pg_replication_slots WHERE slot_name = \(literal: name) AND NOT active"
    while try publisher.connection.query(free).first == nil {}
    _ = try publisher.connection.query("SELECT pg_drop_replication_slot($1)", name)
  }
}
