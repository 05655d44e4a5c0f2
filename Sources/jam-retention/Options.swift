import ArgumentParser
import Foundation
import Logging
import Postgres
import RetentionModel
import RetentionRunner

/// Which model a command works with.
struct ModelOptions: ParsableArguments {
  @Option(help: "The PostgreSQL schema of the tables.")
  var schema = "public"

  @Option(help: "When counts are applied: \(RefcountingMode.allCases.map(\.rawValue).joined(separator: " or ")).")
  var refcounting = RefcountingMode.immediate

  /// The model, checked: a mistake is refused before anything is changed.
  func checked() throws -> RetentionModel {
    var model = RetentionModel.jam
    model.schema = schema
    model.refcounting = refcounting
    let errors = model.validate()
    guard errors.isEmpty else { throw ModelErrors(errors) }
    return model
  }
}

extension RefcountingMode: ExpressibleByArgument {}

/// Where the database is, and how a command prints.
struct DatabaseOptions: ParsableArguments {
  enum Format: String, CaseIterable, ExpressibleByArgument {
    case text, json
  }

  @Option(help: "A libpq connection string or URL; default: DATABASE_URL, then libpq's own PG* variables.")
  var dsn: String?

  @Option(help: "text or json.")
  var format = Format.text

  @OptionGroup var model: ModelOptions

  func logger() -> Logger {
    Logger(label: "jam-retention") { StreamLogHandler.standardError(label: $0) }
  }

  func connect() throws -> Connection {
    let text = dsn ?? ProcessInfo.processInfo.environment["DATABASE_URL"]
    return try Connection(ConnectionString(text), logger: logger())
  }

  func database() throws -> RetentionDatabase {
    RetentionDatabase(connection: try connect(), model: try model.checked(), logger: logger())
  }

  /// Prints rows: `column=value` pairs for people, one JSON object a line for programs.
  func show(_ columns: [String], _ rows: [Row]) throws {
    for row in rows {
      switch format {
      case .text:
        print(try columns.map { "\($0)=\(try row.optionalString($0) ?? "")" }.joined(separator: " "))
      case .json:
        var object: [String: String?] = [:]
        for column in columns { object.updateValue(try row.optionalString(column), forKey: column) }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        print(String(decoding: try encoder.encode(object), as: UTF8.self))
      }
    }
  }
}
