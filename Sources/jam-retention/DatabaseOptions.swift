import ArgumentParser
import Foundation
import Logging
import RetentionRunner

/// Where the database is, and what a command on it understands besides.
struct DatabaseOptions: ParsableArguments {
  /// Whether a command needs JAM to be enabled.
  enum Access {
    case reads
    case changes
  }

  @Option(
    help:
      "A libpq connection string or URL; default: RUNTIME_JAM_PG_DSN, DATABASE_URL, the configuration, PG* variables."
  )
  var dsn: String?

  @OptionGroup var common: CommonOptions
  @OptionGroup var model: ModelOptions

  /// Reads the configuration.
  ///
  /// - Throws: `ExitCode.success` when it leaves the command nothing to do, after a warning.
  func session(
    _ access: Access = .reads,
    flags: [ConfigurationFlag] = [],
    environment: [String: String] = ProcessInfo.processInfo.environment
  ) throws -> Session {
    let configuration = try RetentionConfiguration(
      flags: [ConfigurationFlag(.connectionString, "--dsn", dsn)] + model.flags + flags,
      environment: environment,
      file: common.config
    )
    let logger = common.log.logger()
    guard configuration.store.value == .postgres else {
      logger.warning(
        "store is memory: data is ephemeral and cleanup is a no-op",
        metadata: ["source": "\(configuration.store.origin)"]
      )
      throw ExitCode.success
    }
    guard access == .reads || configuration.isEnabled.value else {
      logger.warning(
        "JAM is disabled in the configuration, nothing was done",
        metadata: ["source": "\(configuration.isEnabled.origin)"]
      )
      throw ExitCode.success
    }
    return Session(
      configuration: configuration,
      model: try configuration.model(),
      logger: logger,
      format: common.format
    )
  }
}
