import MigrationGenerator
import Postgres
import RetentionModel
import RetentionRunner
import SafeSQL
import Testing

/// From one model to another, in a database that the retention is at work in.
@Suite struct ModelChangeTests {
  /// The model without any reference in items.
  private func withoutItems(_ model: RetentionModel) -> RetentionModel {
    var model = model
    model.references.removeAll { $0.table == "jam_work_items" }
    return model
  }

  private func file(_ path: String, of model: RetentionModel) throws -> SQL {
    let file = try #require(MigrationGenerator.files(for: model).first { $0.path == path })
    return "\(raw: file.text)"
  }

  private func addItem(_ hashes: [String], to package: String, in database: TestDatabase) throws {
    _ = try database.connection.query(
      """
      INSERT INTO jam_work_items (id, package_id, kind, params_hash, preimage_hashes)
      VALUES (gen_random_uuid(), $1::uuid, '', '', $2::text[])
      """,
      package,
      hashes
    )
  }

  /// Triggers and functions that count, or that guard what is counted.
  private func countingObjects(_ database: TestDatabase, _ table: String) throws -> Int {
    try database.int(
      """
      SELECT (SELECT count(*) FROM pg_trigger WHERE tgrelid = \(literal: table)::regclass AND NOT tgisinternal)
        + (SELECT count(*) FROM pg_proc WHERE proname LIKE \(literal: "\(table)\\_%"))
      """
    )
  }

  @Test(
    "Where a table's last reference leaves the model, its rows count no more, and what others hold stays",
    arguments: RefcountingMode.allCases
  )
  func lastReference(mode: RefcountingMode) throws {
    let database = try TestDatabase(mode)
    _ = try database.migrate()
    try database.connection.execute(
      """
      CREATE FUNCTION jam_work_items_my_count_rows() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$;
      CREATE TRIGGER mine AFTER DELETE ON jam_work_items EXECUTE FUNCTION jam_work_items_my_count_rows();
      """
    )
    for number in 1...3 { try database.put(hash(number), age: "60 days") }
    let package = try database.submit([hash(1)])
    try addItem([hash(1), hash(2)], to: package, in: database)

    let fewer = MigrationGenerator.files(for: withoutItems(database.model))
    let applied = try database.migrator(fewer).up()
    #expect(Set(applied).isSuperset(of: ["040_counting.sql", "050_triggers.sql", "060_backfill.sql"]))
    // What the application has made itself stays.
    #expect(try countingObjects(database, "jam_work_items") == 2)
    try database.expectLaw()
    try database.connection.execute("DELETE FROM jam_work_items")
    _ = try database.connection.query("SELECT jam_fold_references()")
    try database.expectLaw()
    #expect(try database.refcount(hash(1)) == 1)
    #expect(try database.retention.cleanup().int("deleted_preimages") == 2)
    #expect(try database.int("SELECT count(*) FROM jam_preimages") == 1)
    #expect(try database.retention.health().rows.allSatisfy { try $0.bool("ok") })

    // And back: what rows hold by then is counted again.
    try addItem([hash(1), hash(1)], to: package, in: database)
    #expect(try !database.migrate().isEmpty)
    try database.expectLaw()
    try addItem([hash(1)], to: package, in: database)
    try database.expectLaw()
    #expect(try database.refcount(hash(1)) == 4)
  }

  @Test(
    "Where a reference names other blobs than before, rows that are there are counted again",
    arguments: [
      [
        Reference.Kind.expression(sql: "memo", columns: ["memo"]),
        .expression(sql: "left(memo, 64)", columns: ["memo"]),
      ],
      [.scalar(column: "memo"), .scan(column: "memo")],
    ]
  )
  func otherKind(kinds: [Reference.Kind]) throws {
    let models = kinds.map { kind in
      var model = RetentionModel.jam
      model.references.append(Reference(table: "jam_work_items", kind: kind))
      return model
    }
    let database = try TestDatabase(model: models[0])
    _ = try database.migrate()
    try database.put(hash(1), age: "60 days")
    try addItem([], to: database.submit([]), in: database)
    try database.connection.execute("UPDATE jam_work_items SET memo = \(literal: "\(hash(1)) and more")")
    #expect(try database.refcount(hash(1)) == 0)
    _ = try database.migrator(MigrationGenerator.files(for: models[1])).up()
    #expect(try database.refcount(hash(1)) == 1)
    try database.expectLaw()
    #expect(try database.retention.cleanup().int("deleted_preimages") == 0)
  }

