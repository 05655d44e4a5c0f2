import Postgres
import Testing

/// Which hashes a scan finds: runs of exactly 64 lower-case hex digits.
@Suite struct ScanTests {
  @Test(
    "A run counts wherever it lies, and only if it has exactly 64 digits",
    arguments: [
      ("''", 0), ("repeat('a', 64)", 1), ("repeat('a', 63)", 0), ("repeat('a', 65)", 0), ("repeat('A', 64)", 0),
      ("'x' || repeat('a', 64) || 'g' || repeat('0', 64)", 2),
      (#"'\' || repeat('a', 64) || '\\' || repeat('b', 64)"#, 2),
      (#"repeat('\', 5) || repeat('7', 64)"#, 1), ("repeat('a', 32) || E'\\n' || repeat('a', 32)", 0),
    ]
  )
  func text(expression: String, count: Int) throws {
    let database = try TestDatabase()
    _ = try database.migrate()
    let found = try database.int("SELECT count(*) FROM jam_scan_hashes(convert_to(\(raw: expression), 'UTF8'))")
    #expect(found == count)
  }

  @Test("Bytes that are no text separate runs, and their escapes are not taken for digits")
  func bytes() throws {
    let database = try TestDatabase()
    _ = try database.migrate()
    for byte in 0...255 {
      let isDigit = (48...57).contains(byte) || (97...102).contains(byte)
      let found = try database.connection.query(
        """
        SELECT
          (SELECT count(*) FROM jam_scan_hashes(b || run)) AS before, (SELECT count(*) FROM jam_scan_hashes(run || b)) AS after,
          (SELECT count(*) FROM jam_scan_hashes(b || run || b || run || b)) AS around,
          (SELECT count(*) FROM jam_scan_hashes(b || substr(run, 4) || b)) AS short
        FROM set_byte('\\x00', 0, \(byte)) AS b, convert_to(repeat('377', 21) || '3', 'UTF8') AS run
        """
      ).first
      let counts = try ["before", "after", "around", "short"].map { try found?.int($0) }
      #expect(counts == (isDigit ? [0, 0, 0, 0] : [1, 1, 2, 0]), "byte \(byte)")
    }
  }

  @Test(
    "Contents are searched in blocks of 32 bytes; a run counts once wherever in its block it begins, up to both ends"
  )
  func blocks() throws {
    let database = try TestDatabase()
    _ = try database.migrate()
    let wrong = try database.connection.query(
      """
      SELECT o, l, s FROM unnest(ARRAY[0, 1, 31, 32, 33, 63, 64, 200]) AS s, generate_series(0, 64) AS o,
        unnest(ARRAY[31, 32, 33, 63, 64, 65, 95, 96, 97, 127, 128, 129]) AS l
      WHERE (
        SELECT coalesce(string_agg(f.hash, ' '), '')
        FROM jam_scan_hashes(convert_to(repeat('z', o) || left(repeat('0123456789abcdef', 9), l) || repeat('z', s), 'UTF8')) AS f (hash)
      ) <> CASE WHEN l = 64 THEN repeat('0123456789abcdef', 4) ELSE '' END
      """
    )
    #expect(wrong.rows.map { "\($0["o"] ?? "") \($0["l"] ?? "") \($0["s"] ?? "")" } == [])
  }

  @Test("An output of 70 million bytes that need escapes does not fail its writer")
  func huge() throws {
    let database = try TestDatabase(.deferred)
    _ = try database.migrate()
    let package = try database.submit([])
    _ = try database.connection.query(
      """
      INSERT INTO jam_work_reports (id, package_id, service_id, refine_output_hash, refine_output_compact)
      SELECT gen_random_uuid(), p.id, p.service_id, '', decode(repeat('ff', 70000000), 'hex') || convert_to($2, 'UTF8')
      FROM jam_work_packages AS p WHERE p.id = $1::uuid
      """,
      package,
      hash(7)
    )
    #expect(try database.int("SELECT sum(delta) FROM jam_reference_ledger WHERE hash = \(literal: hash(7))") == 1)
  }
}
