import Testing

@testable import RetentionRunner

@Suite struct SQLScriptTests {
  @Test(
    "A semicolon ends a statement only where PostgreSQL says so",
    arguments: [
      ("SELECT 1; SELECT 2", ["SELECT 1;", " SELECT 2"]),
      ("SELECT ';'; SELECT '''; '", ["SELECT ';';", " SELECT '''; '"]),
      (#"SELECT E'\'; '; SELECT 2"#, [#"SELECT E'\'; ';"#, " SELECT 2"]),
      (#"SELECT "a;b"; SELECT 2"#, [#"SELECT "a;b";"#, " SELECT 2"]),
      ("DO $$ a; b $$; SELECT $1", ["DO $$ a; b $$;", " SELECT $1"]),
      ("DO $jam$ $$; $jam$; SELECT 2", ["DO $jam$ $$; $jam$;", " SELECT 2"]),
      ("/* a; /* b; */ c; */ SELECT 1; -- d;\n", ["/* a; /* b; */ c; */ SELECT 1;"]),
    ]
  )
  func splits(script: String, statements: [String]) {
    #expect(SQLScript.statements(of: script) == statements)
  }
}