  @Test(
    "Between the files of a change nothing that is held goes, whoever repairs and cleans up",
    arguments: RefcountingMode.allCases
  )
  func halfway(mode: RefcountingMode) throws {
    let database = try TestDatabase(mode)
    _ = try database.migrate()
    try database.put(hash(1), age: "60 days")
    try addItem([hash(1)], to: database.submit([hash(1)]), in: database)
    let fewer = MigrationGenerator.files(for: withoutItems(database.model))
    _ = try database.migrator(fewer.filter { $0.path < "050" }).up()
    // What the triggers have counted is taken off, and they take it off again.
    _ = try database.retention.repair()
    try database.connection.execute("DELETE FROM jam_work_items")
    let refusal = #expect(throws: PostgresError.self) { try database.retention.cleanup() }
    #expect(refusal?.message.contains("of table jam_work_items is of a former model") == true)
    let check = try #require(database.retention.health().rows.first { $0["check_name"] == "triggers" })
    #expect(try !check.bool("ok") && check.string("remedy").hasPrefix("Apply 050_triggers.sql"))

    _ = try database.migrator(fewer.filter { $0.path < "060" }).up()
    #expect(try database.retention.cleanup().int("deleted_preimages") == 0)
    try database.expectLaw()
    #expect(try database.refcount(hash(1)) == 1)
    _ = try database.migrator(fewer).up()
    try database.expectLaw()
    #expect(try database.int("SELECT count(*) FROM jam_preimages") == 1)
  }

  @Test("Writers go on while references leave the model and come back", arguments: RefcountingMode.allCases)
  func withWriters(mode: RefcountingMode) throws {
    let database = try TestDatabase(mode)
    _ = try database.migrate()
    // The service that all packages belong to: its own first insert could meet another's at an old snapshot.
    try database.submit([])
    let seed = UInt64.random(in: 0..<1 << 48)
    let workload = Workload(database: database)
    workload.start(writers: 4, seed: seed)
    workload.start { connection in
      _ = try connection.query("SELECT jam_fold_references()")
      workload.wait(forEvents: 20)
    }
    defer { workload.stop() }
    workload.wait(forEvents: 100)
    for model in [withoutItems(database.model), database.model] {
      _ = try database.migrator(MigrationGenerator.files(for: model)).up()
      workload.wait(forEvents: 100)
      try database.expectLaw()
    }
    workload.stop()
    #expect(workload.current.failures == [:], "seed \(seed)")
    try database.expectLaw()
  }

  @Test("An uninstallation by a model that knows less than was installed leaves no trigger that a client would fail on")
  func uninstallationByAnother() throws {
    let database = try TestDatabase()
    _ = try database.migrate()
    let package = try database.submit([hash(1)])
    try database.connection.execute(file("uninstall/uninstall.sql", of: withoutItems(database.model)))
    #expect(try countingObjects(database, "jam_work_items") == 0)
    try addItem([hash(1)], to: package, in: database)
  }

  @Test(
    "Other tables and classes: migrate up says what to do, and then everything is counted again",
    arguments: RefcountingMode.allCases
  )
  func otherTables(mode: RefcountingMode) throws {
    let database = try TestDatabase(mode)
    _ = try database.migrate()
    for number in 1...3 { try database.put(hash(number), age: "60 days") }
    let package = try database.submit([hash(1)])
    try addItem([hash(1)], to: package, in: database)

    var model = database.model
    let items = try #require(model.tables.firstIndex { $0.name == "jam_work_items" })
    model.tables[items].columns.append(Column("logo", "text", nullable: true))
    model.tables.append(
      Table(
        name: "jam_notes",
        columns: [Column("id", "bigint"), Column("hash", "text"), Column("created_at", "timestamptz")],
        primaryKey: ["id"]
      )
    )
    model.references += [
      Reference(table: "jam_work_items", kind: .scalar(column: "logo")),
      Reference(table: "jam_notes", kind: .scalar(column: "hash")),
    ]
    model.classes.append(DataClass(name: "notes", table: "jam_notes"))
    #expect(model.validate() == [])
    let migrator = try Migrator(
      files: MigrationGenerator.files(for: model),
      model: model,
      connection: database.connection,
      logger: TestDatabase.logger
    )
    let refusal = try #require(throws: RunnerError.self) { try migrator.up() }
    #expect(refusal.description.contains("010_tables.sql was changed after it was applied"))
    #expect(refusal.description.contains("uninstall/uninstall.sql of the old model, then migrate up"))

    try database.connection.execute(
      "ALTER TABLE jam_work_items ADD logo text; UPDATE jam_work_items SET logo = \(literal: hash(2))"
    )
    try database.connection.execute(file("uninstall/uninstall.sql", of: database.model))
    // Clients go on meanwhile, with a refcount of their own.
    try database.put(hash(2))
    try database.submit([hash(2)])
    _ = try migrator.up()

    let retention = RetentionDatabase(connection: database.connection, model: model, logger: TestDatabase.logger)
    #expect(try retention.verify().rows.isEmpty)
    #expect(try [1, 2, 3].map { try database.refcount(hash($0)) } == [2, 2, 0])
    try database.connection.execute(
      "INSERT INTO jam_notes VALUES (1, \(literal: hash(3)), now() - interval '60 days'), (2, \(literal: hash(1)), now())"
    )
    let dry = try retention.cleanup(dryRun: true)
    let real = try retention.cleanup()
    for run in [dry, real] {
      #expect(try run.int("deleted_notes") == 1 && run.int("deleted_preimages") == 1)
    }
    #expect(try database.refcount(hash(1)) == 3)
    #expect(try retention.verify().rows.isEmpty)
    #expect(try retention.health().rows.allSatisfy { try $0.bool("ok") })
  }
}
