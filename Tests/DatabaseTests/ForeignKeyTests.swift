import Postgres
import RetentionModel
import RetentionRunner
import SafeSQL
import Testing

/// Foreign keys besides those of the model's own classes and parts.
@Suite struct ForeignKeyTests {
  @Test(
    "A foreign key that the model does not know, and by which rows would go unseen or a cleanup fail, is not adopted"
  )
  func unknown() throws {
    let database = try TestDatabase()
    try database.createTables()
    try database.connection.execute(
      """
      CREATE TABLE thumbnails (source text REFERENCES jam_preimages ON DELETE CASCADE, made_at timestamptz DEFAULT now());
      CREATE TABLE votes (report uuid, worker text, FOREIGN KEY (worker, report) REFERENCES jam_attestations (worker_id, report_id) ON DELETE RESTRICT);
      ALTER TABLE jam_services ADD first_package uuid REFERENCES jam_work_packages;
      """
    )
    let expected = [
      "table jam_services has a foreign key jam_services_first_package_fkey to public.jam_work_packages that the model does not know: cleanups would fail on the rows that it refers to",
      "table thumbnails has a foreign key thumbnails_source_fkey to public.jam_preimages that the model does not know: its rows would be deleted too, whatever their age, and could not be brought back",
      "table votes has a foreign key votes_worker_report_fkey to public.jam_attestations that the model does not know: cleanups would fail on the rows that it refers to",
    ]
    let error = try #require(throws: RunnerError.self) { try database.migrate() }
    #expect(error.description.contains(": \(expected.joined(separator: "; ")) ("), "\(error)")
    #expect(try database.int("SELECT count(*) FROM pg_class WHERE relname = 'jam_reference_ledger'") == 0)
  }

  @Test(
    "A foreign key that sets to NULL or to the default keeps nothing and loses no row",
    arguments: ["NULL", "DEFAULT"]
  )
  func weak(action: String) throws {
    let database = try TestDatabase()
    try database.createTables()
    try database.connection.execute(
      "CREATE TABLE thumbnails (id integer, source text REFERENCES jam_preimages ON DELETE SET \(raw: action))"
    )
    _ = try database.migrate()
    try database.put(hash(1), age: "60 days")
    try database.connection.execute("INSERT INTO thumbnails VALUES (1, \(literal: hash(1)))")
    #expect(try database.retention.cleanup().int("deleted_preimages") == 1)
    #expect(try database.int("SELECT count(*) FROM thumbnails WHERE source IS NULL") == 1)
  }

  @Test(
    "A foreign key beside a reference is known by that, one of several columns in any order",
    arguments: [false, true]
  )
  func known(isInModel: Bool) throws {
    var model = RetentionModel.jam
    if isInModel {
      model.tables.append(
        Table(
          name: "jam_votes",
          columns: [Column("id", "integer"), Column("report", "uuid"), Column("worker", "text")],
          primaryKey: ["id"],
          foreignKeys: [
            ForeignKey(
              columns: ["report", "worker"],
              parent: "jam_attestations",
              parentColumns: ["report_id", "worker_id"],
              onDelete: .noAction
            )
          ]
        )
      )
    }
    #expect(model.validate() == [])
    let database = try TestDatabase(model: model)
    try database.createTables()
    try database.connection.execute(
      isInModel
        ? """
        DROP TABLE jam_votes;
        CREATE TABLE jam_votes (id integer PRIMARY KEY, report uuid, worker text,
          FOREIGN KEY (worker, report) REFERENCES jam_attestations (worker_id, report_id));
        """
        : "ALTER TABLE jam_service_versions ADD FOREIGN KEY (code_hash) REFERENCES jam_preimages ON DELETE CASCADE"
    )
    _ = try database.migrate()
    try database.migrateWithPsql()
  }

  @Test(
    "A table that never expires may refer to itself: cascades are counted, cleanups pass",
    arguments: Installation.all
  )
  func tree(installation: Installation) throws {
    var model = RetentionModel.jam
    model.refcounting = installation.refcounting
    model.tables[0].columns.append(Column("parent_id", "uuid", nullable: true))
    model.tables[0].foreignKeys = [ForeignKey(columns: ["parent_id"], parent: "jam_services", parentColumns: ["id"])]
    #expect(model.validate() == [])
    let database = try TestDatabase(model: model)
    if installation.data == .after { _ = try database.migrate() } else { try database.createTables() }
    // A chain of services, each with the same code and a package.
    try database.connection.execute(
      """
      INSERT INTO jam_preimages (hash, size, created_at)
        SELECT lpad(n::text, 64, '0'), 1, now() - interval '60 days' FROM generate_series(1, 2) AS n;
      INSERT INTO jam_services (id, owner, code_hash, parent_id)
        SELECT lpad(n::text, 32, '0')::uuid, '', \(literal: hash(1)), nullif(lpad((n - 1)::text, 32, '0'), repeat('0', 32))::uuid
        FROM generate_series(1, 5) AS n;
      INSERT INTO jam_work_packages (id, service_id, preimage_hashes, created_at)
        SELECT gen_random_uuid(), id, ARRAY[\(literal: hash(2))], now() - interval '60 days' FROM jam_services;
      """
    )
    if installation.data == .before { _ = try database.migrate() }
    try database.expectLaw()
    #expect(try database.refcount(hash(1)) == 5)
    try database.connection.execute("DELETE FROM jam_services WHERE id = '00000000-0000-0000-0000-000000000003'")
    try database.expectLaw()
    #expect(try [database.refcount(hash(1)), database.refcount(hash(2))] == [2, 2])
    try database.retention.setPolicy("protected_statuses", to: "{held}")
    let dry = try database.retention.cleanup(dryRun: true)
    let real = try database.retention.cleanup()
    for run in [dry, real] {
      #expect(try run.int("deleted_packages") == 2 && run.int("deleted_preimages") == 1)
    }
    try database.connection.execute("DELETE FROM jam_services WHERE parent_id IS NULL")
    try database.expectLaw()
    #expect(try database.retention.cleanup().int("deleted_preimages") == 1)
  }
}
