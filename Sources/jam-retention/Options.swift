import ArgumentParser
import Foundation
import Logging
import Postgres
import RetentionModel
import RetentionRunner

/// Which model a command works with.
struct ModelOptions: ParsableArguments {
  @Option(help: "A YAML file with the model; default: the JAM model.")
  var model: String?

  @Option(help: "The PostgreSQL schema of the tables; default: the model's.")
  var schema: String?

  @Option(help: "When counts are applied: immediate or deferred; default: the model's.")
  var refcounting: RefcountingMode?

  /// The model, checked: a mistake is refused before anything is changed.
  func checked() throws -> RetentionModel {
    var model = try self.model.map { try ModelReader.read(yaml: Self.text(of: $0), file: $0) } ?? .jam
    model.schema = schema ?? model.schema
    model.refcounting = refcounting ?? model.refcounting
    let errors = model.validate()
    guard errors.isEmpty else { throw ModelErrors(errors) }
    return model
  }

  private static func text(of file: String) throws -> String {
    do {
      return try String(contentsOfFile: file, encoding: .utf8)
    } catch {
      throw RunnerError("the model \(file) cannot be read: \(error.localizedDescription)")
    }
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
    let connection = try connectUnwatched()
    Interruption.watch(connection)
    return connection
  }

  /// A connection that a signal leaves alone: nothing hangs on its statements.
  func connectUnwatched() throws -> Connection {
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
