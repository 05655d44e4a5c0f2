import EmbeddedPostgres
import EmbeddedSeaweed
import Foundation
import Logging
import MigrationGenerator
import ObjectStore
import Postgres
import RetentionModel
import SafeSQL

/// The main job from beginning to end on a throw-away server: a database with data is adopted, previewed, cleaned, verified,
/// and its large blobs move into an object store.
public struct Demo: Sendable {
  /// Where objects go; the demo starts and removes it itself.
  public enum Store: String, CaseIterable, Sendable {
    /// A directory.
    case directory
    /// SeaweedFS, through S3.
    case seaweedfs
  }

  private static let bucket = "demo"

  private let store: Store
  private let logger: Logger
  private let write: @Sendable (String) -> Void

  /// - Parameter write: takes each line of the story.
  public init(store: Store, logger: Logger, write: @escaping @Sendable (String) -> Void) {
    self.store = store
    self.logger = logger
    self.write = write
  }

  /// Starts the servers, tells the story, and removes them, also on failure.
  public func run() async throws {
    let server = try EmbeddedPostgres.start()
    defer { server.stop() }
    let connection = try Connection(ConnectionString(server.connectionString), logger: logger)
    defer { connection.close() }
    let model = RetentionModel.jam
    let files = MigrationGenerator.files(for: model)
    let database = RetentionDatabase(connection: connection, model: model, logger: logger)

    write("A JAM node's database, before the retention knows it: 90 days of packages, every refcount wrong.")
    guard let tables = files.first(where: { $0.path == "010_tables.sql" }) else {
      throw RunnerError("the model yields no 010_tables.sql")
    }
    try connection.execute("\(raw: tables.text)")
    try connection.execute(Self.data)
    write(table(try connection.query(Self.sizes)))

    write("Adopt it (migrate up):")
    for name in try Migrator(files: files, model: model, connection: connection, logger: logger).up() {
      write("  applied \(name)")
    }

    write("\nWhat a cleanup would delete now (preview; the policy keeps 30 days):")
    write(table(try database.preview()))
    write("The cleanup, first dry, then real:")
    let dry = try database.cleanup(dryRun: true)
    let real = try database.cleanup(dryRun: false)
    write(list(dry, real))

    let drift = try database.verify()
    write(
      "Verify: \(drift.rows.isEmpty ? "every count equals the references that rows hold." : "\(drift.rows.count.counting("wrong count")).")"
    )
    let again = try database.cleanup(dryRun: false)
    write(
      "A second cleanup deletes \(try again.int("deleted_preimages")) preimages and \(try again.int("deleted_packages")) packages."
    )
    guard drift.rows.isEmpty, try again.int("deleted_preimages") == 0 else {
      throw RunnerError("the demo did not end as it should")
    }
    let string = try ConnectionString(server.connectionString)
    try await withStore { objects, place in
      let blobs = BlobStore(model: model, objects: .success(objects), prefix: "preimages/", logger: logger) {
        try Connection(string, logger: logger)
      }
      try await tell(blobs, in: place, database)
    }
  }

  /// The part about the object store.
  private func tell(_ blobs: BlobStore, in place: String, _ database: RetentionDatabase) async throws {
    var options = MoveOptions()
    options.minimumBytes = 500
    let moved = try await blobs.offload(options).moved
    write(
      "\nOffload: \(moved.count) blobs of more than 500 bytes, \(ByteCount.text(moved.bytes)), moved into \(place)."
    )
    write(table(try database.connection.query("SELECT * FROM jam_storage ORDER BY storage_class")))
    let row = try database.connection.query("SELECT hash FROM jam_blob_locations WHERE object_key IS NOT NULL LIMIT 1")
    let hash = try row.first?.string("hash") ?? ""
    let read = try await blobs.read(hash) { _ in }
    write("One of them, \(hash.prefix(16))…, is read from there: \(read.size) bytes, and their hash is right.")
    let run = try database.cleanup(cutoff: "now", dryRun: false)
    let swept = try await blobs.sweep()
    write(
      "A cleanup of everything deletes \(try run.int("deleted_preimages")) blobs; the sweep deletes their \(swept.deleted.count) objects."
    )
    var findings: [FsckFinding] = []
    let result = try await blobs.fsck(BlobStore.FsckOptions()) { findings.append($0) }
    write("Fsck: \(result.objects.count) objects, \(result.blobs) blobs, \(findings.count) findings.")
    guard moved.count > 0, findings.isEmpty, swept.failed == 0 else {
      throw RunnerError("the demo did not end as it should")
    }
  }

