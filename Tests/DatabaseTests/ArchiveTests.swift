import Foundation
import Postgres
import RetentionModel
import RetentionRunner
import SafeSQL
import Testing

/// What a cleanup archives, an undo brings back, and a later cleanup purges.
@Suite struct ArchiveTests {
  private static let figures: SQL =
    "deleted_reports, deleted_attestations, deleted_packages, deleted_items, deleted_preimages, freed_bytes, external_blobs, external_bytes, archived_rows, archived_bytes, purged_rows, purged_bytes"

  private func installed(_ mode: RefcountingMode, days: Int = 30) throws -> TestDatabase {
    let database = try TestDatabase(mode)
    _ = try database.migrate()
    try database.retention.setPolicy("archive_days", to: "\(days)")
    return database
  }

  /// The application's rows and the later puts, as a dump has them, in no order.
  static func dump(_ database: TestDatabase) throws -> [Substring] {
    _ = try database.connection.query("SELECT jam_fold_references()")
    let tables = (database.model.tables.map(\.name) + ["jam_preimage_puts"]).map { "--table=\($0)" }
    let result = try TestDatabase.server.get().run(
      "pg_dump",
      database: database.name,
      arguments: ["--data-only"] + tables
    )
    try #require(result.status == 0, "\(result.error)")
    return result.output.split(separator: "\n").filter { !$0.hasPrefix("\\") }.sorted()
  }

