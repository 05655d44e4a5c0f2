import Configuration
import Foundation
import RetentionModel
import Yams

/// The keys of a configuration file with their places. JSON is read as YAML, of which it is a part.
///
/// swift-configuration's own readers keep neither the places nor a list of the keys, so that neither the line of a
/// mistake nor an unknown key could be told.
struct ConfigurationFile {
  private let name: String
  private var values: [AbsoluteConfigKey: ConfigValue] = [:]
  /// Every key of the file with its place, such as `node.yaml:3:5`, in the file's order.
  private(set) var places: [(key: [String], place: String)] = []

  /// What ``ConfigurationReader`` reads from.
  var provider: InMemoryProvider { InMemoryProvider(name: name, values: values) }

  /// - Throws: ``ConfigurationErrors`` when the file cannot be read.
  init(path: String) throws {
    let text: String
    do {
      text = try String(contentsOf: URL(filePath: path), encoding: .utf8)
    } catch {
      throw ConfigurationErrors(mistakes: ["\(path) cannot be read: \(error.localizedDescription)"])
    }
    try self.init(text: text, name: path)
  }

  init(text: String, name: String) throws {
    self.name = name
    if let problem = YAMLExpansion.problem(of: text) { throw ConfigurationErrors(mistakes: ["\(name): \(problem)"]) }
    do {
      if let root = try Yams.compose(yaml: text) { add(root, at: root, below: []) }
    } catch let error as YamlError {
      throw ConfigurationErrors(mistakes: [Self.describe(error, in: name)])
    }
  }

  /// The place of a key; nil: the file does not have it.
  func place(of key: AbsoluteConfigKey) -> String? {
    places.first { $0.key == key.components }?.place
  }

  private mutating func add(_ node: Node, at key: Node, below path: [String]) {
    if case .mapping(let mapping) = node {
      for (key, value) in mapping {
        // A dot goes one level down, as everywhere in swift-configuration.
        add(value, at: key, below: path + (key.string ?? "").split(separator: ".").map(String.init))
      }
      return
    }
    places.append((path, "\(name)\(key.mark.map { ":\($0.line):\($0.column)" } ?? "")"))
    // A key without a value is not set.
    guard node.null == nil else { return }
    let content = node.scalar.map { ConfigContent.string($0.string) } ?? .stringArray([])
    values[AbsoluteConfigKey(path)] = ConfigValue(content, isSecret: true)
  }

  /// Without the lines of the file, which may hold a password; Yams' own text shows them.
  private static func describe(_ error: YamlError, in name: String) -> String {
    switch error {
    case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
      .composer(_, let problem, let mark, _):
      "\(name):\(mark.line):\(mark.column): is neither YAML nor JSON: \(problem)"
    case .duplicatedKeysInMapping(let duplicates, let context):
      "\(name):\(context.mark.line):\(context.mark.column): a key is there twice: \(duplicates.joined(separator: ", "))"
    default:
      "\(name): is neither YAML nor JSON"
    }
  }
}
