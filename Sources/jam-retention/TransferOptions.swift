import ArgumentParser
import Foundation
import RetentionRunner

/// What every command that moves bytes understands.
struct TransferOptions: ParsableArguments {
  @OptionGroup var database: DatabaseOptions
  @OptionGroup var store: BlobStoreOptions

  @Flag(help: "Do not tell how far it is; so with JSON logs, too.")
  var quiet = false

  func session(_ access: DatabaseOptions.Access) throws -> Session {
    try database.session(access, flags: store.flags, environment: store.environment)
  }

  /// Tells on standard error how far a movement is.
  func progress(_ title: String) -> TransferProgress? {
    // A line of JSON is not told from a line of progress.
    guard !quiet, database.common.log.logFormat != .json else { return nil }
    let isTerminal = isatty(FileHandle.standardError.fileDescriptor) == 1
    return TransferProgress(title, isTerminal: isTerminal, write: StandardError.write)
  }
}
