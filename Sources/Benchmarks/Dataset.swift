import SafeSQL

/// The rows that all variants hold, and how they are named in the scripts of `pgbench`.
///
/// A hash is a run of one letter with eight decimal digits at its end: they are hex digits too, and `pgbench` can put a
/// random number there without any work for the server.
enum Dataset {
  /// The service of all packages.
  static let service: SQL = "'00000000-0000-0000-0000-000000000001'::uuid"

  /// Everything before this has expired.
  static let cutoff: SQL = "now() - interval '30 days'"

  /// The first number of a blob or package; eight digits.
  static let first = 10_000_000

  /// The blobs that packages choose from.
  static let pool = 100_000

  /// The beginning of a shared blob's hash, to be followed by a number.
  static let shared = String(repeating: "a", count: 56)

  /// The blob that every item refers to: the code of the one service.
  static let hot = String(repeating: "c", count: 56) + "\(first)"

  /// A service and the shared blobs.
  static let blobs: SQL = """
    INSERT INTO jam_preimages (hash, size, media_type, data, created_at)
    SELECT h.hash, 8, 'application/octet-stream', 'contents', now() - interval '20 days'
    FROM (
      SELECT \(literal: shared) || (\(first) + n) AS hash FROM generate_series(0, \(pool - 1)) AS n
      UNION ALL SELECT \(literal: hot)
    ) AS h;
    INSERT INTO jam_services (id, owner, code_hash) VALUES (\(service), 'bench', \(literal: hot));
    """

  /// Packages of four shared blobs; `hot`: one of the four is everybody's.
  static func packages(_ count: Int, from start: Int = 0, hot isHot: Bool, into table: SQL = "jam_work_packages") -> SQL
  {
    func blob(_ factor: Int) -> SQL { "\(literal: shared) || (\(first) + (n * \(factor)::bigint) % \(pool))" }
    let fourth: SQL = isHot ? "\(literal: hot)" : blob(104_729)
    return """
      INSERT INTO \(table) (id, service_id, preimage_hashes)
      SELECT gen_random_uuid(), \(service), ARRAY[\(blob(7_919)), \(blob(17_389)), \(blob(48_611)), \(fourth)]
      FROM generate_series(\(start + 1), \(start + count)) AS n
      """
  }

  /// Packages with a report and two items, younger than the cutoff: they stay. Every tenth has a blob of its own.
  static func live(_ count: Int) -> SQL {
    submitted(count, tag: "live", age: "interval '1 day' + n % 20 * interval '1 day'", every: 10)
  }

  /// Packages with all that belongs to them and a blob of their own, older than the cutoff: all of it goes.
  static func expired(_ count: Int) -> SQL {
    submitted(count, tag: "expired", age: "interval '40 days' + n * interval '1 second'", every: 1)
  }

  /// - Parameter every: of so many packages one has a report with attestations, and a blob of its own.
  private static func submitted(_ count: Int, tag: String, age: SQL, every: Int) -> SQL {
    func id(_ kind: String) -> SQL { "md5(\(literal: "\(tag) \(kind) ") || n)::uuid" }
    let letter = tag == "live" ? "d" : "e"
    let own: SQL = "\(literal: String(repeating: letter, count: 56)) || (\(first) + n)"
    func blob(_ factor: Int) -> SQL { "\(literal: shared) || (\(first) + (n * \(factor)::bigint) % \(pool))" }
    let numbers: SQL = "generate_series(1, \(count)) AS n"
    let some: SQL = "generate_series(\(every), \(count), \(every)) AS n"
    return """
      INSERT INTO jam_preimages (hash, size, media_type, data, created_at)
        SELECT \(own), 8, 'application/octet-stream', 'contents', now() - (\(age)) FROM \(some);
      INSERT INTO jam_work_packages (id, service_id, preimage_hashes, status, created_at)
        SELECT \(id("package")), \(service), ARRAY[\(literal: hot), CASE WHEN n % \(every) = 0 THEN \(own) ELSE \(literal: hot) END, \(blob(7_919)), \(blob(17_389))], 'processed', now() - (\(age))
        FROM \(numbers);
      INSERT INTO jam_work_items (id, package_id, kind, params_hash, preimage_hashes)
        SELECT md5(\(literal: "\(tag) item ") || n || ' ' || i)::uuid, \(id("package")), 'refine', '', ARRAY[\(literal: hot)]
        FROM \(numbers) CROSS JOIN generate_series(1, \(every == 1 ? 2 : 1)) AS i;
      INSERT INTO jam_work_reports (id, package_id, service_id, refine_output_hash, refine_output_compact, created_at)
        SELECT \(id("report")), \(id("package")), \(service), '', convert_to('{"output":"' || repeat('.', 400) || '","preimages":["' || \(blob(48_611)) || '"]}', 'UTF8'), now() - (\(age))
        FROM \(some);
      INSERT INTO jam_attestations (report_id, worker_id, created_at)
        SELECT \(id("report")), 'validator-' || v, now() - (\(age)) FROM \(some) CROSS JOIN generate_series(1, 3) AS v;
      """
  }
}
