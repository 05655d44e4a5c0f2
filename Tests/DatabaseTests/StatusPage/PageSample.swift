import Foundation
import Postgres
import RetentionModel
import RetentionRunner
import SafeSQL
import Testing

/// Installations that look different on the status page.
enum PageSample: String, CaseIterable, Sendable, CustomTestStringConvertible {
  /// Nothing but the migrations.
  case empty
  /// A few months of work, everything in order.
  case healthy
  /// Most of what can fail fails.
  case failing
  /// Names, keys and errors that try to be markup.
  case hostile

  var testDescription: String { rawValue }

  /// What tries to get out of every place a text can stand in.
  static let payload =
    #""'></td></title></style><script>document.title='owned'</script><img src=x onerror="document.title='owned'">&#0;&lt;b&gt;"#
  /// Turns the text after it around, and cannot be seen.
  static let override = "\u{202E}"

  func database() throws -> TestDatabase {
    var model = RetentionModel.jam
    if self == .hostile { model.schema = #"<script>document.title='owned'</script>"# + Self.override }
    let database = try TestDatabase(model: model)
    _ = try database.migrate()
    let session = database.connection
    try session.execute("SET search_path = \(Identifier(model.schema))")
    if self != .empty { try session.execute("ANALYZE") }
    switch self {
    case .empty: break
    case .healthy: try Self.work(session)
    case .failing:
      try Self.work(session)
      try session.execute(Self.failures)
    case .hostile: try Self.attack(database)
    }
    return database
  }

  func page(patience: Duration = .seconds(30)) throws -> String {
    let database = try database()
    return StatusPage(try database.statusReport(patience: patience)).html.text
  }

  /// Packages, reports and blobs of 40 days, 90 days of history and 300 runs.
  private static func work(_ session: Connection) throws {
    try session.execute(
      """
      INSERT INTO jam_services (id, owner, code_hash)
        VALUES ('00000000-0000-0000-0000-000000000001', 'owner', encode(sha256('code'), 'hex'));
      INSERT INTO jam_preimages (hash, size, media_type, data, created_at)
        SELECT encode(sha256(n::text::bytea), 'hex'), 1 + n * n % 7919 * 97, (ARRAY['application/octet-stream', 'application/wasm', 'text/plain'])[1 + n % 3],
          'content', now() - make_interval(hours => n)
        FROM generate_series(1, 960) AS n;
      INSERT INTO jam_preimages (hash, size, media_type, data, created_at)
        VALUES (encode(sha256('code'), 'hex'), 4200000, 'application/wasm', 'code', now() - interval '80 days');
      UPDATE jam_preimages SET storage_class = 's3', data = NULL WHERE size > 700000 AND size < 4000000;
      INSERT INTO jam_work_packages (id, service_id, preimage_hashes, status, created_at)
        SELECT md5('package' || n)::uuid, '00000000-0000-0000-0000-000000000001', ARRAY[encode(sha256(n::text::bytea), 'hex')], 'done', now() - make_interval(hours => n)
        FROM generate_series(1, 900) AS n;
      INSERT INTO jam_work_items (id, package_id, kind, params_hash, preimage_hashes)
        SELECT md5('item' || n)::uuid, md5('package' || n)::uuid, 'refine', '', ARRAY[encode(sha256('code'), 'hex')]
        FROM generate_series(1, 900) AS n;
      INSERT INTO jam_work_packages (id, service_id, preimage_hashes)
        SELECT gen_random_uuid(), '00000000-0000-0000-0000-000000000001', ARRAY[encode(sha256(('late' || n % 3)::bytea), 'hex')]
        FROM generate_series(1, 5) AS n;
      INSERT INTO jam_cleanup_runs (started_at, finished_at, dry_run, status, deleted_reports, deleted_attestations, deleted_packages, deleted_items, deleted_preimages, freed_bytes, busy_rows, error)
        SELECT at, at + make_interval(secs => 4 + n % 11 * 3.7), n % 37 = 0,
          CASE WHEN n % 41 = 0 THEN 'partial' WHEN n % 53 = 0 THEN 'skipped' ELSE 'completed' END,
          n % 23 * 41, n % 23 * 123, n % 29 * 67, n % 29 * 201, n % 31 * 89, n % 31 * 89 * 51234::bigint, n % 17 / 15,
          CASE WHEN n % 41 = 0 THEN 'max_duration is over' END
        FROM generate_series(1, 300) AS n, LATERAL (SELECT now() - make_interval(hours => 8 * (300 - n) + 2) AS at) AS t;
      INSERT INTO jam_storage_history (recorded_on, storage_class, recorded_at, blobs, bytes)
        SELECT (at AT TIME ZONE 'UTC')::date, c.name, at, c.blobs, c.bytes
        FROM generate_series(1, 90) AS n, LATERAL (SELECT now() - make_interval(days => n) AS at) AS t,
          LATERAL (VALUES ('db', 900 - n * 3, 260000000::bigint + n * 1200000 - n % 7 * 9000000), ('s3', 200 - n, greatest(0, 95000000::bigint - n * 1300000))) AS c (name, blobs, bytes);
      SELECT jam_fold_references();
      """
    )
  }

  private static let failures: SQL = """
    ALTER TABLE jam_work_packages DISABLE TRIGGER jam_work_packages_count_insert;
    DROP INDEX jam_work_items_package_id_idx;
    UPDATE jam_retention_policy SET installed_at = now() - interval '100 days', protected_statuses = '{disputed,audited}', max_delete_fraction = 0.4, dry_run = true;
    UPDATE jam_cleanup_runs SET status = 'failed', error = 'could not extend file "base/16384/16397": No space left on device' WHERE id > 280;
    DELETE FROM jam_cleanup_runs WHERE status = 'completed';
    INSERT INTO jam_cleanup_runs (dry_run, status) VALUES (false, 'running');
    INSERT INTO jam_reference_ledger (hash, delta, recorded_at) SELECT md5(n::text), 1, now() - interval '3 days' FROM generate_series(1, 40000) AS n;
    INSERT INTO jam_blob_deletions (hash, generation, size, queued_at, attempts, last_error)
      SELECT encode(sha256(n::text::bytea), 'hex'), 0, 12345678, now() - interval '4 days', 9, 'connection to store.example.org refused' FROM generate_series(1, 17) AS n;
    INSERT INTO jam_refcount_anomalies (hash, stored, delta) VALUES (md5('x'), 0, -1);
    """

  private static func attack(_ database: TestDatabase) throws {
    let session = database.connection
    let payload = "\(payload)\(override)"
    _ = try session.query(
      "INSERT INTO jam_services (id, owner, code_hash) VALUES ('00000000-0000-0000-0000-000000000001', $1, $1)",
      payload
    )
    // A size from before the adoption: nobody has refused it.
    try session.execute("ALTER TABLE jam_preimages DISABLE TRIGGER jam_preimages_own_refcount_insert")
    _ = try session.query(
      "INSERT INTO jam_preimages (hash, size, media_type, data, storage_class) VALUES ($1, 9223372036854775807, $1, 'x', $1)",
      payload
    )
    try session.execute("ALTER TABLE jam_preimages ENABLE TRIGGER jam_preimages_own_refcount_insert")
    for number in 1...9 {
      _ = try session.query(
        "INSERT INTO jam_preimages (hash, size, media_type, data, storage_class) VALUES ($1, $2::bigint, 'שלום \(raw: "عالم")', 'x', $1)",
        String(repeating: "long\(number)", count: 100),
        number
      )
    }
    _ = try session.query(
      """
      INSERT INTO jam_work_packages (id, service_id, preimage_hashes, created_at)
      VALUES (gen_random_uuid(), '00000000-0000-0000-0000-000000000001', ARRAY[$1, $1 || 'absent'], '4000-01-01 BC')
      """,
      payload
    )
    _ = try session.query("UPDATE jam_retention_policy SET protected_statuses = ARRAY[$1]", payload)
    for status in ["failed", "completed"] {
      _ = try session.query(
        "INSERT INTO jam_cleanup_runs (finished_at, dry_run, status, error, deleted_items, freed_bytes) VALUES (now(), false, $1, $2, 4611686018427387903, 4611686018427387903)",
        status,
        payload
      )
    }
    _ = try session.query(
      "INSERT INTO jam_blob_deletions (hash, generation, size, last_error) VALUES ($1, 0, 1, $1)",
      payload
    )
    _ = try session.query(
      "INSERT INTO jam_storage_history VALUES (current_date - 1, $1, now() - interval '1 day', 1, 9223372036854775807)",
      payload
    )
    _ = try session.query("SELECT jam_fold_references()")
  }
}

extension TestDatabase {
  /// What the status page would show of this database, on this connection or another.
  func statusReport(
    patience: Duration = .seconds(30),
    budget: Duration? = nil,
    on session: Connection? = nil
  ) throws -> StatusReport {
    let session = session ?? connection
    return try StatusReporter(
      database: RetentionDatabase(connection: session, model: model, logger: Self.logger),
      model: model,
      migrator: try migrator(on: session),
      patience: patience,
      budget: budget
    ).report()
  }
}
