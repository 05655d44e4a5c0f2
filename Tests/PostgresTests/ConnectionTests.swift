import EmbeddedPostgres
import Foundation
import Logging
@testable import Postgres
import SafeSQL
import Testing

@Suite struct ConnectionTests {
  @Test func roundTripsParametersOfEachType() throws {
    let connection = try TestServer.connect()
    let row = try #require(
      try connection.query(
        """
        SELECT $1::text AS a, $2::boolean AS b, $3::bigint AS c, $4::float8 AS d, $5::bytea AS e, $6::bytea AS f,
          $7::text[] AS g, $8::int AS h, $9::numeric AS i, $10::bigint[] AS j, $11::bytea AS k
        """,
        "text",
        false,
        Int.min,
        -0.1,
        Data([0, 1, 255]),
        [0x5c, 0x27, 0] as [UInt8],
        ["a", ""],
        nil,
        UInt64.max,
        [1, -2],
        [UInt8]()
      ).first
    )
    #expect(try row.string("a") == "text")
    #expect(try row.bool("b") == false)
    #expect(try row.int("c") == Int.min)
    #expect(try row.double("d") == -0.1)
    #expect(try row.bytes("e") == [0, 1, 255])
    #expect(try row.bytes("f") == [0x5c, 0x27, 0])
    #expect(row["g"] == #"{a,""}"#)
    #expect(row["h"] == nil)
    #expect(try row.optionalInt("h") == nil)
    #expect(row["i"] == String(UInt64.max))
    #expect(row["j"] == "{1,-2}")
    #expect(try row.bytes("k") == [])
  }

  @Test(arguments: [Double.infinity, -.infinity, .greatestFiniteMagnitude, .leastNonzeroMagnitude, 0.1])
  func roundTripsDoubles(value: Double) throws {
    let row = try TestServer.connect().query("SELECT $1::float8 AS x", value).first
    #expect(try row?.double("x") == value)
  }

  @Test(arguments: [
    "'; DROP TABLE x; --", "\\", "\"{},NULL\\", "NULL", "", " ", "$1", "\u{1F980}é\n\r\t", "\u{FEFF}", "{a,b}", "%s%n",
  ])
  func takesHostileStrings(text: String) throws {
    let connection = try TestServer.connect()
    let row = try connection.query(
      "SELECT $1::text AS x, ($2::text[])[2] AS y, convert_to($1, 'UTF8') AS z",
      text,
      ["first", text]
    ).first
    #expect(try row?.string("x") == text)
    #expect(try row?.string("y") == text)
    #expect(try row?.bytes("z") == Array(text.utf8))
  }

  @Test func readsBytesInTheOldFormat() throws {
    let connection = try TestServer.connect()
    try connection.execute("SET bytea_output = escape")
    let row = try connection.query("SELECT $1::bytea AS x", [UInt8](0...255)).first
    #expect(try row?.bytes("x") == [UInt8](0...255))
  }

  @Test func refusesNUL() throws {
    let error = #expect(throws: PostgresError.self) { try TestServer.connect().query("SELECT $1::text", "a\0b") }
    #expect(error?.kind == .usage)
  }

  @Test func errorsOfRowsNameTheColumn() throws {
    let row = try #require(try TestServer.connect().query("SELECT 'secret' AS a, NULL AS b").first)
    let missing = #expect(throws: PostgresError.self) { try row.string("c") }
    #expect(missing?.description == "the result has no column \"c\"; hint: its columns are: a, b")
    let wrong = #expect(throws: PostgresError.self) { try row.int("a") }
    #expect(wrong?.description == "column \"a\" is not an integer")
    let null = #expect(throws: PostgresError.self) { try row.int("b") }
    #expect(null?.description == "column \"b\" is NULL, which was not expected")
    #expect(try row.optionalInt("b") == nil)
  }

  @Test func errorsKeepTheServersFields() throws {
    let connection = try TestServer.connect()
    let error = #expect(throws: PostgresError.self) {
      try connection.execute(
        """
        DO $$ BEGIN
          RAISE EXCEPTION E'first\nsecond' USING ERRCODE = 'JAM01', DETAIL = 'row 7', HINT = 'try again';
        END $$
        """
      )
    }
    #expect(error?.kind == .server)
    #expect(error?.sqlState == "JAM01")
    #expect(error?.detail == "row 7")
    #expect(error?.hint == "try again")
    #expect(error?.severity == "ERROR")
    #expect(error?.context?.contains("PL/pgSQL") == true)
    #expect(error?.description == "first second (SQLSTATE JAM01); hint: try again")
    #expect(error?.debugDescription.contains("row 7") == true)

    let misspelt = #expect(throws: PostgresError.self) { try connection.query("SELECT nothing") }
    #expect(misspelt?.position == 8)
    #expect(misspelt?.sqlState == "42703")
  }

  @Test func scriptsGiveTheirLastResult() throws {
    let connection = try TestServer.connect()
    let result = try connection.execute("CREATE TEMP TABLE t (x int); INSERT INTO t VALUES (1), (2); SELECT 3 AS y")
    #expect(try result.first?.int("y") == 3)
    #expect(result.columns == ["y"])
    let deleted = try connection.query("DELETE FROM t")
    #expect(deleted.rowsAffected == 2)
    #expect(deleted.commandTag == "DELETE 2")
    #expect(try connection.execute("").commandTag == "")
    #expect(throws: PostgresError.self) { try connection.query("SELECT 1; SELECT 2") }
  }

  @Test func transactionsRollBack() throws {
    struct Refusal: Error {}
    let connection = try TestServer.connect()
    try connection.execute("CREATE TEMP TABLE t (x int)")
    let seven = try connection.transaction {
      _ = try connection.query("INSERT INTO t VALUES ($1)", 7)
      return 7
    }
    #expect(seven == 7)
    #expect(throws: Refusal.self) {
      try connection.transaction {
        _ = try connection.query("INSERT INTO t VALUES (8)")
        throw Refusal()
      }
    }
    let swallowed = #expect(throws: PostgresError.self) {
      try connection.transaction { _ = try? connection.query("SELECT 1/0") }
    }
    #expect(swallowed?.sqlState == "25P02")
    #expect(try connection.query("SELECT array_agg(x) AS x FROM t").first?["x"] == "{7}")
  }

  @Test func noticesReachTheLogger() throws {
    let recording = Recording()
    let connection = try TestServer.connect(logger: Logger(label: "test") { _ in RecordingLogHandler(recording) })
    try connection.execute(
      """
      SET client_min_messages = debug1;
      DO $$ BEGIN
        RAISE WARNING 'w'; RAISE NOTICE 'n'; RAISE INFO 'i'; RAISE DEBUG 'd';
      END $$
      """
    )
    #expect(recording.lines == ["warning: w", "notice: n", "info: i", "debug: d"])
  }

  @Test func cancelEndsAStatementOfAnotherThread() throws {
    let connection = try TestServer.connect()
    let watcher = try TestServer.connect()
    let processID = connection.processID
    Thread.detachNewThread {
      // Cancelling before the statement runs would do nothing.
      while (try? watcher.query("SELECT FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'PgSleep'", processID))?
        .first
        == nil
      {
        usleep(10_000)
      }
      connection.cancel()
    }
    let start = Date()
    let error = #expect(throws: PostgresError.self) { try connection.query("SELECT pg_sleep(60)") }
    #expect(error?.sqlState == "57014")
    #expect(Date().timeIntervalSince(start) < 30)
    #expect(try connection.query("SELECT 1 AS x").first?.int("x") == 1)
  }

  @Test func aClosedConnectionSaysSo() throws {
    let connection = try TestServer.connect()
    connection.close()
    connection.close()
    connection.cancel()
    let error = #expect(throws: PostgresError.self) { try connection.query("SELECT 1") }
    #expect(error?.kind == .connection)
  }

  @Test func aLostConnectionIsNoErrorOfTheServer() throws {
    let connection = try TestServer.connect()
    let error = #expect(throws: PostgresError.self) {
      try connection.query("SELECT pg_terminate_backend(pg_backend_pid())")
    }
    #expect(error?.kind == .connection)
    #expect(error?.sqlState == "57P01")
  }

  @Test func copiesIn() throws {
    let connection = try TestServer.connect()
    try connection.execute("CREATE TEMP TABLE t (x int, y text)")
    let lines = (1...50_000).map { "\($0)\tline \($0)\n" }.joined()
    try connection.copyIn("COPY t FROM STDIN", data: lines.utf8)
    try connection.copyIn("COPY t FROM STDIN", data: EmptyCollection())
    #expect(try connection.query("SELECT count(*) AS n FROM t WHERE y = 'line ' || x").first?.int("n") == 50_000)

    let malformed = #expect(throws: PostgresError.self) {
      try connection.copyIn("COPY t FROM STDIN", data: "x\ty\n".utf8)
    }
    #expect(malformed?.sqlState == "22P02")
    let noCopy = #expect(throws: PostgresError.self) { try connection.copyIn("SELECT 1", data: []) }
    #expect(noCopy?.kind == .usage)
    for copy: SQL in ["COPY t FROM STDIN", "COPY t TO STDOUT", "COPY t TO STDOUT; COPY t TO STDOUT"] {
      let noQuery = #expect(throws: PostgresError.self) { try connection.execute(copy) }
      #expect(noQuery?.kind == .usage)
    }
    #expect(try connection.query("SELECT count(*) AS n FROM t").first?.int("n") == 50_000)
  }

  @Test func tellsWhoItIs() throws {
    let connection = try TestServer.connect()
    let row = try connection.query(
      """
      SELECT current_setting('server_version_num') AS version, pg_backend_pid() AS pid,
        current_setting('application_name') AS name, current_setting('client_encoding') AS encoding
      """
    ).first
    #expect(try row?.int("version") == connection.serverVersion)
    #expect(try row?.int("pid") == Int(connection.processID))
    #expect(row?["name"] == "postgres-tests")
    #expect(row?["encoding"] == "UTF8")
  }
}
