import MigrationGenerator
import Testing

@testable import RetentionRunner

@Suite struct SQLScriptTests {
  @Test("A name that holds lines of its own keeps them when a file joins the migrator's transaction")
  func linesInsideNames() throws {
    let text = "-- kind: versioned\n\nBEGIN;\n\nDROP TABLE \"a\nBEGIN;\nCOMMIT;\nb\";\n\nCOMMIT;\n"
    let migration = try Migration(MigrationFile(path: "010_x.sql", text: text))
    #expect(migration.scripts == ["-- kind: versioned\n\n\nDROP TABLE \"a\nBEGIN;\nCOMMIT;\nb\";\n\n"])
  }

  @Test(
    "A semicolon ends a statement only where PostgreSQL says so",
    arguments: [
      ("SELECT 1; SELECT 2", ["SELECT 1;", " SELECT 2"]),
      ("SELECT ';'; SELECT '''; '", ["SELECT ';';", " SELECT '''; '"]),
      (#"SELECT E'\'; '; SELECT 2"#, [#"SELECT E'\'; ';"#, " SELECT 2"]),
      (#"SELECT "a;b"; SELECT 2"#, [#"SELECT "a;b";"#, " SELECT 2"]),
      ("DO $$ a; b $$; SELECT $1", ["DO $$ a; b $$;", " SELECT $1"]),
      ("DO $jam$ $$; $jam$; SELECT 2", ["DO $jam$ $$; $jam$;", " SELECT 2"]),
      ("SELECT \"a\"\"\u{301};\"; SELECT '\u{301};'", ["SELECT \"a\"\"\u{301};\";", " SELECT '\u{301};'"]),
      ("-- a;\r\nSELECT 1;\r\nSELECT (2;3)", ["-- a;\r\nSELECT 1;", "\r\nSELECT (2;3)"]),
      ("SELECT a$b$; SELECT e'\\';'; ", ["SELECT a$b$;", " SELECT e'\\';';"]),
      ("/* a; /* b; */ c; */ SELECT 1; -- d;\n", ["/* a; /* b; */ c; */ SELECT 1;"]),
    ]
  )
  func splits(script: String, statements: [String]) {
    #expect(SQLScript.statements(of: script) == statements)
  }
}
