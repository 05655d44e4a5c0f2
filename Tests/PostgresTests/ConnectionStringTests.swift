import Testing

@testable import Postgres

@Suite struct ConnectionStringTests {
  @Test(arguments: [
    "postgresql://jam:hunter22@127.0.0.1:1/db",
    "postgres://jam@127.0.0.1:1/db?password=hunter22",
    "host=127.0.0.1 port=1 user=jam password=hunter22",
    "host=127.0.0.1 port=1 user=jam password='hunter22' sslpassword=hunter22",
  ])
  func showsNoPassword(text: String) throws {
    let string = try ConnectionString(text)
    #expect(!"\(string)\(String(reflecting: string))\(string.description)".contains("hunter22"))
    #expect(string.description.contains("password=[redacted]"))
    #expect(string.description.contains("host=127.0.0.1"))
    var dumped = ""
    dump(string, to: &dumped)
    #expect(!dumped.contains("hunter22"))
    let error = #expect(throws: PostgresError.self) { try Connection(string) }
    #expect(error?.kind == .connection)
    #expect(error.map { "\($0)\(String(reflecting: $0))".contains("hunter22") } == false)
  }

  @Test(arguments: [
    "host=db password=my hunter22", "password=my hunter22=x", "password='hunter22", "postgresql://jam:hun%zzter22@db/x",
    "postgresql://jam:p@hunter22@db/x", "postgresql://jam:hunt/hunter22@db/x", "postgresql://jam:hunter22/x@db/x",
    "postgresql://jam:p?x@hunter22@db/x", "postgresql://jam:a\"hunter22\"b%zz@db", "hunter22",
    // Swift takes a mark and the @ or the quote before it for one character.
    "postgresql://jam:p@\u{301}hunt22@db", "host=db \u{301}hunter22\u{301}",
    "postgresql://jam:\u{301}hunt%zz\u{301}@db",
    "user=jampassword=hunter22", "postgresql://db/x?user=jampassword%3Dhunter22", "postgresql://jam:hunt%ff@db/x",
  ])
  func refusesWhatCannotBeParsedWithoutRepeatingIt(text: String) throws {
    let error = #expect(throws: PostgresError.self) { try ConnectionString(text) }
    #expect(error?.kind == .usage)
    #expect(error.map { "\($0)\(String(reflecting: $0))".contains("hunt") } == false)
  }

  @Test("A password that begins with a mark is taken out of a message, too")
  func redactsByBytes() throws {
    let string = try ConnectionString("host=x password=\u{301}hunter22\u{301}")
    #expect(string.redact("no: \u{301}hunter22\u{301}!") == "no: [redacted]!")
  }

  @Test func takesAnEncodedPassword() throws {
    let string = try ConnectionString("postgresql://jam:a%40b%2Fc@%2Ftmp/x?application_name=it%27s")
    #expect(string.description == #"user=jam password=[redacted] dbname=x host=/tmp application_name='it\'s'"#)
    #expect(try ConnectionString(nil).description == "libpq defaults")
  }

  @Test func saysInOneLineThatNobodyAnswers() throws {
    let error = #expect(throws: PostgresError.self) {
      try Connection(ConnectionString("host=/nowhere/at/all user=jam password=hunter22"))
    }
    let line = try #require(error?.description)
    #expect(line.contains("/nowhere/at/all") && line.contains("No such file or directory"))
    #expect(!line.contains("\n"))
    #expect(error?.sqlState == nil)
  }
}
