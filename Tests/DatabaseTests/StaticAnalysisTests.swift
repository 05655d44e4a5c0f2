import Postgres
import RetentionModel
import SafeSQL
import Testing

/// What a static analysis of the installed functions finds. The extension `plpgsql_check` looks into every branch and
/// every statement, also those that no test reaches.
@Suite struct StaticAnalysisTests {
  @Test(
    "plpgsql_check finds nothing in any function",
    .enabled("the server has no extension plpgsql_check") { try isAvailable() },
    arguments: RefcountingMode.allCases,
    ["jam", "hostile", "hostile columns"]
  )
  func findsNothing(mode: RefcountingMode, model: String) throws {
    let database: TestDatabase
    switch model {
    case "jam": database = try TestDatabase(mode)
    case "hostile": database = try TestDatabase(model: HostileModelTests.model(mode))
    default: database = try TestDatabase(model: HostileColumnTests.model(mode))
    }
    _ = try database.migrate()
    try database.connection.execute("CREATE EXTENSION plpgsql_check SCHEMA pg_catalog")
    let findings = try Self.findings(database.connection)
    #expect(findings == [])
    let functions = try database.int("SELECT count(*) FROM (\(Self.checked)) AS f")
    #expect(functions > 15)
  }

  @Test("plpgsql_check is really asked", .enabled("the server has no extension plpgsql_check") { try isAvailable() })
  func findsMistakes() throws {
    let database = try TestDatabase()
    try database.connection.execute(
      """
      CREATE EXTENSION plpgsql_check SCHEMA pg_catalog;
      CREATE TABLE t (a bigint);
      CREATE FUNCTION mistaken() RETURNS trigger LANGUAGE plpgsql AS $$
      DECLARE
        unused integer;
        n bigint := 0;
      BEGIN
        SELECT count(nothing) INTO n FROM gained;
        RETURN NULL;
      END
      $$;
      CREATE TRIGGER t AFTER INSERT ON t REFERENCING NEW TABLE AS gained FOR EACH STATEMENT EXECUTE FUNCTION mistaken();
      CREATE FUNCTION injectable(name text) RETURNS void LANGUAGE plpgsql AS $$
      BEGIN
        EXECUTE 'SELECT ' || name;
      END
      $$;
      """
    )
    let findings = try Self.findings(database.connection)
    for text in ["unused", "nothing", "sanitized", "cast"] {
      #expect(findings.contains { $0.contains(text) }, "\(text) in \(findings)")
    }
  }

  private static func isAvailable() throws -> Bool {
    try TestDatabase().int("SELECT count(*) FROM pg_available_extensions WHERE name = 'plpgsql_check'") == 1
  }

  /// Every function in PL/pgSQL outside the system's schemas, and a trigger function once for each of its tables.
  private static let checked: SQL = """
    SELECT DISTINCT p.oid, coalesce(t.tgrelid, 0) AS relation,
      -- One function serves the triggers of several events and branches on TG_OP, so each call needs both names.
      max(t.tgoldtable) OVER (PARTITION BY p.oid) AS old_table, max(t.tgnewtable) OVER (PARTITION BY p.oid) AS new_table
    FROM pg_proc AS p
    JOIN pg_language AS l ON l.oid = p.prolang AND l.lanname = 'plpgsql'
    LEFT JOIN pg_trigger AS t ON t.tgfoid = p.oid
    WHERE p.pronamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
    """

  private static func findings(_ connection: Connection) throws -> [String] {
    try connection.query(
      """
      SELECT concat_ws(' ', f.oid::regproc, 'line ' || c.lineno, c.level || ':', c.message, c.detail, c.query) AS finding
      FROM (\(checked)) AS f
      CROSS JOIN LATERAL plpgsql_check_function_tb(
        f.oid, f.relation, fatal_errors => false, other_warnings => true, extra_warnings => true,
        performance_warnings => true, security_warnings => true, compatibility_warnings => true,
        oldtable => f.old_table, newtable => f.new_table) AS c
      ORDER BY 1
      """
    ).rows.map { try $0.string("finding") }
  }
}
