import Yams

/// Reads a model from YAML. Every mistake has its line and column.
public struct ModelReader {
  private let file: String
  private var errors: [ModelError] = []

  private init(file: String) {
    self.file = file
  }

  /// Reads and validates a model.
  ///
  /// - Parameters:
  ///   - yaml: the text.
  ///   - file: the name that stands before each mistake.
  /// - Throws: ``ModelErrors`` with all mistakes: those of the structure, or else those of the model.
  public static func read(yaml: String, file: String) throws -> RetentionModel {
    // Before the parser reads it.
    if let problem = YAMLExpansion.problem(of: yaml) { throw ModelErrors([ModelError("\(file):1:1", problem)]) }
    let root: Node?
    do {
      root = try Yams.compose(yaml: yaml)
    } catch let error {
      let (mark, problem) = describe(error, in: yaml)
      throw ModelErrors([ModelError("\(file):\(mark)", "is no YAML: \(problem)")])
    }
    guard let root else { throw ModelErrors([ModelError("\(file):1:1", "is empty")]) }
    var reader = ModelReader(file: file)
    let model = reader.model(root)
    guard reader.errors.isEmpty else { throw ModelErrors(reader.errors) }
    let mistakes = model.validate()
    guard mistakes.isEmpty else {
      throw ModelErrors(mistakes.map { ModelError(reader.place($0.path, below: root), $0.message) })
    }
    return model
  }

  // MARK: YAML

  /// Where the parser gave up, and why, without its copy of the text.
  private static func describe(_ error: any Error, in yaml: String) -> (place: String, problem: String) {
    switch error as? YamlError {
    case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
      .composer(_, let problem, let mark, _):
      return ("\(mark)", problem)
    case .duplicatedKeysInMapping(let duplicates, let context):
      return ("\(context.mark)", "a key is there twice: \(duplicates.joined(separator: ", "))")
    case .reader(let problem, let offset, _, _):
      let lines = yaml.prefix(offset ?? 0).split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
      return ("\(max(1, lines.count)):\((lines.last?.unicodeScalars.count ?? 0) + 1)", problem)
    default:
      return ("1:1", "\(error)")
    }
  }

  // MARK: Places

  /// `model.yaml:12:5: references[2].table`, with the place of the deepest node that the path names.
  private func place(_ path: String, below root: Node) -> String {
    var node = root
    for step in path.replacing("[", with: ".").replacing("]", with: "").split(separator: ".") {
      guard let next = Int(step).map({ node.sequence?[safely: $0] }) ?? node.mapping?[Node(String(step))] else { break }
      node = next
    }
    return place(path, at: node)
  }

  private func place(_ path: String, at node: Node) -> String {
    "\(file):\(node.mark.map { "\($0.line):\($0.column): " } ?? " ")\(path)"
  }

  private mutating func add(_ path: String, at node: Node, _ message: String) {
    errors.append(ModelError(place(path, at: node), message))
  }

  // MARK: Values

  private mutating func fields(_ node: Node, _ path: String, allowed: [String], required: [String]) -> [String: Node] {
    guard let mapping = node.mapping else {
      add(path, at: node, "must be a mapping with \(allowed.joined(separator: ", "))")
      return [:]
    }
    var result: [String: Node] = [:]
    for (key, value) in mapping {
      let name = key.string ?? ""
      if allowed.contains(name) {
        result[name] = value
      } else {
        add(
          path,
          at: key,
          "there is no \"\(name)\" here\(Suggestion.text(for: name, among: allowed)); allowed: \(allowed.joined(separator: ", "))"
        )
      }
    }
    for name in required where result[name] == nil { add(path, at: node, "\"\(name)\" is missing") }
    return result
  }

  private mutating func text(_ node: Node?, _ path: String) -> String? {
    guard let node else { return nil }
    guard case .scalar(let scalar) = node else {
      add(path, at: node, "must be text")
      return nil
    }
    return scalar.string
  }

  private mutating func list<Element>(_ node: Node?, _ path: String, _ read: (inout Self, Node, String) -> Element)
    -> [Element]
  {
    guard let node else { return [] }
    guard let sequence = node.sequence else {
      add(path, at: node, "must be a list")
      return []
    }
    return sequence.enumerated().map { read(&self, $1, "\(path)[\($0)]") }
  }

  private mutating func texts(_ node: Node?, _ path: String) -> [String] {
    list(node, path) { $0.text($1, $2) ?? "" }
  }

  private mutating func choice<Value: RawRepresentable<String> & CaseIterable>(
    _ node: Node?,
    _ path: String,
    default value: Value
  ) -> Value {
    guard let node, let text = text(node, path) else { return value }
    if let chosen = Value(rawValue: text) { return chosen }
    add(
      path,
      at: node,
      "\"\(text)\" is not allowed; allowed: \(Value.allCases.map(\.rawValue).joined(separator: ", "))"
    )
    return value
  }

  // MARK: The model

  private mutating func model(_ node: Node) -> RetentionModel {
    let fields = fields(
      node,
      "model",
      allowed: ["schema", "prefix", "refcounting", "tables", "blobs", "references", "classes"],
      required: ["tables", "blobs", "references", "classes"]
    )
    return RetentionModel(
      schema: text(fields["schema"], "schema") ?? "public",
      prefix: text(fields["prefix"], "prefix") ?? "jam_",
      refcounting: choice(fields["refcounting"], "refcounting", default: .immediate),
      tables: list(fields["tables"], "tables") { $0.table($1, $2) },
      blobs: blobs(fields["blobs"]),
      references: list(fields["references"], "references") { $0.reference($1, $2) },
      classes: list(fields["classes"], "classes") { $0.dataClass($1, $2) }
    )
  }

