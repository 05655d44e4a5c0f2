import Postgres
import RetentionModel
import SafeSQL
import Testing

/// The scan function of the server against its definition, on bytes that are made to mislead it.
@Suite struct ScanFuzzTests {
  /// The server searches contents in blocks of so many bytes.
  private static let block = 32

  /// The definition: every run of exactly 64 lower-case hex digits that is not part of a longer one.
  private static func runs(in bytes: some Sequence<UInt8>) -> [String] {
    var found: [String] = []
    var run: [UInt8] = []
    for byte in bytes.map({ $0 }) + [0] {
      if (48...57).contains(byte) || (97...102).contains(byte) {
        run.append(byte)
      } else {
        if run.count == 64 { found.append(String(decoding: run, as: UTF8.self)) }
        run = []
      }
    }
    return found.sorted()
  }

  private static func hexadecimal(_ bytes: [UInt8]) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }

  private static func digits(_ count: Int, using random: inout SeededGenerator) -> [UInt8] {
    let alphabet = Array("0123456789abcdef".utf8)
    return (0..<count).map { _ in alphabet.randomElement(using: &random) ?? 0 }
  }

  private static func piece(using random: inout SeededGenerator) -> [UInt8] {
    switch Int.random(in: 0..<9, using: &random) {
    case 0, 1: return digits(64, using: &random)
    case 2:
      return digits([1, 3, 61, 62, 63, 65, 66, 67, 127, 128, 129].randomElement(using: &random) ?? 0, using: &random)
    // Digits after an escape: 64 digits must remain when three of them are taken off.
    case 3: return Array("377".utf8) + digits([61, 64].randomElement(using: &random) ?? 0, using: &random)
    case 4: return digits(64, using: &random).map { $0 > 96 ? $0 - 32 : $0 }
    case 5: return Array(repeating: UInt8(ascii: "\\"), count: Int.random(in: 1...5, using: &random))
    case 6: return [UInt8.random(in: 0...255, using: &random)]
    case 7:
      return [[0], [0x80], [0xff], [10], [UInt8(ascii: "g")], [UInt8(ascii: "\\"), 0x80]].randomElement(using: &random)
        ?? []
    default: return (0..<Int.random(in: 1...40, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
    }
  }

  private static func bytes(using random: inout SeededGenerator) -> [UInt8] {
    (0..<Int.random(in: 0...8, using: &random)).flatMap { _ in piece(using: &random) }
  }

  @Test("The scan finds what its definition says, whatever the bytes", .timeLimit(.minutes(30)))
  func small() throws {
    let database = try TestDatabase()
    _ = try database.migrate()
    let seeds = FuzzInputs.seeds(sample: 2000, of: "scanner")
    var found = 0
    for start in stride(from: 0, to: seeds.count, by: 200) {
      let batch = seeds[start..<min(start + 200, seeds.count)].map { seed in
        var random = SeededGenerator(seed: seed)
        return (seed: seed, bytes: Self.bytes(using: &random))
      }
      let rows = try database.connection.query(
        """
        SELECT coalesce(string_agg(s.hash, ' ' ORDER BY s.hash COLLATE "C"), '') AS found
        FROM unnest($1::text[]) WITH ORDINALITY AS i (hex, n) LEFT JOIN LATERAL jam_scan_hashes(decode(i.hex, 'hex')) AS s (hash) ON true
        GROUP BY i.n ORDER BY i.n
        """,
        batch.map { Self.hexadecimal($0.bytes) }
      ).rows
      try #require(rows.count == batch.count)
      for (row, input) in zip(rows, batch) {
        let expected = Self.runs(in: input.bytes)
        found += expected.count
        #expect(try row.string("found") == expected.joined(separator: " "), "JAM_SEED=\(input.seed)")
      }
    }
    print("fuzz scanner: \(seeds.count) inputs, \(found) runs in them")
  }

  @Test("In a large content, a run is found once wherever it lies in a block", .timeLimit(.minutes(30)))
  func large() throws {
    let database = try TestDatabase()
    _ = try database.migrate()
    // An input of a megabyte takes as long as a hundred small ones.
    let seeds = FuzzInputs.seeds(sample: 200, of: "scanner, large", each: 200)
    for seed in seeds {
      var random = SeededGenerator(seed: seed)
      // No filler is a digit, so that runs are only in what is placed at the edges.
      let filler = ["00", "7a", "ff", "5c"].randomElement(using: &random) ?? ""
      let size = (1 << 20) + Int.random(in: 3000...4000, using: &random)
      let middle = size / 2 / Self.block * Self.block
      var content: SQL = "decode(repeat(\(literal: filler), \(size)), 'hex')"
      var expected: [String] = []
      for edge in [0, middle, size] {
        // The edge is close to the beginning or the end of a run that has 64 digits or nearly so.
        let before = Bool.random(using: &random) ? [] : Self.bytes(using: &random)
        let run = Self.digits([63, 64, 64, 64, 65].randomElement(using: &random) ?? 0, using: &random)
        let placed = before + run + (Bool.random(using: &random) ? [] : Self.piece(using: &random))
        let offset =
          before.count + (Bool.random(using: &random) ? 0 : run.count) + Int.random(in: -2...2, using: &random)
        let start = max(0, min(size - placed.count, edge - offset))
        content = """
          overlay(\(content) PLACING decode(\(literal: Self.hexadecimal(placed)), 'hex') FROM \(start + 1) FOR \(placed.count))
          """
        expected += Self.runs(in: placed)
      }
      let found = try database.connection.query(
        """
        WITH c AS MATERIALIZED (SELECT \(content) AS bytes)
        SELECT coalesce(string_agg(s.hash, ' ' ORDER BY s.hash COLLATE "C"), '') AS found
        FROM c, jam_scan_hashes(c.bytes) AS s (hash)
        """
      ).first?.string("found")
      #expect(found == expected.sorted().joined(separator: " "), "JAM_SEED=\(seed)")
    }
  }

  @Test(
    "Ten million bytes made to take a regular expression's time are scanned in linear time",
    arguments: [
      ("hex digits only", "repeat('0123456789abcdef', 655360)", 0),
      ("one digit too few, again and again", "repeat(repeat('a', 63) || 'g', 163840)", 0),
      ("one too many", "repeat(repeat('a', 65) || 'g', 158875)", 0),
      ("nothing but hashes", "repeat(repeat('a', 64) || ' ', 161319)", 161_319),
      ("runs of eight", "repeat('01234567 ', 1165084)", 0),
      ("runs of half a block and more", "repeat(repeat('a', 47) || 'g', 218453)", 0),
      ("backslashes", #"repeat('\', 10485760)"#, 0),
      ("backslashes and digits", #"repeat('\\\' || repeat('a', 63), 158875)"#, 0),
      ("a backslash before each digit", #"repeat('\a', 5242880)"#, 0),
    ]
  )
  func adversarial(name: String, expression: String, count: Int) throws {
    let database = try TestDatabase()
    _ = try database.migrate()
    try database.connection.execute("SET statement_timeout = '10s'")
    try database.connection.execute(
      "CREATE TEMPORARY TABLE content AS SELECT convert_to(\(raw: expression), 'UTF8') AS bytes"
    )
    var found = 0
    let duration = try ContinuousClock().measure {
      found = try database.int("SELECT count(*) FROM content AS c, jam_scan_hashes(c.bytes)")
    }
    #expect(found == count)
    print("fuzz scanner, 10 MB, \(name): \(duration)")
  }
}
