import RetentionModel
import Testing

@Suite struct ModelReaderTests {
  private static let yaml = """
    schema: "My Schema"
    prefix: acme_
    refcounting: deferred
    tables:
      - name: files
        columns:
          - {name: hash, type: bytea}
          - {name: size, type: bigint}
          - {name: media_type, type: text, default: "''"}
          - {name: data, type: bytea, nullable: true}
          - {name: created_at, type: timestamptz, default: now()}
          - {name: storage_class, type: text}
          - {name: refcount, type: bigint}
        primary_key: [hash]
      - name: mails
        columns:
          - {name: id, type: bigint}
          - {name: body, type: bytea}
          - {name: meta, type: jsonb}
          - {name: sent, type: timestamptz}
        primary_key: [id]
      - name: attachments
        columns: [{name: id, type: bigint}, {name: mail, type: bigint}, {name: hash, type: bytea}]
        primary_key: [id]
        foreign_keys: [{columns: [mail], parent: mails, parent_columns: [id], on_delete: cascade}]
    blobs: {table: files, plural: files, singular: file}
    references:
      - {table: mails, scan: body}
      - {table: mails, expression: "decode(meta->>'logo', 'hex')", columns: [meta]}
      - {table: attachments, scalar: hash}
    classes:
      - {name: mails, table: mails, timestamp: sent, parts: [{name: attachments, table: attachments}]}
    """

  private func errors(_ yaml: String) -> [String] {
    do {
      _ = try ModelReader.read(yaml: yaml, file: "model.yaml")
      return []
    } catch let errors as ModelErrors {
      return errors.errors.map(\.description)
    } catch {
      return ["\(error)"]
    }
  }

  @Test("Every part of a model can be written in YAML")
  func whole() throws {
    let model = try ModelReader.read(yaml: Self.yaml, file: "model.yaml")
    #expect(model.schema == "My Schema" && model.prefix == "acme_" && model.refcounting == .deferred)
    #expect(model.tables.map(\.columns.count) == [7, 4, 3])
    #expect(model.tables[2].foreignKeys == [ForeignKey(columns: ["mail"], parent: "mails", parentColumns: ["id"])])
    #expect(model.references[1].kind == .expression(sql: "decode(meta->>'logo', 'hex')", columns: ["meta"]))
    #expect(model.classes[0].parts == [DataClass.Part(name: "attachments", table: "attachments")])
  }

  @Test("Mistakes of structure and of meaning have their line, all at once")
  func mistakes() {
    let structure = Self.yaml.replacing("prefix:", with: "prefx:").replacing("deferred", with: "later")
    #expect(errors(structure).map { $0.prefix(14) } == ["model.yaml:2:1", "model.yaml:3:1"])
    #expect(errors(structure).first?.contains("allowed: schema, prefix") == true)
    let meaning = Self.yaml.replacing("table: attachments, scalar", with: "table: atachments, scalar")
      .replacing("timestamp: sent", with: "timestamp: body")
    #expect(errors(meaning).map { $0.prefix(14) } == ["model.yaml:30:", "model.yaml:32:"])
    #expect(errors("a: [").first?.hasPrefix("model.yaml") == true)
    #expect(errors("").first?.contains("empty") == true)
  }
}
