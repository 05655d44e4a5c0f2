import Foundation
import TestSupport
import Testing

@Suite struct ModelCommandTests {
  private static let model = """
    schema: Archive
    prefix: doc_
    tables:
      - name: files
        columns:
          - {name: hash, type: text}
          - {name: size, type: bigint}
          - {name: media_type, type: text, default: "''"}
          - {name: data, type: bytea, nullable: true}
          - {name: created_at, type: timestamptz, default: now()}
          - {name: storage_class, type: text, default: "''"}
          - {name: refcount, type: bigint, default: "0"}
        primary_key: [hash]
      - name: letters
        columns:
          - {name: id, type: bigint}
          - {name: enclosures, type: "text[]", default: "'{}'"}
          - {name: sent, type: timestamptz}
        primary_key: [id]
    blobs: {table: files, plural: files, singular: file, key: hash}
    references:
      - {table: letters, array: enclosures}
    classes:
      - {name: letters, table: letters, timestamp: sent}
    """

  @Test("A model from YAML: generate, install from the files, submit, clean, verify")
  func whole() throws {
    let database = try CommandDatabase()
    let folder = try TemporaryFolder()
    let model = try folder.write("model.yaml", Self.model)
    #expect(try Command.run(["generate", "--model", model, "--out", "\(folder.path)/sql"]).status == 0)
    #expect(try Command.run(["generate", "--model", model, "--out", "\(folder.path)/sql", "--check"]).status == 0)
    try database.succeed("migrate", "up", "--model", model, "--from", "\(folder.path)/sql")
    #expect(try database.succeed("migrate", "up", "--model", model).output == "nothing to do\n")
    try database.connection.execute(
      """
      INSERT INTO "Archive".files (hash, size, data, created_at)
        SELECT repeat(h, 64), 3, 'abc', now() - interval '60 days' FROM unnest('{a,b,c}'::text[]) AS h;
      INSERT INTO "Archive".letters VALUES
        (1, ARRAY[repeat('a', 64)], now() - interval '50 days'), (2, ARRAY[repeat('b', 64)], now());
      """
    )
    let configuration = try folder.write("node.yaml", "runtime: {jam: {model: model.yaml}}")
    let result = try database.succeed("cleanup", "--config", configuration, "--format", "json")
    let run = try #require(objects(result.outputLines).first)
    #expect(run["deleted_letters"] as? Int == 1 && run["deleted_files"] as? Int == 2 && run["freed_bytes"] as? Int == 6)
    #expect(try database.int(#"SELECT refcount FROM "Archive".files"#) == 1)
    #expect(try database.run("verify", "--model", model).status == 0)
    #expect(try database.succeed("status", "--model", model).output.contains("blobs in db                1, 3 bytes"))
  }

  @Test("A model with mistakes: exit 1, each with file, line and column, and nothing is written")
  func mistakes() throws {
    let folder = try TemporaryFolder()
    func generate(_ text: String) throws -> Command.Result {
      let model = try folder.write("model.yaml", text)
      return try Command.run(["generate", "--model", model, "--out", "\(folder.path)/sql"])
    }
    let unknown = try generate(Self.model.replacing("prefix:", with: "prefx:").replacing("singular:", with: "singlar:"))
    #expect(unknown.status == 1 && unknown.output.isEmpty)
    #expect(
      unknown.error.contains("\(folder.path)/model.yaml:2:1: ") && unknown.error.contains("did you mean \"prefix\"?")
    )
    #expect(unknown.error.contains("\(folder.path)/model.yaml:20:38: ") && unknown.error.contains("\"singular\"?"))
    let wrong = try generate(
      Self.model.replacing("timestamp: sent", with: "timestamp: id").replacing(
        "array: enclosures",
        with: "array: enclosure"
      )
    )
    #expect(wrong.status == 1 && wrong.errorLines.count == 3)
    #expect(
      wrong.error.contains("\(folder.path)/model.yaml:22:") && wrong.error.contains("did you mean \"enclosures\"?")
    )
    #expect(wrong.error.contains("\(folder.path)/model.yaml:24:"))
    #expect(try folder.names() == ["model.yaml"])
  }
}
