import CLibPQ
import Postgres
import SafeSQL
import Testing

/// Damaged connection strings: refused where libpq refuses them, and never repeated with their password.
@Suite struct ConnectionStringFuzzTests {
  @Test(
    "A connection string is taken as libpq takes it, and no text of ours holds its password",
    .timeLimit(.minutes(30))
  )
  func parses() {
    var counts: [String: Int] = [:]
    let seeds = FuzzInputs.seeds(sample: 3000, of: "connection string")
    for seed in seeds {
      let input = DamagedConnectionString(seed: seed)
      let known = Self.libpqOptions(input.text)
      var spoken: [String] = []
      do {
        let string = try ConnectionString(input.text)
        guard let known else {
          Issue.record("JAM_SEED=\(seed): accepted, but libpq refuses it")
          continue
        }
        spoken.append(contentsOf: ["\(string)", String(reflecting: string)])
        var dumped = ""
        dump(string, to: &dumped)
        spoken.append(dumped)
        // Nobody listens there: what the failure says is part of what may not hold the password.
        if known["host"] == "127.0.0.1", known["port"] == "1", known["hostaddr"] == nil, known["service"] == nil {
          do { _ = try Connection(string) } catch { spoken.append("\(error) \(String(reflecting: error))") }
          counts["connected", default: 0] += 1
        }
        counts["accepted", default: 0] += 1
        // What stands where libpq sees a host or a name is none: only a password is kept secret.
        if known.contains(where: { !$0.key.contains("password") && $0.value.containsScalars(input.core) }) {
          #expect(input.isDamaged, "JAM_SEED=\(seed): taken for something else than a password")
          counts["password taken for another option", default: 0] += 1
          continue
        }
      } catch {
        spoken.append("\(error) \(String(reflecting: error))")
        let isEither = known == nil || Self.isRefusedByUs(input.text, known ?? [:])
        #expect(isEither, "JAM_SEED=\(seed): refused, but libpq accepts it: \(error)")
        counts[known == nil ? "refused by libpq" : "refused by us alone", default: 0] += 1
      }
      for text in spoken where text.containsScalars(input.core) {
        Issue.record("JAM_SEED=\(seed): holds the password: \(text)")
      }
    }
    print("fuzz connection string: \(seeds.count) inputs: \(counts.sorted { $0.key < $1.key })")
  }

  /// What libpq makes of the text; bytes that are no text become U+FFFD. Nil: it refuses.
  private static func libpqOptions(_ text: String) -> [String: String]? {
    guard !text.isEmpty, let parsed = PQconninfoParse(text, nil) else { return text.isEmpty ? [:] : nil }
    defer { PQconninfoFree(parsed) }
    var options: [String: String] = [:]
    var next = parsed
    while let keyword = next.pointee.keyword {
      if let value = next.pointee.val { options[String(cString: keyword)] = String(cString: value) }
      next += 1
    }
    return options
  }

  /// The differences from libpq, all of them refusals: a text that C would cut at a NUL, a URL whose password libpq takes
  /// for the host or the port, a value that is no UTF-8, a value with `password=` in it.
  private static func isRefusedByUs(_ text: String, _ options: [String: String]) -> Bool {
    let scheme = ["postgresql://", "postgres://"].first { text.utf8.starts(with: $0.utf8) }
    let address = text.utf8.dropFirst(scheme?.utf8.count ?? 0).prefix { $0 != UInt8(ascii: "?") }
    let at = UInt8(ascii: "@")
    let isAmbiguous =
      scheme != nil
      && (address.count(where: { $0 == at }) > 1 || (options["host"] ?? "").utf8.contains(at)
        || address.drop { $0 != UInt8(ascii: "/") }.contains(at))
    let hasPort = (options["port"] ?? "").utf8.allSatisfy { (48...57).contains($0) || $0 == UInt8(ascii: ",") }
    let isRepaired = text.containsScalars("%") && options.values.contains { $0.containsScalars("\u{fffd}") }
    let holdsAnother = options.contains { !$0.key.contains("password") && $0.value.containsScalars("password=") }
    return text.utf8.contains(0) || isAmbiguous || !hasPort || isRepaired || holdsAnother
  }
}
