import EmbeddedPostgres
import Foundation
import MigrationGenerator
import Postgres
import RetentionModel
import RetentionRunner
import SafeSQL
import Testing

/// One hostile model on its way from the first file to the uninstallation.
///
/// Whatever is not as it must be is thrown.
struct HostileRound {
  let model: RetentionModel
  let connection: Connection
  /// Chooses the way: who applies the files, and whether the data is there before them.
  let seed: UInt64

  private let files: [MigrationFile]
  private let names: ObjectNames
  private var retention: RetentionDatabase {
    RetentionDatabase(connection: connection, model: model, logger: TestDatabase.logger)
  }

  init(_ model: RetentionModel, seed: UInt64, on connection: Connection) {
    self.model = model
    self.seed = seed
    self.connection = connection
    files = MigrationGenerator.files(for: model)
    names = ObjectNames(model)
  }

  func run() throws {
    try apply("010_tables.sql")
    try connection.execute(
      """
      CREATE TABLE \(bystander) (\(column(1, 0)) text);
      INSERT INTO \(bystander) VALUES ('stays');
      CREATE FUNCTION \(bystander)() RETURNS integer LANGUAGE sql AS 'SELECT 1';
      """
    )
    let before = try objects()
    let isDataFirst = seed & 2 == 0
    if isDataFirst { try submit() }
    // Roles belong to the whole server and psql is a process for each file: not every round needs them.
    try seed.isMultiple(of: 8) ? installWithPsql() : installWithRunner()
    if !isDataFirst { try submit() }
    try expectNames()
    try expectCounts([1: 3, 2: 1, 3: 2, 4: 1, 5: 1, 6: 1, 7: 0, 8: 1, 9: 0])
    try update()
    try cleanUp()
    try expectCounts([1: 1, 3: 1, 4: 1, 5: 1, 6: 1, 7: 0])
    try moveOutAndBack()
    try lookAround()
    if seed.isMultiple(of: 4) {
      try apply("optional/roles.sql")
      try apply("uninstall/roles.sql")
    }
    try apply("uninstall/uninstall.sql")
    let after = try objects()
    try require(after == before, "left behind or taken along: \(Set(after).symmetricDifference(before).sorted())")
    try requireRows("SELECT * FROM \(bystander)", 1)
    try requireRows("SELECT * FROM \(letters)", 3)
  }

  /// Ends a failed transaction and removes everything.
  func leave() throws {
    try connection.execute("ROLLBACK")
    try connection.execute("DROP SCHEMA IF EXISTS \(names.schema) CASCADE")
  }

  // MARK: Names

  private var bystander: QualifiedName { QualifiedName(names.schema, Identifier("Bystander \"; --")) }
  private var blobs: QualifiedName { names.table(model.tables[0].name) }
  private var letters: QualifiedName { names.table(model.tables[1].name) }
  private var pages: QualifiedName { names.table(model.tables[2].name) }

  private func column(_ table: Int, _ index: Int) -> Identifier { Identifier(model.tables[table].columns[index].name) }

  /// A key of the model's type.
  private func key(_ number: Int) -> SQL {
    model.tables[0].columns[0].type == "bytea" ? "decode(\(literal: hash(number)), 'hex')" : "\(literal: hash(number))"
  }

  /// Everything in the schema that has a name, but for the indexes of foreign keys, which outlive the retention.
  private func objects() throws -> [String] {
    try connection.query(
      """
      SELECT o.kind || ' ' || o.name AS object
      FROM pg_namespace AS n, LATERAL (
        SELECT 'relation ' || c.relkind::text, c.relname FROM pg_class AS c
        WHERE c.relnamespace = n.oid AND NOT EXISTS (
          SELECT FROM pg_index AS i
          JOIN pg_constraint AS f ON f.conrelid = i.indrelid AND i.indkey::text = array_to_string(f.conkey, ' ')
          WHERE i.indexrelid = c.oid AND f.contype = 'f' AND NOT i.indisunique
        )
        UNION ALL
        SELECT 'routine', p.proname FROM pg_proc AS p WHERE p.pronamespace = n.oid
        UNION ALL
        SELECT 'type', t.typname FROM pg_type AS t WHERE t.typnamespace = n.oid
        UNION ALL
        SELECT 'constraint', k.conname FROM pg_constraint AS k WHERE k.connamespace = n.oid
        UNION ALL
        SELECT 'trigger', t.tgname FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
        WHERE c.relnamespace = n.oid AND NOT t.tgisinternal
      ) AS o (kind, name)
      WHERE n.nspname = $1
      ORDER BY 1
      """,
      model.schema
    ).rows.map { try $0.string("object") }
  }

