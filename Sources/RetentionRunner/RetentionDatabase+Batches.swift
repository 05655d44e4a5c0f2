import Foundation
import Logging
import MigrationGenerator
import Postgres

extension RetentionDatabase {
  /// Runs the body, which calls a cleanup; meanwhile every batch is an event at level debug.
  ///
  /// - Parameter onBegin: gets the run's id.
  func reportingBatches<Result>(
    onBegin: @escaping @Sendable (Int) -> Void,
    during body: () throws -> Result
  ) throws -> Result {
    let level = try connection.query(
      "SELECT current_setting('client_min_messages') AS before, set_config('client_min_messages', 'debug1', false)"
    ).first?.string("before")
    defer { _ = try? connection.query("SELECT set_config('client_min_messages', $1, false)", level) }
    return try connection.observingNotices { [logger] notice in
      switch notice.sqlState {
      case CleanupNotice.begin:
        if case .stringConvertible(let id as Int)? = notice.figures["run_id"] { onBegin(id) }
        return true
      case CleanupNotice.batch:
        logger.debug("cleanup batch", metadata: notice.figures)
        return true
      default:
        return false
      }
    } during: {
      try body()
    }
  }
}

extension Notice {
  /// The JSON object of its detail; empty where there is none.
  fileprivate var figures: Logger.Metadata {
    let object = detail.flatMap { try? JSONDecoder().decode([String: NoticeFigure].self, from: Data($0.utf8)) } ?? [:]
    return object.mapValues {
      switch $0 {
      case .number(let number): .stringConvertible(number)
      case .text(let text): .string(text)
      }
    }
  }
}

private enum NoticeFigure: Decodable {
  case number(Int)
  case text(String)

  init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if let number = try? container.decode(Int.self) {
      self = .number(number)
    } else {
      self = .text(try container.decode(String.self))
    }
  }
}
