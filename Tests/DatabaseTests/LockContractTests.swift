import Postgres
import RetentionModel
import SafeSQL
import Testing

/// What a submit may lock, enumerated. Whoever adds a lock to the hot path has to add it here, and to say why nobody waits.
@Suite struct LockContractTests {
  /// Everything in a function's body that may take a lock which others can see, or wait for one.
  private func lockingClauses(of source: String) -> Set<String> {
    let clause =
      #/(?i)pg_(?:try_)?advisory\w*|FOR (?:NO KEY )?UPDATE(?: OF \w+)?(?: SKIP LOCKED| NOWAIT)?|FOR (?:KEY )?SHARE(?: OF \w+)?(?: SKIP LOCKED| NOWAIT)?|\bLOCK\s+TABLE|(?:INSERT INTO|DELETE FROM|UPDATE|TRUNCATE) public\.\w+|ON CONFLICT|\b(?:nextval|setval|EXECUTE|PERFORM|CALL|COPY|NOTIFY|ALTER|CREATE|DROP)\b|jam_(?!retention)\w+\(/#
    let code = source.split(separator: "\n").map { line in
      line.prefix(upTo: line.firstRange(of: "--")?.lowerBound ?? line.endIndex)
    }
    return Set(code.joined(separator: "\n").matches(of: clause).map { String($0.output) })
  }

  /// The functions that the triggers of the referring tables call, with their bodies.
  private func hotFunctions(_ database: TestDatabase) throws -> [(name: String, source: String)] {
    return try database.connection.query(
      """
      SELECT DISTINCT p.proname, p.prosrc
      FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid JOIN pg_proc AS p ON p.oid = t.tgfoid
      WHERE NOT t.tgisinternal AND c.relnamespace = 'public'::regnamespace AND c.relname = ANY ($1::text[])
      """,
      Set(database.model.references.map(\.table)).sorted()
    ).rows.map { (try $0.string("proname"), try $0.string("prosrc")) }
  }

  @Test("The triggers of a submit take these locks and no others", arguments: RefcountingMode.allCases)
  func clauses(mode: RefcountingMode) throws {
    let database = try TestDatabase(mode)
    _ = try database.migrate()
    // The ledger: append-only, see below. The shared lock of a bucket: only a deletion of those blobs is in its way.
    var allowed: Set = ["INSERT INTO public.jam_reference_ledger", "pg_advisory_xact_lock_shared", "jam_scan_hashes("]
    if mode == .immediate {
      // Rows that somebody has locked are left out, so the UPDATE meets none of them. A sequence blocks nobody.
      allowed.formUnion(["FOR NO KEY UPDATE SKIP LOCKED", "UPDATE public.jam_preimages", "nextval"])
    }
    let functions = try hotFunctions(database)
    #expect(functions.count == 2 * Set(database.model.references.map(\.table)).count)
    for function in functions {
      let unknown = lockingClauses(of: function.source).subtracting(allowed)
      #expect(unknown.isEmpty, "\(function.name) also does \(unknown)")
    }
    let scan = try database.connection.query("SELECT prosrc FROM pg_proc WHERE proname = 'jam_scan_hashes'").first
    #expect(lockingClauses(of: try #require(scan).string("prosrc")).isEmpty)
    // The inventory itself sees what it is there for.
    #expect(lockingClauses(of: "SELECT FROM public.jam_preimages FOR UPDATE") == ["FOR UPDATE"])
    #expect(lockingClauses(of: "PERFORM pg_advisory_xact_lock(1)").contains("pg_advisory_xact_lock"))
  }

  @Test("An insert into the ledger meets no index, no constraint, no trigger and no foreign key")
  func ledger() throws {
    let database = try TestDatabase()
    _ = try database.migrate()
    let found = try database.connection.query(
      """
      SELECT 'index ' || indexrelid::regclass AS found FROM pg_index WHERE indrelid = 'jam_reference_ledger'::regclass
      UNION ALL SELECT 'constraint ' || conname FROM pg_constraint
        WHERE conrelid = 'jam_reference_ledger'::regclass AND contype NOT IN ('n')
      UNION ALL SELECT 'trigger ' || tgname FROM pg_trigger WHERE tgrelid = 'jam_reference_ledger'::regclass
      UNION ALL SELECT 'rule ' || rulename FROM pg_rewrite WHERE ev_class = 'jam_reference_ledger'::regclass
      """
    )
    #expect(found.rows.compactMap { $0["found"] } == [])
  }

  @Test("A whole submit holds these locks until it commits", arguments: RefcountingMode.allCases)
  func held(mode: RefcountingMode) throws {
    let database = try TestDatabase(mode)
    _ = try database.migrate()
    try database.put(hash(1))
    try database.submit([])
    _ = try database.connection.query("SELECT jam_fold_references()")
    let session = try database.connect()
    try session.execute("BEGIN")
    let package = try database.submit([hash(1), hash(2)], on: session)
    _ = try session.query(
      """
      WITH item AS (
        INSERT INTO jam_work_items (id, package_id, kind, params_hash, preimage_hashes)
        SELECT gen_random_uuid(), $1::uuid, '', '', $2::text[] FROM generate_series(1, 2)
      ), report AS (
        INSERT INTO jam_work_reports (id, package_id, service_id, refine_output_hash, traces)
        SELECT gen_random_uuid(), id, service_id, '', convert_to($3, 'UTF8') FROM jam_work_packages WHERE id = $1::uuid RETURNING id
      )
      INSERT INTO jam_attestations (report_id, worker_id) SELECT id, 'w' FROM report
      """,
      package,
      [hash(1)],
      hash(1)
    )
    let locks = try database.connection.query(
      """
      SELECT DISTINCT coalesce(relation::regclass::text, locktype) || ' ' || mode AS lock FROM pg_locks
      WHERE pid = \(session.processID) AND (locktype = 'advisory' OR relation IN (
        SELECT oid FROM pg_class WHERE relkind IN ('r', 'S') AND (relname ~ '^jam_(ref|ret|unr|sto|cle|pre)')))
      ORDER BY 1
      """
    ).rows.compactMap { $0["lock"] }
    var expected = ["advisory ShareLock", "jam_reference_ledger RowExclusiveLock"]
    if mode == .immediate {
      expected += [
        "jam_preimages RowExclusiveLock", "jam_preimages RowShareLock", "jam_refcount_adjustments RowExclusiveLock",
      ]
    }
    #expect(Set(locks) == Set(expected))
    try session.execute("ROLLBACK")
  }
}