  private func record(_ run: Int, in database: TestDatabase) throws -> [String?] {
    let row = try #require(
      database.connection.query("SELECT \(Self.figures) FROM jam_cleanup_runs WHERE id = $1", run).first
    )
    return row.columns.map { row[$0] }
  }

  /// A dry run and the real one, which must say the same; returns the latter's row.
  @discardableResult
  private func cleanUp(_ database: TestDatabase, cutoff: String? = nil, _ location: SourceLocation = #_sourceLocation)
    throws -> Row
  {
    let dry = try database.retention.cleanup(cutoff: cutoff, dryRun: true)
    let real = try database.retention.cleanup(cutoff: cutoff, dryRun: false)
    let (expected, found) = (try record(dry.int("run_id"), in: database), try record(real.int("run_id"), in: database))
    #expect(expected == found, "dry run and run differ", sourceLocation: location)
    #expect(real["status"] == "completed", sourceLocation: location)
    return real
  }

  /// Makes the whole archive so many days older.
  private func age(_ database: TestDatabase, days: Int) throws {
    try database.connection.execute("UPDATE jam_archive SET archived_at = archived_at - make_interval(days => \(days))")
  }

  private func expectEmptyArchive(_ database: TestDatabase, _ location: SourceLocation = #_sourceLocation) throws {
    #expect(try database.int("SELECT count(*) FROM jam_archive") == 0, sourceLocation: location)
    #expect(try database.int("SELECT count(*) FROM jam_archive_contents") == 0, sourceLocation: location)
  }

  /// The sums that are kept are those of the rows.
  private func expectSums(_ database: TestDatabase, _ location: SourceLocation = #_sourceLocation) throws {
    let wrong = try database.connection.query(
      """
      SELECT * FROM (
        SELECT run_id, data_class, rows, bytes, external_rows, external_bytes FROM jam_archive WHERE rows > 0
      ) AS kept FULL JOIN (
        SELECT run_id, data_class, count(*) AS rows, sum(bytes)::bigint AS bytes, count(*) FILTER (WHERE is_external) AS external_rows,
          coalesce(sum(bytes) FILTER (WHERE is_external), 0)::bigint AS external_bytes
        FROM jam_archive_contents GROUP BY 1, 2
      ) AS held USING (run_id, data_class, rows, bytes, external_rows, external_bytes)
      WHERE kept IS NULL OR held IS NULL
      """
    )
    #expect(wrong.rows.count == 0, sourceLocation: location)
  }

  private func report(on package: String, age: String, naming hash: String, in database: TestDatabase) throws {
    _ = try database.connection.query(
      """
      WITH report AS (
        INSERT INTO jam_work_reports (id, package_id, service_id, refine_output_hash, refine_output_compact, created_at)
        SELECT gen_random_uuid(), id, service_id, '', convert_to($2, 'UTF8'), now() - $3::interval
        FROM jam_work_packages WHERE id = $1::uuid
        RETURNING id, created_at
      )
      INSERT INTO jam_attestations (report_id, worker_id, created_at) SELECT r.id, 'w', r.created_at FROM report AS r
      """,
      package,
      hash,
      age
    )
  }

  /// Packages with an item and a report each, which have expired, and blobs that only they name.
  private func fill(_ database: TestDatabase, packages: Int = 3) throws {
    for number in 1...packages {
      for hash in [hash(number), hash(100 + number)] { try database.put(hash, age: "60 days") }
      let package = try database.submit([hash(number), hash(number)], age: "50 days")
      try report(on: package, age: "45 days", naming: hash(100 + number), in: database)
      _ = try database.connection.query(
        "INSERT INTO jam_work_items (id, package_id, kind, params_hash, preimage_hashes) VALUES (gen_random_uuid(), $1::uuid, '', '', ARRAY[$2::text])",
        package,
        hash(number)
      )
    }
  }

  // MARK: Undo

  @Test(
    "An undo of the fixture's cleanup brings back every row and byte",
    arguments: RefcountingMode.allCases,
    [7, 1000]
  )
  func fixture(mode: RefcountingMode, batchSize: Int) throws {
    let database = try installed(mode)
    let dataset = Dataset.current
    try dataset.load(into: database)
    // Some were put again since, and have expired all the same.
    try database.connection.execute(
      """
      SELECT jam_fold_references();
      INSERT INTO jam_preimage_puts SELECT hash, created_at + interval '1 hour' FROM jam_preimages ORDER BY hash LIMIT 100
      """
    )
    try database.retention.setPolicy("batch_size", to: "\(batchSize)")
    let before = try Self.dump(database)
    let storage = try database.connection.query("SELECT s::text AS storage FROM jam_storage AS s").rows.map {
      $0["storage"]
    }
    let run = try cleanUp(database, cutoff: dataset.cutoff)
    for (column, count) in dataset.expected {
      #expect(try run.int(column) == (column == "freed_bytes" ? 0 : count), "\(column)")
    }
    let figures = try #require(database.retention.archiveFigures(ofRun: run.int("run_id")))
    #expect(try figures.int("archived_bytes") == dataset.expected["freed_bytes"])
    try expectSums(database)
    try database.expectLaw()
    #expect(try Self.dump(database) != before)

    let undone = try database.retention.undo(run: run.int("run_id"))
    #expect(undone.conflicts.rows.isEmpty)
    #expect(try undone.rows == figures.int("archived_rows") && Int(undone.bytes) == figures.int("archived_bytes"))
    try database.expectLaw()
    let after = try Self.dump(database)
    #expect(after == before, "\(after.difference(from: before).prefix(10))")
    #expect(
      try database.connection.query("SELECT s::text AS storage FROM jam_storage AS s").rows.map { $0["storage"] }
        == storage
    )
    try expectEmptyArchive(database)

    // Again: nothing more. And another cleanup takes the same rows.
    #expect(try database.retention.undo(run: run.int("run_id")).rows == 0)
    #expect(try Self.dump(database) == before)
    let again = try cleanUp(database, cutoff: dataset.cutoff)
    #expect(try again.int("deleted_preimages") == dataset.expected["deleted_preimages"])
  }

  @Test("After new submits and puts of the same hashes, an undo counts both", arguments: RefcountingMode.allCases)
  func afterSubmits(mode: RefcountingMode) throws {
    let database = try installed(mode)
    try fill(database)
    let run = try cleanUp(database)
    #expect(try run.int("deleted_preimages") == 6)
    // 1 is referred to and not here; 2 is here again, as it was; 3 with another content.
    try database.submit([hash(1), hash(2), hash(3)])
    try database.put(hash(2))
    _ = try database.connection.query("INSERT INTO jam_preimages (hash, size, data) VALUES ($1, 5, 'other')", hash(3))
    try database.expectLaw()
    let undone = try database.retention.undo(run: run.int("run_id"))
    #expect(undone.conflicts.rows.map { $0["row_key"] } == [hash(3)])
    #expect(undone.conflicts.rows.first?["reason"]?.contains("another content") == true)
    try database.expectLaw()
    _ = try database.connection.query("SELECT jam_fold_references()")
    try database.expectLaw()
    for number in 1...3 { #expect(try database.refcount(hash(number)) == 4) }
    for number in 101...103 { #expect(try database.refcount(hash(number)) == 1) }
    #expect(try database.int("SELECT count(*) FROM jam_unresolved_references") == 0)
    try expectSums(database)
    #expect(try database.int("SELECT rows FROM jam_archive") == 1)
    // Where the other one has gone, the archived one comes back.
    try database.connection.execute(
      """
      DELETE FROM jam_work_packages; SELECT jam_fold_references();
      DELETE FROM jam_preimages WHERE hash = \(literal: hash(3))
      """
    )
    #expect(try database.retention.undo(run: run.int("run_id")).conflicts.rows.isEmpty)
    #expect(try database.int("SELECT size FROM jam_preimages WHERE hash = \(literal: hash(3))") == 3)
    try expectEmptyArchive(database)
    try database.expectLaw()
  }

  @Test("What is in the way is named and stays in the archive, everything else comes back")
  func conflicts() throws {
    let database = try installed(.immediate)
    try fill(database, packages: 4)
    // The packages go in another run than their reports.
    try database.retention.setPolicy("packages_retention_days", to: "55")
    let reports = try cleanUp(database).int("run_id")
    try database.retention.setPolicy("packages_retention_days", to: nil)
    let packages = try cleanUp(database).int("run_id")
    try database.retention.setPolicy("retention_days", to: "70")

    let orphaned = try database.retention.undo(run: reports).conflicts
    #expect(orphaned.rows.count == 8)
    #expect(
      Set(orphaned.rows.map { $0["reason"] }) == [
        "its row of jam_work_packages is in the archive of run \(packages): undo that first",
        "its row of jam_work_reports is gone",
      ]
    )
    let ids = try database.connection.query("SELECT id FROM jam_archived_packages ORDER BY id").rows.map {
      try $0.string("id")
    }
    try database.connection.execute(
      """
      INSERT INTO jam_work_packages (id, service_id) SELECT \(literal: ids[0]), id FROM jam_services;
      CREATE UNIQUE INDEX one_nonce ON jam_work_packages (nonce) WHERE nonce <> '';
      UPDATE jam_archived_packages SET nonce = 'n' WHERE id = \(literal: ids[1]);
      INSERT INTO jam_work_packages (id, service_id, nonce) SELECT gen_random_uuid(), id, 'n' FROM jam_services;
      CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not this one'; END $$;
      CREATE TRIGGER refuse BEFORE INSERT ON jam_work_packages FOR EACH ROW WHEN (NEW.id = \(literal: ids[2])) EXECUTE FUNCTION refuse();
      """
    )
    let undone = try database.retention.undo(run: packages)
    let reasons = Dictionary(
      undone.conflicts.rows.filter { $0["table_name"] == "jam_work_packages" }.map { ($0["row_key"], $0["reason"]) }
    ) { $1 }
    #expect(
      reasons == [
        ids[0]: "a row with this key is here again",
        ids[1]: "a row with one of its unique values is here, or a trigger refuses it", ids[2]: "not this one",
      ]
    )
    // An item belongs to a package of that id, whoever brought it.
    #expect(undone.conflicts.rows.count == 5)
    #expect(try database.int("SELECT count(*) FROM jam_work_packages WHERE id = \(literal: ids[3])") == 1)
    #expect(try database.retention.undo(run: reports).rows == 4)
    try expectSums(database)
    try database.expectLaw()

    try database.connection.execute("DROP TRIGGER refuse ON jam_work_packages; DROP INDEX one_nonce")
    #expect(try database.retention.undo(run: packages).conflicts.rows.count == 1)
    #expect(try database.retention.undo(run: reports).conflicts.rows.isEmpty)
    #expect(try database.int("SELECT count(*) FROM jam_attestations") == 4)
    try database.expectLaw()
  }

  @Test("An internal error that a row raises is a conflict of that row; damaged data ends the undo")
  func internalErrors() throws {
    let database = try installed(.immediate)
    try fill(database)
    let before = try Self.dump(database)
    let run = try cleanUp(database).int("run_id")
    let id = try #require(
      try database.connection.query("SELECT min(hash) AS h FROM jam_archived_preimages").first?["h"]
    )
    func refuse(_ state: String) throws {
      try database.connection.execute(
        """
        CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
          BEGIN RAISE EXCEPTION 'out of order' USING ERRCODE = \(literal: state); END $$;
        CREATE OR REPLACE TRIGGER refuse BEFORE INSERT ON jam_preimages
          FOR EACH ROW WHEN (NEW.hash = \(literal: id)) EXECUTE FUNCTION refuse()
        """
      )
    }
    try refuse("data_corrupted")
    let error = #expect(throws: PostgresError.self) { try database.retention.undo(run: run) }
    #expect(error?.sqlState == "XX001")
    #expect(try database.int("SELECT undone_rows FROM jam_cleanup_runs WHERE id = \(run)") == 0)
    try refuse("internal_error")
    let conflicts = try database.retention.undo(run: run).conflicts.rows
    #expect(conflicts.map { $0["row_key"] } == [id] && conflicts.first?["reason"] == "out of order")
    try database.expectLaw()
    try database.connection.execute("DROP TRIGGER refuse ON jam_preimages")
    #expect(try database.retention.undo(run: run).conflicts.rows.isEmpty)
    #expect(try Self.dump(database) == before)
    try database.expectLaw()
  }

  @Test("A row that another transaction is putting is not waited for")
  func lockedRow() throws {
    let database = try installed(.immediate)
    try fill(database)
    let run = try cleanUp(database).int("run_id")
    let other = try database.connect()
    try other.execute("BEGIN")
    _ = try other.query("INSERT INTO jam_preimages (hash, size, data) VALUES ($1, 3, 'abc')", hash(2))
    let undone = try database.retention.undo(run: run)
    #expect(undone.conflicts.rows.map { $0["row_key"] } == [hash(2)])
    #expect(undone.conflicts.rows.first?["reason"]?.hasPrefix("another transaction") == true)
    try other.execute("ROLLBACK")
    #expect(try database.retention.undo(run: run).rows == 1)
    try expectEmptyArchive(database)
    try database.expectLaw()
  }

  @Test("Columns that the model does not know come back; where one has gone since, the row stays archived")
  func otherColumns() throws {
    let database = try installed(.immediate)
    try fill(database, packages: 1)
    try database.connection.execute(
      """
      ALTER TABLE jam_work_packages ADD COLUMN "Pri, or'ity" numeric(8, 3) NOT NULL DEFAULT 1, ADD COLUMN tags json,
        ADD COLUMN twice text GENERATED ALWAYS AS (nonce || nonce) STORED, ADD COLUMN number bigint GENERATED ALWAYS AS IDENTITY,
        ADD COLUMN "window" tstzrange[], ADD COLUMN raw bytea;
      UPDATE jam_work_packages SET "Pri, or'ity" = 17.250, tags = '{"a":  1, "a": 2}', "window" = ARRAY[tstzrange('2026-01-01', NULL)],
        raw = '\\x00ff';
      ALTER TABLE jam_preimages ADD COLUMN origin text NOT NULL DEFAULT '';
      UPDATE jam_preimages SET origin = 'here: ' || hash;
      """
    )
    let before = try Self.dump(database)
    let run = try cleanUp(database).int("run_id")
    // One more, which the archived rows have not.
    try database.connection.execute("ALTER TABLE jam_preimages ADD COLUMN later integer NOT NULL DEFAULT 5")
    #expect(try database.retention.undo(run: run).conflicts.rows.isEmpty)
    #expect(try database.int("SELECT count(*) FROM jam_preimages WHERE later = 5") == 2)
    try database.connection.execute("ALTER TABLE jam_preimages DROP COLUMN later")
    #expect(try Self.dump(database) == before)

    let again = try cleanUp(database).int("run_id")
    try database.connection.execute("ALTER TABLE jam_preimages DROP COLUMN origin")
    let conflicts = try database.retention.undo(run: again).conflicts.rows
    #expect(conflicts.count == 2)
    #expect(conflicts.allSatisfy { $0["reason"] == "the table has lost a column that the row had" })
    try database.connection.execute("ALTER TABLE jam_preimages ADD COLUMN origin text NOT NULL DEFAULT ''")
    #expect(try database.retention.undo(run: again).conflicts.rows.isEmpty)
    #expect(try database.int("SELECT count(*) FROM jam_preimages WHERE origin = 'here: ' || hash") == 2)
    try database.expectLaw()
  }

  @Test("No cast and no setting of a session changes a value of a column that the model does not know")
  func exactColumns() throws {
    let database = try installed(.immediate)
    try fill(database, packages: 2)
    try database.connection.execute(
      """
      CREATE TYPE mood AS ENUM ('fine', '{"a": 1}');
      CREATE FUNCTION mood_json(mood) RETURNS json LANGUAGE sql AS $$ SELECT '[1]'::json $$;
      CREATE FUNCTION mood_text(mood) RETURNS text LANGUAGE sql AS $$ SELECT 'whatever' $$;
      CREATE FUNCTION text_mood(text) RETURNS mood LANGUAGE sql AS $$ SELECT 'fine'::mood $$;
      CREATE CAST (mood AS json) WITH FUNCTION mood_json(mood);
      CREATE CAST (mood AS text) WITH FUNCTION mood_text(mood) AS ASSIGNMENT;
      CREATE CAST (text AS mood) WITH FUNCTION text_mood(text) AS ASSIGNMENT;
      CREATE TYPE pair AS (span interval, ratio double precision);
      CREATE DOMAIN pairs AS pair[];
      CREATE DOMAIN object AS jsonb CHECK (jsonb_typeof(VALUE) <> 'string');
      ALTER TABLE jam_work_packages ADD mood mood, ADD moods mood[], ADD bounds integer[], ADD days daterange,
        ADD spans tstzrange[], ADD pause interval, ADD pauses interval[], ADD pair pair, ADD pairs pairs, ADD ratio double precision,
        ADD place point, ADD price money, ADD raw bytea, ADD "O'bject" object, ADD doc jsonb, ADD verbatim json, ADD docs json[],
        ADD words text[], ADD short character(5), ADD flags bit(3), ADD relation regclass;
      UPDATE jam_work_packages SET mood = '{"a": 1}', moods = '{fine,NULL}', bounds = '[0:1]={5,6}', days = '[2026-03-04,2026-05-06)',
        spans = ARRAY[tstzrange('2026-03-04 05:06:07.89+02', NULL)], pause = '-1 day -2 hours', pauses = '{-1 day -2 hours}',
        pair = ROW('-1 day -2 hours', 1::double precision / 3), pairs = ARRAY[ROW('-1 mon +2 hours', 0.1), NULL]::pair[],
        ratio = 0.1::double precision + 0.2, place = point(1::double precision / 3, 0), price = 1234.5, raw = '\\x005c00ff',
        "O'bject" = 'null', doc = 'null', verbatim = '{"a":  1, "a": null}', docs = ARRAY['null', '"x"']::json[],
        words = ARRAY[NULL, 'NULL', '', '"\\'], short = 'ab', flags = '101', relation = 'jam_preimages'
      WHERE id = (SELECT min(id::text)::uuid FROM jam_work_packages);
      UPDATE jam_work_packages SET pair = ROW(NULL, NULL), verbatim = 'null' WHERE mood IS NULL;
      """
    )
    if try database.int("SELECT count(*) FROM pg_available_extensions WHERE name = 'hstore'") == 1 {
      try database.connection.execute(
        """
        CREATE EXTENSION hstore;
        ALTER TABLE jam_work_packages ADD h hstore;
        UPDATE jam_work_packages SET h = 'a=>1, "b c"=>NULL' WHERE mood IS NOT NULL
        """
      )
    }
    let before = try Self.dump(database)
    let session = try database.connect()
    try session.execute(
      "SET datestyle = 'SQL, DMY'; SET intervalstyle = sql_standard; SET extra_float_digits = -5; SET bytea_output = escape"
    )
    _ = try session.query("CALL jam_cleanup()")
    #expect(try database.int("SELECT count(*) FROM jam_work_packages") == 0)
    let other = try database.connect()
    try other.execute("SET datestyle = 'German, YMD'; SET intervalstyle = iso_8601; SET array_nulls = off")
    let conflicts = try other.query("SELECT * FROM jam_undo_cleanup((SELECT max(id) FROM jam_cleanup_runs))").rows
    #expect(conflicts.map { $0["reason"] } == [])
    let after = try Self.dump(database)
    #expect(after == before, "\(after.difference(from: before))")
  }

  @Test("Runs that ended early are undone as far as they came", arguments: RefcountingMode.allCases)
  func endedEarly(mode: RefcountingMode) throws {
    let database = try installed(mode)
    try fill(database)
    let before = try Self.dump(database)
    try database.retention.setPolicy("batch_size", to: "1")
    try database.retention.setPolicy("batch_pause", to: "20 milliseconds")
    let victim = try database.connect()
    let ended = DispatchSemaphore(value: 0)
    Thread {
      _ = try? victim.query("CALL jam_cleanup()")
      ended.signal()
    }.start()
    // Committed batches are the clock: reports are gone by then, and packages.
    while try database.int("SELECT coalesce(sum(batches), 0)::bigint FROM jam_cleanup_runs") < 5 {}
    _ = try database.connection.query("SELECT pg_terminate_backend(\(victim.processID))")
    ended.wait()
    // Its record says running still.
    let run = try database.int("SELECT max(id) FROM jam_cleanup_runs WHERE status = 'running'")
    #expect(try database.retention.undo(run: run).conflicts.rows.isEmpty)
    #expect(try database.int("SELECT count(*) FROM jam_cleanup_runs WHERE status = 'interrupted'") == 1)
    #expect(try Self.dump(database) == before)
    try expectEmptyArchive(database)
    try database.expectLaw()
  }

  @Test("An undo that is killed leaves nothing half", arguments: RefcountingMode.allCases)
  func killed(mode: RefcountingMode) throws {
    let database = try installed(mode)
    try fill(database)
    let before = try Self.dump(database)
    let run = try cleanUp(database).int("run_id")
    let between = try Self.dump(database)
    // The application's own trigger stops it after the blobs and the packages.
    try database.connection.execute(
      """
      CREATE FUNCTION pass() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(600); RETURN NEW; END $$;
      CREATE TRIGGER pass BEFORE INSERT ON jam_work_reports FOR EACH ROW EXECUTE FUNCTION pass()
      """
    )
    let victim = try database.connect()
    let ended = DispatchSemaphore(value: 0)
    Thread {
      _ = try? victim.query("SELECT * FROM jam_undo_cleanup(\(run))")
      ended.signal()
    }.start()
    while try database.connection.query(
      "SELECT FROM pg_stat_activity WHERE pid = \(victim.processID) AND wait_event = 'PgSleep'"
    ).first == nil {}
    _ = try database.connection.query("SELECT pg_terminate_backend(\(victim.processID))")
    ended.wait()
    while try database.connection.query("SELECT FROM pg_stat_activity WHERE pid = \(victim.processID)").first != nil {}
    try database.connection.execute("DROP TRIGGER pass ON jam_work_reports")
    #expect(try Self.dump(database) == between)
    try database.expectLaw()
    try expectSums(database)
    #expect(try database.int("SELECT undone_rows FROM jam_cleanup_runs WHERE id = \(run)") == 0)
    #expect(try database.retention.undo(run: run).conflicts.rows.isEmpty)
    #expect(try Self.dump(database) == before)
    try database.expectLaw()
  }

  @Test("Where the policy would delete the rows again it is set to dry_run, and only there")
  func pause() throws {
    let database = try installed(.immediate)
    try fill(database)
    let run = try cleanUp(database).int("run_id")
    try database.retention.setPolicy("retention_days", to: "70")
    #expect(try database.retention.undo(run: run).rows > 0)
    #expect(try database.int("SELECT count(*) FROM jam_retention_policy WHERE dry_run") == 0)
    try database.retention.setPolicy("retention_days", to: "30")
    let second = try cleanUp(database).int("run_id")
    #expect(try database.retention.undo(run: second).rows > 0)
    #expect(try database.int("SELECT count(*) FROM jam_retention_policy WHERE dry_run") == 1)
    // A scheduled cleanup only counts; one that is told to deletes.
    #expect(try database.retention.cleanup().int("deleted_packages") == 3)
    #expect(try database.int("SELECT count(*) FROM jam_work_packages") == 3)
  }

  @Test("Fewer expired rows of one class do not hide that others expire again")
  func pauseByClass() throws {
    let database = try installed(.immediate)
    try database.put(hash(1), age: "60 days")
    try database.submit([], age: "60 days")
    try database.submit([hash(1)], age: "10 days")
    // Somebody is using the blob, which stays and then expires. With the younger package back it does not.
    let other = try database.connect()
    try other.execute("BEGIN; SELECT FROM jam_preimages FOR UPDATE")
    let cutoff = try database.connection.query("SELECT (now() - interval '5 days')::text AS t").first?["t"]
    let run = try database.retention.cleanup(cutoff: cutoff)
    #expect(try run.int("deleted_packages") == 2 && run.int("deleted_preimages") == 0)
    try other.execute("COMMIT")
    try database.connection.execute("SELECT jam_fold_references()")
    #expect(try database.retention.undo(run: run.int("run_id")).rows == 2)
    #expect(try database.int("SELECT count(*) FROM jam_retention_policy WHERE dry_run") == 1)
  }

  @Test("An expired row that its child keeps does not hide one that is back", arguments: RefcountingMode.allCases)
  func pauseByRow(mode: RefcountingMode) throws {
    let database = try installed(mode)
    let kept = try database.submit([], age: "20 days")
    try database.submit([], age: "60 days")
    try report(on: kept, age: "60 days", naming: hash(9), in: database)
    let run = try cleanUp(database)
    #expect(try run.int("deleted_reports") == 1 && run.int("deleted_packages") == 1)
    // The younger package would go now; with its report back it stays, and the older one goes.
    try database.retention.setPolicy("reports_retention_days", to: "365")
    try database.retention.setPolicy("packages_retention_days", to: "15")
    #expect(try database.retention.undo(run: run.int("run_id")).rows == 3)
    #expect(try database.int("SELECT count(*) FROM jam_retention_policy WHERE dry_run") == 1)
    #expect(try cleanUp(database).int("deleted_packages") == 1)
  }

  @Test("A blob that is referred to again does not hide one that is back", arguments: RefcountingMode.allCases)
  func pauseByBlob(mode: RefcountingMode) throws {
    let database = try installed(mode)
    for number in 1...2 { try database.put(hash(number), age: "60 days") }
    try database.submit([hash(1)], age: "60 days")
    let first = try cleanUp(database).int("run_id")
    #expect(try database.int("SELECT count(*) FROM jam_preimages") == 0)
    // Another upload of the one, which expires too until the package is back.
    try database.put(hash(1), age: "60 days")
    try database.connection.execute("SELECT jam_fold_references(); DELETE FROM jam_preimage_puts")
    try database.retention.setPolicy("packages_retention_days", to: "365")
    #expect(try database.retention.undo(run: first).rows > 0)
    #expect(try database.int("SELECT count(*) FROM jam_retention_policy WHERE dry_run") == 1)
    #expect(try cleanUp(database).int("deleted_preimages") == 1)
  }

  @Test("What is back and kept by others does not set dry_run", arguments: RefcountingMode.allCases)
  func pauseNot(mode: RefcountingMode) throws {
    let database = try installed(mode)
    try fill(database)
    let run = try cleanUp(database).int("run_id")
    // Packages and blobs have expired; reports keep the former, and everything the latter.
    try database.retention.setPolicy("reports_retention_days", to: "365")
    #expect(try database.retention.undo(run: run).conflicts.rows.isEmpty)
    #expect(try database.int("SELECT count(*) FROM jam_retention_policy WHERE dry_run") == 0)
    #expect(try cleanUp(database).int("deleted_preimages") == 0)
  }

  @Test("A row without content does not stand for the content that is archived")
  func rowWithoutContent() throws {
    let database = try installed(.immediate)
    try database.put(hash(1), age: "60 days")
    let size = try database.int("SELECT size FROM jam_preimages")
    let run = try cleanUp(database).int("run_id")
    _ = try database.connection.query("INSERT INTO jam_preimages (hash, size) VALUES ($1, $2)", hash(1), size)
    #expect(try database.retention.undo(run: run).conflicts.rows.map { $0["row_key"] } == [hash(1)])
    #expect(try database.int("SELECT count(*) FROM jam_archived_preimages WHERE data IS NOT NULL") == 1)
    try database.connection.execute("DELETE FROM jam_preimages")
    #expect(try database.retention.undo(run: run).conflicts.rows.isEmpty)
    #expect(try database.int("SELECT count(*) FROM jam_preimages WHERE data IS NOT NULL") == 1)
    try expectEmptyArchive(database)
  }

  @Test("What cannot be undone is refused, with the reason")
  func refused() throws {
    let database = try installed(.immediate, days: 0)
    try fill(database)
    let dry = try database.retention.cleanup(dryRun: true).int("run_id")
    let real = try cleanUp(database).int("run_id")
    #expect(try database.int("SELECT freed_bytes FROM jam_cleanup_runs WHERE id = \(real)") == 18)
    try expectEmptyArchive(database)
    for (run, state, text) in [
      (99, "22023", "no cleanup run 99"), (dry, "22023", "dry run"), (real, "55000", "without an archive"),
    ] {
      let error = #expect(throws: PostgresError.self) { try database.retention.undo(run: run) }
      #expect(error?.sqlState == state && error?.message.contains(text) == true, "\(run)")
    }
    let session = try database.connect()
    try session.execute("SET default_transaction_isolation = serializable")
    let error = #expect(throws: PostgresError.self) { try session.query("SELECT * FROM jam_undo_cleanup(1)") }
    #expect(error?.sqlState == "25001")
    // The runner sees to that itself.
    try database.connection.execute("SET default_transaction_isolation = serializable")
    let other = #expect(throws: PostgresError.self) { try database.retention.undo(run: real) }
    #expect(other?.sqlState == "55000")
  }

  // MARK: Purge

  @Test("A row with NULL where the model has none is archived and brought back as any other")
  func adoptedNulls() throws {
    let database = try TestDatabase(.immediate)
    try database.createTables()
    try database.connection.execute(
      "ALTER TABLE jam_work_packages ALTER nonce DROP NOT NULL; ALTER TABLE jam_preimages ALTER uploader DROP NOT NULL"
    )
    _ = try database.migrate()
    try database.retention.setPolicy("archive_days", to: "30")
    try database.put(hash(1), age: "60 days")
    try database.submit([hash(1)], age: "50 days")
    try database.connection.execute(
      "UPDATE jam_work_packages SET nonce = NULL; UPDATE jam_preimages SET uploader = NULL"
    )
    let run = try cleanUp(database)
    #expect(try run.int("deleted_packages") == 1 && run.int("deleted_preimages") == 1)
    #expect(try database.retention.undo(run: run.int("run_id")).rows == 2)
    let nulls: SQL =
      "SELECT (SELECT nonce FROM jam_work_packages) IS NULL AND (SELECT uploader FROM jam_preimages) IS NULL AS found"
    #expect(try database.connection.query(nulls).first?.bool("found") == true)
    try database.expectLaw()
  }

  @Test("After archive_days a cleanup purges in batches, and frees the bytes", arguments: RefcountingMode.allCases)
  func purge(mode: RefcountingMode) throws {
    let database = try installed(mode, days: 10)
    try fill(database)
    let first = try cleanUp(database).int("run_id")
    try age(database, days: 5)
    try fill(database)
    let second = try cleanUp(database).int("run_id")
    #expect(try database.retention.archiveFigures(ofRun: second)?.int("purged_rows") == 0)
    // Now the first is too old, the second is not.
    try age(database, days: 6)
    try database.retention.setPolicy("batch_size", to: "2")
    let third = try cleanUp(database)
    #expect(try third.int("freed_bytes") == 18)
    let figures = try #require(database.retention.archiveFigures(ofRun: third.int("run_id")))
    #expect(try figures.int("purged_rows") == 18 && figures.int("purged_bytes") == 18)
    #expect(try database.int("SELECT count(*) FROM jam_cleanup_runs WHERE purged_at IS NOT NULL") == 1)
    try expectSums(database)
    let gone = #expect(throws: PostgresError.self) { try database.retention.undo(run: first) }
    #expect(gone?.sqlState == "55000" && gone?.message.contains("was purged") == true)
    #expect(try database.retention.undo(run: second).rows == 18)
    // Off: what is archived goes with the next cleanup.
    try database.retention.setPolicy("dry_run", to: "false")
    try cleanUp(database)
    try database.retention.setPolicy("archive_days", to: "0")
    #expect(try cleanUp(database).int("freed_bytes") == 18)
    try expectEmptyArchive(database)
    try database.expectLaw()
  }

  @Test("A purge that is cut short is taken up by the next cleanup, and nothing is counted twice")
  func purgeCutShort() throws {
    let database = try installed(.immediate)
    try fill(database, packages: 5)
    let first = try cleanUp(database).int("run_id")
    try age(database, days: 31)
    try database.retention.setPolicy("batch_size", to: "4")
    try database.connection.execute(
      """
      CREATE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'somebody is in the way' USING ERRCODE = 'lock_not_available'; END $$;
      CREATE TRIGGER conflict BEFORE DELETE ON jam_archived_packages FOR EACH ROW EXECUTE FUNCTION conflict()
      """
    )
    let partial = try database.retention.cleanup(dryRun: false)
    #expect(partial["status"] == "partial")
    try expectSums(database)
    let purged = try #require(database.retention.archiveFigures(ofRun: partial.int("run_id"))).int("purged_rows")
    #expect(purged > 0 && purged < 30)
    // What is left of it can be brought back still.
    try database.connection.execute("DROP TRIGGER conflict ON jam_archived_packages")
    let rest = try cleanUp(database).int("run_id")
    #expect(try database.retention.archiveFigures(ofRun: rest)?.int("purged_rows") == 30 - purged)
    #expect(
      try database.int("SELECT count(*) FROM jam_cleanup_runs WHERE id = \(first) AND purged_at IS NOT NULL") == 1
    )
    try expectEmptyArchive(database)
  }
}