  private mutating func table(_ node: Node, _ path: String) -> Table {
    let fields = fields(
      node,
      path,
      allowed: ["name", "columns", "primary_key", "foreign_keys"],
      required: ["name", "columns", "primary_key"]
    )
    return Table(
      name: text(fields["name"], "\(path).name") ?? "",
      columns: list(fields["columns"], "\(path).columns") { $0.column($1, $2) },
      primaryKey: texts(fields["primary_key"], "\(path).primary_key"),
      foreignKeys: list(fields["foreign_keys"], "\(path).foreign_keys") { $0.foreignKey($1, $2) }
    )
  }

  private mutating func column(_ node: Node, _ path: String) -> Column {
    let fields = fields(node, path, allowed: ["name", "type", "nullable", "default"], required: ["name", "type"])
    if let nullable = fields["nullable"], nullable.bool == nil {
      add("\(path).nullable", at: nullable, "must be true or false")
    }
    return Column(
      text(fields["name"], "\(path).name") ?? "",
      text(fields["type"], "\(path).type") ?? "",
      nullable: fields["nullable"]?.bool ?? false,
      default: text(fields["default"], "\(path).default")
    )
  }

  private mutating func foreignKey(_ node: Node, _ path: String) -> ForeignKey {
    let names = ["columns", "parent", "parent_columns"]
    let fields = fields(node, path, allowed: names + ["on_delete"], required: names)
    return ForeignKey(
      columns: texts(fields["columns"], "\(path).columns"),
      parent: text(fields["parent"], "\(path).parent") ?? "",
      parentColumns: texts(fields["parent_columns"], "\(path).parent_columns"),
      onDelete: choice(fields["on_delete"], "\(path).on_delete", default: .cascade)
    )
  }

  private mutating func blobs(_ node: Node?) -> BlobTable {
    let names = ["table", "plural", "singular"]
    let columns = ["key", "size", "media_type", "data", "created_at", "storage_class", "refcount"]
    let fields = node.map { self.fields($0, "blobs", allowed: names + columns, required: names) } ?? [:]
    func value(_ name: String) -> String? { text(fields[name], "blobs.\(name)") }
    var blobs = BlobTable(table: value("table") ?? "", plural: value("plural") ?? "", singular: value("singular") ?? "")
    blobs.key = value("key") ?? blobs.key
    blobs.size = value("size") ?? blobs.size
    blobs.mediaType = value("media_type") ?? blobs.mediaType
    blobs.data = value("data") ?? blobs.data
    blobs.createdAt = value("created_at") ?? blobs.createdAt
    blobs.storageClass = value("storage_class") ?? blobs.storageClass
    blobs.refcount = value("refcount") ?? blobs.refcount
    return blobs
  }

  private mutating func reference(_ node: Node, _ path: String) -> Reference {
    let kinds = ["scalar", "array", "scan", "expression"]
    let fields = fields(node, path, allowed: ["table", "columns"] + kinds, required: ["table"])
    let table = text(fields["table"], "\(path).table") ?? ""
    let given = kinds.filter { fields[$0] != nil }
    guard given.count == 1, let kind = given.first else {
      if node.mapping != nil { add(path, at: node, "must have exactly one of \(kinds.joined(separator: ", "))") }
      return Reference(table: table, kind: .scalar(column: ""))
    }
    if kind != "expression", let columns = fields["columns"] {
      add("\(path).columns", at: columns, "goes with expression only")
    }
    let value = text(fields[kind], "\(path).\(kind)") ?? ""
    let parsed: Reference.Kind =
      switch kind {
      case "scalar": .scalar(column: value)
      case "array": .array(column: value)
      case "scan": .scan(column: value)
      default: .expression(sql: value, columns: texts(fields["columns"], "\(path).columns"))
      }
    return Reference(table: table, kind: parsed)
  }

  private mutating func dataClass(_ node: Node, _ path: String) -> DataClass {
    let fields = fields(
      node,
      path,
      allowed: ["name", "table", "timestamp", "status", "parts"],
      required: ["name", "table"]
    )
    return DataClass(
      name: text(fields["name"], "\(path).name") ?? "",
      table: text(fields["table"], "\(path).table") ?? "",
      timestamp: text(fields["timestamp"], "\(path).timestamp") ?? "created_at",
      status: text(fields["status"], "\(path).status"),
      parts: list(fields["parts"], "\(path).parts") { reader, node, path in
        let fields = reader.fields(node, path, allowed: ["name", "table", "timestamp"], required: ["name", "table"])
        return DataClass.Part(
          name: reader.text(fields["name"], "\(path).name") ?? "",
          table: reader.text(fields["table"], "\(path).table") ?? "",
          timestamp: reader.text(fields["timestamp"], "\(path).timestamp")
        )
      }
    )
  }
}

extension Node.Sequence {
  fileprivate subscript(safely index: Int) -> Node? { indices.contains(index) ? self[index] : nil }
}