  /// Runs the body with a store that is gone afterwards.
  private func withStore(_ body: (any ObjectStore, String) async throws -> Void) async throws {
    switch store {
    case .directory:
      let folder = FileManager.default.temporaryDirectory.appending(path: "jam-demo-\(UUID().uuidString)").path
      defer { try? FileManager.default.removeItem(atPath: folder) }
      let objects = DirectoryStore(directory: folder)
      try await objects.create()
      try await body(objects, "a directory")
    case .seaweedfs:
      let server = try await EmbeddedSeaweed.start()
      defer { server.stop() }
      let client = try S3Client(server.configuration(bucket: Self.bucket))
      try await client.createBucket()
      try await body(client, "the bucket \(Self.bucket) of a SeaweedFS at \(server.endpoint)")
    }
  }

  private func table(_ result: QueryResult) -> String { indented(TextTable(result)) }

  private func list(_ dry: Row, _ real: Row) -> String { indented(TextTable(names: ["dry", "real"], dry, real)) }

  private func indented(_ table: TextTable) -> String {
    table.description.split(separator: "\n").map { "  \($0)\n" }.joined()
  }

  private static let sizes: SQL = """
    SELECT (SELECT count(*) FROM jam_work_packages) AS packages, (SELECT count(*) FROM jam_work_reports) AS reports,
      (SELECT count(*) FROM jam_preimages) AS preimages, (SELECT sum(refcount) FROM jam_preimages) AS refcounts
    """

  /// 300 packages in 90 days; all name the service's code blob, each names a blob of its own, and each report names one more.
  public static let data: SQL = """
    INSERT INTO jam_preimages (hash, size, media_type, data, created_at, refcount)
    SELECT encode(sha256(d.data), 'hex'), length(d.data), 'application/octet-stream', d.data, now() - make_interval(days => 90) + d.age, 1
    FROM (
      SELECT convert_to(repeat(format('blob %s ', n), 20 + n % 50), 'UTF8') AS data, n * interval '3.6 hours' AS age
      FROM generate_series(0, 600) AS n
    ) AS d;
    CREATE TEMPORARY TABLE demo_hashes AS
      SELECT row_number() OVER (ORDER BY created_at) - 1 AS n, hash FROM jam_preimages;
    INSERT INTO jam_services (id, owner, code_hash)
      SELECT md5('service')::uuid, 'demo', hash FROM demo_hashes WHERE n = 0;
    INSERT INTO jam_work_packages (id, service_id, preimage_hashes, status, created_at)
      SELECT md5('package ' || p)::uuid, md5('service')::uuid, ARRAY[c.hash, h.hash], 'processed', now() - make_interval(hours => 2150 - 7 * p)
      FROM generate_series(1, 300) AS p JOIN demo_hashes AS c ON c.n = 0 JOIN demo_hashes AS h ON h.n = p;
    INSERT INTO jam_work_items (id, package_id, kind, params_hash, preimage_hashes)
      SELECT md5('item ' || p || ' ' || i)::uuid, md5('package ' || p)::uuid, 'refine', '', ARRAY[c.hash]
      FROM generate_series(1, 300) AS p CROSS JOIN generate_series(1, 2) AS i JOIN demo_hashes AS c ON c.n = 0;
    INSERT INTO jam_work_reports (id, package_id, service_id, refine_output_hash, refine_output_compact, created_at)
      SELECT md5('report ' || p)::uuid, md5('package ' || p)::uuid, md5('service')::uuid, '',
        convert_to(format('{"preimages":["%s"]}', h.hash), 'UTF8'), now() - make_interval(hours => 2149 - 7 * p)
      FROM generate_series(1, 300) AS p JOIN demo_hashes AS h ON h.n = 300 + p;
    INSERT INTO jam_attestations (report_id, worker_id, created_at)
      SELECT r.id, 'validator-' || v, r.created_at FROM jam_work_reports AS r CROSS JOIN generate_series(1, 3) AS v;
    """
}