  /// The catalog has the model's names, byte for byte: quoting has lost nothing.
  private func expectNames() throws {
    for table in model.tables {
      let found = try connection.query(
        """
        SELECT a.attname FROM pg_attribute AS a
        JOIN pg_class AS c ON c.oid = a.attrelid
        JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 ORDER BY a.attnum
        """,
        model.schema,
        table.name
      ).rows.map { Array(try $0.string("attname").utf8) }
      try require(found == table.columns.map { Array($0.name.utf8) }, "the columns of \(table.name) are others")
    }
  }

  // MARK: Steps

  private func apply(_ path: String) throws {
    guard let file = files.first(where: { $0.path == path }) else { throw RunnerError("there is no \(path)") }
    do {
      try connection.execute("\(raw: file.text)")
    } catch {
      throw RunnerError("\(path): \(error)")
    }
  }

  private func installWithRunner() throws {
    let migrator = try Migrator(files: files, model: model, connection: connection, logger: TestDatabase.logger)
    try require(migrator.up().count == files.count { !$0.path.contains("/") }, "not all files were applied")
    try require(migrator.up() == [], "applied again")
  }

  private func installWithPsql() throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString).path
    _ = try GeneratedFiles(folder: folder, files: files).write()
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let database = try connection.query("SELECT current_database() AS name").first?.string("name") ?? ""
    for file in files where !file.path.contains("/") {
      let result = try TestDatabase.server.get().psql(
        database: database,
        arguments: ["-v", "ON_ERROR_STOP=1", "-q", "-f", "\(folder)/\(file.path)"]
      )
      try require(result.status == 0, "psql, \(file.path): \(result.error)")
    }
  }

  private func submit() throws {
    let age: (Int) -> SQL = { $0 == 7 ? "now()" : "now() - interval '60 days'" }
    let rows = (1...9).map { number -> SQL in "(\(key(number)), 3, 'abc'::bytea, \(age(number)), \(number))" }
    try connection.execute(
      """
      INSERT INTO \(blobs) (\(column(0, 0)), \(column(0, 1)), \(column(0, 3)), \(column(0, 4)), \(column(0, 6)))
      VALUES \(SQL.joined(rows));
      INSERT INTO \(letters) VALUES
        (1, 'sent', ARRAY[\(key(1)), \(key(1))], 'x' || \(literal: hash(2)) || E'\\n', \(key(3)), now() - interval '50 days'),
        (2, 'sent', ARRAY[\(key(4)), \(key(10))], \(literal: hash(5)), \(key(6)), now()),
        (3, 'held', ARRAY[\(key(3))], NULL, NULL, now() - interval '50 days'),
        (4, 'sent', '{}', NULL, NULL, now() - interval '50 days');
      INSERT INTO \(pages) VALUES (1, 1, \(key(8)), NULL), (2, 2, \(key(1)), now()), (3, 4, NULL, now());
      """
    )
  }

  private func update() throws {
    let note = column(1, 4)
    try connection.execute("UPDATE \(letters) SET \(note) = \(key(5)) WHERE \(column(1, 0)) = 2")
    try expectCounts([5: 2, 6: 0])
    try connection.execute("UPDATE \(letters) SET \(note) = \(key(6)) WHERE \(column(1, 0)) = 2")
    try expectCounts([5: 1, 6: 1])
    try requireRows("SELECT * FROM \(names.qualified("touch_files"))(ARRAY[\(key(4)), \(key(10))])", 1)
    try requireRows("SELECT * FROM \(names.qualified("referrers"))(\(key(5)))", 1)
  }

  private func cleanUp() throws {
    try connection.execute("UPDATE \(names.qualified("retention_policy")) SET protected_statuses = '{held}'")
    let expected = ["deleted_letters": 1, "deleted_pages": 1, "deleted_files": 3, "freed_bytes": 9]
    for dryRun in [true, false] {
      let run = try retention.cleanup(dryRun: dryRun)
      for (name, count) in expected where dryRun == false || name != "freed_bytes" {
        try require(run.int(name) == count, "\(name) is \(run[name] ?? "") instead of \(count), dry run: \(dryRun)")
      }
    }
  }

  /// A blob goes into the object store and another client's upload is given up; only the database's part of it.
  private func moveOutAndBack() throws {
    func call(_ name: String, _ arguments: SQL) -> SQL { "\(names.qualified(name))(\(arguments))" }
    let moved = try connection.query("SELECT outcome, upload_id FROM \(call("blob_offload_begin", "ARRAY[\(key(1))]"))")
      .first
    try require(moved?["outcome"] == "upload", "offload: \(moved?["outcome"] ?? "nothing")")
    let completed = try connection.query(
      "SELECT outcome FROM \(call("blob_upload_complete", "ARRAY[\(try moved?.int("upload_id") ?? 0)]"))"
    ).first
    try require(completed?["outcome"] == "stored", "complete: \(completed?["outcome"] ?? "nothing")")
    try requireRows("SELECT * FROM \(names.qualified("blob_locations")) WHERE object_key = \(literal: hash(1))", 1)
    // A client that knows nothing of it puts its data over the external blob: its object is of no use any more.
    try connection.execute(
      "UPDATE \(blobs) SET \(column(0, 3)) = 'abc' WHERE \(column(0, 0)) = \(key(1))"
    )
    let begun = try connection.query("SELECT upload_id FROM \(call("blob_upload_begin", "\(key(77)), 3"))").first
    _ = try connection.query("SELECT \(call("blob_upload_abort", "ARRAY[\(try begun?.int("upload_id") ?? 0)]"))")
    let claimed = try connection.query("SELECT deletion_id FROM \(call("blob_deletions_claim", ""))").rows
    try require(claimed.count == 2, "\(claimed.count) objects are due")
    let ids = try claimed.map { "\(try $0.int("deletion_id"))" }.joined(separator: ",")
    _ = try connection.query("SELECT \(call("blob_deletions_done", "'{\(raw: ids)}'"))")
    try requireRows("SELECT * FROM \(names.qualified("blob_locations")) WHERE object_key IS NOT NULL", 0)
  }

  private func lookAround() throws {
    let failed = try retention.health().rows.filter { try !$0.bool("ok") }.map { $0["detail"] ?? "" }
    try require(failed == [], "health: \(failed)")
    _ = try retention.metrics()
  }

  // MARK: Expectations

  private func expectCounts(_ expected: [Int: Int]) throws {
    let drift = try retention.verify().rows.count
    try require(drift == 0, "the law is broken")
    for (number, count) in expected {
      let row = try connection.query(
        "SELECT refcount FROM \(names.qualified("file_refcounts")) WHERE hash = \(key(number))"
      ).first
      try require(row?.int("refcount") == count, "blob \(number) has \(row?["refcount"] ?? "none"), not \(count)")
    }
    if expected.count != 2 { try requireRows("SELECT * FROM \(blobs)", expected.count) }
  }

  private func requireRows(_ query: SQL, _ count: Int) throws {
    let found = try connection.query(query).rows.count
    try require(found == count, "\(found) rows instead of \(count): \(query)")
  }

  private func require(_ condition: Bool, _ message: String) throws {
    if !condition { throw RunnerError(message) }
  }
}
